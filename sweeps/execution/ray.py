"""Shares of a sweep as tasks of a Ray cluster (https://docs.ray.io). Ray is imported only where it is used."""

import contextlib
import dataclasses
import importlib.util
import logging
import math
import os
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxgen import FieldError
from jaxgen.errors import first_line
from sweeps.execution import task
from sweeps.execution.chips import BOUNDS, PORT
from sweeps.execution.executor import Ended, How
from sweeps.execution.options import MAX_SHARES
from sweeps.storage.errors import TryAgain
from sweeps.storage.workdir import Workdir

PASSED = "JAX_", "XLA_", "LIBTPU_"
"""How variables begin that the driver's environment hands on to tasks: they decide programs, and so bits."""

GPU_MEMORY = 0.75  # share of a GPU's memory that JAX takes for itself, as it does where it has the GPU alone


@dataclasses.dataclass(frozen=True)
class Ray:
    """Trains a sweep in shares, each a task of a Ray cluster: `sweeps.run(…, executor=sweeps.Ray(…))`.

    A task that dies, by itself or with its machine, is started again and goes on from the lanes it has saved. The
    workdir has to be one that all machines see. A connection to Ray that the process has already is used, and kept.

    Attributes:
      address: of the cluster: host:port of its head, or "auto" for that of this machine; None: `RAY_ADDRESS`, or a
        cluster of this machine alone, which ends with the sweep.
      shares: how many; as many as the cluster has room for when None. Shares beyond that use machines that come later.
        A sweep goes on where it was in mid-training only with the same number.
      cpus: processors of each share, and XLA devices of one that has no accelerator.
      gpus: GPUs of each: a whole number, or a part of one, as 0.25.
      tpus: TPU chips of each: 1, 4 or 8 of one machine.
      retries: how often in a row a share may fail, with no run stored in between, before it is given up.

    Raises:
      FieldError: one of them is not allowed, or Ray is not installed.
    """

    address: str | None = None
    shares: int | None = None
    cpus: int = 1
    gpus: float = 0
    tpus: int = 0
    retries: int = 5

    def __post_init__(self):
        if importlib.util.find_spec("ray") is None:
            raise FieldError("executor", "ray", "is not installed: pip install 'jaxgen[ray]'")
        whole = lambda value, low: type(value) is int and value >= low  # noqa: E731
        if self.address is not None and not (isinstance(self.address, str) and self.address.isprintable()):
            raise FieldError("address", self.address, "must be host:port, or auto")
        if self.address is not None and self.address.startswith("ray://"):
            why = "is of Ray's client: run this on a machine of the cluster, with auto, or submit it by ray job submit"
            raise FieldError("address", self.address, why)
        if self.shares is not None and not (whole(self.shares, 1) and self.shares <= MAX_SHARES):
            raise FieldError("shares", self.shares, f"must be a whole number in [1, {MAX_SHARES:,}]")
        if not whole(self.cpus, 1):
            raise FieldError("cpus", self.cpus, "must be a whole number of at least 1")
        if not (whole(self.gpus, 0) or (isinstance(self.gpus, float) and (0 < self.gpus < 1 or self.gpus in (0, 1)))):
            raise FieldError("gpus", self.gpus, "must be a whole number, or between 0 and 1")
        if self.tpus != 0 and not (whole(self.tpus, 1) and self.tpus in BOUNDS):
            raise FieldError("tpus", self.tpus, "must be 0, 1, 4 or 8 chips of one machine")
        if self.gpus and self.tpus:
            raise FieldError("tpus", self.tpus, f"a share has either these or {self.gpus} GPUs")
        if not whole(self.retries, 0):
            raise FieldError("retries", self.retries, "must be a whole number of at least 0")

    @contextlib.contextmanager
    def cluster(self, workdir: Workdir) -> Iterator["_Cluster"]:
        """The cluster, as `Executor.cluster` has it.

        Raises:
          FieldError: it cannot be reached, or this process is one of its tasks.
        """
        ray: Any = importlib.import_module("ray")
        own, address = not ray.is_initialized(), self.address or os.environ.get("RAY_ADDRESS")
        if own:
            _connect(ray, address)
        elif ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
            why = 'is not for a task of Ray itself: a script calls sweeps.run only if __name__ == "__main__"'
            raise FieldError("executor", self, why)
        try:
            alone = own and not address  # then the user's cache is shared
            yield _Cluster(ray, self, environment(self, os.environ, None if alone else workdir.absolute()))
        finally:
            if own:
                ray.shutdown()

    @property
    def resources(self) -> dict[str, float]:
        """What a share takes of a machine, as Ray calls it."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, "TPU": self.tpus}
        return {name: number for name, number in asked.items() if number}


class _Cluster:
    """A connection to a cluster, and the tasks that it was given."""

    def __init__(self, ray: Any, asked: Ray, variables: Mapping[str, str]):
        self._ray = ray
        self._started: dict[Any, int] = {}
        wanted = asked.resources
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        fits = [min(math.floor(has.get(name, 0) / number) for name, number in wanted.items()) for has in machines]
        self.room = sum(fits)
        self._remote = ray.remote(
            num_cpus=asked.cpus,
            num_gpus=asked.gpus,
            resources={"TPU": asked.tpus} if asked.tpus else {},
            max_calls=1 if asked.gpus or asked.tpus else 0,  # its process would hold the accelerator
            max_retries=0,  # which tasks are started again is known better from what they have stored
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": dict(variables)},
        )(_train)

    def start(self, text: str, index: int, count: int) -> None:
        self._started[self._remote.remote(text, index, count)] = index

    def ended(self, seconds: float) -> list[Ended]:
        if not self._started:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait([*self._started], timeout=seconds)
        return [Ended(self._started.pop(one), *self._result(one)) for one in ready]

    def _result(self, of: Any) -> tuple[How, str]:
        errors = self._ray.exceptions
        try:
            return self._ray.get(of)
        except errors.TaskCancelledError:
            return "failed", "it was told to stop"
        except errors.RayTaskError as error:
            return "failed", first_line(error.cause)
        except errors.RayError as error:
            return "failed", f"its process or machine is gone ({type(error).__name__})"

    def stop(self) -> None:
        for one in self._started:
            self._ray.cancel(one, force=False)  # Ctrl-C in the task's process


def _connect(ray: Any, address: str | None) -> None:
    """Connects to a cluster, or starts one here. SIGTERM stays with who had it, as far as Python tells."""
    here = {} if address else {"include_dashboard": False}
    if not address:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of our own reports to nobody
    handler = signal.getsignal(signal.SIGTERM)
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # what Ray starts runs a program of its own at once: nothing can lock up
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(address=address, log_to_driver=False, configure_logging=False, **here)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise FieldError("address", address, f"cannot be reached ({first_line(error)})") from None
    except SystemExit:  # SIGTERM meanwhile
        raise TryAgain("interrupted before the cluster was there") from None
    finally:
        with contextlib.suppress(ValueError):  # not the main thread: Ray has left it alone too
            signal.signal(signal.SIGTERM, handler)


def environment(asked: Ray, own: Mapping[str, str], workdir: str | None) -> dict[str, str]:
    """The variables of a task's process.

    Args:
      asked: what a share takes.
      own: the driver's; those that decide programs are handed on.
      workdir: compiled programs are kept beside it, if this is given and `own` does not say where.
    """
    platform = "tpu,cpu" if asked.tpus else "cuda,cpu" if asked.gpus else "cpu"
    found = {name: value for name, value in own.items() if name.startswith(PASSED)}
    found |= {"JAX_PLATFORMS": platform, "JAX_NUM_CPU_DEVICES": str(1 if asked.gpus or asked.tpus else asked.cpus)}
    if 0 < asked.gpus < 1:
        found.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{GPU_MEMORY * asked.gpus:.3f}")
    if workdir is not None and "JAX_COMPILATION_CACHE_DIR" not in found:
        found |= {
            "JAX_COMPILATION_CACHE_DIR": f"{workdir.rstrip('/')}-compiled",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # also what compiles fast
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",  # and what is small
        }
    return found


def _train(text: str, index: int, count: int) -> tuple[How, str]:
    """The task of a share, in a process of Ray."""
    ray: Any = importlib.import_module("ray")
    chips = ray.get_runtime_context().get_accelerator_ids().get("TPU")
    if chips:
        for name in ("TPU_HOST_BOUNDS", "TPU_CHIPS_PER_HOST_BOUNDS"):  # older names, which Ray sets
            os.environ.pop(name, None)
        os.environ.update(alone(chips))
    return task.train(text, index, count)


def alone(chips: Sequence[str]) -> dict[str, str]:
    """Variables by which a process takes some of a machine's chips as a slice of its own, which waits for no other.

    docs/pods.md says what each does.
    """
    port = str(PORT + min(map(int, chips)))
    return {
        "TPU_PROCESS_BOUNDS": "1,1,1",
        "TPU_CHIPS_PER_PROCESS_BOUNDS": BOUNDS[len(chips)],
        "TPU_VISIBLE_CHIPS": ",".join(sorted(chips, key=int)),
        "TPU_PROCESS_PORT": port,
        "TPU_PROCESS_ADDRESSES": f"localhost:{port}",
        "TPU_WORKER_ID": "0",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "CLOUD_TPU_TASK_ID": "0",
        "TPU_SKIP_MDS_QUERY": "1",
    }
