import functools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from jaxgen import FieldError
from sweeps.diagrams import gather, phases
from sweeps.diagrams.diagram import Contour
from sweeps.diagrams.phases import Phase
from sweeps.diagrams.results import Results
from sweeps.report import drawing, style
from sweeps.report.caption import caption
from sweeps.statistics import wilson
from sweeps.storage.files import write_csv
from sweeps.storage.runs import dataset

X, Y = "task.train_fraction", "optimizer.weight_decay"
AXES = {X: [0.2, 0.5, 0.8], Y: [0.01, 1.0]}
D = functools.partial(phases.Definition, threshold=0.9, budget=100, gap=20)


def corner(x, y, seed):
    """Confusion in the first column; grokking at (1, 0) but for seed 0; the rest generalises at once."""
    if x == 0:
        return "confusion"
    if (x, y) == (1, 0):
        return "memorisation" if seed == 0 else "grokking"
    return "comprehension"


def test_cells_count_their_seeds(synthetic_results):
    diagram = synthetic_results(AXES, seeds=3, kind=corner).phase_diagram(X, Y)
    assert diagram.x_values == AXES[X]
    assert diagram.y_values == AXES[Y]
    assert (diagram.seeds == 3).all()
    g, c, k = Phase.GROKKING, Phase.CONFUSION, Phase.COMPREHENSION
    np.testing.assert_array_equal(diagram.majority, [[c, g, k], [c, k, k]])
    np.testing.assert_allclose(diagram.agreement, [[1, 2 / 3, 1], [1, 1, 1]])
    np.testing.assert_allclose(diagram.probability, [[0, 2 / 3, 1], [0, 1, 1]])
    median = diagram.median_time
    assert np.isinf(median[:, 0]).all()
    assert 600 < median[0, 1] <= 700
    assert (median[:, 2] <= 60).all()
    low, high = diagram.probability_interval()
    assert (low[0, 1], high[0, 1]) == pytest.approx(wilson(2, 3))


def test_they_say_in_a_line_what_they_are(synthetic_results):
    results = synthetic_results(AXES)
    diagram = results.phase_diagram(X, Y)
    said = f"of {results.workdir}: task.train_fraction × optimizer.weight_decay, 3 × 2 cells>"
    assert [repr(diagram), repr(diagram.value_map("steps"))] == [f"<Diagram {said}", f"<ValueMap {said}"]
    assert repr(results) == f"Results('{results.workdir}')"


def test_thresholds_are_chosen_afterwards(synthetic_results):
    results = synthetic_results(AXES, seeds=1, kind=lambda *_: "grokking")
    late, early = results.phase_diagram(X, Y, gap=100), results.phase_diagram(X, Y, gap=900)
    assert (late.majority == Phase.GROKKING).all()
    assert (early.majority == Phase.COMPREHENSION).all()
    assert (results.phase_diagram(X, Y, budget=400, gap=300).majority == Phase.MEMORISATION).all()
    assert (results.phase_diagram(X, Y, budget=5000, beyond=True).majority == Phase.COMPREHENSION).all() == (
        results.definition(budget=5000).gap > 700
    )


def mixed(x, y, seed):
    """Of three seeds: (0, 0) confusion; (1, 0) one undecided of two that grok; (2, 0) two undecided; above all grok."""
    undecided = {0: (), 1: (0,), 2: (0, 1)}[x]
    return "grokking" if y else "undecided" if seed in undecided else "confusion" if x == 0 else "grokking"


def test_undecided_runs_count_both_ways(synthetic_results, tmp_path):
    diagram = synthetic_results(AXES, seeds=3, kind=mixed).phase_diagram(X, Y)
    np.testing.assert_allclose(diagram.probability, [[0, 1, 1], [1, 1, 1]])
    least, most = diagram.probability_bounds
    np.testing.assert_allclose(least, [[0, 2 / 3, 1 / 3], [1, 1, 1]])
    np.testing.assert_allclose(most, [[0, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(diagram.movable, [[False, False, True], [False, False, False]])
    cells = diagram.cell_table()
    assert cells["p_least"].tolist() == least.ravel().tolist()
    assert cells["p_most"].tolist() == most.ravel().tolist()
    assert "3 undecided runs could turn 1 cell of 6" in caption(diagram)
    assert "3 of 18 runs did not reach the threshold, of 3 it is not known; all of these are censored" in caption(
        diagram
    )
    diagram.plot(tmp_path / "diagram.png")


def test_a_budget_beyond_the_training_is_refused_unless_asked_for(synthetic_results):
    results = synthetic_results(AXES, seeds=3, kind=lambda x, y, s: "grokking" if x == 2 else "confusion")
    with pytest.raises(FieldError, match=r"budget = 2000: is beyond the 1,000 steps of some runs.*--beyond"):
        results.phase_diagram(X, Y, budget=2000)
    asked = results.phase_diagram(X, Y, budget=2000, beyond=True)
    assert (asked.decided == [[0, 0, 3], [0, 0, 3]]).all()
    np.testing.assert_array_equal(asked.movable, [[True, True, False]] * 2)
    assert results.phase_diagram(X, Y, budget=1000).probability[0, 0] == 0


def test_the_sweeps_own_budget_is_within_the_training(synthetic_results):
    results = synthetic_results(AXES, seeds=2)
    held = json.loads((results.workdir / "sweep.json").read_text())
    held["definition"]["budget"] = 5000
    (results.workdir / "sweep.json").write_text(json.dumps(held))
    assert Results(results.workdir).phase_diagram(X, Y).definition.budget == 1000


def test_no_line_is_drawn_where_undecided_runs_could_turn_it(synthetic_results):
    axes = {X: [0.2, 0.4, 0.6, 0.8], Y: [0.1, 0.4, 0.7, 1.0]}
    clear = synthetic_results(axes, seeds=3, kind=lambda x, y, s: "grokking" if x > 1 else "confusion")
    lines, _ = style.boundary_lines(clear.phase_diagram(X, Y))
    height = sum(np.ptp(line[:, 1]) for line in lines)
    kind = lambda x, y, s: "undecided" if y == 0 and x in (1, 2) else "grokking" if x > 1 else "confusion"  # noqa: E731
    shutil.rmtree(clear.workdir)
    partly = synthetic_results(axes, seeds=3, kind=kind).phase_diagram(X, Y)
    lines, _ = style.boundary_lines(partly)
    kept = sum(np.ptp(line[:, 1]) for line in lines)
    assert height == pytest.approx(0.9, abs=0.01)
    assert kept == pytest.approx(0.9 - 0.15, abs=0.03)  # the lowest row of cells is half a cell high in the plane
    assert partly.boundary.undecided == 6
    low, high = partly.boundary.bounds
    assert low < partly.boundary.area.low
    assert high > partly.boundary.area.high
    assert f"{low:.2f} to {high:.2f} whatever 6 undecided runs did" in style.boundary_text(partly)
    assert "inside: 0." in style.boundary_text(partly)  # what may be stands before what the others alone say


def test_a_line_that_is_not_drawn_is_not_spoken_of(synthetic_results):
    axes = {X: [0.2, 0.5, 0.8], Y: [0.1, 0.4, 0.7]}
    diagram = synthetic_results(axes, seeds=3, kind=lambda *_: "grokking").phase_diagram(X, Y)
    assert style.boundary_lines(diagram)[0] == []
    assert "= ½, no line" in style.boundary_text(diagram)


def test_what_is_to_stay_is_seen_at_the_budget_only(synthetic_results):
    diagram = synthetic_results(AXES, seeds=1, kind=lambda *_: "comprehension").phase_diagram(
        X, Y, sustained=0, budget=2000, beyond=True
    )
    assert (diagram.majority == Phase.UNDECIDED).all()
    assert np.isinf(diagram.median_time).all()
    assert (diagram.source.phase_diagram(X, Y, sustained=0).majority == Phase.COMPREHENSION).all()


def test_a_gap_that_decides_by_itself_is_refused(synthetic_results):
    results = synthetic_results(AXES, seeds=1, kind=lambda *_: "grokking")
    for gap in (1, 19):
        why = rf"gap = {gap}: is below one interval between evaluations, 20 steps: must be 0, or 20 or more"
        with pytest.raises(FieldError, match=why):
            results.phase_diagram(X, Y, gap=gap)
    with pytest.raises(
        FieldError, match="gap = 900: is above the budget, 800 steps, so that nothing could be grokking"
    ):
        results.phase_diagram(X, Y, gap=900, budget=800)
    for gap in (0, 20, 680):
        assert (results.phase_diagram(X, Y, gap=gap).majority == Phase.GROKKING).all()
    held = json.loads((results.workdir / "sweep.json").read_text())
    (results.workdir / "sweep.json").write_text(json.dumps(held | {"definition": {"budget": 60}}))
    assert Results(results.workdir).definition().gap == 20  # a fifth of the budget is less than delays are known to


def test_cells_that_turn_within_one_interval_of_the_gap_are_marked(synthetic_results, tmp_path):
    """Delays of 680 steps, known to ± 20, and of 40; of three seeds in (2, 0) only one groks."""
    kind = lambda x, y, s: "grokking" if x < 2 or y or s == 0 else "comprehension"  # noqa: E731
    results = synthetic_results(AXES, seeds=3, kind=kind)
    assert results.phase_diagram(X, Y, gap=660).resolved.all()  # known to be above 660
    assert results.phase_diagram(X, Y, gap=700).resolved.all()
    diagram = results.phase_diagram(X, Y, gap=680)
    np.testing.assert_array_equal(diagram.resolved, [[False, False, True], [False, False, False]])
    assert diagram.cell_table()["resolved"].tolist() == diagram.resolved.ravel().tolist()
    assert "5 cells turn within one interval between evaluations of the gap" in caption(diagram)
    assert "delays are known to ± 20 steps" in caption(diagram)
    np.testing.assert_array_equal(results.phase_diagram(X, Y, gap=50).resolved[0], [True, True, False])
    assert "1 cell turns within" in caption(results.phase_diagram(X, Y, gap=50))
    assert results.phase_diagram(X, Y, gap=680, labels="retention").resolved.all()
    whole = gather.widened(diagram, [0.1, *AXES[X]], AXES[Y])
    np.testing.assert_array_equal(whole.resolved[0], [True, False, False, True])  # also where there are no runs


def test_what_undecided_runs_might_have_reached_is_not_called_not_reached(synthetic_results):
    watched = [(), (0,), (0, 1)]  # of three seeds
    kind = lambda x, y, s: "diverged" if x == 0 else "memorisation" if s in watched[x] else "undecided"  # noqa: E731
    diagram = synthetic_results(AXES, seeds=3, kind=kind).phase_diagram(X, Y)
    np.testing.assert_array_equal(np.isinf(diagram.median_time)[0], [True, True, True])
    np.testing.assert_array_equal(diagram.unwatched[0], [False, True, False])


def test_times_after_the_budget_are_no_values(synthetic_results):
    diagram = synthetic_results(AXES, seeds=2, kind=lambda *_: "grokking").phase_diagram(X, Y, budget=400, gap=100)
    for name in ("test_time", "delay"):
        table = diagram.value_map(name).cell_table()
        assert (table["count"] == 0).all()
        assert (table["left_out"] == 2).all()
    assert (diagram.value_map("train_time").cell_table()["count"] == 2).all()


def test_a_figure_speaks_of_no_band_where_none_is_known(synthetic_results, tmp_path):
    axes = {X: [0.2, 0.4, 0.6, 0.8], Y: [0.1, 0.4, 0.7, 1.0]}
    kind = lambda x, y, s: "grokking" if x > 1 else "memorisation"  # noqa: E731
    diagram = synthetic_results(axes, seeds=2, kind=kind).phase_diagram(X, Y, gap=200)
    diagram.plot(tmp_path / "diagram.svg")
    assert "no band is known" in caption(diagram)
    assert "of 2 seeds: no interval is known below 3" in caption(diagram)
    axes = Figure().subplots()
    assert drawing.boundary_lines(axes, diagram) == "P(generalise) = ½"


def test_a_stop_rule_is_named_where_it_ended_undecided_runs_only(synthetic_results):
    results = synthetic_results(AXES, seeds=2, kind=lambda x, y, s: "undecided" if s else "grokking")
    assert "runs are stopped at accuracy ≥" in caption(results.phase_diagram(X, Y, gap=200))
    beyond = results.phase_diagram(X, Y, gap=200, budget=1500, beyond=True)
    beyond.runs["status"] = "finished"
    assert "runs are stopped" not in caption(beyond)


def test_captions_of_binned_values_and_contours(synthetic_results):
    results = synthetic_results({X: [0.2, 0.3, 0.5, 0.7, 0.8], Y: [0.01, 0.1, 1.0, 10.0]}, seeds=1)
    assert "over train fraction (in 3 bins) and weight decay (in 3 bins)" in caption(
        results.phase_diagram(X, Y, bins=3)
    )
    kind = lambda x, y, s: "comprehension" if (x, y) == (1, 0) else "confusion"  # noqa: E731
    shutil.rmtree(results.workdir)
    asked = {"contour": "test/accuracy", "levels": (0.1, 0.9)}
    drawn = synthetic_results(AXES, seeds=2, kind=kind).phase_diagram(X, Y, **asked)
    assert (
        "Contour: the largest test/accuracy up to the budget, mean over seeds (0.1 dashed); it is at or above 0.1 in "
        "6, 0.9 in 1 of 6 cells, and most, 1, at train fraction 0.5, weight decay 0.01." in caption(drawn)
    )


def test_more_evaluations_in_a_row_than_a_run_can_have_are_refused(synthetic_results):
    results = synthetic_results(AXES)
    runs = results.runs.assign(**{"training.steps": 100, "training.evaluate_every": 10})
    for early in (False, True):  # at 0, 10, 20, … 100; those at 1, 2, 4, 8 are between two of these
        gather._check_sustained(runs.assign(**{"training.evaluate_early": early}), D(sustained=11))
        with pytest.raises(FieldError, match=r"sustained = 12: is never met: .* at most 11 regular evaluations"):
            gather._check_sustained(runs.assign(**{"training.evaluate_early": early}), D(sustained=12))


def test_no_line_is_fitted_before_three_values_of_both_axes_have_runs(synthetic_results):
    axes = {X: [0.2, 0.4, 0.6], Y: [0.1, 1.0, 10.0]}
    results = synthetic_results(axes, kind=lambda x, y, s: None if x else "grokking")
    (results.workdir / "sweep.json").write_text(json.dumps(results.specification | {"runs": 18}))
    waiting = results.phase_diagram(X, Y, unfinished=True)
    assert waiting.boundary is None


def test_empty_cells_and_unfinished_runs(synthetic_results):
    kinds = {(0, 0): None, (1, 0): "diverged", (2, 0): "undecided"}
    diagram = synthetic_results(AXES, seeds=2, kind=lambda x, y, _: kinds.get((x, y), "memorisation")).phase_diagram(
        X, Y
    )
    np.testing.assert_array_equal(diagram.majority[0], [-1, Phase.DIVERGED, Phase.UNDECIDED])
    assert np.isnan(diagram.agreement[0, 0])
    assert np.isnan(diagram.median_time[0, 0])
    assert np.isinf(diagram.median_time[0, 1])
    np.testing.assert_array_equal(diagram.observed[0], [1000, 500, 500])


def test_seeds_that_tie_are_shown_as_a_tie(synthetic_results):
    diagram = synthetic_results(AXES, seeds=2, kind=lambda x, y, s: "grokking" if s else "memorisation").phase_diagram(
        X, Y
    )
    assert (diagram.majority == Phase.GROKKING).all()  # the first of equals
    assert (diagram.agreement == 0.5).all()
    assert (diagram.margin == 0).all()


def test_runs_off_a_grid_are_gathered_into_cells(synthetic_results):
    axes = {X: [0.2, 0.3, 0.5, 0.7, 0.8], Y: [0.01, 0.1, 1.0, 10.0]}
    results = synthetic_results(axes, seeds=1, kind=lambda x, y, s: "comprehension" if x > 2 else "confusion")
    diagram = results.phase_diagram(X, Y, bins=3)
    np.testing.assert_allclose(diagram.x_values, [0.3, 0.5, 0.7])
    np.testing.assert_allclose(np.log10(diagram.y_values), [-1.5, -0.5, 0.5])
    np.testing.assert_array_equal(diagram.seeds, [[2, 1, 2], [2, 1, 2], [4, 2, 4]])
    np.testing.assert_array_equal(diagram.probability, [[0, 0, 1]] * 3)
    whole = results.phase_diagram(X, Y).boundary
    np.testing.assert_array_equal(diagram.boundary.weights, whole.weights)  # the fit is of the runs, not of the cells
    with pytest.raises(FieldError, match="bins = 1"):
        results.phase_diagram(X, Y, bins=1)


def test_csv_has_a_row_per_cell(synthetic_results, tmp_path):
    diagram = synthetic_results(AXES, seeds=3, kind=corner).phase_diagram(X, Y)
    diagram.to_csv(tmp_path / "d.csv")
    lines = (tmp_path / "d.csv").read_text().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith(f"{X},{Y},seeds,comprehension,grokking")
    assert lines[1].startswith("0.2,0.01,3,0,0,0,3")
    assert ",inf," in lines[1]
    assert ",1000," in lines[1]


def test_texts_that_a_spreadsheet_would_run_are_shown(tmp_path):
    texts = ["=1+1", "+a", "-a", "@a", "\ta", "\ra", "a=1", "-0.5", "-1e-3", "+.5", "'a", "", '=x,"y"']
    table = pd.DataFrame({"=text": texts, "number": np.linspace(-1, 1, len(texts))})
    write_csv(table, tmp_path / "t.csv")
    again = pd.read_csv(tmp_path / "t.csv", dtype={"'=text": str}, keep_default_na=False, lineterminator="\n")
    shown = ["'=1+1", "'+a", "'-a", "'@a", "'\ta", "'\ra", *texts[6:-1], """'=x,"y\""""]
    assert list(again["'=text"]) == shown
    np.testing.assert_allclose(again["number"], table["number"])


def test_cells_as_a_dataset(synthetic_results):
    diagram = synthetic_results(AXES, seeds=3, kind=corner).phase_diagram(X, Y)
    data = diagram.to_xarray()
    assert data["p"].dims == ("weight_decay", "train_fraction")
    assert float(data["p"].sel(train_fraction=0.5, weight_decay=0.01)) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(data["median_test_time"], diagram.median_time)


def test_no_time_is_told_more_precisely_than_it_was_measured(synthetic_results):
    diagram = synthetic_results(AXES, seeds=3, kind=corner).phase_diagram(X, Y)
    np.testing.assert_array_equal(diagram.resolution, [[np.nan, 20, 20], [np.nan, 20, 20]])
    reached = diagram.runs[np.isfinite(diagram.runs["test_time"])]
    assert (reached["test_time"] - reached["test_after"] == 20).all()
    steps = np.array([[0.0, 50.0, 200.0], [0.0, 50.0, np.nan]])
    np.testing.assert_array_equal(phases.before(steps, np.array([200.0, 0.0])), [50, -1])
    assert np.isnan(phases.before(steps, np.array([np.inf, np.inf]))).all()


def test_times_of_runs_that_ended_early(synthetic_results):
    """A stopped run is censored where it ended; one that diverged can never reach the threshold."""
    kinds = ("grokking", "diverged", "undecided")
    diagram = synthetic_results(AXES, seeds=3, kind=lambda x, y, s: kinds[s]).phase_diagram(X, Y)
    ended, reached = diagram.times()
    order = diagram.runs["seed"].to_numpy()
    assert reached[order == 0].all()
    assert not reached[order > 0].any()
    assert (ended[order == 1] == 1000).all()
    assert (ended[order == 2] == 500).all()
    assert np.isfinite(diagram.median_time).all()  # one of the two that were watched that long
    time = diagram.runs["test_time"][order == 0].iloc[0]
    np.testing.assert_allclose(diagram.restricted_mean, (time + 1000) / 2)
    low, high = diagram.restricted_mean_interval()
    assert (low <= (time + 1000 + 500) / 3).all()  # if the undecided run reaches it at once
    assert (high >= (time + 1000 + 1000) / 3).all()  # if it never does
    cells = diagram.cell_table()
    np.testing.assert_array_equal(cells["restricted_mean_low"], low.ravel())
    np.testing.assert_array_equal(cells["restricted_mean_high"], high.ravel())
    assert "a lower end of 0 of a median says that nothing is known of it" in caption(diagram)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda r: r.phase_diagram("task.train_fractoin", Y), "did you mean task.train_fraction"),
        (lambda r: r.phase_diagram(X, X), "another axis"),
        (lambda r: r.phase_diagram(X, "task.p"), r"optimizer.weight_decay = '0.01, 1': differs between runs"),
        (lambda r: r.phase_diagram(X, Y, threshold=1.5), "threshold = 1.5"),
        (lambda r: r.phase_diagram(X, Y, budget=0), "budget = 0"),
        (lambda r: r.phase_diagram(X, Y, gap=-1), "gap = -1"),
        (lambda r: r.phase_diagram(X, Y, where={"task.p": 8}), "no run has it; there are 7"),
        (lambda r: r.curves("sharpness"), "sharpness"),
    ],
)
def test_what_cannot_be_drawn_is_refused(synthetic_results, call, said):
    with pytest.raises(FieldError, match=said):
        call(synthetic_results(AXES, seeds=1))


def test_a_third_axis_is_held_not_averaged(synthetic_results):
    results = synthetic_results({**AXES, "model.init_scale": [1.0, 2.0]}, seeds=1)
    diagram = results.phase_diagram(X, Y, where={"model.init_scale": 2.0})
    assert (diagram.seeds == 1).all()
    with pytest.raises(FieldError, match=r"model.init_scale.*hold it at one value"):
        results.phase_diagram(X, Y)


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])
def test_datasets_are_written_as_netcdf_and_read_back_equal(synthetic_results, tmp_path, engine):
    axes = {"task.p": [5, 7], "optimizer.decay_mask": ["all", "no_embeddings"], "training.stop_frozen": [False, True]}
    results = synthetic_results(axes, seeds=2, kind=lambda i, j, k, s: "grokking" if i else "confusion")
    held = {"where": {"training.stop_frozen": True}}
    diagram = results.phase_diagram("task.p", "optimizer.decay_mask", contour="test/accuracy", **held)
    odd = {"models": ("run", [(8, 8), None]), "n": ("run", [None, 3]), "large": ("run", np.array([2**40, 1]))}
    for data in (results.to_xarray(), diagram.to_xarray(), dataset(odd, {}, {"a/b": (1, 2), "c": None, "d": True})):
        data.to_netcdf(tmp_path / "data.nc", engine=engine)
        again = xr.load_dataset(tmp_path / "data.nc", engine=engine)
        assert data.sizes
        xr.testing.assert_identical(again, data)
    assert data.attrs == {"a.b": "(1, 2)", "d": 1}
    assert list(data["models"].values) == ["(8, 8)", ""]
    np.testing.assert_array_equal(data["n"], [np.nan, 3])
    assert diagram.to_xarray()["largest test.accuracy"].dims == ("optimizer.decay_mask", "task.p")


def test_results_as_table_and_dataset(synthetic_results):
    results = synthetic_results(AXES, seeds=2, kind=corner)
    runs = results.runs
    assert len(runs) == 12
    assert {X, Y, "seed", "status", "steps", "final/test/accuracy"} <= set(runs.columns)
    data = results.to_xarray()
    assert data.sizes == {"run": 12, "evaluation": 51}
    assert float(data["test.accuracy"].max()) == pytest.approx(1.0, abs=1e-3)
    assert list(data[X].values) == list(runs[X])
    assert data.attrs["task.p"] == 7


def test_contour_lines_part_the_cells_below_a_level_from_those_at_or_above_it():
    values = np.array([[0.0, 0.2, 0.9], [0.0, 0.0, 0.1], [np.nan, 0.0, 0.0]])
    contour = Contour("train/collapse", (0.1, 0.5), values)
    edges = np.arange(4.0)
    at = lambda level: {tuple(map(tuple, line)) for line in contour.lines(level, edges, edges).tolist()}  # noqa: E731
    assert at(0.5) == {((2, 0), (2, 1)), ((2, 1), (3, 1))}
    assert at(0.1) == {((1, 0), (1, 1)), ((1, 1), (2, 1)), ((2, 1), (2, 2)), ((2, 2), (3, 2))}
    assert at(2.0) == set()


def test_contours_and_test_accuracies_are_means_over_seeds_within_the_budget(synthetic_results):
    kinds = [["grokking", "comprehension"], ["confusion", "memorisation"]]
    results = synthetic_results(
        {X: [0.3, 0.5], Y: [0.1, 1.0]}, seeds=2, kind=lambda i, j, s: kinds[i][s] if j else None
    )
    drawn = results.phase_diagram(X, Y, contour="test/accuracy", levels=(0.2, 0.9))
    assert drawn.contour.levels == (0.2, 0.9)
    np.testing.assert_allclose(drawn.contour.values, [[1, 0.1]], atol=1e-3)
    np.testing.assert_allclose(drawn.last_test, drawn.contour.values, atol=1e-9)
    early = results.phase_diagram(X, Y, contour="test/accuracy", budget=500, gap=400)
    np.testing.assert_allclose(early.contour.values[0], [0.55, 0.1], atol=1e-3)
    assert "largest test/accuracy" in drawn.cell_table()
    with pytest.raises(FieldError, match="unknown field tset/accuracy"):
        results.phase_diagram(X, Y, contour="tset/accuracy")


def test_times_beyond_the_budget_are_censored_at_it(synthetic_results):
    results = synthetic_results(AXES, seeds=2, kind=lambda *_: "grokking")
    assert (results.phase_diagram(X, Y).runs["test_time"] > 500).all()
    early = results.phase_diagram(X, Y, budget=500, gap=100)
    ended, reached = early.times()
    assert not reached.any()
    assert (ended == 500).all()
    assert np.isinf(early.median_time).all()
    np.testing.assert_array_equal(early.restricted_mean, np.full((2, 3), 500))


def test_no_line_is_drawn_over_a_plane_that_is_mostly_empty(synthetic_results):
    axes = {X: [0.2, 0.4, 0.6, 0.8], Y: [0.01, 0.1, 1.0, 10.0]}
    half = lambda i, j, seed: "grokking" if i == j or i + j == 3 else None  # noqa: E731
    diagram = synthetic_results(axes, seeds=3, kind=half).phase_diagram(X, Y)
    assert (diagram.seeds > 0).sum() == 8
    assert diagram.boundary is None


def test_a_plane_of_seeds_has_no_line(synthetic_results):
    results = synthetic_results({X: [0.2, 0.4, 0.6, 0.8], Y: [0.01, 0.1, 1.0]}, seeds=3)
    assert results.phase_diagram(X, Y).boundary is not None
    assert results.phase_diagram(X, "seed", where={Y: 0.1}).boundary is None
