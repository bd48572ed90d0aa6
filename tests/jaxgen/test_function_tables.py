"""Compositions of random tables, and k-coverage, checked by enumeration in plain Python."""

import itertools

import jax
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.tasks import FunctionTables, coverage_cutoff, covered_shares, rows_to_cover

WORLD = {"size": 5, "ratio": 1.0, "largest": 1.6, "unseen": 0.2, "test_rows": 30, "ood_rows": 12}
OUR_OWN = {"subsets": ((0, 1),), "same_target": False}  # of the numbers below, which are not the paper's


def drawn(seed=0, **fields):
    """A task and its table, with the rows of each split that are there; extra splits by name."""
    task = FunctionTables(**WORLD | fields)
    task.check()
    counts = task.rows()
    found = jax.jit(lambda key: task.examples(key, {name: np.int32(count) for name, count in counts.items()}))
    table = jax.tree.map(np.asarray, found(jax.random.key(seed)))
    said = np.concatenate([table.inputs, table.labels[:, -1:]], axis=1)
    there, splits, at = (table.weights > 0).any(1), {}, 0
    for name, count in counts.items():
        index = np.arange(at, at + count)
        splits[name] = [tuple(map(int, row)) for row in said[index[there[index]]]]
        at += count
    assert at == len(said)
    splits |= {name: [tuple(map(int, row)) for row in said[mask & there]] for name, mask in table.splits.items()}
    return table, splits


def tables(splits, form, bridges):
    """f₁ and f₂ as what is said of them, which must not contradict itself."""
    first, second = {}, {}
    for x1, x2, x3, *_, t in itertools.chain.from_iterable(splits.values()):
        b = bridges[x1, x2]
        assert first.setdefault((x1, x2), b) == b
        assert second.setdefault((b, x3) if form == "two_hop" else (b, x2, x3), t) == t
    return first, second


def bridge_of(form):
    """b by x₁ and x₂, as the rows that say it do."""
    _, splits = drawn(form=form, answer="bridge")
    return {row[:2]: row[3] for row in itertools.chain.from_iterable(splits.values())}


@pytest.mark.parametrize("form", ["two_hop", "non_tree"])
@pytest.mark.parametrize("answer", ["direct", "bridge", "filler"])
def test_answers_are_compositions_and_splits_are_by_the_calls_of_train_rows(form, answer):
    table, splits = drawn(form=form, answer=answer)
    bridges = bridge_of(form)
    tables(splits, form, bridges)
    between = {"direct": (), "bridge": None, "filler": (5,)}[answer]
    for row in itertools.chain.from_iterable(splits.values()):
        assert row[3:-1] == ((bridges[row[:2]],) if between is None else between)
    call = lambda r: (bridges[r[:2]], r[2]) if form == "two_hop" else (bridges[r[:2]], r[1], r[2])  # noqa: E731
    firsts, seconds = {row[:2] for row in splits["train"]}, {call(row) for row in splits["train"]}
    kinds = {"test": (True, True), "first_unseen": (False, True), "second_unseen": (True, False)}
    for name, kind in (kinds | {"both_unseen": (False, False)}).items():
        assert {(row[:2] in firsts, call(row) in seconds) for row in splits[name]} == {kind}
    assert len(splits["train"]) == 25
    assert len(splits["left_out"]) == 15
    assert set(table.weights[:, :2].ravel()) == {0.0}
    assert sorted(map(str, splits["test"])) == sorted(str(row) for k in range(4) for row in splits[f"k{k}"])


def test_no_row_is_in_two_splits_and_tables_are_seen_in_part():
    _, splits = drawn(test_rows=125, ood_rows=125, size=5)
    rows = [row for name in drawn()[1] if name[0] != "k" for row in splits[name]]
    assert len(rows) == len(set(rows)) == 125
    unseen = {row[:2] for row in rows} - {row[:2] for row in splits["train"] + splits["left_out"]}
    assert len(unseen) >= 5  # a fifth of the 25 pairs is not trained on, whatever the ratio is


def test_a_larger_ratio_has_the_rows_of_a_smaller_one():
    few, many = drawn(ratio=0.8)[1], drawn(ratio=1.4)[1]
    assert len(few["train"]) == 20
    assert set(few["train"]) < set(many["train"])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"ratio": 1.7}, "ratio = 1.7: must be at most largest = 1.6"),
        ({"ratio": 0.01}, "ratio = 0.01: leaves no train row"),
        ({"largest": 3.3}, r"largest = 3.3: must be at most \(1 - unseen\)² · size = 3.2,"),
        ({"test_rows": 126}, "test_rows = 126: must be at most the 125 inputs"),
    ],
)
def test_worlds_that_cannot_be_are_told(fields, why):
    with pytest.raises(jg.FieldError, match=why):
        FunctionTables(**WORLD | fields).check()


def covered(targets, seen, k, subsets, same_target):
    """The inputs k-covered, by following links one by one."""
    d = targets.ndim
    inputs, links = [*np.ndindex(targets.shape)], {place: set() for place in np.ndindex(targets.shape)}
    for some in subsets:
        others = [i for i in range(d) if i not in some]
        behaviour = {}
        for place in inputs:
            fragment, rest = tuple(place[i] for i in some), tuple(place[i] for i in others)
            known = behaviour.setdefault(fragment, {})
            if seen[place]:
                known[rest] = targets[place]
        owner = {fragment: fragment for fragment in behaviour}

        def root(fragment):
            while owner[fragment] != fragment:  # noqa: B023
                fragment = owner[fragment]  # noqa: B023
            return fragment

        for one, other in itertools.combinations(behaviour, 2):
            shared = behaviour[one].keys() & behaviour[other].keys()
            if len(shared) >= k and all(behaviour[one][rest] == behaviour[other][rest] for rest in shared):
                owner[root(one)] = root(other)
        for one, other in itertools.combinations(inputs, 2):
            alike = root(tuple(one[i] for i in some)) == root(tuple(other[i] for i in some))
            allowed = not same_target or targets[one] == targets[other]
            if alike and allowed and all(one[i] == other[i] for i in others):
                links[one].add(other)
                links[other].add(one)
    reached, left = set(), [place for place in inputs if seen[place]]
    while left:
        place = left.pop()
        if place not in reached:
            reached.add(place)
            left += links[place]
    return reached


@pytest.mark.parametrize("same_target", [True, False])
@pytest.mark.parametrize("subsets", [None, ((0, 1),), ((2,), (0,))])
def test_coverage_is_that_of_following_every_link(subsets, same_target):
    every = subsets or [some for size in (1, 2) for some in itertools.combinations(range(3), size)]
    levels = set()
    for seed, (n, density) in enumerate([(2, 0.5), (3, 0.4), (3, 0.7), (4, 0.5), (4, 0.7)]):
        random = np.random.default_rng(seed)
        first, second = random.integers(0, n, (2, n, n))
        targets = second[first[:, :, None], np.arange(n)[None, None]].astype(np.int32)
        seen = random.random((n, n, n)) < density
        found = np.asarray(coverage_cutoff(targets, seen, 3, subsets, same_target))
        for k in (1, 2, 3):
            assert {*zip(*map(list, np.nonzero(found >= k)))} == covered(targets, seen, k, every, same_target)
        assert (found[seen] == 3).all()
        levels |= set(found[~seen].tolist())
    assert len(levels) > 1


def test_functions_of_two_and_four_inputs_have_coverage_too():
    for positions, n in ((2, 4), (4, 2)):
        random = np.random.default_rng(positions)
        targets = random.integers(0, 2, (n,) * positions).astype(np.int32)
        seen = random.random(targets.shape) < 0.6
        every = [s for size in range(1, positions) for s in itertools.combinations(range(positions), size)]
        found = np.asarray(coverage_cutoff(targets, seen, 2))
        for k in (1, 2):
            assert {*zip(*map(list, np.nonzero(found >= k)))} == covered(targets, seen, k, every, True)


def shares(size, form, train, worlds=3, **how):
    task = FunctionTables(size=size, form=form, test_rows=1, ood_rows=0)
    found = jax.jit(lambda key: covered_shares(task, key, np.int32(train), **how))
    return np.mean([found(jax.random.key(world)) for world in range(worlds)], axis=0)


@pytest.mark.parametrize(
    ("size", "train", "expected"),
    [
        (12, 254, (0.98, 0.42, 0.10)),
        (12, 508, (1.00, 0.99, 0.86)),
        (16, 602, (0.99, 0.69, 0.30)),
        (16, 802, (1.00, 0.94, 0.66)),
        (20, 392, (0.86, 0.03, 0.00)),
        (20, 1176, (1.00, 0.88, 0.51)),
        (25, 2296, (1.00, 0.96, 0.76)),
    ],
)
def test_shares_covered_are_those_of_an_independent_program(size, train, expected):
    """Means over three worlds of others' random numbers, which differ by some hundredths."""
    np.testing.assert_allclose(shares(size, "two_hop", train, **OUR_OWN), expected, atol=0.1)


def test_what_the_bridge_does_not_determine_is_covered_all_the_same():
    assert (shares(20, "non_tree", 3000, worlds=1) > 0.98).all()


@pytest.mark.slow
def test_rows_for_coverage_grow_by_the_powers_of_theory():
    """n^(2.5 - .5/k); of I = {x₁, x₂}. At n = 16, 20, 25: (550, 919, 1164), (752, 1664, 2107), (1002, 2746, 3495)."""
    sizes = (16, 20, 25)
    found = np.array([rows_to_cover(FunctionTables(size=n), worlds=6, **OUR_OWN) for n in sizes])
    np.testing.assert_allclose(found, [[550, 919, 1164], [752, 1664, 2107], [1002, 2746, 3495]], rtol=0.3)
    slopes = np.polyfit(np.log(sizes), np.log(found), 1)[0]
    np.testing.assert_allclose(slopes, [2.0, 2.25, 2.33], atol=0.3)
