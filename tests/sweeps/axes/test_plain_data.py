"""A sweep is data: what is written of it makes the same points, and the same plan, elsewhere."""

import json
import os
import subprocess
import sys

import pytest
from flax.core import FrozenDict
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from sweeps.axes.algebra import Axis, Chain, Points, Product, Tie
from sweeps.execution.plan import make_plan
from sweeps.recipes.quickstart import BASE

LOSSES = [jg.losses.CrossEntropy(), jg.losses.MeanSquaredError(), jg.losses.CrossEntropy(dtype="float16")]
GROUPS = jg.optimizers.Groups(
    default=jg.optimizers.AdamW(schedule=jg.schedules.Cosine(steps=100)),
    groups=FrozenDict({"embeddings": jg.optimizers.SGD()}),
)
texts = st.text(max_size=3)
numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
values = st.none() | st.booleans() | texts | numbers | st.sampled_from(LOSSES) | st.tuples(numbers, st.tuples(texts))
ranges = st.builds(range, st.integers(-9, 9), st.integers(10, 15), st.integers(1, 5)).map(list)


@st.composite
def nested(draw, paths=("a", "b", "c", "loss"), deep=3):
    """A sweep that sets some of the paths, each once."""
    form = draw(st.sampled_from(["axis", "product", "tie", "chain"])) if deep else "axis"
    if form == "axis" or (len(paths) < 2 and form != "chain"):
        listed = st.lists(values, min_size=1, max_size=5, unique=True) | ranges
        return sweeps.sweep(draw(st.sampled_from(paths)), draw(listed))
    if form == "chain":
        return sweeps.chain(*draw(st.lists(nested(paths, deep - 1), max_size=3)))
    cut = draw(st.integers(1, len(paths) - 1))
    parts = [draw(nested(paths[:cut], deep - 1)), draw(nested(paths[cut:], deep - 1))]
    if form == "tie" and len(parts[0]) == len(parts[1]):
        return sweeps.tie(*parts)
    return sweeps.product(*parts)


@settings(deadline=None, max_examples=40)
@given(nested())
def test_what_is_written_makes_the_same_points_in_the_same_order(sweep):
    again = sweeps.Sweep.from_json(sweep.to_json())
    assert again == sweep
    assert len(again) == len(sweep)
    assert list(again) == list(sweep) == [again[i] for i in range(len(sweep))]
    assert again.axes == sweep.axes
    assert [list(map(type, p.values())) for p in again] == [list(map(type, p.values())) for p in sweep]
    assert again.to_json() == sweep.to_json()


SWEEP = sweeps.chain(
    sweeps.product(
        sweeps.tie(sweeps.sweep("loss", LOSSES), sweeps.sweep("seed", [5, 6, 9])), sweeps.fixed("task.p", 7)
    ),
    sweeps.product(sweeps.sweep("optimizer", [GROUPS]), sweeps.sweep("optimizer.default.schedule.warmup", [1, 2])),
    sweeps.product(sweeps.sweep("training.probes", [("loss", jg.probes.Every("zeros", 100)), ("loss", "metrics")])),
    sweeps.sweep("optimizer.schedule", [None, "Warmup", jg.schedules.Cosine(steps=9)]),
    sweeps.sweep("start", [jg.starts.FromRun(parent=BASE, transforms=(jg.starts.Prune(rate=0.5),))]),
    sweeps.seeds(4),
)


def run_ids(sweep):
    return [BASE.override(point).run_id for point in sweep]


def test_another_process_plans_the_same_runs():
    code = "import sys, sweeps; from sweeps.recipes.quickstart import BASE\n"
    code += "print(*(BASE.override(p).run_id for p in sweeps.Sweep.from_json(sys.stdin.read())))"
    asked = [sys.executable, "-c", code]
    there = subprocess.run(asked, input=SWEEP.to_json(), env=os.environ, capture_output=True, text=True, check=True)
    assert there.stdout.split() == run_ids(SWEEP)


def test_the_plan_is_the_same():
    sweep = sweeps.chain(SWEEP.parts[0], SWEEP.parts[5])
    one, other = make_plan(BASE, sweep), make_plan(BASE, sweeps.Sweep.from_dict(sweep.to_dict()))
    assert one.run_ids == other.run_ids
    assert [g.pending for g in one.groups] == [g.pending for g in other.groups]


def test_the_functions_make_data():
    a, b = sweeps.sweep("a", [1, 2]), sweeps.sweep("b", [3, 4])
    assert a == Axis("a", (1, 2))
    assert (sweeps.product(a, b), sweeps.tie(a, b)) == (Product((a, b)), Tie((a, b)))
    assert sweeps.chain(a, b) == Chain((a, b)) != Chain((b, a))
    assert sweeps.seeds(3).to_dict() == {"axis": "seed", "range": [0, 3, 1]}
    assert sweeps.product(a, b).to_dict() == {
        "product": [{"axis": "a", "values": [1, 2]}, {"axis": "b", "values": [3, 4]}]
    }
    assert sweeps.product().to_dict() == {"product": []}
    assert list(sweeps.product()) == [{}]


def test_large_sweeps_are_written_small():
    whole = sweeps.product(*(sweeps.sweep(name, range(10**5)) for name in "ab"), sweeps.seeds(10**5))
    assert len(whole.to_json()) < 200
    assert whole.entries == 3
    assert len(sweeps.Sweep.from_json(whole.to_json())) == 10**15


def test_points_without_a_rule_are_data_too():
    points = Points(("a", "loss"), ((1, LOSSES[0]), (2, LOSSES[1]), (1, LOSSES[1])))
    assert list(points) == [{"a": 1, "loss": LOSSES[0]}, {"a": 2, "loss": LOSSES[1]}, {"a": 1, "loss": LOSSES[1]}]
    assert points.axes == {"a": [1, 2], "loss": LOSSES[:2]}
    assert sweeps.Sweep.from_json(points.to_json()) == points
    with pytest.raises(FieldError, match="a value for each of 2 paths"):
        Points(("a", "b"), ((1,),))


def test_tables_of_components_come_back():
    groups = FrozenDict({"embeddings": jg.optimizers.SGD(), "rest": jg.optimizers.AdamW()})
    sweep = sweeps.sweep("optimizer.groups", [groups])
    assert sweeps.Sweep.from_json(sweep.to_json()) == sweep


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"axis": "a"},
        {"axis": 1, "values": [1]},
        {"axis": "a", "values": 1},
        {"axis": "a", "values": []},
        {"axis": "a", "values": [1, 1]},
        {"axis": "a", "values": [1e999]},
        {"axis": "a", "range": [0, 3, 0]},
        {"axis": "a", "range": [0, 10**9, 1]},
        {"axis": "a", "range": [0, 10**30, 1]},
        {"axis": "a", "range": [0, 3]},
        {"axis": "a", "values": [1], "more": 1},
        {"axis": "loss", "values": [{"type": "Nothing"}]},
        {"axis": "loss", "values": [{"type": "CrossEntropy", "nothing": 1}]},
        {"product": [{"axis": "a", "values": [1]}, {"axis": "a", "values": [2]}]},
        {"tie": [{"axis": "a", "values": [1]}, {"axis": "b", "values": [2, 3]}]},
        {"product": {"axis": "a", "values": [1]}},
        {"points": {"paths": ["a"], "rows": [[1, 2]]}},
        {"points": {"paths": ["a", "a"], "rows": []}},
        {"points": {"paths": 1, "rows": []}},
        {"sum": []},
    ],
)
def test_what_was_not_written_so_is_refused(data):
    with pytest.raises(FieldError):
        sweeps.Sweep.from_dict(data)
    with pytest.raises(FieldError):
        sweeps.Sweep.from_json(json.dumps(data))


def test_what_is_nested_too_deep_is_refused():
    data = {"axis": "a", "values": [1]}
    for _ in range(10**4):
        data = {"chain": [data]}
    with pytest.raises(FieldError, match="too deep"):
        sweeps.Sweep.from_dict(data)
    for text in ("{", 1, b"\xff", '{"chain": [' * 10**5):
        with pytest.raises(FieldError, match="json"):
            sweeps.Sweep.from_json(text)
