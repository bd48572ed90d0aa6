"""Two-hop questions over a random world, checked by following the facts in plain Python."""

import jax
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.tasks import TwoHop

WORLD = {"entities": 12, "relations": 6, "degree": 5, "unseen": 0.2, "test_rows": 30, "ood_rows": 6}
WORLD |= {"ratio": 2.0, "largest": 3.0}


def drawn(seed=0, **fields):
    """A task and its table as NumPy has it, with the splits of `rows` beside its own."""
    task = TwoHop(**WORLD | fields)
    sizes = task.rows()
    found = jax.jit(lambda key: task.examples(key, {name: np.int32(count) for name, count in sizes.items()}))
    table = jax.tree.map(np.asarray, found(jax.random.key(seed)))
    splits, at = dict(table.splits), 0
    for name, count in sizes.items():
        splits[name] = (np.arange(len(table.labels)) >= at) & (np.arange(len(table.labels)) < at + count)
        at += count
    assert at == len(table.labels)
    return task, table, splits


def said(task, table, row):
    """The tokens of a row without its padding."""
    tokens = [*table.inputs[row], table.labels[row, -1]]
    return [int(token) for token in tokens if token != task.vocabulary - 1]


def facts(task, table):
    """Tails by head and relation, and which of them are in distribution."""
    known = {}
    for row in np.flatnonzero(table.splits["facts"] | table.splits["unseen_facts"]):
        head, relation, tail = said(task, table, row)
        assert (head, relation) not in known
        known[head, relation] = tail, bool(table.splits["facts"][row])
    return known


@pytest.mark.parametrize("answer", ["direct", "bridge", "filler"])
def test_answers_follow_from_two_facts_of_their_kind(answer):
    task, table, splits = drawn(answer=answer)
    known = facts(task, table)
    assert len(known) == 60
    assert sum(seen for _, seen in known.values()) == 48  # 60 - floor(.2 · 60)
    for name, seen in (("inferred", True), ("test", True), ("ood", False)):
        rows = np.flatnonzero(splits[name])
        for row in rows[(table.weights[rows] > 0).any(1)]:
            head, first, second, *between, tail = said(task, table, row)
            bridge, first_seen = known[head, first]
            assert (tail, seen) == known[bridge, second]
            assert first_seen == seen
            assert between == {"direct": [], "bridge": [bridge], "filler": [12 + 6]}[answer]


def test_splits_are_disjoint_and_as_large_as_asked():
    task, table, splits = drawn()
    assert {name: int(mask.sum()) for name, mask in splits.items()} == {
        "facts": 48,
        "unseen_facts": 12,
        "inferred": 96,
        "train": 156,
        "left_out": 48,
        "test": 30,
        "ood": 6,
    }
    hops = [
        tuple(said(task, table, row)[:3])
        for row in np.flatnonzero(splits["inferred"] | splits["left_out"] | splits["test"])
    ]
    assert len(set(hops)) == len(hops)


def test_only_answers_count():
    for answer, places in (("direct", [2]), ("bridge", [2, 3]), ("filler", [2, 3])):
        _, table, splits = drawn(answer=answer)
        for name, at in (("facts", [1]), ("inferred", places)):
            weights = table.weights[splits[name]]
            np.testing.assert_array_equal(weights.sum(0) > 0, np.isin(np.arange(weights.shape[1]), at))
            assert set(weights[:, at].ravel()) == {1.0}


def test_a_larger_ratio_has_the_rows_of_a_smaller_one_and_the_same_tests():
    task, few, few_splits = drawn(ratio=1.0)
    _, many, many_splits = drawn(ratio=3.0)
    rows = lambda table, mask: {tuple(said(task, table, row)) for row in np.flatnonzero(mask)}  # noqa: E731
    assert rows(few, few_splits["train"]) < rows(many, many_splits["train"])
    for name in ("test", "ood", "facts"):
        assert rows(few, few_splits[name]) == rows(many, many_splits[name])


@pytest.mark.parametrize("persistent", [False, True])
def test_wrong_bridges_are_of_rows_or_of_facts_and_never_in_tests(persistent):
    world = {"entities": 60, "relations": 20, "degree": 20, "largest": 4.0, "ratio": 4.0, "answer": "bridge"}
    task, table, splits = drawn(**world, wrong_bridges=0.4, persistent=persistent)
    known, wrong = facts(task, table), {}
    for row in np.flatnonzero(splits["inferred"]):
        head, first, second, bridge, tail = said(task, table, row)
        right = known[head, first][0]
        assert tail == known[right, second][0]  # the answer stays
        wrong.setdefault((head, first), []).append(bridge if bridge != right else None)
    shares = [np.mean([one is not None for one in of]) for of in wrong.values()]
    assert abs(np.mean(shares) - 0.4 * 59 / 60) < 0.05
    assert (set(shares) == {0.0, 1.0}) == persistent
    if persistent:
        assert all(len(set(of)) == 1 for of in wrong.values())
    for row in np.flatnonzero(splits["test"]):
        head, first, *_, bridge, _ = said(task, table, row)
        assert bridge == known[head, first][0]


def test_wrong_answers_leave_bridges_and_tests_right():
    world = {"entities": 60, "relations": 20, "degree": 20, "largest": 4.0, "ratio": 4.0, "answer": "bridge"}
    task, table, splits = drawn(**world, wrong_answers=0.3)
    known, wrong = facts(task, table), []
    for row in np.flatnonzero(splits["inferred"]):
        head, first, second, bridge, tail = said(task, table, row)
        assert bridge == known[head, first][0]
        wrong.append(tail != known[bridge, second][0])
    assert abs(np.mean(wrong) - 0.3 * 59 / 60) < 0.03
    _, clean, _ = drawn(**world)
    for name in ("test", "ood", "facts"):
        np.testing.assert_array_equal(table.labels[splits[name]], clean.labels[splits[name]])


def test_rows_that_a_world_lacks_count_for_nothing():
    task, table, splits = drawn(ood_rows=200)
    there = (table.weights[splits["ood"]] > 0).any(1)
    assert 0 < there.sum() < 200
    known = facts(task, table)
    hops = [(a, b) for a in known for b in known if known[a][0] == b[0] and not known[a][1] and not known[b][1]]
    assert there.sum() == len(hops)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"degree": 7}, "degree = 7: must be at most relations = 6"),
        ({"ratio": 4.0}, "ratio = 4.0: must be at most largest = 3"),
        ({"largest": 5.0}, "largest = 5.0: needs 270 two-hops"),
        ({"wrong_bridges": 0.1}, "wrong_bridges = 0.1: needs answer = bridge"),
    ],
)
def test_worlds_that_cannot_be_are_told(fields, why):
    with pytest.raises(jg.FieldError, match=why):
        TwoHop(**WORLD | fields).check()
