"""The table of what trials of faults came to: told after the tests, and written into docs/faults.md."""

import datetime
import re
from collections.abc import Iterable
from pathlib import Path

HEAD = "| fault | how | trials | lost | doubled | wrong bits | in two shards, alike | seconds each | date |"
RULE = "|---|---|---|---|---|---|---|---|---|"


def row(tally: dict) -> str:
    """A line of the table."""
    counts = [tally[name] for name in ("trials", "lost", "doubled", "wrong", "twice")]
    cells = [tally["kind"], tally["how"], *counts, f"{tally['seconds'] / max(tally['trials'], 1):.2f}"]
    return "| " + " | ".join(map(str, [*cells, datetime.date.today().isoformat()])) + " |"


def tallies(reports: Iterable) -> list[dict]:
    """What the tests of a session recorded."""
    return [value for report in reports for name, value in report.user_properties if name == "faults"]


def tell(terminal, page: str | None) -> None:
    """Prints the table, and puts its rows into a page, each in the place of the one of its kind."""
    found = tallies(report for kind in ("passed", "failed") for report in terminal.stats.get(kind, []))
    if not found:
        return
    if terminal.config.option.verbose > 0 or page:
        terminal.write_line("\n".join([HEAD, RULE, *map(row, found)]))
    if page:
        place = Path(page)
        place.write_text(written(place.read_text(), found))


def written(text: str, found: list[dict]) -> str:
    """The page with these rows, new kinds last."""
    for tally in found:
        new = row(tally)
        old = re.compile(rf"^\| {re.escape(tally['kind'])} \|.*$", re.MULTILINE)
        if old.search(text):
            text = old.sub(lambda _: new, text)  # noqa: B023
        else:
            table = text.index(HEAD)
            end = text.index("\n\n", table)
            text = f"{text[:end]}\n{new}{text[end:]}"
    return text
