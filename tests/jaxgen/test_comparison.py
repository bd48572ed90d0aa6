"""Comparisons over a random world, checked by looking the facts up in plain Python."""

import jax
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.tasks import Comparison

WORLD = {"entities": 12, "attributes": 3, "values": 4, "unseen": 0.25, "test_rows": 30, "ratio": 2.0, "largest": 3.0}


@pytest.fixture(scope="module")
def drawn():
    """A task, the sentences of its rows without padding, those splits and weights as NumPy has them."""
    task = Comparison(**WORLD)
    counts = {name: np.int32(count) for name, count in task.rows().items()}
    table = jax.tree.map(np.asarray, jax.jit(lambda key: task.examples(key, counts))(jax.random.key(0)))
    splits, at = dict(table.splits), 0
    for name, count in task.rows().items():
        splits[name] = (np.arange(len(table.labels)) >= at) & (np.arange(len(table.labels)) < at + count)
        at += count
    assert at == len(table.labels)
    tokens = np.concatenate([table.inputs, table.labels[:, -1:]], axis=1)
    return task, [tuple(int(t) for t in row if t != task.vocabulary - 1) for row in tokens], splits, table.weights


def test_labels_follow_from_two_facts_of_their_kind(drawn):
    _, said, splits, _ = drawn
    known = {}
    for name in ("facts", "unseen_facts"):
        for row in np.flatnonzero(splits[name]):
            entity, attribute, value = said[row]
            assert (entity, attribute) not in known
            known[entity, attribute] = value, name == "facts"
    assert sorted(known) == [(e, 12 + a) for e in range(12) for a in range(3)]
    for attribute in range(12, 15):
        assert sum(seen for (_, a), (_, seen) in known.items() if a == attribute) == 9
    for name, within in (("inferred", True), ("left_out", True), ("test", True), ("ood", False)):
        for row in np.flatnonzero(splits[name]):
            attribute, first, second, label = said[row]
            (left, left_seen), (right, right_seen) = known[first, attribute], known[second, attribute]
            assert first != second
            assert left_seen == right_seen == within
            assert label == 12 + 3 + 4 + 3 * (attribute - 12) + (0 if left < right else 1 if left == right else 2)


def test_splits_are_as_large_as_asked_and_both_orders_of_a_pair_are_on_one_side(drawn):
    _, said, splits, _ = drawn
    sizes = {name: int(mask.sum()) for name, mask in splits.items()}
    assert sizes == {
        "facts": 27,
        "unseen_facts": 9,
        "inferred": 54,
        "train": 90,
        "left_out": 27,
        "test": 30,
        "ood": 3 * 3 * 2,
    }
    asked = {name: {said[row][:3] for row in np.flatnonzero(splits[name])} for name in ("inferred", "left_out", "test")}
    assert sum(map(len, asked.values())) == len(set.union(*asked.values())) == 54 + 27 + 30
    assert {(a, second, first) for a, first, second in asked["test"]} == asked["test"]


def test_only_answers_count(drawn):
    _, said, _, weights = drawn
    assert [list(np.flatnonzero(of)) for of in weights] == [[len(row) - 2] for row in said]
    assert set(weights[weights > 0]) == {1.0}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"test_rows": 31}, "test_rows = 31: must be even"),
        ({"ratio": 4.0}, "ratio = 4.0: must be at most largest = 3"),
        ({"largest": 7.0}, "largest = 7.0: needs 219 comparisons in distribution with the test rows, of 216"),
    ],
)
def test_worlds_that_cannot_be_are_told(fields, why):
    with pytest.raises(jg.FieldError, match=why):
        Comparison(**WORLD | fields).check()
