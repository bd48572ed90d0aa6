"""Imported first: from here on Ctrl-C and `kill` end a program with one line, whatever it is doing. Nothing is lost."""

import contextlib
import os
import signal
import sys

CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}  # 75: "try again", as batch systems understand it


def end(number: int, _) -> None:
    """Leaves without unwinding: an exception could rise in an import, a callback or at exit, and be printed there."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        shown = b"\x1b[?25h" if os.isatty(2) else b""  # the cursor, which a progress display hides
        os.write(2, shown + b"interrupted: the same command continues\n")
    os._exit(CODES[signal.Signals(number)])


for ending in CODES:
    if signal.getsignal(ending) is not signal.SIG_IGN:
        signal.signal(ending, end)
