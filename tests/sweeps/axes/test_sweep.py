import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from sweeps.axes.sweep import replaced, used
from sweeps.recipes.quickstart import BASE

values = st.lists(st.integers(-5, 5), min_size=1, max_size=5, unique=True)


@given(values, values, values)
def test_product_is_the_cartesian_product_with_the_last_part_fastest(a, b, c):
    points = sweeps.product(sweeps.sweep("a", a), sweeps.sweep("b", b), sweeps.sweep("c", c))
    assert [tuple(p.values()) for p in points] == list(itertools.product(a, b, c))
    assert [points[i] for i in range(len(points))] == list(points)
    assert points[-1] == list(points)[-1]


@given(values, values)
def test_chain_is_concatenation(a, b):
    points = sweeps.chain(sweeps.sweep("x", a), sweeps.sweep("x", b))
    assert [p["x"] for p in points] == a + b
    assert points.axes["x"] == a + [v for v in b if v not in a]


@given(values)
def test_zip_is_side_by_side(a):
    points = sweeps.tie(sweeps.sweep("x", a), sweeps.sweep("y", [v * 2 for v in a]))
    assert [(p["x"], p["y"]) for p in points] == [(v, 2 * v) for v in a]


def test_products_of_zips_and_chains():
    tied = sweeps.tie(sweeps.sweep("a", [1, 2]), sweeps.sweep("b", [3, 4]))
    either = sweeps.chain(sweeps.fixed("c", 5), sweeps.product(sweeps.fixed("c", 6), sweeps.sweep("d", [7, 8])))
    points = list(sweeps.product(tied, either))
    assert len(points) == 6
    assert points[0] == {"a": 1, "b": 3, "c": 5}
    assert points[-1] == {"a": 2, "b": 4, "c": 6, "d": 8}


def test_a_large_product_is_lazy():
    axis = list(range(10**4))
    points = sweeps.product(*(sweeps.sweep(name, axis) for name in "abcd"))
    assert len(points) == 10**16
    assert points[10**15 + 7] == {"a": 1000, "b": 0, "c": 0, "d": 7}
    with pytest.raises(IndexError):
        points[10**16]


def test_seeds_vary_the_split_or_hold_it():
    assert list(sweeps.seeds(2)) == [{"seed": 0}, {"seed": 1}]
    assert list(sweeps.seeds(2, split="fixed", first=3)) == [{"split_seed": 3, "seed": 3}, {"split_seed": 3, "seed": 4}]


def test_spacings_hit_their_ends_and_have_short_decimals():
    assert sweeps.linspace(0.25, 0.85, 13)[7] == 0.6
    assert sweeps.logspace(-2, 1, 4) == [0.01, 0.1, 1.0, 10.0]
    assert sweeps.linspace(2, 5, 1) == [2.0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sweeps.seeds(0), "seeds = 0"),
        (lambda: sweeps.seeds(2.5), "seeds = 2.5"),
        (lambda: sweeps.seeds(2, split="never"), "varies or fixed"),
        (lambda: sweeps.sweep("a", []), "at least one value"),
        (lambda: sweeps.sweep("a", [1, 2, 1.0]), "twice"),
        (lambda: sweeps.product(sweeps.fixed("a", 1), sweeps.fixed("a", 2)), "axis already"),
        (lambda: sweeps.tie(sweeps.sweep("a", [1, 2]), sweeps.sweep("b", [1])), "one length"),
        (lambda: sweeps.linspace(0, 1, 0), "linspace count = 0"),
    ],
)
def test_bad_axes_are_refused(make, said):
    with pytest.raises(FieldError, match=said):
        make()


def test_replaced_exchanges_an_axis_or_adds_one():
    whole = sweeps.product(sweeps.sweep("a", [1, 2]), sweeps.sweep("b", [3, 4]))
    assert replaced(whole, sweeps.fixed("a", 9)).axes == {"a": [9], "b": [3, 4]}
    assert replaced(whole, sweeps.fixed("c", 9)).axes == {"a": [1, 2], "b": [3, 4], "c": [9]}
    tied = sweeps.product(sweeps.tie(sweeps.sweep("a", [1, 2]), sweeps.sweep("b", [3, 4])))
    with pytest.raises(FieldError, match="tied to b"):
        replaced(tied, sweeps.fixed("a", 9))


def test_replaced_changes_every_link_of_a_chain():
    first = sweeps.product(sweeps.sweep("a", [1, 2]), sweeps.seeds(2))
    links = sweeps.chain(first, sweeps.chain(sweeps.sweep("b", [3]), sweeps.sweep("a", [4])))
    more = list(replaced(links, sweeps.seeds(3)))
    assert len(more) == 2 * 3 + 3 + 3
    assert {p["seed"] for p in more if "b" in p} == {0, 1, 2}
    assert [p["a"] for p in replaced(links, sweeps.fixed("a", 9))] == [9, 9, 9, 9]


def test_components_can_be_swept():
    losses = [jg.losses.CrossEntropy(), jg.losses.MeanSquaredError(), jg.losses.CrossEntropy(dtype="float16")]
    assert [p["loss"] for p in sweeps.sweep("loss", losses)] == losses


def test_components_whose_parts_are_named_by_texts_can_be_swept():
    training = jg.Training(probes=("loss", jg.probes.Every("zeros", 100)))
    assert training in used(BASE, sweeps.sweep("training", [training]))
