"""How a sweep is run: what its user may ask of the engine."""

import dataclasses
import math
from typing import Any

import jax

from jaxgen import FieldError
from sweeps.execution.executor import Executor
from sweeps.execution.plan import MAX_COMPILES
from sweeps.execution.prediction import Prediction
from sweeps.execution.profile import set_up_jax

MAX_WIDTH = 65_536
MAX_SHARES = 1_000_000
LONGEST = 1e9  # hours, or seconds


@dataclasses.dataclass(frozen=True)
class Options:
    """How a sweep is run; none of it changes a result, except that `width` is part of the program that trains it.

    Attributes:
      width: lanes per block, at most `MAX_WIDTH`; what the directory holds, or the rule of `widths`, when None.
      tune: measure the fastest width of each program first, and write it down.
      intervals: evaluation intervals per chunk; when None, so many that a chunk takes about a tenth of a second.
      devices: how many local devices to use, at most as many as there are; all when None.
      stop_after_hours: stop, resumably, after this long.
      max_hours: refuse, before anything starts, what may take longer: the high end of the time that is foretold.
      max_memory: refuse, likewise, what takes more GiB on a device.
      max_compiles: refuse sweeps that need more compiled programs.
      checkpoint_seconds: how often lanes in mid-training are saved; at most this much of a run is lost to a crash.
      grace_seconds: after SIGTERM, how long lanes may take to come to the end of a chunk and be saved.
      share: (i, n): train the i-th of n shares of the sweep only, i = 0 … n - 1 (`Plan.share`). Others may train theirs
        at the same time, here or elsewhere.
      executor: where shares of the sweep are trained, as `sweeps.Ray`; here, all of it by this process, when None.
      quiet: no progress display.
    """

    width: int | None = None
    tune: bool = False
    intervals: int | None = None
    devices: int | None = None
    stop_after_hours: float | None = None
    max_hours: float | None = None
    max_memory: float | None = None
    max_compiles: int = MAX_COMPILES
    checkpoint_seconds: float = 10.0
    grace_seconds: float = 30.0
    share: tuple[int, int] | None = None
    executor: Executor | None = None
    quiet: bool = False

    def less(self, seconds: float) -> "Options":
        """What is left of them after so long."""
        if self.stop_after_hours is None:
            return self
        return dataclasses.replace(self, stop_after_hours=max(self.stop_after_hours - seconds / 3600, 1e-9))

    @property
    def is_limited(self) -> bool:
        """Whether what a sweep takes has to be foretold before it starts."""
        return self.max_hours is not None or self.max_memory is not None

    def check(self, prediction: Prediction) -> None:
        """FieldError where what is foretold is beyond `max_hours` or `max_memory`."""
        hours, size = prediction.high / 3600, prediction.bytes / 2**30
        if self.max_hours is not None and hours > self.max_hours:
            why = f"the plan takes {prediction.low / 3600:.2g} to {hours:.2g} h on this machine: allow more, or train a"
            raise FieldError("max_hours", self.max_hours, f"{why} part with --stop_after_hours={self.max_hours:g}")
        if self.max_memory is not None and size > self.max_memory:
            why = f"the plan takes {size:.2g} GiB on each device, two blocks of its largest program"
            raise FieldError("max_memory", self.max_memory, f"{why}: allow more, or ask for narrower blocks (--width)")

    @property
    def of_a_share(self) -> dict[str, Any]:
        """Those that hold for each share that an executor trains, by name; it looks after the others itself."""
        own = "tune", "stop_after_hours", "max_hours", "max_memory", "share", "executor", "quiet"
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in own}

    def __post_init__(self):
        if self.executor is not None and not isinstance(self.executor, Executor):
            raise FieldError("executor", self.executor, "must be one, as sweeps.Ray()")
        here = self.devices is not None and self.executor is None
        if here:
            set_up_jax()
        most = {"width": MAX_WIDTH} | ({"devices": len(jax.local_devices())} if here else {})
        for name in ("width", "intervals", "devices", "max_compiles"):
            value, high = getattr(self, name), most.get(name, math.inf)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (whole and 1 <= value <= high):
                why = f"in [1, {high}]" if name in most else "of at least 1"
                raise FieldError(name, value, f"must be a whole number {why}")
        if self.tune and self.width is not None:
            raise FieldError("tune", True, f"measures the width: leave out width = {self.width}")
        if self.share is not None:
            check_share(self.share)
            if self.tune:
                raise FieldError("tune", True, "measures for all shares: launch with it once, without a share")
        if self.executor is not None and self.share is not None:
            raise FieldError("share", self.share, "is one of those that the executor starts: leave one of the two out")
        if self.executor is not None and self.tune:
            raise FieldError("tune", True, "measures for all shares: launch with it once, without an executor")
        above = ("stop_after_hours", "max_hours", "max_memory")
        for name, low in [(name, 1e-9) for name in above] + [("checkpoint_seconds", 0), ("grace_seconds", 0)]:
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and low <= value <= LONGEST):
                raise FieldError(
                    name, value, f"must be a number {'above' if low else 'of at least'} 0, at most {LONGEST:g}"
                )


def check_share(share: object) -> None:
    """FieldError where it is not which share of how many."""
    whole = all(type(number) is int for number in share) if isinstance(share, tuple) else False
    if not (isinstance(share, tuple) and whole and len(share) == 2 and 0 <= share[0] < share[1] <= MAX_SHARES):
        why = f"must be (i, n), the i-th of n shares: whole numbers, i from 0 to n - 1, n at most {MAX_SHARES:,}"
        raise FieldError("share", share, why)
