"""Imported first: from here on Ctrl-C and `kill` end a program with one line, whatever it is doing. Nothing is lost.

`sweeps` does so where it is a program (`python -m sweeps`, `jaxgen`), and else leaves signals to whoever imports it.
"""

import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}  # 75: "try again", as batch systems understand it
PROGRAM = "jaxgen"


def end(number: int, _) -> None:
    """Leaves without unwinding: an exception could rise in an import, a callback or at exit, and be printed there."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        shown = b"\x1b[?25h" if os.isatty(2) else b""  # the cursor, which a progress display hides
        rest = b"" if any(text.startswith("--dry_run") for text in sys.argv) else b": the same command continues"
        os.write(2, shown + b"interrupted" + rest + b"\n")
    os._exit(CODES[signal.Signals(number)])


def handle() -> None:
    """From now on signals end the process so."""
    for ending in CODES:
        if signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, end)


@contextlib.contextmanager
def asked(stop: Callable[[int], None], grace: float = math.inf) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop`, to end the sweep at the next chunk; a second one ends it at once.

    Where that takes longer than `grace` seconds after SIGTERM, as while a program compiles, the process ends as it is:
    what is stored is as whole as after `kill -9`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    last = threading.Timer(min(grace, threading.TIMEOUT_MAX), end, (signal.SIGTERM, None))
    last.daemon = True

    def ask(number, _):
        stop(number)
        signal.signal(number, before[number])
        if number == signal.SIGTERM:
            last.start()

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        last.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def is_program(arguments: list[str], original: list[str]) -> bool:
    """Whether this process is one of our programs.

    Args:
      arguments: `sys.argv`; while Python looks for the module of `-m` the first is "-m".
      original: `sys.orig_argv`.
    """
    if not arguments:
        return False
    if arguments[0] == "-m":
        return original[-len(arguments)].removeprefix("-m") == "sweeps"
    return os.path.basename(arguments[0]) in (PROGRAM, f"{PROGRAM}.exe")


if is_program(sys.argv, sys.orig_argv):
    handle()
