"""What theories say, over maps and over curves."""

import numpy as np
import pandas as pd
import pytest

import sweeps
from jaxgen import FieldError
from sweeps import Overlay
from sweeps.report import drawing
from sweeps.report.caption import caption
from sweeps.report.panels import draw_panels

X, Y, P = "task.train_fraction", "optimizer.weight_decay", "task.p"
LINEAR, LOG, SYMLOG = [0.2, 0.4, 0.6, 0.8], [0.01, 0.1, 1.0, 10.0], [0.0, 0.01, 0.1, 1.0]


@pytest.fixture
def drawn(synthetic_results):
    """A function that gives the diagram with some overlays."""

    def draw(*overlays, y=LOG):
        return synthetic_results({X: LINEAR, Y: y}, seeds=1).phase_diagram(X, Y, overlays=overlays)

    return draw


def test_a_curve_is_cut_where_it_leaves_the_map(drawn):
    """Of y = 10^(10 x - 4) at x from .1 to .9: y is from 10^-3 to 10^5, the map from 10^-2.5 to 10^1.5."""
    diagram = drawn(Overlay("theory", lambda x: 10 ** (10 * x - 4)), Overlay("back", lambda y: 0.5 + 0 * y, along="y"))
    line = diagram.map_lines()["theory"]
    np.testing.assert_allclose(np.log10(line[:, 1]), 10 * line[:, 0] - 4, atol=1e-9)
    np.testing.assert_allclose(np.log10(line[[0, -1], 1]), [-2.5, 1.5])
    np.testing.assert_allclose(line[[0, -1], 0], [0.15, 0.55])
    assert np.isfinite(line).all()
    upright = diagram.map_lines()["back"]
    np.testing.assert_allclose(upright[:, 0], 0.5)
    np.testing.assert_allclose(np.log10(upright[[0, -1], 1]), [-2.5, 1.5])


def test_gaps_part_a_line_and_one_that_is_never_there_is_told(drawn):
    hole = Overlay("hole", lambda x: np.where(abs(x - 0.5) < 0.1, np.nan, 1.0))
    diagram = drawn(hole, Overlay("far", lambda x: 1e9 * x), Overlay("below", lambda x: -x))
    line = diagram.map_lines()["hole"]
    gap = np.flatnonzero(np.isnan(line[:, 0]))
    assert len(gap) == 1
    np.testing.assert_allclose(line[[gap[0] - 1, gap[0] + 1], 0], [0.4, 0.6], atol=0.01)
    assert len(diagram.map_lines()["far"]) == len(diagram.map_lines()["below"]) == 0
    assert "Theory (dash-dotted): hole (over the map); far (nowhere on the map)" in caption(diagram)


def test_a_jump_between_two_points_is_seen(drawn):
    line = drawn(Overlay("step", lambda x: np.where(x < 0.5, 1e-9, 1e9))).map_lines()["step"]
    assert len(line) == 2
    np.testing.assert_allclose(np.log10(line[:, 1]), [-2.5, 1.5])
    np.testing.assert_allclose(line[:, 0], 0.5, atol=0.002)


def test_zero_beside_a_logarithmic_axis_has_its_place(drawn):
    """0 stands at .001; a curve along it is computed at 0 there, and its zeros are drawn there."""
    seen = []
    along = Overlay("along", lambda y: seen.append(y.min()) or 0.3 + 0 * y, along="y")
    diagram = drawn(along, Overlay("zero", lambda x: np.where(x < 0.5, 0.0, 0.1)), y=SYMLOG)
    assert seen[0] == 0
    line = diagram.map_lines()["zero"]
    np.testing.assert_allclose(line[[0, -1], 1], [0.001, 0.1])
    assert len(diagram.map_lines()["along"]) == 513


def test_fields_are_those_of_the_runs_and_have_to_be_held(synthetic_results):
    results = synthetic_results({X: LINEAR, Y: LOG, P: [5, 10]}, seeds=1)
    theory = Overlay("1 / M", lambda x, M: 1 / M + 0 * x, fields=[P])
    for p in (5, 10):
        line = results.phase_diagram(X, Y, where={P: p}, overlays=[theory]).map_lines()["1 / M"]
        np.testing.assert_allclose(line[:, 1], 1 / p)
    with pytest.raises(FieldError, match=r"overlay 1 / M: task\.p = '.*10.*': differs between the runs"):
        results.phase_diagram(X, Y, pool=[P], overlays=[theory])
    with pytest.raises(FieldError, match=r"unknown field task\.q"):
        results.phase_diagram(X, Y, where={P: 5}, overlays=[Overlay("q", lambda x, q: x, fields=["task.q"])])


def test_curves_over_steps_are_of_their_cells(drawn, tmp_path):
    fall = Overlay("fall", lambda t, decay: np.exp(-decay * t), along="step", fields=[Y])
    diagram = drawn(fall, Overlay("all", lambda t: 1 / t, along="step"))
    steps, curves = diagram.step_curves
    assert (steps[0], steps[-1]) == (20, 1000)
    np.testing.assert_allclose(curves["fall"][5], np.exp(-0.1 * steps))
    diagram.to_csv(tmp_path / "d.csv")
    table = pd.read_csv(tmp_path / "d_overlays.csv")
    of_cell = table[(table["overlay"] == "fall") & (table[X] == 0.4) & (table[Y] == 0.1)]
    np.testing.assert_allclose(of_cell["test_accuracy"], np.exp(-0.1 * of_cell["step"]))
    assert (table["overlay"] == "all").sum() == len(steps)  # once, for all cells


def test_names_are_in_the_legend_as_they_are(drawn, tmp_path):
    name = "$x$ <b>theory</b> & co"
    diagram = drawn(Overlay(name, lambda x: x), Overlay("of steps", lambda t: 1 / t, along="step"))
    for columns, shown in ((2, True), (1, False)):
        diagram.plot(tmp_path / "d.svg", columns)
        text = (tmp_path / "d.svg").read_text()
        assert "$x$ &lt;b&gt;theory" in text
        assert ("of steps (curves)" in text) == shown
    assert f"{name} (over the map); of steps (over the curves)" in caption(diagram)
    figure = diagram.figure()
    (line,) = (one for one in figure.axes[0].lines if one.get_linestyle() != "-" and len(one.get_xdata()) > 2)
    np.testing.assert_array_equal(np.stack(line.get_data(), 1), diagram.map_lines()[name])
    assert line.get_color() == drawing.theory(diagram, along_steps=False)[0][1]
    draw_panels({"a": diagram, "b": diagram}, tmp_path / "p.svg")
    assert "$x$ &lt;b&gt;theory" in (tmp_path / "p.svg").read_text()
    diagram.page(tmp_path / "d.html")
    assert "<b>theory" not in (tmp_path / "d.html").read_text()


@pytest.mark.parametrize(
    ("curve", "why"),
    [
        (lambda x: x[:2], r"float64 \(2,\)': must give numbers of shape \(513,\)"),
        (lambda x: ["a"] * len(x), "must give numbers of shape"),
        (lambda x: x + 1j, "complex128"),
        (lambda x: 1 / (x - x), "inf: is infinite at x = 0.1"),
    ],
)
def test_what_is_no_curve_is_told(drawn, curve, why):
    with pytest.raises(FieldError, match=f"overlay own = .*{why}"):
        drawn(Overlay("own", curve))


def test_there_is_no_curve_over_texts(synthetic_results):
    results = synthetic_results({"optimizer.decay_mask": ["all", "matrices"], Y: LOG}, seeds=1)
    for along in ("x", "y"):
        with pytest.raises(FieldError, match="overlay own = 'decay mask': is no axis of numbers"):
            results.phase_diagram("optimizer.decay_mask", Y, overlays=[Overlay("own", lambda x: x, along=along)])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": " "}, "must be printable text"),
        ({"curve": 3}, "must be a function"),
        ({"along": "z"}, "must be one of x, y, step"),
        ({"fields": "task.p"}, "must be a list of dotted paths"),
    ],
)
def test_parts_of_an_overlay_are_checked(given, why):
    with pytest.raises(FieldError, match=why):
        Overlay(**{"name": "own", "curve": lambda x: x} | given)


def test_overlays_have_names_of_their_own(synthetic_results):
    one = Overlay("own", lambda x: x)
    for overlays in ([one, one], one, ["own"]):
        with pytest.raises(FieldError, match="overlays"):
            sweeps.Drawing("own", X, Y, overlays=overlays)
