"""Parts of an experiment that break their promises, and sizes beyond all bounds, are named before anything compiles."""

import itertools
import json
import sys

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from jaxgen.errors import shown
from sweeps.execution.plan import make_plan
from sweeps.execution.replay import replay
from sweeps.storage.workdir import Workdir


def task(**methods):
    """A task of modular addition with other methods."""
    return flax.struct.dataclass(type("Own", (jg.tasks.ModularAddition,), {"__module__": __name__, **methods}))(p=7)


def loss(function):
    return flax.struct.dataclass(type("Own", (), {"__module__": __name__, "__call__": function}))()


def optimizer(function):
    return flax.struct.dataclass(type("Own", (), {"__module__": __name__, "transform": function}))()


def weighing(weights):
    """Examples of modular addition with these weights."""

    def examples(self, key):
        found = jg.tasks.ModularAddition(p=7).examples(key)
        return found.replace(weights=jnp.broadcast_to(weights, 49) if jnp.ndim(weights) == 0 else weights)

    return examples


@flax.struct.dataclass
class Forgetful:
    """Its memory grows."""

    def init(self, e):
        return jnp.zeros(1)

    def measure(self, e, memory):
        return {"length": 1.0}, jnp.zeros(len(memory) + 1)


@flax.struct.dataclass
class Spectra:
    """Singular values of its inputs, of so many matrices at once."""

    matrices: int = jg.static(1)

    def measure(self, e):
        matrices = jnp.full((self.matrices, 24, 24), e.step, jnp.float32)
        return {"spectra": jnp.linalg.svd(matrices, compute_uv=False).sum()}


class Orthogonal(nn.Module):
    """Weights whose columns are orthogonal, which flax makes by LAPACK."""

    outputs: int | None = None

    @nn.compact
    def __call__(self, x):
        made = nn.initializers.orthogonal()
        return nn.Dense(self.outputs, kernel_init=made)(nn.Dense(64, kernel_init=made)(jax.nn.one_hot(x[:, 0], 7)))


@flax.struct.dataclass
class WeighsOutputs(jg.Regression):
    """Two numbers as label, each with a weight."""

    outputs: int = jg.static(2)

    def rows(self):
        return {"train": 10, "test": 20}

    def examples(self, key):
        return jg.Examples(jnp.ones((30, 3)), jnp.ones((30, 2)), weights=jnp.ones((30, 2)))


PARENT = jg.Experiment(
    jg.tasks.ModularAddition(p=7), jg.models.QuadraticMLP(width=12), jg.losses.CrossEntropy(), jg.optimizers.AdamW()
)


@flax.struct.dataclass
class Gives:
    """A number without a name, or an array of a shape."""

    shape: tuple = jg.static(())

    def measure(self, e):
        return {"x": jnp.zeros(self.shape)} if self.shape else jnp.zeros(())


@flax.struct.dataclass
class Broken:
    """Measures nothing."""

    def measure(self, e):
        raise ArithmeticError("no number")


class Net(nn.Module):
    """A layer, and after it what the test is about."""

    what: str = "nothing"

    @nn.compact
    def __call__(self, x):
        if self.what == "no parameters":
            return jax.nn.one_hot(x[:, 0], 7)
        x = nn.Dense(7)(x.astype(jnp.float32))
        if self.what == "statistics":
            return nn.BatchNorm(use_running_average=False)(x)
        return nn.Dropout(0.5, deterministic=False)(x) if self.what == "dropout" else None


@jax.custom_vjp
def one_way(outputs):
    return outputs


def no_way_back(*_):
    raise ArithmeticError("no way back")


one_way.defvjp(lambda outputs: (outputs, None), no_way_back)


def only_before_a_step(self, outputs, labels):
    if len(outputs) < 49:
        raise ArithmeticError("a step has fewer rows")
    return outputs[:, 0]


def ends_the_program(self, *_):
    sys.exit(0)


@pytest.fixture(autouse=True)
def no_source(monkeypatch):
    """Classes that are made by a function have no source of their own."""
    names = lambda cls: cls.__qualname__  # noqa: E731
    monkeypatch.setattr(jg.components, "type_name", names)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: {"task": task(rows=lambda self: None)}, r"task.rows = None: must give how many rows each split has"),
        (lambda: {"task": task(rows=lambda self: {"train": 2.5})}, "must give how many rows each split has"),
        (lambda: {"task": task(rows=lambda self: {"train": 0, "test": 49})}, "at least one row to train on"),
        (lambda: {"task": task(rows=lambda self: {"train": 10**9})}, "1000000000: a task has at most 16,777,216 rows"),
        (lambda: {"task": task(examples=lambda self, key: None)}, "task = 'Own': its examples cannot be made"),
        (lambda: {"task": task(outputs=None)}, "task.outputs = None: must be a whole number"),
        (lambda: {"loss": loss(lambda self, o, y: None)}, r"loss = None: must give one value per label, shape \(49,\)"),
        (lambda: {"loss": loss(lambda self, o, y: y)}, "loss = 'int32': must give real numbers"),
        (lambda: {"loss": loss(lambda self, o, y: o.nope)}, "fails on the outputs of QuadraticMLP: AttributeError"),
        (lambda: {"loss": loss(ends_the_program)}, "loss = 'Own': fails on the outputs of QuadraticMLP: SystemExit: 0"),
        (lambda: {"optimizer": optimizer(ends_the_program)}, "optimizer = 'Own': cannot be made .*: SystemExit: 0"),
        (lambda: {"loss": loss(only_before_a_step)}, "loss = 'Own': no step can be made: ArithmeticError: a step has"),
        (
            lambda: {"optimizer": optimizer(lambda self: optax.GradientTransformation(lambda p: (), ends_the_program))},
            "optimizer = 'Own': no step can be made: SystemExit: 0",
        ),
        (
            lambda: {"loss": loss(lambda self, o, y: one_way(o)[:, 0])},
            "model, loss = 'QuadraticMLP, Own': no step can be made: ArithmeticError: no way back",
        ),
        (lambda: {"loss": jg.models.MLP()}, "loss = 'MLP': must be a flax.struct.dataclass, not a network"),
        (lambda: {"model": jg.losses.CrossEntropy()}, "model = 'CrossEntropy': must be a flax linen module"),
        (lambda: {"optimizer": optimizer(lambda self: None)}, "gives NoneType, not an optax transformation"),
        (lambda: {"model": Net("no parameters")}, "model = 'Net': has no parameters to train"),
        (lambda: {"model": Net("statistics")}, r"keeps batch_stats of the rows it sees"),
        (lambda: {"model": Net("dropout")}, "cannot be applied to the examples of ModularAddition: InvalidRngError"),
        (lambda: {"model": Net()}, r"gives NoneType where the task needs \(49, 7\)"),
        (lambda: {"model": jg.models.FixedReadoutMLP()}, "cannot be made for the examples of ModularAddition"),
        (lambda: {"model": jg.models.MLP(width=1_000_000)}, "one run needs at least .* GiB of memory, the device has"),
        (
            lambda: {
                "task.p": 113,
                "model": jg.models.MLP(width=200),
                "training.steps": 0,
                "start": jg.starts.Solve(parameters=("Linear_2",)),
            },
            "task, model, start = 'ModularAddition, MLP, Solve': one run needs at least .* GiB of memory",
        ),
        (
            lambda: {"training.steps": 0, "start": jg.starts.AfterTraining(steps=75)},
            "start.steps = 75: must be a multiple of evaluate_every = 10",
        ),
        (lambda: {"training.steps": 2 * 10**9}, "200,000,000 evaluations with evaluate_every = 10, at most 1,000,000"),
        (lambda: {"training.probes": [["loss"]]}, "training.probes"),
        (
            lambda: {"training.stop_metric": "r2"},
            "training.stop_metric = 'r2': must be measured: .*accuracy",
        ),
        (
            lambda: {"training.probes": ("loss", "metrics", Forgetful())},
            "'Forgetful'.*: a memory changes",
        ),
        (lambda: {"training.probes": ("loss", "metrics", "loss")}, "/loss' as another probe does"),
        (lambda: {"training.probes": ("loss", "metrics", Gives(()))}, "'Gives': must give a table of numbers by name"),
        (lambda: {"training.probes": ("loss", "metrics", Gives((0,)))}, "'x': is measured as an array of shape"),
        (
            lambda: {
                "task": WeighsOutputs(),
                "model": jg.models.MLP(width=4),
                "loss": jg.losses.MeanSquaredError(),
                "training.stop_metric": None,
            },
            r"task = 'WeighsOutputs': has weights of shape \(30, 2\), but the loss gives one value per row",
        ),
        (lambda: {"task": task(examples=weighing(0.0))}, "has no weight above 0 in the split '"),
        (
            lambda: {"task": task(draw=lambda *_: None), "training.batch_size": 5},
            "'NoneType': must give jaxgen.Examples",
        ),
        (lambda: {"start": "Solve", "training.steps": 0}, "are no parameters in which the outputs are linear"),
        (
            lambda: {
                "model": jg.models.MLP(width=4, depth=1),
                "start": jg.starts.AfterTraining(steps=50, transforms=(jg.starts.Solve(parameters=("Linear_0",)),)),
            },
            r"start.transforms.0.parameters = \('Linear_0',\): are no parameters in which the outputs are linear",
        ),
        (
            lambda: {"start": jg.starts.Solve(parameters=("Linear_1", "nope"))},
            r"start.parameters = 'nope': matches none of Linear_0.kernel, Linear_1.kernel",
        ),
        (
            lambda: {
                "start": jg.starts.FromRun(parent=PARENT, transforms=(jg.starts.Transplant(parameters=("nope",)),))
            },
            "match none of the parent's Linear_0.kernel, Linear_1.kernel",
        ),
        (lambda: {"training.probes": ("loss", "metrics", Broken())}, "cannot be measured: ArithmeticError: no number"),
        (lambda: {"task": task(examples=weighing(-1.0))}, "has weights that are negative or not finite"),
        (lambda: {"task": task(examples=weighing(jnp.ones(3)))}, r"weights of shape \(3,\) where \(49,\) or \(49,\)"),
        (
            lambda: {
                "task": task(draw=lambda self, *_: jg.Examples(*[jnp.zeros((5, 2))] * 2)),
                "training.batch_size": 5,
            },
            r"draws inputs as float32 \(5, 2\) where int32 \(5, 2\) are needed",
        ),
        (
            lambda: {"task": task(draw=lambda self, key: None), "training.batch_size": 5},
            "its rows of a step cannot be drawn: TypeError",
        ),
    ],
)
def test_what_breaks_its_promise_is_named(toy, change, said):
    with pytest.raises(FieldError, match=said):
        make_plan(toy.override(change()), sweeps.seeds(1))


def test_rows_with_many_labels_may_be_drawn_shorter_but_not_longer_than_those_of_the_table(toy):
    strings = jg.tasks.CopyString(alphabet=3, longest=2, furthest=4, rows_each=1)
    model = jg.models.Decoder(width=4, heads=1, layers=1, positions=jg.positions.NoPositions())
    run = toy.override({"task": strings, "model": model, "training.batch_size": 2})
    assert len(make_plan(run, sweeps.seeds(1)).run_ids) == 1
    longer = task(draw=lambda self, *_: jg.Examples(*[jnp.zeros((5, 3), jnp.int32)] * 2))
    with pytest.raises(FieldError, match=r"draws inputs as int32 \(5, 3\) where int32 \(5, 2\) are needed"):
        make_plan(toy.override({"task": longer, "training.batch_size": 5}), sweeps.seeds(1))


def test_examples_that_are_not_finite_are_refused(toy):
    def examples(self, key):
        return jg.Examples(jnp.full((49, 2), jnp.nan), jnp.zeros(49, jnp.int32))

    with pytest.raises(FieldError, match=r"inputs that are not finite .* in 49 rows"):
        make_plan(toy.override({"task": task(examples=examples), "model": jg.models.MLP(width=4)}), sweeps.seeds(1))


def test_values_that_are_one_number_to_the_runs_are_refused(toy):
    near = sweeps.sweep("optimizer.weight_decay", [0.1, 0.5, 0.1 + 1e-12])
    with pytest.raises(FieldError, match=r"optimizer.weight_decay = \[0.1, 0.1000.*\]: are the same number in float32"):
        make_plan(toy, near)
    assert len(make_plan(toy.override({"training.dtype": "float64"}), near).run_ids) == 3
    with pytest.raises(FieldError, match="same number in float32"):
        make_plan(toy, sweeps.product(near, sweeps.sweep("training.dtype", ["float64", "float32"])))
    # 0.29 of 100 rows is 29, a little less is 28: the same float32, but another run
    hundred = toy.override({"task": jg.tasks.SparseParity(bits=5, samples=100), "model": jg.models.MLP(width=4)})
    assert len(make_plan(hundred, sweeps.sweep("task.train_fraction", [0.29, 0.29 - 1e-12])).run_ids) == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sweeps.linspace(0, 1, 10**9), "linspace count = 1000000000: an axis has at most 1,000,000 values"),
        (lambda: sweeps.logspace(0, 1, 10**9), "linspace count = 1000000000"),
        (lambda: sweeps.linspace(0, float("inf"), 3), "linspace = inf: must be a number in"),
        (lambda: sweeps.linspace(0, 10**400, 3), "must be a number in"),
        (lambda: sweeps.sweep("a", itertools.count()), "at most 1,000,000 values"),
        (lambda: sweeps.sweep("a", [float("nan")]), "a = nan: must be finite"),
        (lambda: sweeps.sweep("a", [{}]), "single numbers, texts or components"),
        (lambda: sweeps.product([1]), "must be made by sweeps.sweep"),
        (lambda: sweeps.product(*(sweeps.sweep(c, range(9999)) for c in "abcde")), "more points than can be counted"),
        (lambda: jg.Experiment.from_json("[" * 100_000), "json = .* cannot be read"),
        (lambda: jg.Experiment.from_json(3), "json = 3: must be text"),
        (lambda: sweeps.Recipe(sweeps.seeds(1), None), "recipe.base = .*: must be a jaxgen.Experiment"),
        (lambda: sweeps.Options(devices=99), r"devices = 99: must be a whole number in \[1, 2\]"),
        (lambda: sweeps.Options(stop_after_hours=True), "stop_after_hours = True"),
    ],
)
def test_bounds_and_kinds(make, said):
    with pytest.raises(FieldError, match=said):
        make()


def test_a_sweep_has_a_bound_that_a_million_runs_are_below(toy):
    with pytest.raises(FieldError, match="has 10,000,000 points, at most 2,000,000 are planned"):
        make_plan(toy, sweeps.product(sweeps.sweep("optimizer.weight_decay", range(10)), sweeps.seeds(10**6)))


def test_a_recipe_with_swapped_arguments_or_wrong_lists_is_refused(toy):
    for wrong in ({"drawings": [3]}, {"claims": ["a"]}, {"description": 1}, {"definition": {"gap": -1}}, {"name": 3}):
        with pytest.raises(FieldError):
            sweeps.Recipe(toy, sweeps.seeds(1), **wrong)


@pytest.mark.parametrize(
    "value",
    [10**5000, "x" * 10_000, list(range(10_000)), object(), jg.models.MLP()],
    ids=str.split("int text list object net"),
)
def test_any_value_is_shown_on_one_short_line(value):
    assert len(shown(value)) < 300
    assert len(str(FieldError("field", value, "must be another")).splitlines()) == 1


def test_replay_elsewhere_says_that_there_is_no_sweep(tmp_path):
    with pytest.raises(FieldError, match="holds no sweep"):
        replay(tmp_path, "0123")


def test_refinement_has_bounds(toy, tmp_path):
    axes = {"task.train_fraction": sweeps.Range(0.2, 0.8), "optimizer.weight_decay": sweeps.Range(0.1, 1)}
    for name, value in (("budget", 10**8), ("batch", 10**8), ("seeds", 10**8)):
        with pytest.raises(FieldError, match=f"{name} = 100000000: must be a whole number of at least 1, at most"):
            sweeps.refine.refine(toy, axes, tmp_path / "x", sweeps.refine.Rounds(**{"budget": 10, name: value}))


def test_nested_lists_in_json_have_a_bound(toy):
    data, nested = toy.to_dict(), []
    for _ in range(100):
        nested = [nested]
    data["training"]["stop_splits"] = nested
    with pytest.raises(FieldError, match="nested at most 20 deep"):
        jg.Experiment.from_json(json.dumps(data))


def test_matrices_at_once_are_refused_for_they_may_wait_for_ever_on_several_devices(toy):
    assert len(jax.devices()) > 1
    make_plan(toy.override({"training.probes": ("loss", "metrics", Spectra())}), sweeps.seeds(1))
    many = toy.override({"training.probes": ("loss", "metrics", Spectra(3))})
    with pytest.raises(
        FieldError, match=r"training.probes = .*Spectra.*: calls svd for 3 matrices at once.*lax.map.*one_by_one"
    ):
        make_plan(many, sweeps.seeds(1))


def test_orthogonal_weights_train_on_several_devices_a_lane_at_a_time(toy, tmp_path):
    base = toy.override({"model": Orthogonal(), "training.steps": 10, "training.evaluate_every": 5})
    (group,) = make_plan(base, sweeps.seeds(1)).groups
    assert group.lapack == "qr of model"
    with pytest.raises(FieldError, match="width = 8: must be 1"):
        sweeps.run(base, sweeps.seeds(64), workdir=tmp_path / "wide", width=8)
    assert not (tmp_path / "wide").exists()
    results = sweeps.run(base, sweeps.seeds(64), workdir=tmp_path / "runs")
    assert len(results.runs) == 64
    (width,) = Workdir.at(tmp_path / "runs").written_widths().values()
    assert width == {"lanes": 1, "by": "rule"}
