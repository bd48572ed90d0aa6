"""Groups, the parts of functions on them, and the energies of features, by their definitions and by ascent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgen as jg
from jaxgen import FieldError, finite_groups, tasks

SMALL = ["Z2", "Z7", "Z8", "D1", "D2", "D4", "D5", "Q8", "Q12", "S1", "S3", "S4", "A3", "A4", "A5"]
NAMES = st.lists(st.sampled_from(SMALL[:12]), min_size=1, max_size=2).map("x".join)


@given(NAMES)
@settings(max_examples=20, deadline=None)
def test_tables_are_groups(name):
    try:
        products = finite_groups.group_table(name)
    except FieldError:  # it has one element
        assert set(name.split("x")) <= {"S1", "A1"}
        return
    elements = np.arange(len(products))
    assert len(products) == finite_groups.order(name)
    np.testing.assert_array_equal(products[0], elements)
    np.testing.assert_array_equal(products[:, 0], elements)
    for axis in (0, 1):  # each row and column has each element once: there are inverses
        assert (np.diff(np.sort(products, axis=axis), axis=axis) == 1).all()
    np.testing.assert_array_equal(products[products], products[:, products])  # (a b) c = a (b c)


@pytest.mark.parametrize(
    ("name", "orders"),  # how many elements have which order
    [
        ("Z6", {1: 1, 2: 1, 3: 2, 6: 2}),
        ("D4", {1: 1, 2: 5, 4: 2}),
        ("Q8", {1: 1, 2: 1, 4: 6}),
        ("Q12", {1: 1, 2: 1, 3: 2, 4: 6, 6: 2}),
        ("S4", {1: 1, 2: 9, 3: 8, 4: 6}),
        ("A5", {1: 1, 2: 15, 3: 20, 5: 24}),
        ("Z2xZ2", {1: 1, 2: 3}),
    ],
)
def test_elements_have_the_orders_of_the_group(name, orders):
    products, found = finite_groups.group_table(name), {}
    for g in range(len(products)):
        power, count = g, 1
        while power:
            power, count = products[power, g], count + 1
        found[count] = found.get(count, 0) + 1
    assert found == orders


@pytest.mark.parametrize("name", ["", "Z", "Z0", "Z1", "z5", "Q6", "Q4", "S7", "Z5x", "Z5*Z5", "Z1025", "Z40xZ40"])
def test_other_names_are_refused(name):
    with pytest.raises(FieldError, match="group"):
        jg.Experiment(tasks.GroupProduct(group=name), jg.models.MLP(), jg.losses.CrossEntropy(), jg.optimizers.SGD())


@pytest.mark.parametrize(
    ("name", "dimensions"),  # d² of each real irreducible representation, 2 d² of each pair of complex ones
    [
        ("Z7", [1, 2, 2, 2]),
        ("Z8", [1, 2, 2, 2, 1]),
        ("Q8", [1, 1, 1, 1, 4]),
        ("S4", [1, 1, 4, 9, 9]),
        ("A4", [1, 2, 9]),
        ("A5", [1, 9, 9, 16, 25]),
        ("S3xZ2", [1, 1, 1, 1, 4, 4]),
    ],
)
def test_parts_are_those_of_the_character_table(name, dimensions):
    products, parts = finite_groups.group_table(name), finite_groups.isotypic_projections(name)
    sizes = np.trace(parts, axis1=1, axis2=2)
    assert sorted(np.round(sizes).astype(int)) == sorted(dimensions)
    np.testing.assert_allclose(
        np.einsum("rab,sbc->rsac", parts, parts), parts[:, None] * np.eye(len(parts))[..., None, None], atol=1e-12
    )
    np.testing.assert_allclose(parts.sum(axis=0), np.eye(len(products)), atol=1e-12)
    np.testing.assert_allclose(parts[0], 1 / len(products), atol=1e-12)
    for g in range(len(products)):  # parts stay where they are under translations from the left and from the right
        for moved in (products[g], products[:, g]):
            np.testing.assert_allclose(parts[:, moved][:, :, moved], parts, atol=1e-12)


def test_parts_of_cyclic_groups_are_frequencies():
    parts, turn = finite_groups.isotypic_projections("Z9"), 2 * np.pi * np.arange(9) / 9
    for k in range(5):
        np.testing.assert_allclose(parts[k, :, 0], np.cos(k * turn) * (2 if k else 1) / 9, atol=1e-12)


def test_the_energy_is_that_of_its_definition():
    products, key = finite_groups.group_table("S3"), jax.random.key(3)
    w = np.asarray(jax.random.normal(key, (12, 4)), np.float64)
    x = np.concatenate([np.repeat(np.eye(6), 6, axis=0), np.tile(np.eye(6), (6, 1))], axis=1)
    y = np.eye(6)[products.ravel()]
    expected = [0.5 * np.sum(((y - y.mean(0)).T @ np.square(x @ column)) ** 2) for column in w.T]
    np.testing.assert_allclose(finite_groups.energy(jnp.asarray(w, jnp.float32), "S3"), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["Z8", "S3", "Q8", "A4"])
def test_ascent_of_the_energy_ends_in_one_part_at_its_greatest_energy(name):
    parts, greatest = finite_groups.isotypic_projections(name), finite_groups.greatest_energies(name)
    size = parts.shape[1]

    def onto(w):  # halves of mean 0, and length 1
        w = (w.reshape(2, size, -1) - w.reshape(2, size, -1).mean(axis=1, keepdims=True)).reshape(2 * size, -1)
        return w / jnp.linalg.norm(w, axis=0, keepdims=True)

    @jax.jit
    def ascend(w):
        climb = jax.grad(lambda w: jnp.sum(finite_groups.energy(w, name)))
        return jax.lax.fori_loop(0, 800, lambda _, w: onto(w + 0.3 / size * climb(w)), onto(w))

    w = ascend(jax.random.normal(jax.random.key(0), (2 * size, 24), jnp.float32))
    powers = np.square(np.einsum("rgh,shk->srgk", parts, np.asarray(w).reshape(2, size, -1))).sum(axis=(0, 2))
    part = powers.argmax(axis=0)
    assert powers.max(axis=0).min() > 0.999
    np.testing.assert_allclose(finite_groups.energy(w, name), greatest[part], rtol=1e-3)
    assert len(np.unique(part)) > 1


def test_greatest_energies_are_m_over_4_of_a_frequency_and_twice_that_of_an_alternating_one():
    np.testing.assert_allclose(finite_groups.greatest_energies("Z23"), [0, *[23 / 4] * 11])
    np.testing.assert_allclose(finite_groups.greatest_energies("Z8"), [0, 2, 2, 2, 4])
    np.testing.assert_allclose(sorted(finite_groups.greatest_energies("S4")), [0, 4, 4, 6, 12])
