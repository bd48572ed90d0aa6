"""The phase diagram as one interactive HTML file: maps to hover over, and the curves of the cell that is clicked."""

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.layouts import column, row
from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    CustomJS,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    PlainText,
    Range1d,
    TabPanel,
    Tabs,
    TapTool,
)
from bokeh.models.annotations import ColorBar, Span
from bokeh.models.widgets import Div
from bokeh.palettes import interp_palette
from bokeh.plotting import figure
from bokeh.resources import INLINE

from sweeps.files import write_atomically
from sweeps.phases import Phase
from sweeps.report import style

POINTS, VALUES = 200, 4_000_000  # evaluations kept of a run; accuracies kept of all runs, two bytes each
LEVELS, MISSING = 50_000, 65_535  # an accuracy is stored as a sixteen-bit number of 1/LEVELS
TEMPLATE = """{% block postamble %}
<style>
  body { background: #fff; max-width: 1500px; margin: 0 auto; padding: 12px 24px; }
</style>
{% endblock %}
"""
CSS = """
:host { font: 15px/1.45 system-ui, sans-serif; color: #222; }
h1 { font-size: 24px; margin: 8px 0 4px; overflow-wrap: anywhere; } h2 { font-size: 17px; margin: 10px 0 4px; }
p { margin: 4px 0; max-width: 75em; } .key { display: inline-block; margin: 4px 18px 4px 0; white-space: nowrap; }
.key i { display: inline-block; width: 18px; height: 12px; margin-right: 6px; border: 1px solid #777; }
table { border-collapse: collapse; font-size: 13px; } td, th { padding: 3px 10px 3px 0; text-align: left; }
th { border-bottom: 1px solid #999; font-weight: 600; } td { border-bottom: 1px solid #eee; } code { font-size: 12px; }
"""
SHOW_CELL = """
const chosen = cells.selected.indices
if (chosen.length == 0) return
const cell = chosen[chosen.length - 1]
const shown = {steps: [], train: [], test: [], ink: [], run_id: [], seed: [], phase: []}
let rows = ""
for (let r = start[cell]; r < start[cell + 1]; r++) {
  const xs = [], train_ys = [], test_ys = []
  for (let k = 0; k < points; k++) {
    const step = steps[grid[r] * points + k], at = r * points + k
    if (step == 0) continue  // has no place on a log axis
    xs.push(step)
    train_ys.push(train[at] == missing ? NaN : train[at] / levels)
    test_ys.push(test[at] == missing ? NaN : test[at] / levels)
  }
  shown.steps.push(xs); shown.train.push(train_ys); shown.test.push(test_ys)
  shown.ink.push(inks[phase[r]]); shown.run_id.push(run_id[r])
  shown.seed.push(seed[r]); shown.phase.push(names[phase[r]])
  const time = (t) => isFinite(t) ? t : `not reached by step ${last[r]}`
  const entries = [`<code>${run_id[r]}</code>`, seed[r], statuses[status[r]], names[phase[r]]]
  entries.push(time(train_time[r]), time(test_time[r]))
  rows += "<tr>" + entries.map((e) => `<td>${e}</td>`).join("") + "</tr>"
}
curves.data = shown
const head = ["run", "seed", "status", "phase", "train at threshold", "test at threshold"].map((h) => `<th>${h}</th>`)
const list = rows ? `<table><tr>${head.join("")}</tr>${rows}</table>` : "<p>No runs.</p>"
table.text = `<h2>${cells.data.heading[cell]}</h2>` + list
"""


def write_page(diagrams: Any, path: str | Path, above: str = "") -> None:
    """Writes a page of a `sweeps.Diagram`, or of several as tabs by name, that needs no network.

    Shown are maps of the cells side by side: the most frequent phase (with an inner square for the second one where
    seeds disagree), the median time to generalise, the share of seeds that generalised, the last test accuracy; the
    diagram's contour lies over the first and the last. Pointing at a cell tells its numbers; a click shows the
    accuracies of all its seeds and lists its runs.

    Args:
      diagrams: a diagram, or a dict of them by the names of their tabs.
      path: of the HTML file.
      above: HTML that stands over the tabs.
    """
    tabs = diagrams if isinstance(diagrams, dict) else {"": diagrams}
    title = _name(next(iter(tabs.values())))
    document = Document(title=title)
    views = {name: _view(diagram, document) for name, diagram in tabs.items()}
    heading = Div(text=f"<h1>{escape(title)}</h1>{above}", stylesheets=[CSS], disable_math=True, name="heading")
    heading.sizing_mode = "stretch_width"
    panels = [TabPanel(child=view, title=name) for name, view in views.items()]
    body = Tabs(tabs=panels, sizing_mode="stretch_width") if isinstance(diagrams, dict) else panels[0].child
    document.add_root(column(heading, body, sizing_mode="stretch_width"))
    page = file_html(document, INLINE, template=TEMPLATE, title=title)
    write_atomically(Path(path), lambda file: file.write_text(page, encoding="utf-8"))


def _view(diagram: Any, document: Document) -> Any:
    cells = ColumnDataSource(_cells(diagram), name="cells")
    cells.selected.indices = [_first_cell(diagram)]
    curves = ColumnDataSource(
        {name: [] for name in ("steps", "train", "test", "ink", "run_id", "seed", "phase")}, name="curves"
    )
    table = Div(name="runs", stylesheets=[CSS], disable_math=True, sizing_mode="stretch_width")
    show = CustomJS(args={"cells": cells, "curves": curves, "table": table, **_runs(diagram)}, code=SHOW_CELL)
    cells.selected.js_on_change("indices", show)
    document.js_on_event("document_ready", show)
    below = row(_curves(diagram, curves), table, sizing_mode="stretch_width", spacing=24)
    header = Div(text=_header(diagram), stylesheets=[CSS], disable_math=True, sizing_mode="stretch_width")
    maps = row(*_maps(diagram, cells), sizing_mode="stretch_width", spacing=12)
    return column(header, maps, below, sizing_mode="stretch_width")


def _name(diagram: Any) -> str:
    return str(diagram.source.specification.get("name") or "Phase diagram")


def _header(diagram: Any) -> str:
    runs = diagram.counts.sum((0, 1))
    key = lambda look, text: f'<span class="key"><i style="{look}"></i>{text}</span>'  # noqa: E731
    keys = [
        key(f"background:{style.COLOURS[p]}", f"{style.NAMES[p]} ({runs[p]} {'run' if runs[p] == 1 else 'runs'})")
        for p in Phase
        if runs[p]
    ]
    if (diagram.agreement < 1).any():
        keys.append(
            key("background:#ddd;border:4px solid #777;box-sizing:border-box", "seeds disagree: second phase inside")
        )
    late = np.isinf(diagram.median_time)
    if late.any():
        lines = f"repeating-linear-gradient(135deg,{style.NOT_REACHED} 0 4px,{style.NOT_REACHED_LINES} 4px 5px)"
        keys.append(key(f"background:{lines}", style.not_reached(diagram.observed[late], diagram.definition.budget)))
    if (diagram.seeds == 0).any():
        keys.append(key(f"border-color:{style.EMPTY_LINES}", "× no runs"))
    for number, level in enumerate(diagram.contour.levels if diagram.contour else ()):
        width, dash = _contour_look(diagram, number)
        lines = f"height:0;border:0;border-top:{width}px {'solid' if dash == 'solid' else 'dashed'} #000"
        keys.append(key(lines, escape(f"{diagram.contour.probe} reaches {level:g} (mean over seeds)")))
    count = len(diagram.runs)
    text = (
        f"{count} run{'s' if count > 1 else ''}, {style.seeds_text(diagram.seeds)}, over {style.label(diagram.x)} and "
        f"{style.label(diagram.y)}. Definition: {diagram.definition}. "
        "Point at a cell for its numbers; click it for its curves."
    )
    return f"<p>{escape(text)}</p><div>{''.join(keys)}</div>"


def _cells(diagram: Any) -> dict[str, Any]:
    cells = diagram.cell_table()
    filled = cells["seeds"] > 0
    left, right, bottom, top = (side.ravel() for side in _sides(diagram))
    shades = ["#ffffff", *style.COLOURS.values()]
    x, y = [list(map(style.value_text, cells[path])) for path in (diagram.x, diagram.y)]
    counts = np.reshape(diagram.counts, (-1, len(Phase)))
    median = cells["median_test_time"]
    headings = [f"{style.label(diagram.x)} = {a}, {style.label(diagram.y)} = {b}" for a, b in zip(x, y)]
    return {
        **{"left": left, "right": right, "bottom": bottom, "top": top, "x": x, "y": y},
        **{
            name: cells[name].to_numpy(float)
            for name in ("agreement", "p_generalised", "p_low", "p_high", "median_test_time", "test_accuracy")
        },
        "seeds": cells["seeds"].to_numpy(np.int32),
        "shown": filled.to_numpy(np.float32),
        "time": style.colour_times(diagram)[0].ravel(),
        "hatch": ["right_diagonal_line" if np.isinf(t) else "blank" for t in median],
        "colour": [shades[m + 1] for m in diagram.majority.ravel()],
        "heading": [escape(text) for text in headings],
        **({"contour_text": _rounded(diagram.contour.values)} if diagram.contour else {}),
        "test_text": _rounded(diagram.test_accuracy),
        "phases": [", ".join(f"{style.NAMES[p]} {row[p]}" for p in Phase if row[p]) or "no runs" for row in counts],
        "agreement_text": [f"{a:.0%}" if s else "–" for a, s in zip(cells["agreement"], filled)],
        "p_text": [
            f"{p:.2f} [{low:.2f}, {high:.2f}]" if s else "–"
            for p, low, high, s in zip(cells["p_generalised"], cells["p_low"], cells["p_high"], filled)
        ],
        "median_text": [
            ("–" if not s else f"not reached by step {o}" if np.isinf(t) else f"{t:g}")
            for t, o, s in zip(median, cells["observed_to"], filled)
        ],
    }


def _rounded(values: np.ndarray) -> list[str]:
    return [f"{v:.3f}" if np.isfinite(v) else "–" for v in values.ravel()]


def _first_cell(diagram: Any) -> int:
    examples = style.example_cells(diagram.counts)
    return examples.get(Phase.GROKKING, next(iter(examples.values())))


def _sides(diagram: Any) -> list[np.ndarray]:
    """Left, right, bottom and top of the cells, each (y, x)."""
    x, y = style.all_edges(diagram)
    return [*np.broadcast_arrays(x[None, :-1], x[None, 1:], y[:-1, None], y[1:, None])]


def _runs(diagram: Any) -> dict[str, Any]:
    """The runs in the order of their cells, as flat arrays: small on disk, and one cell's runs are a slice."""
    order = np.lexsort([diagram.runs[name] for name in ("split_seed", "seed", "cell")])
    runs = diagram.runs.iloc[order]
    steps = np.nan_to_num(diagram.curves["step"][order])
    points = int(np.clip(VALUES // (2 * len(runs)), 40, POINTS))
    kept = _kept(steps.shape[1], points)
    last = np.isfinite(diagram.curves["step"][order]).sum(1) - 1
    at = np.minimum(kept, last[:, None])  # runs that ended early repeat their last evaluation
    grids, grid = np.unique(np.take_along_axis(steps, at, 1), axis=0, return_inverse=True)
    accuracy = {
        name: np.take_along_axis(diagram.curves[f"{name}/accuracy"][order], at, 1) for name in ("train", "test")
    }
    levels = lambda a: np.where(np.isfinite(a), np.round(a * LEVELS), MISSING).astype(np.uint16).ravel()  # noqa: E731
    statuses, status = np.unique(runs["status"].to_numpy(str), return_inverse=True)
    split = (f", split {s}" if s >= 0 else "" for s in runs["split_seed"])
    return {
        **{"points": len(kept), "levels": LEVELS, "missing": MISSING},
        "start": np.searchsorted(runs["cell"], np.arange(diagram.seeds.size + 1)).astype(np.uint32),
        **{"steps": grids.astype(np.uint32).ravel(), "grid": grid.ravel().astype(np.uint32)},
        **{name: levels(values) for name, values in accuracy.items()},
        **{"run_id": [escape(r) for r in runs["run_id"]], "seed": [f"{s}{t}" for s, t in zip(runs["seed"], split)]},
        **{"statuses": [escape(s) for s in statuses], "status": status.astype(np.uint8)},
        "phase": runs["phase"].to_numpy(np.uint8),
        **{"names": list(style.NAMES.values()), "inks": list(style.INKS.values())},
        **{name: runs[name].to_numpy(np.float32) for name in ("train_time", "test_time")},
        "last": runs["steps"].to_numpy(np.uint32),
    }


def _kept(evaluations: int, points: int) -> np.ndarray:
    """Which evaluations to keep: all, or at most `points` spread over the logarithm, with the first and the last."""
    if evaluations <= points:
        return np.arange(evaluations)
    return np.unique(np.append(0, np.geomspace(1, evaluations - 1, points).round().astype(int)))


def _maps(diagram: Any, cells: ColumnDataSource) -> list[Any]:
    times, span = style.colour_times(diagram)
    shades, rate_shades = (list(interp_palette(tuple(c), 128)) for c in (style.TIME_SHADES, style.RATE_SHADES))
    late = LogColorMapper(palette=shades, low=span[0], high=span[1], nan_color=style.NOT_REACHED)
    rate = LinearColorMapper(palette=rate_shades, low=0, high=1)
    phase_map = _map(diagram, cells, "Phase", fill_color="colour")
    _draw_runners_up(phase_map, diagram)
    lines = {"hatch_pattern": "hatch", "hatch_color": style.NOT_REACHED_LINES, "hatch_scale": 12, "hatch_weight": 0.7}
    look = {"fill_color": {"field": "time", "transform": late}, "hatch_alpha": "shown", **lines}
    time_map = _map(diagram, cells, "Median step at the threshold (test)", **look)
    if np.isfinite(times).any():
        bar = ColorBar(color_mapper=late, height=10, margin=0, padding=4)
        _name_ticks(bar, style.log_ticks(*span, 7))
        time_map.add_layout(bar, "below")
    rate_map = _map(diagram, cells, "P(generalise)", fill_color={"field": "p_generalised", "transform": rate})
    rate_map.add_layout(ColorBar(color_mapper=rate, height=10, margin=0, padding=4), "below")
    test = LinearColorMapper(palette=list(interp_palette(tuple(style.ACCURACY_SHADES), 128)), low=0, high=1)
    test_map = _map(diagram, cells, "Last test accuracy", fill_color={"field": "test_accuracy", "transform": test})
    test_map.add_layout(ColorBar(color_mapper=test, height=10, margin=0, padding=4), "below")
    for other in (time_map, rate_map, test_map):
        other.x_range, other.y_range = phase_map.x_range, phase_map.y_range
    for drawn in (phase_map, test_map):
        _draw_contour(drawn, diagram)
    return [phase_map, time_map, rate_map, test_map]


def _map(diagram: Any, cells: ColumnDataSource, title: str, **look: Any) -> Any:
    drawn = _plot_over(diagram, title)
    few = diagram.seeds.size <= 900
    line = "#ffffff" if few else look["fill_color"]  # without a line of its colour, seams show between small cells
    sides = {side: side for side in ("left", "right", "bottom", "top")}
    look |= {"fill_alpha": "shown", "line_color": line, "line_alpha": "shown", "line_width": 0.5}
    quads = drawn.quad(**sides, source=cells, **look)
    quads.nonselection_glyph = quads.glyph
    quads.selection_glyph = quads.glyph.clone(line_color=style.CHOSEN, line_alpha=1, line_width=3)
    empty = diagram.seeds == 0
    x, y = (style.positions(values, style.scale(values)) for values in (diagram.x_values, diagram.y_values))
    yy, xx = np.meshgrid(y, x, indexing="ij")
    drawn.scatter(xx[empty], yy[empty], marker="x", size=8 if few else 3, line_color=style.EMPTY_LINES)
    numbers = [(style.label(diagram.x), "@x"), (style.label(diagram.y), "@y"), ("seeds", "@seeds")]
    numbers += [("phases", "@phases"), ("agreement", "@agreement_text"), ("P(generalise), 95 %", "@p_text")]
    numbers += [("median step", "@median_text"), ("last test accuracy", "@test_text")]
    if diagram.contour is not None:
        numbers += [(f"largest {diagram.contour.probe}", "@contour_text")]
    drawn.add_tools(HoverTool(renderers=[quads], tooltips=numbers, point_policy="follow_mouse"))
    drawn.add_tools(TapTool(renderers=[quads]))
    return drawn


def _plot_over(diagram: Any, title: str) -> Any:
    """An empty plot with the diagram's axes."""
    options: dict[str, Any] = {}
    for name, values in (("x", diagram.x_values), ("y", diagram.y_values)):
        kind = style.scale(values)
        borders = style.edges(values, kind)
        options[f"{name}_range"] = Range1d(start=borders[0], end=borders[-1], bounds="auto")
        options[f"{name}_axis_type"] = "log" if kind == "log" else "linear"
    drawn = _plot(title, frame_height=330, min_width=300, **options)
    drawn.grid.visible = False
    for axis, path, values in ((drawn.xaxis, diagram.x, diagram.x_values), (drawn.yaxis, diagram.y, diagram.y_values)):
        axis.axis_label = PlainText(text=style.label(path))  # plain: "$$" would be read as TeX
        if style.scale(values) == "categorical" or len(values) <= 6:
            _name_ticks(axis, style.ticks(values, 12))
        elif abs(values[0]) >= 1e-4 and abs(values[-1]) < 1e5:
            axis.formatter = BasicTickFormatter(use_scientific=False)
    if style.scale(diagram.x_values) == "categorical" and sum(len(str(v)) + 2 for v in diagram.x_values) > 40:
        drawn.xaxis.major_label_orientation = 0.7
    return drawn


def _plot(title: str, **options: Any) -> Any:
    drawn = figure(title=title, sizing_mode="stretch_width", tools="pan,box_zoom,wheel_zoom,reset,save", **options)
    drawn.toolbar.logo, drawn.toolbar.autohide = None, True
    return drawn


def _name_ticks(axis: Any, ticks: list[tuple[float, str]]) -> None:
    axis.ticker = FixedTicker(ticks=[at for at, _ in ticks])
    short = ((at, text if len(text) < 25 else text[:24] + "…") for at, text in ticks)
    axis.major_label_overrides = {at: PlainText(text=text) for at, text in short}


def _draw_runners_up(drawn: Any, diagram: Any) -> None:
    second, share = style.runner_up(diagram.counts)
    mixed = share > 0
    left, right, bottom, top = (side[mixed] for side in _sides(diagram))
    size = np.sqrt(share[mixed])
    left, right = style.inner(left, right, size, style.scale(diagram.x_values))
    bottom, top = style.inner(bottom, top, size, style.scale(diagram.y_values))
    colours = [style.COLOURS[Phase(phase)] for phase in second[mixed]]
    drawn.quad(left=left, right=right, bottom=bottom, top=top, fill_color=colours, line_color=None)


def _draw_contour(drawn: Any, diagram: Any) -> None:
    for number, level in enumerate(diagram.contour.levels if diagram.contour else ()):
        lines = diagram.contour.lines(level, *style.all_edges(diagram))
        width, dash = _contour_look(diagram, number)
        ends = {"x0": lines[:, 0, 0], "y0": lines[:, 0, 1], "x1": lines[:, 1, 0], "y1": lines[:, 1, 1]}
        source = ColumnDataSource(ends, name=f"contour {level:g}")
        drawn.segment(
            **{end: end for end in ends}, source=source, line_color="#000000", line_width=width, line_dash=dash
        )


def _contour_look(diagram: Any, number: int) -> tuple[int, str]:
    """Width and dashes of a level's lines: the highest is solid."""
    return (3, "solid") if number == len(diagram.contour.levels) - 1 else (2, "dashed")


def _curves(diagram: Any, curves: ColumnDataSource) -> Any:
    low, high = style.step_range(diagram)
    ranges = {"x_range": Range1d(start=low, end=high), "y_range": Range1d(start=-0.04, end=1.04)}
    title = "Train (dashed) and test (solid) of every seed of the chosen cell"
    drawn = _plot(title, frame_height=300, min_width=420, x_axis_type="log", **ranges)
    drawn.xaxis.axis_label, drawn.yaxis.axis_label = "step", "accuracy"
    _name_ticks(drawn.xaxis, style.log_ticks(low, high, 9))
    drawn.grid.grid_line_alpha = 0.4
    threshold = Span(location=diagram.definition.threshold, dimension="width", line_color="#555", line_dash="dotted")
    drawn.add_layout(threshold)
    drawn.multi_line("steps", "train", source=curves, line_color=style.TRAIN_INK, line_width=1.5, line_dash="dashed")
    test = drawn.multi_line("steps", "test", source=curves, line_color="ink", line_width=2)
    drawn.add_tools(HoverTool(renderers=[test], tooltips=[(n, f"@{n}") for n in ("run_id", "seed", "phase")]))
    return drawn
