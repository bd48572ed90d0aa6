"""An axis that holds 0 beside powers of ten, in diagram, figure, caption and page."""

import re

import numpy as np
import pytest

from sweeps.axes import scales
from sweeps.report import page_data, style
from sweeps.report.caption import caption

FRACTION, DECAY = "task.train_fraction", "optimizer.weight_decay"
GRID = {FRACTION: [0.3, 0.4, 0.5, 0.6], DECAY: [0.0, 0.01, 0.1, 1.0]}


@pytest.fixture
def diagram(synthetic_results):
    """Runs generalise from a fraction on that falls with each step of the decay: 0 is one of these."""

    def kind(i, j, seed):
        return "grokking" if i + j > 2 + seed % 2 else "memorisation"

    return synthetic_results(GRID, seeds=4, kind=kind).phase_diagram(FRACTION, DECAY)


def test_the_line_is_fitted_with_0_one_step_below(diagram):
    assert scales.kind(diagram.y_values) == "symlog"
    grid = diagram.boundary.y_grid
    assert grid.min() == pytest.approx(0.001)
    assert grid.max() == pytest.approx(1)
    lines, _ = style.boundary_lines(diagram)
    low, high = np.concatenate(lines)[:, 1].min(), np.concatenate(lines)[:, 1].max()
    assert low < 0.01  # it goes on towards 0
    assert high <= 1
    assert 0 < diagram.boundary.area.value < 1


def test_figure_and_caption_say_where_0_is(diagram):
    axes = diagram.figure(1).axes[0]
    assert axes.get_yscale() == "log"
    ticks = dict(zip((text.get_text() for text in axes.get_yticklabels()), axes.get_yticks()))
    assert ticks.keys() == {"0", "0.01", "0.1", "1"}
    assert ticks["0"] == pytest.approx(0.001)
    assert axes.get_ylim() == pytest.approx((0.001 / 10**0.5, 10**0.5))
    said = "0 on the axis weight decay stands at 0.001, one step of its scale below 0.01, also for the line."
    assert said in caption(diagram).splitlines()


def test_ticks_of_many_values_begin_with_0():
    values = [0.0, *(10.0**power for power in range(-6, 3))]
    (at, zero), *others = style.ticks(values, 6)
    assert (at, zero) == (pytest.approx(1e-7), "0")
    assert 3 <= len(others) <= 5
    assert all(float(at) >= 1e-6 for at, _ in others)


def test_the_page_draws_it(diagram, tmp_path):
    diagram.page(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert re.search(r'"major_label_overrides".{0,200}"0"', page, re.DOTALL)
    assert page_data.run_columns(diagram, [0.9])["logs"] == [False, True]
    _, _, bottom, _ = page_data.sides(diagram)
    assert bottom.min() == pytest.approx(0.001 / 10**0.5)


def test_maps_of_values_say_it_too(diagram, tmp_path):
    diagram.value_map("steps").plot(tmp_path / "values.png")
    assert "0 on the axis weight decay stands at 0.001" in (tmp_path / "values.txt").read_text()
