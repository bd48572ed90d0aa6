"""How far a sweep is: a live display on a terminal, plain lines elsewhere."""

import collections
import sys
import time
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

LINE_SECONDS = 10.0
RECENT_SECONDS = 90.0  # whose rate tells what is left: compiling slows down how a sweep begins


class Line:
    """A line on how far something is: rewritten on a terminal, printed anew elsewhere. Used as a context.

    Args:
      total: how much there is to do; nothing is shown of 0.
      quiet: show nothing.
    """

    def __init__(self, total: int, quiet: bool = False):
        self._total, self._quiet = total, quiet
        self._console = Console(stderr=True)
        self._live = (
            Live(console=self._console, refresh_per_second=4)
            if self._console.is_terminal and total and not quiet
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._live:
            self._live.stop()

    def note(self, text: str) -> None:
        """A line of its own."""
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, done: int, text: str) -> None:
        """The line: how much is done, and what it says."""
        if self._quiet or not self._total:
            return
        if self._live:
            grid = Table.grid(padding=(0, 1))
            grid.add_row(ProgressBar(total=self._total, completed=done, width=30), text)
            self._live.update(grid)
        else:
            print(text, file=sys.stderr, flush=True)


class Progress(Line):
    """Shows runs done, lane-steps per second, occupancy and the time left, if there are any runs. Used as a context.

    Args:
      total: runs to train.
      steps: their budgets added up.
      quiet: show nothing.
      begun: when all began, on the monotonic clock; now when None.

    Attributes:
      done: runs that have ended.
    """

    def __init__(self, total: int, steps: int, quiet: bool = False, begun: float | None = None):
        super().__init__(total, quiet)
        self._steps = steps
        self._start = self._shown = time.monotonic()
        self._begun = self._start if begun is None else begun
        self._launched = False
        self.done = self._done_steps = self._done_budget = self._useful = self._computed = 0
        self._marks = collections.deque([(self._start, 0)])  # when so many lane-steps were made

    def __exit__(self, *_) -> None:
        self._tell(last=True)
        super().__exit__()

    def begin(self) -> None:
        """A block is launched: rates count from the first time on."""
        if not self._launched:
            self._launched, self._start = True, time.monotonic()
            self._marks = collections.deque([(self._start, 0)])

    def finished(self, steps: int, budget: int) -> None:
        """A run ended after `steps` of its `budget`."""
        self.done, self._done_steps, self._done_budget = (
            self.done + 1,
            self._done_steps + steps,
            self._done_budget + budget,
        )

    def update(self, useful: int, computed: int) -> None:
        """Totals so far: lane-steps made by runs, and computed by the devices (idle lanes included)."""
        self._useful, self._computed = useful, computed
        now = time.monotonic()
        if useful > self._marks[-1][1]:
            self._marks.append((now, useful))
        while len(self._marks) > 2 and self._marks[1][0] < now - RECENT_SECONDS:
            self._marks.popleft()
        if now - self._shown > (0.25 if self._live else LINE_SECONDS):
            self._shown = now
            self._tell()

    @property
    def left_seconds(self) -> float:
        """How long the rest takes at the rate of the last minutes, if runs end as early as those that have; or inf."""
        used = self._done_steps / self._done_budget if self._done_budget else 1.0
        since, before = self._marks[0]
        made, seconds = self._useful - before, time.monotonic() - since
        return max(self._steps * used - self._useful, 0) * seconds / made if made else float("inf")

    def _tell(self, last: bool = False) -> None:
        now = time.monotonic()
        seconds = now - self._start
        rate = self._useful / seconds if seconds > 0 else 0.0
        occupancy = self._useful / self._computed if self._computed else 1.0
        text = f"{self.done}/{self._total} runs  {rate:,.0f} lane-steps/s  occupancy {occupancy:.0%}  "
        spent = f"{clock(seconds)} of training, {clock(now - self._begun)} in all"
        text += spent if last or self.done >= self._total else f"about {clock(self.left_seconds)} left"
        self.show(self.done, text)


def clock(seconds: float) -> str:
    """Seconds as people say them.

    >>> clock(42), clock(192), clock(7500), clock(float("inf"))
    ('42 s', '3 min 12 s', '2 h 5 min', '…')
    """
    if seconds == float("inf"):
        return "…"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
