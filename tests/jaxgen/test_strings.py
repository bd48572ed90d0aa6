"""Strings and their answers, checked row by row by plain Python."""

import functools
from collections import Counter
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import tasks

LENGTHS = {"shortest": 1, "longest": 4, "furthest": 7, "rows_each": 6}


def running(bits):
    """The scratchpad's numbers."""
    return [sum(bits[: i + 1]) % 2 for i in range(len(bits))]


def hinted(prompt):
    hints, bits = prompt[::2], prompt[1::2]
    work = [token for h, bit, p in zip(hints, bits, running(bits)) if bit for token in (h, p)]
    return [*work, sum(bits) % 2]


TASKS = {
    "copy": (tasks.CopyString(**LENGTHS, alphabet=3), lambda s: s),
    "distinct": (tasks.CopyString(**LENGTHS, alphabet=9, drawn="distinct", times=2), lambda s: s + s),
    "one": (tasks.CopyString(**LENGTHS, alphabet=9, drawn="one"), lambda s: s),
    "reversed": (tasks.CopyString(**LENGTHS, alphabet=9, order="reversed"), lambda s: s[::-1]),
    "sorted": (tasks.CopyString(**LENGTHS, alphabet=9, order="sorted"), sorted),
    "count": (tasks.CountUp(**LENGTHS, numbers=9), lambda s: list(range(s[0], s[1] + 1))),
    "mode": (tasks.StringMode(**LENGTHS, alphabet=9, kinds=3), lambda s: [Counter(s).most_common()[0][0]]),
    "parity": (tasks.StringParity(**LENGTHS), lambda s: [sum(s) % 2]),
    "hinted": (tasks.StringParity(**LENGTHS, hints=9), hinted),
    "and": (tasks.Conjunction(bits=7, constant=2, evaluated=20), lambda s: [min(s)]),
}


@functools.cache
def table(task):
    return jax.tree.map(np.asarray, jax.jit(task.examples)(jax.random.key(0)))


@functools.cache
def drawn(task, rows=400):
    return jax.tree.map(np.asarray, jax.jit(lambda key: task.draw(key, 0, rows))(jax.random.key(0)))


def pairs(task, found):
    """Prompt and answer of each row, once it is seen to be framed and weighted as it should."""
    start, separator, end, padding = range(task.symbols, task.symbols + 4)
    for inputs, labels, weights in zip(found.inputs, found.labels, found.weights):
        tokens = [*inputs.tolist(), int(labels[-1])]
        assert tokens[1:] == labels.tolist()
        assert tokens[0] == start
        between, last = tokens.index(separator), tokens.index(end)
        assert set(tokens[last + 1 :]) <= {padding}
        assert np.flatnonzero(weights).tolist() == list(range(between, last))
        assert set(weights.tolist()) <= {0.0, 1.0}
        yield tokens[1:between], tokens[between + 1 : last]


def length(task, prompt):
    if isinstance(task, tasks.CountUp):
        return prompt[1] - prompt[0] + 1
    return len(prompt) // 2 if getattr(task, "hints", 0) else len(prompt)


@pytest.mark.parametrize("name", TASKS)
def test_answers_are_those_of_plain_python(name):
    task, answer = TASKS[name]
    for found in (table(task), drawn(task)):
        for prompt, said in pairs(task, found):
            assert said == answer(prompt), prompt
            assert max(prompt + said) < task.symbols


@pytest.mark.parametrize("name", [name for name in TASKS if name != "and"])
def test_lengths_are_those_of_the_splits(name):
    task, _ = TASKS[name]
    found, at = table(task), [length(task, prompt) for prompt, _ in pairs(task, table(task))]
    assert task.rows() == {"train": 24, "test": 18}
    assert at == [n for n in range(1, 8) for _ in range(6)]
    for n in range(1, 8):
        np.testing.assert_array_equal(found.splits[f"length_{n}"], np.array(at) == n)
    fresh = Counter(length(task, prompt) for prompt, _ in pairs(task, drawn(task)))
    assert fresh.keys() == {1, 2, 3, 4}
    assert min(fresh.values()) > 60
    assert drawn(task).inputs.shape == (400, sum(task.room(4)) + 2)


def test_symbols_are_drawn_as_is_said():
    for name, rule in (("distinct", lambda s: len(set(s)) == len(s)), ("one", lambda s: len(set(s)) == 1)):
        task = TASKS[name][0]
        strings = [prompt for prompt, _ in pairs(task, table(task))]
        assert all(map(rule, strings))
        assert {symbol for string in strings for symbol in string} == set(range(9))
    task = TASKS["mode"][0]
    for prompt, _ in pairs(task, drawn(task)):
        counts = [count for _, count in Counter(prompt).most_common()]
        assert len(counts) <= 3
        assert counts[0] > max(counts[1:], default=0)


def test_hints_begin_anywhere():
    task = TASKS["hinted"][0]
    prompts = [prompt for prompt, _ in pairs(task, drawn(task))]
    for prompt in prompts:
        assert prompt[::2] == list(range(prompt[0], prompt[0] + len(prompt) // 2))
    assert {prompt[0] for prompt in prompts if len(prompt) == 8} == set(range(2, 8))  # the last hint is 10
    assert {prompt[-2] for prompt in prompts} == set(range(2, 11))


def test_pairs_that_are_uniform_are_of_short_strings():
    task = tasks.CountUp(**LENGTHS | {"longest": 6}, numbers=7, uniform="pairs")
    counts = Counter(tuple(prompt) for prompt, _ in pairs(task, drawn(task, 4000)))
    assert len(counts) == 27  # of lengths 1 to 6: 7 + 6 + 5 + 4 + 3 + 2
    assert min(counts.values()) > 90
    assert max(counts.values()) < 210  # 148 each


def test_constant_bits_are_0_in_test_rows_only():
    task = TASKS["and"][0]
    found = table(task)
    strings = np.array([prompt for prompt, _ in pairs(task, found)])
    train, test = strings[:20], strings[20:]
    assert train[:, 5:].all()
    assert test[:, :5].all()
    assert not test[:, 5:].all(1).any()
    np.testing.assert_array_equal(found.splits["ones"], np.arange(40) < 20 * strings.all(1))
    np.testing.assert_array_equal(found.splits["zeros"][:20], ~train.all(1))
    fresh = np.array([prompt for prompt, _ in pairs(task, drawn(task))])
    zeros = Counter((fresh == 0).sum(1).tolist())
    assert fresh[:, 5:].all()
    assert 150 < zeros.pop(0) < 250
    assert zeros.keys() == {1, 2, 3, 4, 5}
    assert min(zeros.values()) > 20  # 40 each


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("CopyString", {"longest": 20, "furthest": 20}, "longest"),
        ("CopyString", {"shortest": 11}, "longest"),
        ("CopyString", {"alphabet": 19, "drawn": "distinct"}, "alphabet"),
        ("CountUp", {"numbers": 19}, "numbers"),
        ("StringMode", {"alphabet": 4}, "kinds"),
        ("StringParity", {"hints": 19}, "hints"),
        ("Conjunction", {"constant": 20}, "constant"),
    ],
)
def test_what_cannot_be_is_refused(kind, fields, told):
    with pytest.raises(jg.FieldError) as error:
        getattr(tasks, kind)(**fields).check()
    assert error.value.field == told


@pytest.mark.parametrize(("step", "r2"), [(0.5, 1.0), (0.0, 0.0)])
def test_positions_are_fitted_where_the_residual_stream_holds_them(step, r2):
    task = tasks.CopyString(alphabet=3, longest=4, furthest=5, rows_each=4)
    model = jg.models.Decoder(width=8, heads=1, layers=1)
    found = table(task)
    params = jg.models.bind(model, task).init(jax.random.key(0), found.inputs)["params"]
    params = jax.tree.map(np.zeros_like, params)
    params["positions_vectors"][:, 2] = step * np.arange(found.inputs.shape[1]) + 1
    splits = {"train": np.arange(len(found.inputs)) < task.rows()["train"]}
    seen = SimpleNamespace(
        experiment=SimpleNamespace(model=model, task=task),
        params=params,
        inputs=found.inputs,
        weights=found.weights,
        splits=splits,
    )
    seen.params["embedding"][0, 3] = 1  # so that there is something to look at
    measured = jg.probes.PositionFit(layers=1).measure(seen)["position_r2"]
    assert measured == pytest.approx(r2, abs=1e-3) if r2 else measured < 0.5


def test_buckets_have_their_own_lengths_each_as_often():
    task = tasks.CopyString(alphabet=3, shortest=2, longest=7, furthest=8, buckets=3)
    parts = drawn(task, 3000)
    assert [part.inputs.shape for part in parts] == [(1000, 2 * n + 2) for n in (3, 5, 7)]
    counts = Counter()
    for part, lengths in zip(parts, ((2, 3), (4, 5), (6, 7))):
        found = Counter(len(prompt) for prompt, answer in pairs(task, part))
        assert {*found} == {*lengths}
        counts += found
    assert all(400 < count < 600 for count in counts.values())
    for prompt, answer in pairs(task, parts[1]):
        assert answer == prompt


@pytest.mark.parametrize(("fields", "told"), [({"longest": 5}, "must divide the 5 lengths"), ({}, "pairs are uniform")])
def test_buckets_need_uniform_lengths_that_they_divide(fields, told):
    given = {"longest": 4, "furthest": 8, "numbers": 20, "uniform": "pairs" if not fields else "lengths"}
    with pytest.raises(jg.FieldError, match=told):
        tasks.CountUp(**given | fields, buckets=2).check()
