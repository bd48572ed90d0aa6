import itertools

import numpy as np
import pandas as pd
import pytest
from programs import Program
from scipy import stats

from jaxgen import FieldError
from sweeps.diagrams import compare
from sweeps.diagrams.gather import union, widened

X, Y, MASK = "task.train_fraction", "optimizer.weight_decay", "optimizer.decay_mask"
AXES = {X: [0.2, 0.5, 0.8], Y: [0.01, 1.0], MASK: ["all", "matrices"]}


def arms(x, y, mask, seed):
    """In cell (1, 0) one arm generalises on seeds 0-7 and the other on seed 7 alone; elsewhere they agree."""
    if (x, y) == (1, 0):
        return "grokking" if (seed < 8 if mask == 0 else seed == 7) else "memorisation"
    return "comprehension" if x == 2 else "memorisation"


def test_arms_are_compared_on_the_seeds_of_both(synthetic_results):
    results = synthetic_results(AXES, seeds=10, kind=arms)
    one, other = results.facets(MASK, X, Y).values()
    table = one.compare(other).set_index([X, Y])
    row = table.loc[(0.5, 0.01)]
    assert (row["pairs"], row["only_one"], row["only_other"]) == (10, 7, 0)
    assert row["p_difference"] == pytest.approx(0.7)
    assert row["mcnemar_p"] == pytest.approx(stats.binomtest(0, 7).pvalue)
    assert row["mcnemar_p_holm"] == pytest.approx(min(1, 6 * row["mcnemar_p"]))
    assert (row["time_pairs"], row["time_difference"]) == (10, -7 * (1000 - 700) / 10)
    assert row["time_p"] == pytest.approx(2 * 0.5**7)  # as the seven that differ have one sign
    assert row["time_p_holm"] == pytest.approx(6 * row["time_p"])
    assert np.isnan(row["time_ratio"])  # one arm's median is not reached
    agreed = table.drop(index=(0.5, 0.01))
    assert (agreed["mcnemar_p"] == 1).all()
    assert (agreed["p_difference"] == 0).all()
    assert (table.loc[0.8, "time_ratio"] == 1).all()


def test_pairs_with_an_undecided_run_are_counted_and_left_out(synthetic_results):
    kind = lambda x, y, mask, seed: "undecided" if mask and seed < 8 else "comprehension"  # noqa: E731
    one, other = synthetic_results(AXES, seeds=10, kind=kind).facets(MASK, X, Y).values()
    table = one.compare(other)
    assert (table["pairs"] == 2).all()
    assert (table["undecided"] == 8).all()
    assert (table["time_pairs"] == 2).all()  # the others' times are not known to the budget
    assert (table["time_difference"] == 0).all()
    assert (table["only_one"] == 0).all()
    assert (table["mcnemar_p"] == 1).all()


def test_times_are_known_of_runs_that_reached_it_or_never_can(synthetic_results):
    kind = lambda x, y, mask, seed: "diverged" if mask else "comprehension"  # noqa: E731
    one, other = synthetic_results(AXES, seeds=6, kind=kind).facets(MASK, X, Y).values()
    table = one.compare(other)
    assert (table["time_pairs"] == 6).all()
    assert (table["time_difference"] == 60 - 1000).all()
    assert (table["time_p"] == 2 * 0.5**6).all()


def test_one_test_of_the_whole_map_tells_what_no_cell_can(synthetic_results):
    def kind(x, y, mask, seed):
        if (x, seed) == (0, 5):
            return "undecided"
        return "grokking" if mask == 0 and y == 0 else "comprehension" if x == 2 else "memorisation"

    one, other = synthetic_results(AXES, seeds=6, kind=kind).facets(MASK, X, Y).values()
    assert (one.compare(other)[["mcnemar_p_holm", "time_p_holm"]].min() > 0.05).all()
    event, steps = compare.overall(one, other).to_dict("records")
    assert (event["of"], steps["of"]) == ("P(generalise)", "steps")
    for row in (event, steps):
        assert (row["unit"], row["pairs"], row["left_out"]) == ("6 seeds", 34, 2)
        assert row["p"] == row["least_p"] == 2 * 0.5**6
    by_seed = np.array([2 / 6] * 5 + [1 / 4])  # of (x, y) = (0, 0) and (1, 0); seed 5 has no x = 0
    want = stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
    np.testing.assert_allclose([event["difference"], event["low"], event["high"]], [by_seed.mean(), *want])
    by_seed = np.array([(2 * -300 + 640) / 6] * 5 + [(-300 + 640) / 4])
    assert steps["difference"] == pytest.approx(by_seed.mean())


def test_the_program_tells_the_test_of_the_whole_map(synthetic_results, tmp_path, capfd):
    kind = lambda x, y, mask, seed: "memorisation" if mask else "grokking"  # noqa: E731
    workdir = synthetic_results(AXES, seeds=6, kind=kind).workdir
    assert Program("phase_diagram")(f"--workdir={workdir}", f"--facet={MASK}", f"--out={tmp_path}") == 0
    told = capfd.readouterr().out
    assert ": P(generalise) +1 [1, 1], p = 0.031 (of 6 seeds 0.031 at least; 36 pairs, 0 left out); steps" in told
    assert pd.read_csv(tmp_path / "comparison_overall.csv")["of"].tolist() == ["P(generalise)", "steps"]
    cells = pd.read_csv(tmp_path / "comparison.csv")
    assert len(cells) == 6
    first, second = cells["one"].unique().item(), cells["other"].unique().item()
    assert f"paired, {first} less {second}: " in told
    assert first.startswith("decay mask = ") or first.startswith("decay_mask = ")
    assert first != second


def test_arms_that_share_no_seed_are_not_tested(synthetic_results, tmp_path, capfd):
    results = synthetic_results({X: AXES[X], Y: AXES[Y]}, seeds=2, kind=lambda *_: "grokking")
    assert Program("phase_diagram")(f"--workdir={results.workdir}", "--facet=seed", f"--out={tmp_path}") == 0
    told = capfd.readouterr().out
    assert "no run of seed = 0 has the seeds of one of seed = 1: nothing is paired" in told
    assert "page:" in told


@pytest.mark.parametrize(("seeds", "unit", "p"), [(1, "3 splits", 0.25), (4, "4 seeds × 3 splits", np.nan)])
def test_splits_of_their_own_are_units_of_the_whole_map(synthetic_results, seeds, unit, p):
    kind = lambda x, y, mask, split, seed: "grokking" if mask else "memorisation"  # noqa: E731
    results = synthetic_results(AXES | {"split_seed": [7, 8, 9]}, seeds=seeds, kind=kind)
    found = compare.overall(*results.facets(MASK, X, Y).values())
    assert (found["unit"] == unit).all()
    np.testing.assert_array_equal(found["p"], p)


def test_sign_flips_are_those_of_scipy_and_of_counting():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(0.5, 1, n) for n in (6, 6, 0, 1, 13, 20)]
    found = compare.sign_flip(arrays)
    for values, p in zip(arrays[:2], found):
        signs = np.array(list(itertools.product([1, -1], repeat=6)))
        means = signs @ values
        assert p == pytest.approx(
            min(1, 2 * min((means >= values.sum() - 1e-9).mean(), (means <= values.sum() + 1e-9).mean()))
        )
    assert np.isnan(found[2])
    assert found[3] == 1
    np.testing.assert_array_equal(found, compare.sign_flip(arrays))


def test_only_shared_seeds_and_cells_count(synthetic_results):
    kind = lambda x, y, mask, seed: None if mask == 1 and (x == 0 or seed < 3) else "grokking"  # noqa: E731
    one, other = synthetic_results(AXES, seeds=5, kind=kind).facets(MASK, X, Y).values()
    table = one.compare(other)
    assert set(table[X]) == {0.5, 0.8}
    assert (table["pairs"] == 2).all()
    aligned = widened(other, one.x_values, one.y_values)
    assert (one.compare(aligned).set_index([X, Y]).loc[0.2, "pairs"] == 0).all()


def test_different_diagrams_are_not_compared(synthetic_results):
    results = synthetic_results(AXES, seeds=2)
    one, _ = results.facets(MASK, X, Y).values()
    with pytest.raises(FieldError, match="definition"):
        one.compare(results.phase_diagram(X, Y, where={MASK: "all"}, gap=20))
    with pytest.raises(FieldError, match="labelling"):
        one.compare(results.phase_diagram(X, Y, where={MASK: "all"}, labels="retention"))
    pooled = results.phase_diagram(X, Y, pool=[MASK])
    with pytest.raises(FieldError, match="pairs need each seed once"):
        pooled.compare(pooled)


def test_facets_and_pools_are_told_apart(synthetic_results):
    results = synthetic_results(AXES, seeds=2, kind=arms)
    facets = results.facets(MASK, X, Y)
    assert list(facets) == ["decay_mask = all", "decay_mask = matrices"]
    pooled = results.phase_diagram(X, Y, pool=[MASK])
    np.testing.assert_array_equal(pooled.counts, sum(d.counts for d in facets.values()))
    with pytest.raises(FieldError, match=r"decay_mask.*name it in pool"):
        results.phase_diagram(X, Y)
    with pytest.raises(FieldError, match="another field"):
        results.facets(X, X, Y)


def test_statistics_of_any_number_of_the_runs(synthetic_results, tmp_path):
    diagram = synthetic_results({X: AXES[X], Y: AXES[Y]}, seeds=4, kind=lambda x, y, s: None if x == 1 else "grokking")
    diagram = widened(diagram.phase_diagram(X, Y), AXES[X], AXES[Y])
    value_map = diagram.value_map("final/test/accuracy")
    found = value_map.statistics
    here = diagram.runs[diagram.runs["cell"] == 2]["final/test/accuracy"].to_numpy()
    assert found.mean[0, 2] == pytest.approx(here.mean())
    assert found.variance[0, 2] == pytest.approx(here.var(ddof=1), abs=1e-12)
    assert np.isnan(found.mean[0, 1])
    plain = diagram.source.value_map(X, Y, "final/test/accuracy")
    np.testing.assert_array_equal(plain.statistics.mean, found.mean[:, [0, 2]])
    assert list(value_map.cell_table()["count"]) == [4, 0, 4] * 2
    value_map.plot(tmp_path / "v.svg", "mean")
    assert (tmp_path / "v.svg").stat().st_size > 1000
    with pytest.raises(FieldError, match="did you mean final/test/accuracy"):
        diagram.value_map("final/tset/accuracy")
    with pytest.raises(FieldError, match="did you mean variance"):
        diagram.value_map("steps").plot(tmp_path / "v.svg", "varaince")


def test_what_seeds_vary_is_said(synthetic_results):
    axes = {X: AXES[X], Y: AXES[Y]}
    assert synthetic_results(axes, seeds=3).phase_diagram(X, Y).sampled == "train split and initialisation vary"


def test_what_a_fixed_split_varies_is_said(synthetic_results):
    axes = {X: AXES[X], Y: AXES[Y], "split_seed": [0]}
    assert synthetic_results(axes, seeds=3).phase_diagram(X, Y).sampled == "one train split, initialisation varies"


def test_what_crossed_seeds_and_splits_vary_is_said(synthetic_results):
    axes = {X: AXES[X], Y: AXES[Y], "split_seed": [0, 1]}
    assert synthetic_results(axes, seeds=3).phase_diagram(X, Y).sampled == "3 initialisations × 2 train splits"


@pytest.mark.parametrize(
    ("seeds", "splits", "units"),
    [(6, [None], 6), (1, [*range(7)], 7), (8, [0], 8), (8, [*range(5)], 5), (5, [*range(8)], 5)],
)
def test_runs_that_share_a_seed_or_a_split_are_one_unit(synthetic_results, seeds, splits, units):
    axes = {X: [0.2, 0.5, 0.8], Y: [0.01, 0.1, 1.0], "split_seed": splits}
    diagram = synthetic_results(axes, seeds=seeds, kind=lambda x, y, *_: "grokking" if x > y else "confusion")
    assert diagram.phase_diagram(X, Y).boundary.units == units


def test_union_of_axes():
    assert union([[1, 3], [2, 3]]) == [1, 2, 3]
    assert union([[0.5], ["None"]]) == ["0.5", "None"]
