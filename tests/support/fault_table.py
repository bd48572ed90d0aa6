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
    """What tests recorded."""
    return [value for report in reports for name, value in report.user_properties if name == "faults"]


def tell(terminal) -> None:
    """Prints the table."""
    found = tallies(report for kind in ("passed", "failed") for report in terminal.stats.get(kind, []))
    if found and terminal.config.option.verbose >= 0:
        terminal.write_line("\n".join([HEAD, RULE, *map(row, found)]))


class Page:
    """A plugin of pytest that puts what each test recorded into the table of a page, as soon as it ended.

    Args:
      file: the page; a row takes the place of what its kind came to before.
    """

    def __init__(self, file: str):
        self.place = Path(file)

    def pytest_runtest_logreport(self, report) -> None:
        if found := tallies([report] if report.when == "call" else []):
            self.place.write_text(written(self.place.read_text(), found))


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
