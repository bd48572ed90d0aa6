"""What objects show of themselves in notebooks."""

import base64
import html.parser
import io
import re

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

import sweeps
from jaxgen import FieldError
from sweeps.execution.plan import Group, Plan
from sweeps.recipes.quickstart import BASE

FRACTION, DECAY = "task.train_fraction", "optimizer.weight_decay"
GRID = {FRACTION: [0.3, 0.5, 0.7], DECAY: [0.01, 0.1, 1.0]}


class Reader(html.parser.HTMLParser):
    """The elements and the text of HTML, which has to be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = set(), "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "img":
            self.open.append(tag)
        self.text += " ".join(v for k, v in attrs if k == "alt")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


TABLE = {"div", "table", "thead", "tbody", "tr", "th", "td"}


def test_results_show_their_axes_and_what_they_hold(synthetic_results):
    found = Reader(
        synthetic_results(GRID, kind=lambda i, j, s: "diverged" if i + j + s == 0 else "grokking")._repr_html_()
    )
    assert found.tags == TABLE
    assert "demo <b>&: 18 runs" in found.text
    assert "(17 finished, 1 diverged)" in found.text
    assert f"{FRACTION} 0.3, 0.5, 0.7" in found.text


def test_sweeps_show_their_axes():
    sweep = sweeps.product(sweeps.sweep("task.name", ["<script>alert(1)</script>", "b" * 1000]), sweeps.seeds(1000))
    found = Reader(sweep._repr_html_())
    assert found.tags == TABLE
    assert "Sweep of 2,000 points" in found.text
    assert "<script>alert(1)</script>, bbb" in found.text
    assert "seed 1000 0, 1, 2, 3, 4 … 999" in found.text
    assert len(found.text) < 500


def test_long_tables_end_with_how_many_more_there_are():
    text = sweeps.product(*(sweeps.fixed(f"a{i}", i) for i in range(40)))._repr_html_()
    assert "… 28 more" in Reader(text).text


def test_experiments_show_their_parts():
    found = Reader(BASE._repr_html_())
    assert found.tags == TABLE
    assert f"Experiment {BASE.run_id}" in found.text
    assert re.search(r"task ModularAddition .*p=31", found.text)
    assert "seed" in found.text


def test_plans_show_their_programs():
    plan = Plan(
        BASE, sweeps.seeds(3), [Group(BASE, [("a", 0), ("b", 1)], [(100, 9, 9)] * 2), Group(BASE)], set("abc"), 0
    )
    found = Reader(plan._repr_html_())
    assert "Plan of 3 runs: 1 stored, 2 to train, 200 lane-steps at most" in found.text
    assert "1 2 9 200" in found.text


def test_diagrams_show_their_figure(synthetic_results):
    diagram = synthetic_results(GRID).phase_diagram(FRACTION, DECAY)
    text = diagram._repr_html_()
    found = Reader(text)
    assert found.tags == {"img"}
    assert "demo <b>&" in found.text
    picture = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]*)"', text)[1])
    assert matplotlib.image.imread(io.BytesIO(picture)).shape[1] == 1400


@pytest.mark.parametrize("columns", [1, 2])
def test_what_is_plotted_is_the_figure_that_can_be_added_to(synthetic_results, tmp_path, columns):
    diagram = synthetic_results(GRID).phase_diagram(FRACTION, DECAY)
    figure = diagram.figure(columns)
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_xlabel() == "train fraction"
    diagram.plot(tmp_path / "a.png", columns)
    written = matplotlib.image.imread(tmp_path / "a.png")
    assert written.shape[:2] == tuple(np.round(figure.get_size_inches()[::-1] * 200).astype(int))
    figure.axes[0].plot([0.4, 0.6], [0.1, 0.1])
    figure.savefig(tmp_path / "b.png")
    with pytest.raises(FieldError, match="must be 1 or 2"):
        diagram.figure(3)


def test_maps_of_values_have_a_figure_too(synthetic_results):
    values = synthetic_results(GRID).value_map(FRACTION, DECAY, "steps")
    assert values.figure("variance").axes[0].get_xlabel() == "train fraction"
    with pytest.raises(FieldError, match="did you mean mean"):
        values.figure("maen")
    with pytest.raises(FieldError, match="needs cells with 16 values"):
        values.figure("binder")
