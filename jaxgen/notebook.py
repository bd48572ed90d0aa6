"""Tables that objects show of themselves in notebooks: short, and nothing that a user typed is taken for HTML."""

from collections.abc import Iterable, Sequence
from html import escape

from jaxgen.errors import shown

ROWS = 12
WIDE = 100
"""Rows of a table, and characters of an entry, at most."""


def table(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """HTML of a table with a line above; of many rows the first ones, and how many more there are.

    Args:
      title: the line.
      names: of the columns.
      rows: entries by column, texts or what is shown as `repr` has it.
    """
    rows = list(rows)
    lines = [f"<tr>{''.join(f'<td>{text(v)}</td>' for v in row)}</tr>" for row in rows[:ROWS]]
    if len(rows) > ROWS:
        lines.append(f"<tr><td>… {len(rows) - ROWS:,} more</td></tr>")
    head = "".join(f"<th>{text(name)}</th>" for name in names)
    return f"<div>{text(title)}<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def text(value: object) -> str:
    """A value on one line, escaped, its end left out where it is long."""
    said = " ".join(value.split()) if isinstance(value, str) else shown(value)
    return escape(said if len(said) <= WIDE else f"{said[: WIDE - 1]}…")


def listed(values: Sequence[object], most: int = 5) -> str:
    """Values of an axis in a few words: the first ones, and the last where there are more."""
    few = [v if isinstance(v, str) else shown(v) for v in (*values[:most], *values[-1:])]
    return ", ".join(few[: len(values)]) if len(values) <= most else f"{', '.join(few[:-1])} … {few[-1]}"
