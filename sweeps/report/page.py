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
    BoxSelectTool,
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
from bokeh.models.widgets import Button, Div, Select, Slider
from bokeh.palettes import interp_palette
from bokeh.plotting import figure
from bokeh.resources import INLINE

from sweeps.axes import scales
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.labels import FOUR_PHASES
from sweeps.report import page_data, style
from sweeps.storage.files import write_atomically

TEMPLATE = """{% block postamble %}{{ again }}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body { background: #fff; max-width: 1500px; margin: 0 auto; padding: 12px 24px; }
  @media (max-width: 700px) { body { padding: 8px 12px; } }
</style>
{% endblock %}
"""
CSS = """
:host { font: 15px/1.45 system-ui, sans-serif; color: #222; }
h1 { font-size: 24px; margin: 8px 0 4px; overflow-wrap: anywhere; } h2 { font-size: 17px; margin: 10px 0 4px; }
p { margin: 4px 0; max-width: 75em; } .key { display: inline-block; margin: 4px 18px 4px 0; }
.key i { display: inline-block; width: 18px; height: 12px; margin-right: 6px; border: 1px solid #777; }
table { border-collapse: collapse; font-size: 13px; } td, th { padding: 3px 10px 3px 0; text-align: left; }
th { border-bottom: 1px solid #999; font-weight: 600; } td { border-bottom: 1px solid #eee; } code { font-size: 12px; }
button { font: inherit; cursor: copy; } pre { font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
.list { max-height: 330px; overflow: auto; } .list th { position: sticky; top: 0; background: #fff; }
@media (max-width: 700px) {
  tr { display: flex; flex-wrap: wrap; border-bottom: 1px solid #ccc; } th, td:empty { display: none; }
  td { border: 0; overflow-wrap: anywhere; } td::before { content: attr(data-name) " "; color: #666; }
}
"""
MAPS = """
:host { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); }
@media (max-width: 1250px) { :host { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (max-width: 700px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""
BELOW = """
:host { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); }
@media (max-width: 1000px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""
WRAP = ":host, .bk-headers-wrapper { flex-wrap: wrap; }"
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")


def write_page(diagrams: Any, path: str | Path, above: str = "", refresh: float | None = None) -> None:
    """Writes a page of a `sweeps.Diagram`, or of several as tabs by name, that needs no network.

    Shown are maps of the cells side by side: the most frequent label (with an inner square for the second one where
    seeds disagree), the median time to generalise, the share of seeds that generalised, the metric's last value on
    test; the diagram's contour lies over the first and the last. Pointing at a cell tells its numbers; a click shows
    the curves of all its seeds and lists its runs.

    Args:
      diagrams: a diagram, or a dict of them by the names of their tabs.
      path: of the HTML file.
      above: HTML that stands over the tabs.
      refresh: seconds after which a browser loads the page again, for sweeps that still run.
    """
    tabs = diagrams if isinstance(diagrams, dict) else {"": diagrams}
    title = page_data.name(next(iter(tabs.values())))
    document = Document(title=title)
    views = {name: _view(diagram, document) for name, diagram in tabs.items()}
    heading = Div(text=f"<h1>{escape(title)}</h1>{above}", stylesheets=[CSS], disable_math=True, name="heading")
    heading.sizing_mode = "stretch_width"
    panels = [TabPanel(child=view, title=name) for name, view in views.items()]
    body = (
        Tabs(tabs=panels, sizing_mode="stretch_width", stylesheets=[WRAP])
        if isinstance(diagrams, dict)
        else panels[0].child
    )
    document.add_root(column(heading, body, sizing_mode="stretch_width"))
    again = f'<meta http-equiv="refresh" content="{refresh:g}">' if refresh else ""
    page = file_html(document, INLINE, template=TEMPLATE, title=title, template_variables={"again": again})
    write_atomically(Path(path), lambda file: file.write_text(page, encoding="utf-8"))


def _view(diagram: Diagram, document: Document) -> Any:
    cells = ColumnDataSource(page_data.cell_columns(diagram), name="cells")
    cells.selected.indices = [page_data.first_cell(diagram)]
    names = ("steps", "train", "test", "ink", "run_id", "seed", "label")
    sources = {
        "cells": cells,
        "squares_source": ColumnDataSource(page_data.square_columns(diagram), name="squares"),
        "curves": ColumnDataSource({name: [] for name in names}, name="curves"),
        "marks": ColumnDataSource({name: [] for name in ("step", "test", "ink")}, name="marks"),
        "middle": ColumnDataSource({name: [] for name in ("step", "test")}, name="middle"),
    }
    table, said, header = (_text(name) for name in ("runs", "said", "header"))
    header.text = page_data.header(diagram)
    maps, mapper, boundary = _maps(diagram, sources)
    drawn, line = _curves(diagram, sources)
    controls = _controls(diagram)
    buttons = [Button(label="Download the runs (CSV)", name="download")]
    buttons += [Button(label="Stored definition", name="reset")] if controls["threshold"] else []
    script = CustomJS(
        args={**sources, **controls, **page_data.run_columns(diagram)}
        | {"table": table, "said": said, "line": line, "mapper": mapper, "boundary": boundary},
        code=SCRIPT,
    )
    cells.selected.js_on_change("indices", script)
    document.js_on_event("document_ready", script)
    for control in filter(None, controls.values()):
        control.js_on_change("value", script)
    for button in buttons:
        button.js_on_event("button_click", script)
    choose = row(*filter(None, controls.values()), *buttons[::-1], spacing=18, stylesheets=[WRAP])
    upper = row(*maps, sizing_mode="stretch_width", spacing=12, stylesheets=[MAPS])
    below = row(drawn, table, sizing_mode="stretch_width", spacing=24, stylesheets=[BELOW])
    return column(header, choose, said, upper, below, sizing_mode="stretch_width")


def _text(name: str) -> Div:
    return Div(name=name, stylesheets=[CSS], disable_math=True, sizing_mode="stretch_width")


def _controls(diagram: Diagram) -> dict[str, Any]:
    """What the definition is chosen with; nothing for other labels than the four phases, which only Python can give."""
    if diagram.labelling is not FOUR_PHASES:
        return {"threshold": None, "budget": None, "gap": None}
    d, steps = diagram.definition, diagram.curves["step"]
    step = int(np.gcd.reduce([d.budget, d.gap, *np.unique(steps[np.isfinite(steps)]).astype(int)]))
    most = int(max(np.nanmax(steps), d.budget, d.gap, 2 * step))
    texts = {value: f"{value:.12g}" for value in page_data.thresholds(diagram)}
    options: list[Any] = list(texts.values())
    return {
        "threshold": Select(title="threshold", name="threshold", value=texts[d.threshold], options=options, width=90),
        "budget": Slider(title="budget (steps)", name="budget", start=step, end=most, step=step, value=d.budget),
        "gap": Slider(title="gap (steps)", name="gap", start=0, end=most, step=step, value=d.gap),
    }


def _maps(diagram: Diagram, sources: dict[str, ColumnDataSource]) -> tuple[list[Any], Any, list[Any]]:
    """The maps, the colours of the times, and the lines of the fitted boundary."""
    cells, event, d = sources["cells"], diagram.labelling.event_name, diagram.definition
    times, span = style.colour_times(diagram)
    shades, rate_shades = (list(interp_palette(tuple(c), 128)) for c in (style.TIME_SHADES, style.RATE_SHADES))
    late = LogColorMapper(palette=shades, low=span[0], high=span[1], nan_color=style.NOT_REACHED)
    rate = LinearColorMapper(palette=rate_shades, low=0, high=1, nan_color=style.NOT_REACHED)
    phase_map = _map(diagram, cells, style.map_name(diagram), fill_color="colour")
    phase_map.name = "phases"
    sides = {side: side for side in ("left", "right", "bottom", "top")}
    phase_map.quad(**sides, source=sources["squares_source"], fill_color="colour", line_color=None)
    lines = {"hatch_pattern": "hatch", "hatch_color": style.NOT_REACHED_LINES, "hatch_scale": 12, "hatch_weight": 0.7}
    look = {"fill_color": {"field": "time", "transform": late}, "hatch_alpha": "shown", **lines}
    time_map = _map(diagram, cells, f"Median step at the threshold ({d.split})", **look)
    if np.isfinite(times).any():
        bar = ColorBar(color_mapper=late, height=10, margin=0, padding=4)
        _name_ticks(bar, style.log_ticks(*span, 7))
        time_map.add_layout(bar, "below")
    rate_map = _map(diagram, cells, f"P({event})", fill_color={"field": "p", "transform": rate})
    rate_map.add_layout(ColorBar(color_mapper=rate, height=10, margin=0, padding=4), "below")
    low, high, wide = style.last_span([diagram])
    last_shades = list(interp_palette(tuple(style.LAST_SHADES), 128))
    test = (LogColorMapper if wide else LinearColorMapper)(palette=last_shades, low=low, high=high)
    test_map = _map(diagram, cells, f"Last {d.tested}", fill_color={"field": d.column, "transform": test})
    bar = ColorBar(color_mapper=test, height=10, margin=0, padding=4)
    if wide:
        _name_ticks(bar, style.log_ticks(low, high, 5))
    test_map.add_layout(bar, "below")
    for other in (time_map, rate_map, test_map):
        other.x_range, other.y_range = phase_map.x_range, phase_map.y_range
    for drawn in (phase_map, test_map):
        _draw_contour(drawn, diagram)
    boundary = [
        glyph
        for drawn in (phase_map, rate_map)[diagram.contour is not None :]
        for glyph in _draw_boundary(drawn, diagram)
    ]
    return [phase_map, time_map, rate_map, test_map], late, boundary


def _map(diagram: Diagram, cells: ColumnDataSource, title: str, **look: Any) -> Any:
    drawn = _plot_over(diagram, title)
    few = diagram.seeds.size <= 900
    line = "#ffffff" if few else look["fill_color"]  # without a line of its colour, seams show between small cells
    sides = {side: side for side in ("left", "right", "bottom", "top")}
    look |= {"fill_alpha": "shown", "line_color": line, "line_alpha": "shown", "line_width": 0.5}
    quads = drawn.quad(**sides, source=cells, **look)
    quads.nonselection_glyph = quads.glyph
    quads.selection_glyph = quads.glyph.clone(line_color=style.CHOSEN, line_alpha=1, line_width=3)
    empty = diagram.seeds == 0
    x, y = (scales.positions(values, scales.kind(values)) for values in (diagram.x_values, diagram.y_values))
    yy, xx = np.meshgrid(y, x, indexing="ij")
    marks = {"x": empty} if diagram.pending is None else {"dot": diagram.pending, "circle": diagram.running}
    for marker, cells_marked in marks.items():
        look = {"line_color": style.EMPTY_LINES} if marker == "x" else {"line_color": "#000000", "fill_color": None}
        drawn.scatter(xx[cells_marked], yy[cells_marked], marker=marker, size=8 if few else 3, **look)
    event = diagram.labelling.event_name
    numbers = [(diagram.x_axis.label, "@x"), (diagram.y_axis.label, "@y"), ("seeds", "@seeds")]
    numbers += [
        ("labels", "@labels"),
        ("agreement", "@agreement_text"),
        (f"P({event}), 95 %", "@p_text"),
    ]
    numbers += [("gap may turn it", "@resolved")] if diagram.labelling is FOUR_PHASES else []
    numbers += [("median step", "@median_text"), (f"last {diagram.definition.tested}", "@test_text")]
    if diagram.contour is not None:
        numbers += [(f"largest {diagram.contour.probe}", "@contour_text")]
    drawn.add_tools(HoverTool(renderers=[quads], tooltips=numbers, point_policy="follow_mouse"))
    box = BoxSelectTool(renderers=[quads], greedy=True)  # all cells that the box touches
    drawn.add_tools(TapTool(renderers=[quads]), box)
    drawn.toolbar.active_drag = box
    return drawn


def _plot_over(diagram: Diagram, title: str) -> Any:
    """An empty plot with the diagram's axes."""
    options: dict[str, Any] = {}
    for name, values in (("x", diagram.x_values), ("y", diagram.y_values)):
        kind = scales.kind(values)
        borders = scales.edges(values, kind)
        options[f"{name}_range"] = Range1d(start=borders[0], end=borders[-1], bounds="auto")
        options[f"{name}_axis_type"] = "log" if kind in scales.LOGARITHMIC else "linear"
    drawn = _plot(title, frame_height=330, min_width=240, **options)
    drawn.grid.visible = False
    for axis, path, values in (
        (drawn.xaxis, diagram.x_axis.label, diagram.x_values),
        (drawn.yaxis, diagram.y_axis.label, diagram.y_values),
    ):
        axis.axis_label = PlainText(text=path)  # plain: "$$" would be read as TeX
        if scales.kind(values) in ("categorical", "symlog") or len(values) <= 6:
            _name_ticks(axis, style.ticks(values, 12))
        elif abs(values[0]) >= 1e-4 and abs(values[-1]) < 1e5:
            axis.formatter = BasicTickFormatter(use_scientific=False)
    if diagram.x_axis.kind == "categorical" and sum(len(str(v)) + 2 for v in diagram.x_values) > 40:
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


def _draw_boundary(drawn: Any, diagram: Diagram) -> list[Any]:
    """The line of P = 1/2 and the edges of its band."""
    if diagram.boundary is None:
        return []
    glyphs: list[Any] = []
    looks: list[dict[str, Any]] = [{"line_width": 2}, {"line_dash": "dotted"}]
    for lines, look in zip(style.boundary_lines(diagram), looks):
        ends = {"xs": [line[:, 0] for line in lines], "ys": [line[:, 1] for line in lines]}
        glyphs.append(drawn.multi_line(**ends, line_color="#000000", **look))
    return glyphs


def _draw_contour(drawn: Any, diagram: Diagram) -> None:
    for number, level in enumerate(diagram.contour.levels if diagram.contour else ()):
        lines = diagram.contour.lines(level, *style.all_edges(diagram))
        width, dash = page_data.contour_look(diagram, number)
        ends = {"x0": lines[:, 0, 0], "y0": lines[:, 0, 1], "x1": lines[:, 1, 0], "y1": lines[:, 1, 1]}
        source = ColumnDataSource(ends, name=f"contour {level:g}")
        drawn.segment(
            **{end: end for end in ends}, source=source, line_color="#000000", line_width=width, line_dash=dash
        )


def _curves(diagram: Diagram, sources: dict[str, ColumnDataSource]) -> tuple[Any, Any]:
    """The plot of the chosen cells' curves, and the line of its threshold."""
    curves, d = sources["curves"], diagram.definition
    low, high = style.step_range(diagram)
    least, most, wide = style.curve_span(diagram)
    bottom, top = style.axis_range(least, most, wide)
    look: dict[str, Any] = {"x_range": Range1d(start=low, end=high), "y_range": Range1d(start=bottom, end=top)}
    look |= {"y_axis_type": "log"} if wide else {}
    title = f"Train (dashed), {d.split} (solid),\nmedian {d.split} (black), × not reached"
    drawn = _plot(title, frame_height=300, min_width=240, x_axis_type="log", **look)
    drawn.xaxis.axis_label, drawn.yaxis.axis_label = "step", d.name
    if wide:
        _name_ticks(drawn.yaxis, style.log_ticks(least, most, 7))
    _name_ticks(drawn.xaxis, style.log_ticks(low, high, 9))
    drawn.grid.grid_line_alpha = 0.4
    threshold = Span(location=d.threshold, dimension="width", line_color="#555", line_dash="dotted")
    drawn.add_layout(threshold)
    drawn.multi_line("steps", "train", source=curves, line_color=style.TRAIN_INK, line_width=1.5, line_dash="dashed")
    test = drawn.multi_line("steps", "test", source=curves, line_color="ink", line_width=2)
    drawn.scatter("step", "test", source=sources["marks"], marker="x", size=9, line_color="ink", line_width=2)
    drawn.line("step", "test", source=sources["middle"], line_color="#000000", line_width=2.5, line_alpha=0.8)
    drawn.add_tools(HoverTool(renderers=[test], tooltips=[(n, f"@{n}") for n in ("run_id", "seed", "label")]))
    return drawn, threshold
