import numpy as np
import pytest
from scipy import stats

from jaxgen import FieldError
from sweeps.statistics.moments import group_statistics


def test_moments_of_groups():
    rng = np.random.default_rng(0)
    values = {0: rng.normal(size=100_000), 1: np.full(17, -0.1), 2: rng.uniform(-1, 1, 100_000), 4: np.zeros(3)}
    values |= {5: 1e8 + np.arange(5.0), 6: np.array([3.0, np.nan, np.inf, 5.0]), 7: np.array([np.nan])}
    groups = np.concatenate([np.full(len(v), g) for g, v in values.items()])
    order = rng.permutation(len(groups))
    found = group_statistics(groups[order], 8, np.concatenate(list(values.values()))[order], size=np.arange(8) + 10)
    assert found.count.tolist() == [100_000, 17, 100_000, 0, 3, 5, 2, 0]
    assert found.left_out.tolist() == [0, 0, 0, 0, 0, 0, 2, 1]
    assert found.binder.value[0] == pytest.approx(0, abs=0.02)  # a Gaussian around 0
    assert found.binder.value[1] == pytest.approx(2 / 3, abs=1e-14)  # one value; 17 θ - 16 ⟨θᵢ⟩ has so much rounding
    assert found.binder.value[2] == pytest.approx(1 - 3 / 5, abs=0.01)  # uniform: ⟨m⁴⟩ = 1/5, ⟨m²⟩ = 1/3
    assert np.isnan(found.binder.value[3:]).all()  # of few or none
    assert found.mean[[1, 4, 6]] == pytest.approx([-0.1, 0, 4])
    assert found.variance[[1, 4, 5, 6]].tolist() == pytest.approx([0, 0, 2.5, 2])  # 1e16 is not in the way
    assert np.isnan([found.mean[3], found.variance[3], found.susceptibility.value[7]]).all()
    assert found.susceptibility.value[:3] == pytest.approx(found.variance[:3] * (np.arange(3) + 10))
    assert np.isnan(found.susceptibility.value[3:]).all()


def test_jackknife_leaves_each_run_out():
    m, size, n = np.random.default_rng(3).uniform(0.2, 2, 20) * 1e9, 7.0, 20
    found = group_statistics(np.r_[np.zeros(20, int), 1], 2, np.append(m, np.nan), size)
    without = np.array([np.delete(m, i) for i in range(n)])
    binder = lambda m: 1 - (m**4).mean(-1) / (3 * (m**2).mean(-1) ** 2)  # noqa: E731

    def jackknife(of):
        value = n * of(m) - (n - 1) * of(without).mean()
        half = stats.t.ppf(0.975, n - 1) * np.sqrt((n - 1) * of(without).var())
        return value, value - half, value + half

    _, low, high = jackknife(lambda m: np.log(size * m.var(axis=-1, ddof=1)))
    chi = [s[0] for s in (found.susceptibility.value, found.susceptibility.low, found.susceptibility.high)]
    assert chi == pytest.approx([size * m.var(ddof=1), np.exp(low), np.exp(high)])
    _, low, high = jackknife(lambda m: (3 * (1 - binder(m))) ** -2.0)
    assert 0 < low < high < 1
    cumulant = [found.binder.value[0], found.binder.low[0], found.binder.high[0]]
    assert cumulant == pytest.approx([jackknife(binder)[0], *(1 - low**-0.5 / 3, 1 - high**-0.5 / 3)])


def test_moments_of_few_runs_are_not_biased():
    rng, groups = np.random.default_rng(4), np.repeat(np.arange(3000), 16)
    for values, truth, covers in ((rng.normal(size=48_000), 0, 0.93), (rng.uniform(-1, 1, 48_000), 0.4, 0.93)):
        found = group_statistics(groups, 3000, values)
        assert found.binder.value.mean() == pytest.approx(truth, abs=0.03)  # without the jackknife .11 for a Gaussian
        assert ((found.binder.low <= truth) & (truth <= found.binder.high)).mean() > covers
        assert found.variance.mean() == pytest.approx(values.var(), rel=0.02)
        within = (found.susceptibility.low <= values.var()) & (values.var() <= found.susceptibility.high)
        assert within.mean() > covers
    fewer = group_statistics(groups[:15], 1, values[:15])
    assert np.isnan([fewer.binder.value, fewer.binder.low, fewer.susceptibility.value, fewer.susceptibility.high]).all()
    assert fewer.variance == pytest.approx(values[:15].var(ddof=1))


def test_moments_of_extreme_numbers():
    found = group_statistics(np.repeat([0, 1], 16), 2, np.outer([1e200, 1e-200], np.tile([1, -1], 8)).ravel())
    assert found.mean.tolist() == pytest.approx([0, 0])
    assert found.binder.value == pytest.approx([2 / 3, 2 / 3])
    assert found.variance.tolist() == [np.inf, 0]  # beyond floating point
    empty = group_statistics([], 2, [])
    assert empty.count.tolist() == [0, 0]
    assert np.isnan(empty.mean).all()


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("groups", lambda: group_statistics([-1], 2, [1.0])),
        ("groups", lambda: group_statistics([0], 2, [1.0, 2.0])),
    ],
)
def test_bad_input_is_refused(field, call):
    with pytest.raises(FieldError) as error:
        call()
    assert error.value.field == field
