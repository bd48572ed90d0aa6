"""What the page carries: the columns of its cells and runs, and the text above them."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from sweeps.axes import scales
from sweeps.axes.scales import value_name
from sweeps.diagrams import phases
from sweeps.diagrams.diagram import Contour, Diagram
from sweeps.diagrams.labels import FOUR_PHASES
from sweeps.report import style
from sweeps.report.provenance import Provenance

Columns = dict[str, np.ndarray | Sequence[object] | Mapping[str, object] | str | int | float]
"""What goes to the browser, by name."""
POINTS, VALUES = 200, 4_000_000  # evaluations kept of a run; values kept of all runs, two bytes each
LEVELS, MISSING = 50_000, 65_535  # a value is stored as a sixteen-bit number of 1/LEVELS of the way to the largest
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
FACTORS = (0.1, 0.2, 0.5, 2, 5, 10)  # of the definition's own threshold, for metrics that span decades
SHARES = (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)  # of the way that other metrics go, from there
NEVER = 2**32 - 1
RESOLVED = {True: "no", False: "yes, within one interval between evaluations"}
"""What is said of whether delays that are known to an interval could turn a cell."""


def thresholds(*diagrams: Diagram) -> list[float]:
    """The thresholds that can be chosen for all of them: times at each are part of the page."""
    own = diagrams[0].definition.threshold
    if diagrams[0].labelling is not FOUR_PHASES:
        return [own]
    if diagrams[0].definition.is_accuracy:
        return sorted({own, *THRESHOLDS})
    low, high, wide = style.curve_span(*diagrams)
    near = [own * f for f in FACTORS] if wide and own > 0 else [own + share * (high - low) for share in SHARES]
    return sorted({own, *(float(f"{value:.3g}") for value in near if low <= value <= high)})


def name(diagram: Diagram) -> str:
    """The page's title."""
    return Provenance.of(diagram.source).name or "Phase diagram"


def _key(look: str, text: str) -> str:
    return f'<span class="key"><i style="{look}"></i>{text}</span>'


def _said(text: str) -> str:
    return f'<span class="key">{text}</span>'


def _line(look: str) -> str:
    return f"height:0;border:0;border-top:{look}"


def header(panels: Mapping[str, Diagram]) -> str:
    """The text and the key above the maps of panels, by their titles, as HTML."""
    diagrams = list(panels.values())
    first = diagrams[0]
    runs = sum(diagram.counts.sum((0, 1)) for diagram in diagrams)
    labels = first.labelling.labels
    keys = [
        _key(
            f"background:{labels[i].colour}",
            escape(f"{labels[i].name} ({runs[i]} {'run' if runs[i] == 1 else 'runs'})"),
        )
        for i in style.present(diagrams)
    ]
    keys += _cell_keys(diagrams)
    if (contour := first.contour) is not None:
        for level in contour.levels:
            width, dash = contour_look(contour, level)
            line = _line(f"{width}px {dash} #000")
            keys.append(_key(line, escape(f"{contour.probe} reaches {level:g} (mean over seeds)")))
    for one, ink in zip(first.overlays, itertools.cycle(style.THEORY_INKS)):
        curves = " (curves)" if one.along == "step" else ""
        keys.append(_key(_line(f"2px dashed {ink}"), escape(f"{one.name}{curves}")))
    if len(panels) > 1 and any(diagram.boundary is not None for diagram in diagrams):
        keys.append(_key(_line("2px solid #000"), escape(f"P({first.labelling.event_name}) = ½, 95 % band (dotted)")))
    elif first.boundary is not None:
        keys.append(_key(_line("2px solid #000"), escape(style.boundary_text(first))))
    if len(panels) == 1:
        keys += [_said(escape(said)) for said in _open_texts(first)]
    count = sum(len(diagram.runs) for diagram in diagrams)
    sampled = "; ".join(dict.fromkeys(diagram.sampled for diagram in diagrams))
    seeds = style.cells_text(*diagrams)
    text = (
        f"{count} run{'s' if count > 1 else ''}, {seeds} ({sampled}), "
        f"over {first.x_axis.label} and "
        f"{first.y_axis.label}. Definition: {first.definition}. "
        "Point at a cell for its numbers; click it, or draw a box over several, for their curves. The tools at a map's "
        "side pan and zoom."
    )
    return f"<p>{escape(text)}</p><div>{''.join(keys)}</div>{_provenance(first)}"


def notes(diagram: Diagram) -> str:
    """What stands under the title of a panel, as HTML."""
    line = [style.boundary_text(diagram)] if diagram.boundary is not None else []
    return "".join(f"<p>{escape(said)}</p>" for said in [*line, *_open_texts(diagram)])


def _open_texts(diagram: Diagram) -> list[str]:
    """What is said of runs and cells that are not decided."""
    return list(filter(None, (style.undecided_text(diagram), style.unresolved_text(diagram))))


def _cell_keys(diagrams: list[Diagram]) -> list[str]:
    """What cells look like that are not just of one label, where there are any."""
    keys, budget = [], diagrams[0].definition.budget
    if any((diagram.agreement < 1).any() for diagram in diagrams):
        keys.append(
            _key("background:#ddd;border:4px solid #777;box-sizing:border-box", "seeds disagree: second label inside")
        )
    late = [np.isinf(diagram.median_time) & ~diagram.unwatched for diagram in diagrams]
    observed = np.concatenate([diagram.observed[cells] for diagram, cells in zip(diagrams, late)])
    if len(observed):
        lines = f"repeating-linear-gradient(135deg,{style.NOT_REACHED} 0 4px,{style.NOT_REACHED_LINES} 4px 5px)"
        keys.append(_key(f"background:{lines}", style.not_reached(observed, budget)))
    if any(diagram.unwatched.any() for diagram in diagrams):
        dots = f"radial-gradient({style.NOT_REACHED_LINES} 1px,{style.NOT_REACHED} 2px) 0 0/5px 5px"
        keys.append(_key(f"background:{dots}", style.unwatched(budget)))
    waiting = [(d.pending, d.running) for d in diagrams if d.pending is not None and d.running is not None]
    if waiting:
        wait, train = (sum(int(marked.sum()) for marked in of) for of in zip(*waiting))
        keys.append(_said(f"{wait} cells wait for runs (·), {train} train (○)"))
    elif any((diagram.seeds == 0).any() for diagram in diagrams):
        keys.append(_key(f"border-color:{style.EMPTY_LINES}", "× no runs"))
    return keys


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


def cell_columns(diagram: Diagram) -> Columns:
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


def run_columns(diagram: Diagram, offered: list[float]) -> Columns:
    """The runs in the order of their cells, as flat arrays: small on disk, and one cell's runs are a slice.

    Args:
      diagram: whose runs.
      offered: the thresholds that can be chosen.
    """
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
        "logs": [axis.kind in scales.LOGARITHMIC for axis in diagram.axes],
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


def square_columns(diagram: Diagram) -> Columns:
    """The inner squares of cells whose seeds disagree."""
    second, share = style.runner_up(diagram.counts)
    mixed = share > 0
    left, right, bottom, top = (side[mixed] for side in sides(diagram))
    size = np.sqrt(share[mixed])
    left, right = style.inner(left, right, size, diagram.x_axis.kind)
    bottom, top = style.inner(bottom, top, size, diagram.y_axis.kind)
    colours = [diagram.labelling.labels[index].colour for index in second[mixed]]
    return {"left": left, "right": right, "bottom": bottom, "top": top, "colour": colours}


def contour_look(contour: Contour, level: float) -> tuple[int, str]:
    """Width and dashes of a level's lines: the highest is solid."""
    return (3, "solid") if level == contour.levels[-1] else (2, "dashed")


def theory_columns(diagram: Diagram) -> Columns:
    """What overlays say along steps: for each one value a step, or one a step of each cell where cells differ in it."""
    steps, curves = diagram.step_curves
    inks = dict(zip((one.name for one in diagram.overlays), itertools.cycle(style.THEORY_INKS)))
    values = []
    for one in (one for one in diagram.overlays if one.name in curves):
        of_cells = np.full((diagram.seeds.size if one.fields else 1, len(steps)), np.nan, np.float32)
        for cell, curve in curves[one.name].items():
            of_cells[cell if one.fields else 0] = curve
        values.append(of_cells.ravel())
    return {
        "theory_steps": steps.astype(np.float32),
        "theory_names": list(curves),
        "theory_inks": [inks[name] for name in curves],
        "theory_values": values,
    }
