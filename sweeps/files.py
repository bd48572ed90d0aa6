"""Writing files so that a crash leaves either the old one or the new one, never half of it."""

import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Calls `write` on a temporary file beside `path`, makes it durable, and moves it into place."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` for a text."""
    write_atomically(path, lambda temporary: temporary.write_text(text))


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Writes a table as CSV, without its index. Texts that a spreadsheet would run as formulas begin with a `'`."""
    table.rename(columns=_shown).map(_shown).to_csv(path, index=False)


def _shown(cell: Any) -> Any:
    runs = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not NUMBER.fullmatch(cell)
    return f"'{cell}" if runs else cell
