"""Anything at all as input ends well or in one line: never another exception, never a hang.

Each input has a deadline; `slow` tries ten times as many.
"""

import contextlib
import datetime
import inspect
import json
import math
import types
from pathlib import Path

import flax.struct
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import Program

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from jaxgen.components import KINDS
from sweeps.axes import grammar
from sweeps.cli import command, foretold
from sweeps.execution import launch, plan
from sweeps.storage.workdir import Workdir
from sweeps.studies import proposal, refine

BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=7, train_fraction=0.6),
    model=jg.models.QuadraticMLP(width=12),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1),
    training=jg.Training(steps=100, evaluate_every=10),
)
HUGE = 10**400


def tried(count: int):
    """Runs a test on so many inputs, or in `slow` on ten times as many; each may take five seconds."""

    def lift(test):
        deadline = datetime.timedelta(seconds=5)
        few, many = (
            settings(max_examples=n, deadline=deadline, suppress_health_check=list(HealthCheck), print_blob=True)
            for n in (count, 10 * count)
        )

        @pytest.mark.parametrize("size", ["some", pytest.param("many", marks=pytest.mark.slow)])
        def fuzz(size, request):
            (few if size == "some" else many)(test)()

        fuzz.__name__ = test.__name__
        return fuzz

    return lift


@flax.struct.dataclass
class Odd:
    """A component of no kind."""

    value: float = 1.0


numbers = st.one_of(
    st.integers(-3, 40),
    st.floats(),
    st.sampled_from([0, 1, 2, 31, 0.5, 1e-300, 3.5e38, 1e308, 2**31 - 1, 2**31, 2**63, HUGE, -HUGE, 10**4000]),
)
names = st.sampled_from(
    [*BASE.paths(), "task.type", "seed.x", "", ".", "task.", "nope", "model.vocabulary", "x.y.z", "type", "schema"]
)
words = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["relu", "MLP", "CrossEntropy", "float64", "none", "quick", "four_phases", "a\nb", "\0", "\ud800"]),
)
things = st.sampled_from(
    [
        None,
        True,
        BASE,
        jg.Experiment,
        jg.models.MLP(),
        jg.models.MLP,
        jg.losses.CrossEntropy(),
        jg.optimizers.SGD(),
        jg.tasks.SparseParity(bits=5, samples=20),
        jg.Training(steps=20, evaluate_every=10),
        sweeps.seeds(2),
        sweeps.sweep("task.p", [5, 7]),
        sweeps.Range(0, 1),
        sweeps.Drawing("d", "task.p", "seed"),
        sweeps.Scale(),
        sweeps.Claim("1", "text", lambda evidence: []),
        sweeps.labels.FOUR_PHASES,
        Odd(),
        Odd,
        object(),
        len,
        b"bytes",
        1j,
        {1, 2},
        range(3),
        np.float32(0.5),
        np.int64(5),
        np.arange(3),
        np.array(2.5),
        np.datetime64("2020"),
        iter([1, 2]),
    ]
)
atoms = st.one_of(numbers, words, names, things)
anything = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(names, words, st.integers(0, 2)), inner, max_size=3),
    ),
    max_leaves=6,
)


def refused_or_done(call, *arguments, **named):
    """What a call gives; None where it refuses its input."""
    with contextlib.suppress(FieldError):
        return call(*arguments, **named)
    return None


pieces = st.one_of(
    names,
    words,
    numbers.map(lambda n: "9" * 400 if abs(n) > 1e300 or n != n else repr(n)),
    st.sampled_from(
        ["=", ",", "(", ")", "[", "]", "linspace", "logspace", "range", " ", ".", "-", "e", "inf", "nan", "true", "_"]
    ),
    st.sampled_from(["linspace(0,1,3)", "range(99999999999999999999999)", "logspace(-2,400,3)", "1" * 400, "1_0"]),
)


@tried(600)
@given(st.lists(pieces, max_size=8).map("".join))
def test_set_takes_any_text(text):
    for given_text in (text, f"task.p={text}"):
        sweep = refused_or_done(command.set_axes, BASE, sweeps.seeds(2), [given_text], None)
        assert sweep is None or len(sweep) >= 1
    refused_or_done(grammar.values, text)


def flag_texts():
    """Command lines of launch_sweep: its flags with values that fit now and then."""
    value = st.one_of(
        numbers.map(lambda n: "9" * 400 if isinstance(n, int) and abs(n) > 1e300 else repr(n)),
        words,
        names,
        st.tuples(names, st.lists(pieces, min_size=1, max_size=4).map("".join)).map("=".join),
        st.sampled_from(["task.train_fraction,optimizer.weight_decay", "seed=0,1", "task.p=5", "quickstart", "smoke"]),
    )
    flags = (
        "set seeds refine budget goal key dry_run on_grid stop_after_hours max_compiles width devices scale "
        "checkpoint_seconds for price_per_hour"
    )
    flag = st.one_of(
        st.tuples(st.sampled_from(flags.split()), value).map(lambda pair: f"--{pair[0]}={pair[1]}"),
        st.sampled_from(
            ["--dry_run", "--noon_grid", "--on_grid", "--refine=task.train_fraction,optimizer.weight_decay"]
        ),
        st.one_of(words, names),
    )
    writable = lambda text: text.encode("utf-8", "replace").decode()  # noqa: E731 (stderr writes the rest as \\u…)
    return st.lists(flag.map(writable), max_size=4)


@pytest.fixture(scope="module")
def launch_sweep():
    return Program("launch_sweep")


@pytest.fixture
def planned_only(monkeypatch, launch_sweep):
    """Programs check and plan, but trace and train nothing."""

    def run_recipe(recipe, points, workdir, **options):
        launch._planned(recipe.base, points, Workdir.at(workdir), recipe.name, options)
        return None, 0

    def refined(base, sides, workdir, rounds, *, name, definition, description, changed, **options):
        plane, _, begun = refine.checked(base, sides, Path(workdir), rounds)
        points = refine.as_sweep(sides, begun or [proposal.propose([], [], [], [], plane, 1)])
        launch._planned(base, points, Workdir.at(workdir), name, options)

    monkeypatch.setattr(command, "users_frames", lambda error: [])  # or these functions are the user's
    monkeypatch.setattr(plan, "rehearse", lambda template, seen: None)
    monkeypatch.setattr(plan, "MAX_RUNS", 2000)
    monkeypatch.setitem(proposal.MOST, "budget", 2000)
    monkeypatch.setattr(launch, "predict", lambda plan, *_: types.SimpleNamespace(low=1.0, high=2.0, bytes=2**20))
    monkeypatch.setattr(command, "run_recipe", run_recipe)
    monkeypatch.setattr(foretold, "show_plan", lambda *_: None)
    monkeypatch.setattr(command, "exit_if_stopped", lambda results: 0)
    monkeypatch.setattr(refine, "refine", refined)
    monkeypatch.setattr(refine, "outcomes", lambda *_: ([], [], [], []))


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_launch_takes_any_flags(count, launch_sweep, planned_only, tmp_path, capsys):
    @settings(
        max_examples=count,
        deadline=datetime.timedelta(seconds=5),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(flag_texts())
    def fuzz(texts):
        capsys.readouterr()
        code = launch_sweep("--recipe=quickstart", "--scale=smoke", f"--workdir={tmp_path / 'none'}", *texts)
        said = capsys.readouterr().err
        assert code in (0, 2)
        assert len(said.splitlines()) == (code == 2), said

    fuzz()
    assert not (tmp_path / "none").exists()


@tried(400)
@given(st.dictionaries(st.one_of(names, words, st.integers(0, 2)), anything, max_size=3) | anything)
def test_override_takes_anything(values):
    experiment = refused_or_done(BASE.override, values)
    if experiment is not None:
        assert jg.Experiment.from_json(experiment.to_json()).run_id == experiment.run_id


@tried(200)
@given(st.dictionaries(st.sampled_from([*KINDS, "seed", "split_seed"]), anything, max_size=3))
def test_experiment_takes_anything(parts):
    refused_or_done(jg.Experiment, **{**vars(BASE), **parts})


def changed(data, path, value):
    """Plain data with one place of it replaced; the empty path is all of it."""
    if not path or not isinstance(data, dict):
        return value
    return {**data, path[0]: changed(data.get(path[0]), path[1:], value)}


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        names,
        numbers.filter(lambda n: abs(n) < 10**4000 or n != n),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.one_of(names, st.text(max_size=5)), inner, max_size=3)
    ),
    max_leaves=6,
)
places = st.one_of(
    st.tuples(),
    st.tuples(st.sampled_from([*KINDS, "seed", "split_seed", "schema", "nope"])),
    st.sampled_from([tuple(path.split(".")) for path in BASE.paths() if "." in path] + [(k, "type") for k in KINDS]),
)


@tried(400)
@given(places, json_values)
def test_json_takes_anything(place, value):
    text = json.dumps(changed(BASE.to_dict(), place, value))
    for given_text in (text, text[:-1], text.encode()):
        experiment = refused_or_done(jg.Experiment.from_json, given_text)
        if experiment is not None:
            assert jg.Experiment.from_json(experiment.to_json()) == experiment


@tried(200)
@given(places, anything)
def test_plain_data_takes_anything(place, value):
    refused_or_done(jg.Experiment.from_dict, changed(BASE.to_dict(), place, value))
    refused_or_done(jg.Experiment.from_json, value)


RECIPES = {
    sweeps.Recipe: ("base", "sweep", "name", "description", "definition", "drawings", "claims"),
    sweeps.Study: ("name", "base", "scales", "paper", "description", "definition", "axes", "drawings", "claims"),
    sweeps.Scale: ("seeds", "overrides", "axes", "claim_seeds", "definition"),
    sweeps.Drawing: ("name", "x", "y", "panels", "contour", "labels"),
    sweeps.Claim: ("name", "text", "measure", "published", "arms", "more_seeds", "planned"),
    sweeps.Effect: ("name", "measured", "above", "note", "within", "below", "published", "gate", "share"),
    sweeps.Range: ("low", "high", "log"),
    proposal.Plane: ("x", "y", "seeds"),
    sweeps.Options: ("width", "intervals", "stop_after_hours", "max_compiles", "checkpoint_seconds"),
    sweeps.Label: ("name", "colour", "ink"),
    sweeps.Labelling: ("name", "labels", "assign", "event", "event_name", "undecided", "curves"),
}
GOOD = {
    sweeps.Recipe: {"base": BASE, "sweep": sweeps.seeds(2)},
    sweeps.Study: {
        "name": "s",
        "base": BASE,
        "scales": {"quick": sweeps.Scale()},
        "axes": {"task.p": [5, 7], "optimizer.weight_decay": [0.1]},
        "drawings": [sweeps.Drawing("d", "task.p", "optimizer.weight_decay")],
    },
    sweeps.Scale: {},
    sweeps.Drawing: {"name": "d", "x": "task.p", "y": "seed"},
    sweeps.Claim: {"name": "1", "text": "t", "measure": len},
    sweeps.Effect: {"name": "e", "measured": {0: 1.0}},
    sweeps.Range: {"low": 0, "high": 1},
    proposal.Plane: {"x": sweeps.Range(0, 1), "y": [1, 2]},
    sweeps.Options: {},
    sweeps.Label: {"name": "l", "colour": "#000000"},
    sweeps.Labelling: {
        "name": "l",
        "labels": [sweeps.Label("a", "#000000")],
        "assign": len,
        "event": ["a"],
        "event_name": "e",
    },
}


@tried(400)
@given(st.data())
def test_recipes_take_anything(data):
    kind = data.draw(st.sampled_from(list(RECIPES)))
    wrong = data.draw(st.dictionaries(st.sampled_from(RECIPES[kind]), anything, min_size=1, max_size=2))
    made = refused_or_done(kind, **{**GOOD[kind], **wrong})
    if isinstance(made, sweeps.Study):
        for scale in [*made.scales, data.draw(anything)]:
            refused_or_done(made.at, scale, data.draw(anything))


makers = st.sampled_from(
    [
        sweeps.sweep,
        sweeps.fixed,
        sweeps.product,
        sweeps.tie,
        sweeps.chain,
        sweeps.linspace,
        sweeps.logspace,
        sweeps.seeds,
    ]
)


@tried(400)
@given(makers, st.lists(anything, max_size=3))
def test_axes_take_anything(make, arguments):
    try:
        inspect.signature(make).bind(*arguments)
    except TypeError:  # too few or too many
        return
    made = refused_or_done(make, *arguments)
    if isinstance(made, sweeps.Sweep):
        assert len(repr(made)) < math.inf
        refused_or_done(made.__getitem__, slice(0, 2))


@tried(150)
@given(st.data())
def test_plans_take_anything(data):
    parts = data.draw(
        st.lists(
            st.builds(lambda p, v: refused_or_done(sweeps.sweep, p, v), names, st.lists(atoms, max_size=3)), max_size=3
        )
    )
    sweep = refused_or_done(sweeps.product, *(part for part in parts if part is not None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "rehearse", lambda template, seen: None)
        refused_or_done(plan.make_plan, BASE, sweep)
