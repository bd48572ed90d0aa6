"""One page of many studies: what each claims, what was found, and its figures, with links to its own page."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sweeps.report.provenance import VERSIONS
from sweeps.storage.files import write_atomically

COLUMNS = "text", "claimed", "of", "verdict"

STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
img { max-width: 48%; vertical-align: top; border: 1px solid #ddd } table { border-collapse: collapse }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top } summary { cursor: pointer }
.PASS { color: #1a7f37 } .FAIL { color: #b42318 } .ERROR { color: #b42318; font-weight: bold }"""


def write_gallery(workdirs: Sequence[Path], path: Path) -> None:
    """Writes an HTML file about the studies in `workdirs`, of which each has the `claims.json` of a reproduction.

    It refers to their figures and pages by paths relative to its own place: the folder can be moved as a whole.
    """
    parts = [_study(workdir, os.path.relpath(workdir, path.parent)) for workdir in workdirs]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    page = f"<!doctype html><html lang=en><title>Studies</title>{head}<h1>Studies</h1>{''.join(parts)}</html>"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def _study(workdir: Path, place: str) -> str:
    found = json.loads((workdir / "claims.json").read_text(encoding="utf-8"))
    rows = "".join(_row(claim) for claim in found["claims"])
    link = lambda file: escape(f"{place}/{file}", quote=True)  # noqa: E731
    figures = "".join(
        f'<a href="{link("report.html")}"><img src="{link(f"{name}.png")}" alt="{escape(name)}"></a> '
        for name in found["drawings"]
    )
    chance = "{passes_by_chance:.2g} of {claims_tested} would pass by chance if none were true".format(**found)
    told = f"{escape(found['scale'])}, {found['runs']} runs; {chance}" if found["claims"] else escape(found["scale"])
    about = " – ".join(escape(text) for text in (found["paper"], found["description"]) if text)
    said = f"<p>{about}<br>{told}<br>{escape(_made(found))}</p>"
    return f"<h2>{escape(found['recipe'])}</h2>{said}<table>{rows}</table><p>{figures}</p>"


def _row(claim: Mapping[str, Any]) -> str:
    """A claim with its verdict, and below what was measured of it, to be opened."""
    published = f" Published: {claim['published']}." if claim["published"] else ""
    effects = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}" for cell in (_title(one), *(one[name] or "" for name in COLUMNS)))
        for one in claim["effects"]
    )
    head = "<tr><th>measured<th>mean [95 % interval]<th>claimed<th>of<th>"
    shown = f"<details><summary>measured</summary><table>{head}{effects}</table></details>" if effects else ""
    verdict = escape(claim["verdict"])
    said = f"{escape(claim['text'])}.{escape(published)} {escape(claim['missing'])}{shown}"
    return f'<tr><td>({escape(claim["name"])})<td>{said}<td class="{verdict}">{verdict}'


def _title(effect: Mapping[str, Any]) -> str:
    return effect["name"] + (f" ({effect['note']})" if effect["note"] else "")


def _made(found: Mapping[str, Any]) -> str:
    """When and with what a study was trained, and what judged it."""
    trained = found["trained"]
    days = sorted({str(one[name])[:10] for one in trained for name in ("time", "updated") if one[name]})
    span = " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "at a time that is not recorded"
    versions = dict.fromkeys(", ".join(f"{name} {one[name]}" for name in VERSIONS if one[name]) for one in trained)
    return "; ".join([f"trained {span}", *versions, f"judged by python {shlex.join(map(str, found['command']))}"])
