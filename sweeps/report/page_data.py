"""What the page carries: the columns of its cells and runs, and the text above them."""

import shlex
from html import escape
from typing import Any

import numpy as np

from sweeps.axes import scales
from sweeps.axes.scales import value_name
from sweeps.diagrams import phases
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.labels import FOUR_PHASES
from sweeps.report import style
from sweeps.report.provenance import Provenance

POINTS, VALUES = 200, 4_000_000  # evaluations kept of a run; values kept of all runs, two bytes each
LEVELS, MISSING = 50_000, 65_535  # a value is stored as a sixteen-bit number of 1/LEVELS of the way to the largest
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
FACTORS = (0.1, 0.2, 0.5, 2, 5, 10)  # of the definition's own threshold, for metrics that span decades
SHARES = (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)  # of the way that other metrics go, from there
NEVER = 2**32 - 1
RESOLVED = {True: "no", False: "yes, within one interval between evaluations"}
"""What is said of whether delays that are known to an interval could turn a cell."""


def thresholds(diagram: Diagram) -> list[float]:
    """The thresholds that can be chosen: times at each are part of the page."""
    own = diagram.definition.threshold
    if diagram.labelling is not FOUR_PHASES:
        return [own]
    if diagram.definition.is_accuracy:
        return sorted({own, *THRESHOLDS})
    low, high, wide = style.curve_span(diagram)
    near = [own * f for f in FACTORS] if wide and own > 0 else [own + share * (high - low) for share in SHARES]
    return sorted({own, *(float(f"{value:.3g}") for value in near if low <= value <= high)})


def name(diagram: Diagram) -> str:
    """The page's title."""
    return Provenance.of(diagram.source).name or "Phase diagram"


def header(diagram: Diagram) -> str:
    """The text and the key above the maps, as HTML."""
    runs = diagram.counts.sum((0, 1))
    key = lambda look, text: f'<span class="key"><i style="{look}"></i>{text}</span>'  # noqa: E731
    labels = diagram.labelling.labels
    keys = [
        key(
            f"background:{labels[i].colour}",
            escape(f"{labels[i].name} ({runs[i]} {'run' if runs[i] == 1 else 'runs'})"),
        )
        for i in style.present([diagram])
    ]
    if (diagram.agreement < 1).any():
        keys.append(
            key("background:#ddd;border:4px solid #777;box-sizing:border-box", "seeds disagree: second label inside")
        )
    late, unwatched = np.isinf(diagram.median_time) & ~diagram.unwatched, diagram.unwatched
    if late.any():
        lines = f"repeating-linear-gradient(135deg,{style.NOT_REACHED} 0 4px,{style.NOT_REACHED_LINES} 4px 5px)"
        keys.append(key(f"background:{lines}", style.not_reached(diagram.observed[late], diagram.definition.budget)))
    if unwatched.any():
        dots = f"radial-gradient({style.NOT_REACHED_LINES} 1px,{style.NOT_REACHED} 2px) 0 0/5px 5px"
        keys.append(key(f"background:{dots}", style.unwatched(diagram.definition.budget)))
    if diagram.pending is not None:
        cells = f"{int(diagram.pending.sum())} cells wait for runs (·), {int(diagram.running.sum())} train (○)"
        keys.append(f'<span class="key">{cells}</span>')
    elif (diagram.seeds == 0).any():
        keys.append(key(f"border-color:{style.EMPTY_LINES}", "× no runs"))
    for number, level in enumerate(diagram.contour.levels if diagram.contour else ()):
        width, dash = contour_look(diagram, number)
        lines = f"height:0;border:0;border-top:{width}px {'solid' if dash == 'solid' else 'dashed'} #000"
        keys.append(key(lines, escape(f"{diagram.contour.probe} reaches {level:g} (mean over seeds)")))
    count = len(diagram.runs)
    if diagram.boundary is not None:
        keys.append(key("height:0;border:0;border-top:2px solid #000", escape(style.boundary_text(diagram))))
    if said := style.undecided_text(diagram):
        keys.append(f'<span class="key">{escape(said)}</span>')
    if near := style.unresolved_text(diagram):
        keys.append(f'<span class="key">{escape(near)}</span>')
    text = (
        f"{count} run{'s' if count > 1 else ''}, {style.seeds_text(diagram.seeds)} ({diagram.sampled}), "
        f"over {diagram.x_axis.label} and "
        f"{diagram.y_axis.label}. Definition: {diagram.definition}. "
        "Point at a cell for its numbers; click it, or draw a box over several, for their curves. The tools at a map's "
        "side pan and zoom."
    )
    return f"<p>{escape(text)}</p><div>{''.join(keys)}</div>{_provenance(diagram)}"


def _provenance(diagram: Diagram) -> str:
    """What was held, what the sweep's base is, and what trained it, to be unfolded."""
    origin = Provenance.of(diagram.source)
    fields = {**origin.fields, **{k: value_name(v) for k, v in diagram.held.items()}}
    placing = {path for axis in diagram.axes for path in axis.fields}
    lines = [f"{path} = {value}" for path, value in fields.items() if path not in placing]
    for launch in origin.launches:
        known = {k: v for k, v in launch.items() if v not in ("", None)}
        command = known.pop("command", [])
        command = shlex.join(map(str, command)) if isinstance(command, list) else ""
        lines += ["", f"launched: {command}", ", ".join(f"{k} {v}" for k, v in known.items())]
    text = escape("\n".join(lines))
    return f"<details><summary>Settings and provenance</summary><pre>{text}</pre></details>"


def cell_columns(diagram: Diagram) -> dict[str, Any]:
    """The cells, as columns for bokeh: sides, colours, numbers and the texts that say them."""
    cells = diagram.cell_table()
    filled = cells["seeds"] > 0
    left, right, bottom, top = (side.ravel() for side in sides(diagram))
    labels = diagram.labelling.labels
    shades = ["#ffffff", *(label.colour for label in labels)]
    x, y = [list(map(style.value_text, cells[path])) for path in (diagram.x, diagram.y)]
    counts = np.reshape(diagram.counts, (-1, len(labels)))
    median, hatched = cells["median_test_time"], [diagram.unwatched, np.isinf(diagram.median_time)]
    headings = [f"{diagram.x_axis.label} = {a}, {diagram.y_axis.label} = {b}" for a, b in zip(x, y)]
    return {
        **{"left": left, "right": right, "bottom": bottom, "top": top, "x": x, "y": y},
        **{
            name: cells[name].to_numpy(float)
            for name in ("agreement", "p", "p_low", "p_high", "median_test_time", diagram.definition.column)
        },
        "seeds": cells["seeds"].to_numpy(np.int32),
        "shown": filled.to_numpy(np.float32),
        "time": style.colour_times(diagram)[0].ravel(),
        "hatch": np.select(hatched, ["dot", "right_diagonal_line"], "blank").ravel().tolist(),
        "resolved": [RESOLVED[bool(r)] for r in cells["resolved"]],
        "colour": [shades[m + 1] for m in diagram.majority.ravel()],
        **{f"{side}_value": [str(v) for v in cells[path]] for side, path in (("x", diagram.x), ("y", diagram.y))},
        "heading": [escape(text) for text in headings],
        **({"contour_text": _rounded(diagram.contour.values)} if diagram.contour else {}),
        "test_text": _rounded(diagram.last_test)
        if diagram.definition.is_accuracy
        else [style.value_text(v, 3) if np.isfinite(v) else "–" for v in diagram.last_test.ravel().tolist()],
        "labels": [", ".join(f"{labels[i].name} {n}" for i, n in enumerate(row) if n) or "no runs" for row in counts],
        "agreement_text": [f"{a:.0%}" if s else "–" for a, s in zip(cells["agreement"], filled)],
        "p_text": [
            (f"{c.p:.2f} [{c.p_low:.2f}, {c.p_high:.2f}]" if c.decided else "–")
            + (f"; {c.p_least:.2f} to {c.p_most:.2f} as undecided runs fail or succeed" if c.decided < c.seeds else "")
            for c in cells[["p", "p_low", "p_high", "p_least", "p_most", "decided", "seeds"]].itertuples()
        ],
        "median_text": [
            ("–" if not s else f"not reached by step {o}" if np.isinf(t) else f"{t:g}")
            for t, o, s in zip(median, cells["observed_to"], filled)
        ],
    }


def _rounded(values: np.ndarray) -> list[str]:
    return [f"{v:.3f}" if np.isfinite(v) else "–" for v in values.ravel()]


def first_cell(diagram: Diagram) -> int:
    """The cell that is chosen at first: one that groks where there is one."""
    examples = style.example_cells(diagram.counts)
    order = [examples[i] for i, n in enumerate(diagram.labelling.names) if n == "grokking" and i in examples]
    return next(iter([*order, *examples.values()]))


def sides(diagram: Diagram) -> list[np.ndarray]:
    """Left, right, bottom and top of the cells, each (y, x)."""
    x, y = style.all_edges(diagram)
    return [*np.broadcast_arrays(x[None, :-1], x[None, 1:], y[:-1, None], y[1:, None])]


def run_columns(diagram: Diagram) -> dict[str, Any]:
    """The runs in the order of their cells, as flat arrays: small on disk, and one cell's runs are a slice."""
    order = np.lexsort([diagram.runs[name] for name in ("split_seed", "seed", "cell")])
    runs = diagram.runs.iloc[order]
    steps = np.nan_to_num(diagram.curves["step"][order])
    points = int(np.clip(VALUES // (2 * len(runs)), 40, POINTS))
    kept = _kept(steps.shape[1], points)
    last = np.isfinite(diagram.curves["step"][order]).sum(1) - 1
    at = np.minimum(kept, last[:, None])  # runs that ended early repeat their last evaluation
    grids, grid = np.unique(np.take_along_axis(steps, at, 1), axis=0, return_inverse=True)
    d, labelling, span = diagram.definition, diagram.labelling, style.curve_span(diagram)
    curves = {name: diagram.curves[curve][order] for name, curve in zip(("train", "test"), d.curves)}
    statuses, status = np.unique(runs["status"].to_numpy(str), return_inverse=True)
    split = (f", split {s}" if s != seed else "" for seed, s in zip(runs["seed"], runs["split_seed"]))
    offered = thresholds(diagram)
    stored, held = diagram.curves["step"][order], (d.sustained, runs["training.evaluate_every"].to_numpy(), d.below)
    times = {
        f"{name}_times": np.concatenate([_whole(phases.times(stored, values, t, *held)) for t in offered])
        for name, values in curves.items()
    }
    return {
        **times,
        **{
            "thresholds": offered,
            "axes": [diagram.x, diagram.y],
            "replay": escape(Provenance.of(diagram.source).replay),
        },
        "stored": {"at": offered.index(d.threshold), "budget": d.budget, "gap": d.gap, "stays": d.sustained == 0},
        "logs": [scales.kind(values) in scales.LOGARITHMIC for values in (diagram.x_values, diagram.y_values)],
        "event": labelling.indices(labelling.event),
        "undecided": labelling.indices(labelling.undecided),
        "seeds": runs[["seed", "split_seed"]].to_numpy().tolist(),
        "colours": [label.colour for label in labelling.labels],
        "until": runs["until"].to_numpy(np.int32),
        "every": runs["training.evaluate_every"].to_numpy(np.int32),
        "resolved": [RESOLVED[False], RESOLVED[True]],
        "diverged": (runs["status"] == "diverged").to_numpy(np.uint8),
        **{"points": len(kept), "levels": LEVELS, "missing": MISSING, "compared": d.reached},
        **{"least": span[0], "largest": span[1], "wide": span[2]},
        "start": np.searchsorted(runs["cell"], np.arange(diagram.seeds.size + 1)).astype(np.uint32),
        **{"steps": grids.astype(np.uint32).ravel(), "grid": grid.ravel().astype(np.uint32)},
        **{name: _levels(np.take_along_axis(values, at, 1), *span) for name, values in curves.items()},
        **{"run_id": [escape(r) for r in runs["run_id"]], "seed": [f"{s}{t}" for s, t in zip(runs["seed"], split)]},
        **{"statuses": [escape(s) for s in statuses], "status": status.astype(np.uint8)},
        "label": runs["label"].to_numpy(np.uint8),
        **{"names": labelling.names, "inks": [label.ink for label in labelling.labels]},
        "escaped": [escape(name) for name in labelling.names],
        "last": runs["steps"].to_numpy(np.uint32),
    }


def _levels(values: np.ndarray, low: float, high: float, wide: bool) -> np.ndarray:
    """Sixteen-bit numbers of how far values are from `low` to `high`, over the logarithm where that is `wide`."""
    share = np.log(np.maximum(values, low) / low) / np.log(high / low) if wide else (values - low) / (high - low)
    return np.where(np.isfinite(values), np.round(share * LEVELS), MISSING).astype(np.uint16).ravel()


def _whole(times: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(times), times, NEVER).astype(np.uint32)


def _kept(evaluations: int, points: int) -> np.ndarray:
    """Which evaluations to keep: all, or at most `points` spread over the logarithm, with the first and the last."""
    if evaluations <= points:
        return np.arange(evaluations)
    return np.unique(np.append(0, np.geomspace(1, evaluations - 1, points).round().astype(int)))


def square_columns(diagram: Diagram) -> dict[str, Any]:
    """The inner squares of cells whose seeds disagree."""
    second, share = style.runner_up(diagram.counts)
    mixed = share > 0
    left, right, bottom, top = (side[mixed] for side in sides(diagram))
    size = np.sqrt(share[mixed])
    left, right = style.inner(left, right, size, diagram.x_axis.kind)
    bottom, top = style.inner(bottom, top, size, diagram.y_axis.kind)
    colours = [diagram.labelling.labels[index].colour for index in second[mixed]]
    return {"left": left, "right": right, "bottom": bottom, "top": top, "colour": colours}


def contour_look(diagram: Diagram, number: int) -> tuple[int, str]:
    """Width and dashes of a level's lines: the highest is solid."""
    return (3, "solid") if number == len(diagram.contour.levels) - 1 else (2, "dashed")
