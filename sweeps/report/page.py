"""The phase diagram as one interactive HTML file: maps to hover over, and the curves of the cell that is clicked."""

import dataclasses
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Literal

import numpy as np
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.layouts import column, row
from bokeh.models import (
    Axis,
    BasicTickFormatter,
    BoxSelectTool,
    ColumnDataSource,
    CustomJS,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    PlainText,
    Quad,
    Range1d,
    TabPanel,
    Tabs,
    TapTool,
)
from bokeh.models.annotations import ColorBar, Span
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.ui import UIElement
from bokeh.models.widgets import Button, Div, Select, Slider
from bokeh.palettes import interp_palette
from bokeh.plotting import figure
from bokeh.resources import INLINE

from sweeps.axes import scales
from sweeps.diagrams.diagram import Diagram
from sweeps.diagrams.gather import aligned
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
PANELS = """
:host { display: grid; align-items: end; grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); }
"""
BELOW = """
:host { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); }
@media (max-width: 1000px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""
TITLE = 28
"""Characters of a map's title on a line: as wide as the narrowest map."""
WRAP = ":host, .bk-headers-wrapper { flex-wrap: wrap; }"
Scale = Literal["linear", "log"]
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")


def write_page(
    shown: Diagram | Mapping[str, Diagram | Mapping[str, Diagram]],
    path: str | Path,
    above: str = "",
    refresh: float | None = None,
) -> None:
    """Writes a page of a `sweeps.Diagram`, or of several as tabs by name, that needs no network.

    Shown are maps of the cells side by side: the most frequent label (with an inner square for the second one where
    seeds disagree), the median time to generalise, the share of seeds that generalised, the metric's last value on
    test; the diagram's contour lies over the first and the last. Pointing at a cell tells its numbers; a click shows
    the curves of all its seeds and lists its runs.

    A tab may be a dict of diagrams over the same axes, as `Results.facets` gives it: then all of them are there at
    once, by their titles, with one of the four maps each, and share what the definition is chosen with. Panels that
    differ in their axes, labels or definition are tabs of their own.

    Args:
      shown: a diagram, or a dict of tabs by their names; with the only name "" there is no bar of tabs.
      path: of the HTML file.
      above: HTML that stands over the tabs.
      refresh: seconds after which a browser loads the page again, for sweeps that still run.
    """
    tabs = _tabs(shown)
    title = page_data.name(next(iter(next(iter(tabs.values())).values())))
    document = Document(title=title)
    views = {name: _view(panels, document) for name, panels in tabs.items()}
    heading = Div(text=f"<h1>{escape(title)}</h1>{above}", stylesheets=[CSS], disable_math=True, name="heading")
    heading.sizing_mode = "stretch_width"
    children = [TabPanel(child=view, title=name) for name, view in views.items()]
    bar = Tabs(tabs=children, sizing_mode="stretch_width", stylesheets=[WRAP])
    document.add_root(column(heading, views[""] if [*views] == [""] else bar, sizing_mode="stretch_width"))
    again = f'<meta http-equiv="refresh" content="{refresh:g}">' if refresh else ""
    page = file_html(document, INLINE, template=TEMPLATE, title=title, template_variables={"again": again})
    write_atomically(Path(path), lambda file: file.write_text(page, encoding="utf-8"))


def _tabs(shown: Diagram | Mapping[str, Diagram | Mapping[str, Diagram]]) -> dict[str, dict[str, Diagram]]:
    """The panels of each tab, of which those of one tab can share what they are chosen with."""
    tabs: dict[str, dict[str, Diagram]] = {}
    for name, panels in ({"": shown} if isinstance(shown, Diagram) else shown).items():
        if isinstance(panels, Diagram):
            tabs[name] = {"": panels}
        elif len({(d.x, d.y, d.labelling.name, d.definition) for d in panels.values()}) == 1:
            tabs[name] = aligned(panels)
        else:
            tabs |= {f"{name}: {title}" if name and title else title or name: {"": d} for title, d in panels.items()}
    return tabs


@dataclasses.dataclass(frozen=True)
class _Sources:
    """Of a panel: its cells and inner squares, and what it shares with the others: curves of the chosen cells."""

    cells: ColumnDataSource
    squares_source: ColumnDataSource
    curves: ColumnDataSource
    marks: ColumnDataSource
    middle: ColumnDataSource
    theory: ColumnDataSource

    @classmethod
    def of(cls, diagrams: Sequence[Diagram]) -> "list[_Sources]":
        """Those of all panels of a tab; a cell of the first is chosen."""
        empty = {
            "curves": ("steps", "train", "test", "ink", "run_id", "seed", "label"),
            "marks": ("step", "test", "ink"),
            "middle": ("step", "test"),
            "theory": ("steps", "values", "ink", "name"),
        }
        common = {name: ColumnDataSource({key: [] for key in keys}, name=name) for name, keys in empty.items()}
        found = []
        for diagram in diagrams:
            cells = ColumnDataSource(page_data.cell_columns(diagram), name="cells")
            squares = ColumnDataSource(page_data.square_columns(diagram), name="squares")
            found.append(cls(cells, squares, **common))
        found[0].cells.selected.indices = [page_data.first_cell(diagrams[0])]
        return found


@dataclasses.dataclass(frozen=True)
class _Colours:
    """How the numbers of all panels of a tab become colours: times and last values, with their ends, and shares."""

    times: LogColorMapper
    time_span: tuple[float, float]
    last: LogColorMapper | LinearColorMapper
    last_span: tuple[float, float, bool]
    rates: LinearColorMapper

    @classmethod
    def of(cls, diagrams: list[Diagram]) -> "_Colours":
        """Those that all values of the diagrams have a place in."""
        spans = [style.colour_times(diagram)[1] for diagram in diagrams]
        low, high = min(low for low, _ in spans), max(high for _, high in spans)
        least, most, wide = style.last_span(diagrams)
        shades, rates, last = (
            list(interp_palette(tuple(colours), 128))
            for colours in (style.TIME_SHADES, style.RATE_SHADES, style.LAST_SHADES)
        )
        return cls(
            LogColorMapper(palette=shades, low=low, high=high, nan_color=style.NOT_REACHED),
            (low, high),
            (LogColorMapper if wide else LinearColorMapper)(palette=last, low=least, high=most),
            (least, most, wide),
            LinearColorMapper(palette=rates, low=0, high=1, nan_color=style.NOT_REACHED),
        )


def _view(panels: Mapping[str, Diagram], document: Document) -> UIElement:
    diagrams = list(panels.values())
    sources, colours = _Sources.of(diagrams), _Colours.of(diagrams)
    table, said, header = (_text(name) for name in ("runs", "said", "header"))
    header.text = page_data.header(panels)
    drawn, line = _curves(diagrams, sources[0])
    controls, offered = _controls(diagrams), page_data.thresholds(*diagrams)
    buttons = [Button(label="Download the runs (CSV)", name="download")]
    buttons += [Button(label="Stored definition", name="reset")] if controls["threshold"] else []
    maps: list[list[figure]] = []
    for number, (title, diagram) in enumerate(panels.items()):
        figures, boundary = _maps(diagram, sources[number], colours)
        if maps:
            for one in figures:
                one.x_range, one.y_range = maps[0][0].x_range, maps[0][0].y_range
        maps.append(figures)
        parts: dict[str, object] = {"table": table, "said": said, "line": line, "mapper": colours.times}
        parts |= {field.name: getattr(sources[number], field.name) for field in dataclasses.fields(_Sources)}
        parts |= {"others": [one.cells for one in sources if one is not sources[number]], "boundary": boundary}
        parts |= {"panel": title, "index": number, "panels": len(panels)}
        numbers = page_data.run_columns(diagram, offered) | page_data.theory_columns(diagram)
        script = CustomJS(args={**parts, **controls, **numbers}, code=SCRIPT)
        sources[number].cells.selected.js_on_change("indices", script)
        document.js_on_event("document_ready", script)
        for control in filter(None, controls.values()):
            control.js_on_change("value", script)
        for button in buttons:
            button.js_on_event("button_click", script)
    below = row(drawn, table, sizing_mode="stretch_width", spacing=24, stylesheets=[BELOW])
    choose = row(*filter(None, controls.values()), *buttons[::-1], spacing=18, stylesheets=[WRAP])
    if len(panels) == 1:
        upper: UIElement = row(*maps[0], sizing_mode="stretch_width", spacing=12, stylesheets=[MAPS])
    else:
        upper = _grids(panels, maps)
    return column(header, choose, said, upper, below, sizing_mode="stretch_width")


def _grids(panels: Mapping[str, Diagram], maps: list[list[figure]]) -> Tabs:
    """A tab for each kind of map, with that of every panel."""
    kinds = []
    for kind, figures in enumerate(zip(*maps)):
        titled = []
        for (title, diagram), drawn in zip(panels.items(), figures):
            above = _text("panel")
            above.text = f"<h2>{escape(title)}</h2>" + (page_data.notes(diagram) if kind == 0 else "")
            titled.append(column(above, drawn, sizing_mode="stretch_width"))
        grid = row(*titled, sizing_mode="stretch_width", spacing=12, stylesheets=[PANELS])
        name = " ".join(figures[0].title.text.split())
        kinds.append(TabPanel(child=column(grid, sizing_mode="stretch_width"), title=name))
    return Tabs(tabs=kinds, sizing_mode="stretch_width", stylesheets=[WRAP])


def _text(name: str) -> Div:
    return Div(name=name, stylesheets=[CSS], disable_math=True, sizing_mode="stretch_width")


def _controls(diagrams: Sequence[Diagram]) -> dict[str, Select | Slider | None]:
    """What the definition is chosen with; nothing for other labels than the four phases, which only Python can give."""
    first = diagrams[0]
    if first.labelling is not FOUR_PHASES:
        return {"threshold": None, "budget": None, "gap": None}
    d, steps = first.definition, np.concatenate([diagram.curves["step"].ravel() for diagram in diagrams])
    step = int(np.gcd.reduce([d.budget, d.gap, *np.unique(steps[np.isfinite(steps)]).astype(int)]))
    most = int(max(np.nanmax(steps), d.budget, d.gap, 2 * step))
    texts = {value: f"{value:.12g}" for value in page_data.thresholds(*diagrams)}
    options: list[str | tuple[object, str]] = [*texts.values()]
    return {
        "threshold": Select(title="threshold", name="threshold", value=texts[d.threshold], options=options, width=90),
        "budget": Slider(title="budget (steps)", name="budget", start=step, end=most, step=step, value=d.budget),
        "gap": Slider(title="gap (steps)", name="gap", start=0, end=most, step=step, value=d.gap),
    }


def _maps(diagram: Diagram, sources: _Sources, colours: _Colours) -> tuple[list[figure], list[GlyphRenderer]]:
    """The four maps of a diagram, and the lines of its fitted boundary."""
    cells, event, d = sources.cells, diagram.labelling.event_name, diagram.definition
    names = [style.map_name(diagram), f"Median step at the threshold ({d.split})", f"P({event})", f"Last {d.tested}"]
    titles = [textwrap.wrap(name, TITLE) for name in names]
    lines = max(map(len, titles))
    phases, times, rates, last = ("\n".join([""] * (lines - len(title)) + title) for title in titles)
    phase_map = _map(diagram, cells, phases, Quad(fill_color="colour"))
    phase_map.name = "phases"
    squares = Quad(left="left", right="right", bottom="bottom", top="top", fill_color="colour", line_color=None)
    phase_map.add_glyph(sources.squares_source, squares)
    look = Quad(fill_color={"field": "time", "transform": colours.times}, hatch_alpha="shown", hatch_pattern="hatch")
    look.update(hatch_color=style.NOT_REACHED_LINES, hatch_scale=12, hatch_weight=0.7)
    time_map = _map(diagram, cells, times, look)
    if np.isfinite(diagram.median_time).any():
        bar = ColorBar(color_mapper=colours.times, height=10, margin=0, padding=4)
        _name_ticks(bar, style.log_ticks(*colours.time_span, 7))
        time_map.add_layout(bar, "below")
    rate_map = _map(diagram, cells, rates, Quad(fill_color={"field": "p", "transform": colours.rates}))
    rate_map.add_layout(ColorBar(color_mapper=colours.rates, height=10, margin=0, padding=4), "below")
    test_map = _map(diagram, cells, last, Quad(fill_color={"field": d.column, "transform": colours.last}))
    bar = ColorBar(color_mapper=colours.last, height=10, margin=0, padding=4)
    low, high, wide = colours.last_span
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
    for drawn in (phase_map, rate_map):
        _draw_theory(drawn, diagram)
    return [phase_map, time_map, rate_map, test_map], boundary


def _map(diagram: Diagram, cells: ColumnDataSource, title: str, look: Quad) -> figure:
    """A map of the cells that look so."""
    drawn = _plot_over(diagram, title)
    few = diagram.seeds.size <= 900
    look.update(**{side: side for side in ("left", "right", "bottom", "top")})
    line = "#ffffff" if few else look.fill_color  # without a line of its colour, seams show between small cells
    look.update(fill_alpha="shown", line_color=line, line_alpha="shown", line_width=0.5)
    quads = drawn.add_glyph(cells, look)
    quads.nonselection_glyph = look
    quads.selection_glyph = look.clone(line_color=style.CHOSEN, line_alpha=1, line_width=3)
    x, y = (axis.positions for axis in diagram.axes)
    yy, xx = np.meshgrid(y, x, indexing="ij")
    if diagram.pending is None or diagram.running is None:
        marks = [("x", diagram.seeds == 0, style.EMPTY_LINES)]
    else:
        marks = [("dot", diagram.pending, "#000000"), ("circle", diagram.running, "#000000")]
    for marker, marked, ink in marks:
        size = 8 if few else 3
        drawn.scatter(xx[marked], yy[marked], marker=marker, size=size, line_color=ink, fill_color=None)
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


def _plot_over(diagram: Diagram, title: str) -> figure:
    """An empty plot with the diagram's axes."""
    ranges = [Range1d(start=axis.edges[0], end=axis.edges[-1], bounds="auto") for axis in diagram.axes]
    logs: list[Scale] = ["log" if axis.kind in scales.LOGARITHMIC else "linear" for axis in diagram.axes]
    drawn = _plot(title, 330, (ranges[0], logs[0]), (ranges[1], logs[1]))
    drawn.grid.visible = False
    for drawn_axis, axis in zip((drawn.xaxis, drawn.yaxis), diagram.axes):
        drawn_axis.axis_label = PlainText(text=axis.label)  # plain: "$$" would be read as TeX
        if axis.kind in ("categorical", "symlog") or len(axis.values) <= 6:
            _name_ticks(drawn_axis, style.ticks(axis.values, 12))
        elif abs(axis.values[0]) >= 1e-4 and abs(axis.values[-1]) < 1e5:
            drawn_axis.formatter = BasicTickFormatter(use_scientific=False)
    if diagram.x_axis.kind == "categorical" and sum(len(str(v)) + 2 for v in diagram.x_values) > 40:
        drawn.xaxis.major_label_orientation = 0.7
    return drawn


def _plot(title: str, height: int, x: tuple[Range1d, Scale], y: tuple[Range1d, Scale]) -> figure:
    """An empty plot over two ranges, each with its kind of axis."""
    drawn = figure(
        title=title,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,wheel_zoom,reset,save",
        frame_height=height,
        min_width=240,
        x_range=x[0],
        x_axis_type=x[1],
        y_range=y[0],
        y_axis_type=y[1],
    )
    drawn.toolbar.logo, drawn.toolbar.autohide = None, True
    return drawn


def _name_ticks(axis: Axis | ColorBar, ticks: list[tuple[float, str]]) -> None:
    axis.ticker = FixedTicker(ticks=[at for at, _ in ticks])
    short = ((at, text if len(text) < 25 else text[:24] + "…") for at, text in ticks)
    axis.major_label_overrides = {at: PlainText(text=text) for at, text in short}


def _draw_boundary(drawn: figure, diagram: Diagram) -> list[GlyphRenderer]:
    """The line of P = 1/2 and the edges of its band."""
    if diagram.boundary is None:
        return []
    glyphs = []
    for lines, (width, dash) in zip(style.boundary_lines(diagram), ((2, "solid"), (1, "dotted"))):
        xs, ys = ([line[:, side].tolist() for line in lines] for side in (0, 1))
        glyphs.append(drawn.multi_line(xs, ys, line_color="#000000", line_width=width, line_dash=dash))
    return glyphs


def _draw_theory(drawn: figure, diagram: Diagram) -> None:
    """The overlays of the map."""
    lines = diagram.map_lines()
    for one, ink in zip(diagram.overlays, itertools.cycle(style.THEORY_INKS)):
        if one.name in lines:
            source = ColumnDataSource(dict(zip("xy", lines[one.name].T)), name=f"overlay {one.name}")
            drawn.line("x", "y", source=source, line_color="#ffffff", line_width=4)
            drawn.line("x", "y", source=source, line_color=ink, line_width=2.5, line_dash="dashdot")


def _draw_contour(drawn: figure, diagram: Diagram) -> None:
    if (contour := diagram.contour) is None:
        return
    for level in contour.levels:
        lines = contour.lines(level, *style.all_edges(diagram))
        width, dash = page_data.contour_look(contour, level)
        ends = {"x0": lines[:, 0, 0], "y0": lines[:, 0, 1], "x1": lines[:, 1, 0], "y1": lines[:, 1, 1]}
        source = ColumnDataSource(ends, name=f"contour {level:g}")
        drawn.segment("x0", "y0", "x1", "y1", source=source, line_color="#000000", line_width=width, line_dash=dash)


def _curves(diagrams: Sequence[Diagram], sources: _Sources) -> tuple[figure, Span]:
    """The plot of the chosen cells' curves, and the line of its threshold."""
    curves, d = sources.curves, diagrams[0].definition
    low, high = style.step_range(*diagrams)
    least, most, wide = style.curve_span(*diagrams)
    bottom, top = style.axis_range(least, most, wide)
    title = f"Train (dashed), {d.split} (solid),\nmedian {d.split} (black), × not reached"
    steps, values = Range1d(start=low, end=high), Range1d(start=bottom, end=top)
    drawn = _plot(title, 300, (steps, "log"), (values, "log" if wide else "linear"))
    drawn.xaxis.axis_label, drawn.yaxis.axis_label = "step", d.name
    if wide:
        _name_ticks(drawn.yaxis, style.log_ticks(least, most, 7))
    _name_ticks(drawn.xaxis, style.log_ticks(low, high, 9))
    drawn.grid.grid_line_alpha = 0.4
    threshold = Span(location=d.threshold, dimension="width", line_color="#555", line_dash="dotted")
    drawn.add_layout(threshold)
    drawn.multi_line("steps", "train", source=curves, line_color=style.TRAIN_INK, line_width=1.5, line_dash="dashed")
    test = drawn.multi_line("steps", "test", source=curves, line_color="ink", line_width=2)
    drawn.scatter("step", "test", source=sources.marks, marker="x", size=9, line_color="ink", line_width=2)
    drawn.line("step", "test", source=sources.middle, line_color="#000000", line_width=2.5, line_alpha=0.8)
    theory = drawn.multi_line(
        "steps", "values", source=sources.theory, line_color="ink", line_width=2.5, line_dash="dashdot"
    )
    drawn.add_tools(HoverTool(renderers=[test], tooltips=[(n, f"@{n}") for n in ("run_id", "seed", "label")]))
    drawn.add_tools(HoverTool(renderers=[theory], tooltips=[("theory", "@name")]))
    return drawn, threshold
