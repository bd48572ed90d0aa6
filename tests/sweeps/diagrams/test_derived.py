"""Axes that are computed from fields of the runs."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweeps
from jaxgen import FieldError
from sweeps import Derived
from sweeps.report.caption import caption

FRACTION, P, DECAY = "task.train_fraction", "task.p", "optimizer.weight_decay"
ROWS = Derived("n / M", [FRACTION, P], lambda f, M: f / (1 / M), unit="rows")  # 6 at .3, 20, at .6, 10, and at .2, 30
AXES = {FRACTION: [0.2, 0.3, 0.6], P: [10, 20, 30], DECAY: [0.1, 1.0]}
COUNT = itertools.count()


def coincide(i, j, k, seed):
    return "grokking" if (i, j) in {(0, 2), (1, 1), (2, 0)} else "memorisation"


def test_runs_of_one_value_share_a_cell_though_it_was_rounded(synthetic_results):
    results = synthetic_results(AXES, seeds=1, kind=coincide)
    values = [f / (1 / M) for f in AXES[FRACTION] for M in AXES[P]]
    assert len({v for v in values if v == pytest.approx(6)}) > 1  # float noise
    diagram = results.phase_diagram(ROWS, DECAY, pool=[P, FRACTION])
    assert diagram.x == "n / M [rows]"
    assert diagram.x_values == [2, 3, 4, 6, 9, 12, 18]
    np.testing.assert_array_equal(diagram.seeds, [[1, 1, 1, 3, 1, 1, 1]] * 2)
    np.testing.assert_array_equal(diagram.probability, [[0, 0, 0, 1, 0, 0, 0]] * 2)
    assert {*diagram.cell_table()} >= {"n / M [rows]", DECAY}
    assert diagram.to_xarray()["p"].dims == ("weight_decay", "n_M_rows")
    assert diagram.value_map("steps").cell_table()["n / M [rows]"].tolist() == diagram.x_values * 2


def test_other_fields_at_one_value_are_pooled_only_where_that_is_said(synthetic_results):
    results = synthetic_results(AXES, seeds=1, kind=coincide)
    why = r"task.p|task.train_fraction.*differs at n / M \[rows\] = 6, .*name it in pool, or in the axis's stands_for"
    with pytest.raises(FieldError, match=why):
        results.phase_diagram(ROWS, DECAY)
    with pytest.raises(FieldError, match=r"differs at n / M \[rows\] = 6"):
        results.phase_diagram(ROWS, DECAY, pool=[P])  # the fraction differs there too
    whole = Derived("n / M", [FRACTION, P], lambda f, M: f * M, stands_for=[FRACTION, P])
    diagram = results.phase_diagram(whole, DECAY)
    assert diagram.pooled == (FRACTION, P)
    assert "taken together over task.train_fraction, task.p" in caption(diagram)
    apart = results.phase_diagram(ROWS, P, where={DECAY: 1.0})  # M on the other axis tells them apart
    assert apart.pooled == ()
    np.testing.assert_array_equal(apart.seeds.sum(1), [3, 3, 3])
    with pytest.raises(FieldError, match=r"optimizer.weight_decay.*hold it at one value"):
        results.phase_diagram(ROWS, P)


def test_what_is_computed_is_told(synthetic_results, tmp_path):
    diagram = synthetic_results(AXES, seeds=1).phase_diagram(ROWS, P, where={DECAY: 1.0})
    assert "over n / M [rows] (7 values) and p (3)" in caption(diagram)
    assert "n / M [rows] is computed from task.train_fraction and task.p." in caption(diagram)
    diagram.plot(tmp_path / "d.svg")
    assert "n / M [rows]" in (tmp_path / "d.svg").read_text()
    diagram.to_csv(tmp_path / "d.csv")
    assert (tmp_path / "d.csv").read_text().startswith("n / M [rows],task.p,seeds")


def test_one_axis_alone_can_be_binned(synthetic_results):
    results = synthetic_results(AXES, seeds=1)
    diagram = results.phase_diagram(ROWS, P, where={DECAY: 1.0}, bins=(2, None))
    assert (len(diagram.x_values), diagram.y_values) == (2, AXES[P])
    assert diagram.seeds.sum() == 9
    assert "over n / M [rows] (in 2 bins) and p (3)" in caption(diagram)
    for bins in ((2, 3, 4), (True, None), "2"):
        with pytest.raises(FieldError, match="bins"):
            results.phase_diagram(ROWS, P, where={DECAY: 1.0}, bins=bins)


def test_a_fit_of_the_line_is_along_the_computed_axis(synthetic_results):
    axes = {FRACTION: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], DECAY: [0.1, 0.4, 0.7, 1.0]}
    results = synthetic_results(axes, seeds=3, kind=lambda i, j, s: "grokking" if i > 2 else "confusion")
    double = Derived("twice", [FRACTION], lambda f: 2 * f)
    line = np.concatenate(results.phase_diagram(double, DECAY).boundary.contour())
    np.testing.assert_allclose(line[:, 0], 0.7, atol=0.02)


def test_cells_of_computed_axes_wait_for_their_runs(synthetic_results):
    axes = {FRACTION: [0.2, 0.3, 0.6], P: [10, 20]}
    results = synthetic_results(axes, seeds=1, kind=lambda i, j, s: None if (i, j) == (2, 1) else "grokking")
    sweep = sweeps.product(*(sweeps.sweep(path, values) for path, values in axes.items()))
    held = json.loads((results.workdir / "sweep.json").read_text())
    fields = {"seed": 0, "split_seed": None}
    (results.workdir / "sweep.json").write_text(json.dumps(held | {"fields": fields, "sweep": sweep.to_dict()}))
    diagram = results.phase_diagram(ROWS, P, unfinished=True)
    assert diagram.x_values == [2, 3, 4, 6, 12]
    assert [(diagram.x_values[i], diagram.y_values[j]) for j, i in np.argwhere(diagram.pending)] == [(12, 20)]


@pytest.mark.parametrize(
    ("compute", "why"),
    [
        (lambda f, M: f[:1], r"float64 \(1,\)': must be computed as numbers of shape \(18,\)"),
        (lambda f, M: 3.0, r"must be computed as numbers of shape \(18,\)"),
        (lambda f, M: M + next(COUNT), "gave other numbers when it was asked again"),
        (lambda f, M: M > 10, r"bool \(18,\)': must be computed as numbers"),
        (lambda f, M: np.log(M - 10), r"-inf: is not finite at task.train_fraction = 0\.\d, task.p = 10"),
    ],
)
def test_what_is_no_axis_is_told(synthetic_results, compute, why):
    with pytest.raises(FieldError, match=f"axis own = .*{why}"):
        synthetic_results(AXES, seeds=1).phase_diagram(Derived("own", [FRACTION, P], compute), DECAY)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "a.b"}, "no dotted path"),
        ({"name": "a\nb"}, "must be printable text"),
        ({"fields": []}, "one or more dotted paths"),
        ({"fields": "task.p"}, "must be a list of dotted paths"),
        ({"stands_for": ["task.q"]}, "unknown field task.q"),
        ({"compute": 3}, "must be a function of columns"),
        ({"unit": 3}, "must be text"),
    ],
)
def test_parts_of_an_axis_are_checked(given, why):
    with pytest.raises(FieldError, match=why):
        Derived(**{"name": "own", "fields": [P], "compute": lambda M: M} | given)


def test_names_that_are_taken_or_unknown_are_told(synthetic_results):
    results = synthetic_results(AXES, seeds=1)
    with pytest.raises(FieldError, match="is the name of a column of the runs"):
        results.phase_diagram(Derived("steps", [P], lambda M: M), DECAY, pool=[FRACTION])
    with pytest.raises(FieldError, match=r"unknown field task\.q"):
        results.phase_diagram(Derived("own", ["task.q"], lambda q: q), DECAY)


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30),
    st.lists(st.floats(-1e-13, 1e-13), min_size=30, max_size=30),
)
def test_values_that_differ_by_rounding_are_one(values, noise):
    """Clusters are what a sort with a tolerance finds; values further apart stay as they are, to 12 digits."""
    noisy = np.array([v * (1 + e) for v, e in zip(values, noise)])
    table = pd.DataFrame({"a": np.concatenate([values, noisy])})
    found = Derived("own", ["a"], lambda a: a).values(table)
    np.testing.assert_array_equal(found[: len(values)], found[len(values) :])
    np.testing.assert_allclose(found, table["a"], rtol=len(found) * 1e-9)
    alone = np.diff(np.unique(found))
    assert (alone > 1e-9 * np.unique(found)[1:]).all()
