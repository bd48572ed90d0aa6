"""Runs that start from other runs, or from a solution."""

import re

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lanes import train_in_block

import jaxgen as jg
from examples import example
from jaxgen import training
from jaxgen.kernel import Block, Program
from jaxgen.starts import AfterTraining, FromRun, Prune, PruneUnits, Rewind, Solve, Transplant, masked

SHORT = jg.Training(steps=20, evaluate_every=10)


@pytest.fixture
def run(toy):
    return toy.override({"training": SHORT})


def weights(params):
    return np.concatenate([np.ravel(w) for w in jax.tree.leaves(params)])


def from_run(run, *transforms, **fields):
    return run.override({"start": FromRun(parent=run, transforms=transforms, **fields)})


NORMALISED = {"model": example("batch_norm").Normalised(width=6)}


@pytest.mark.optimized
@pytest.mark.parametrize("changes", [{}, pytest.param(NORMALISED, marks=pytest.mark.slow)])
def test_with_its_optimizer_kept_a_run_goes_on_as_if_it_had_never_stopped(run, changes):
    whole = run.override({"training.steps": 50, **changes})
    half = whole.override({"training.steps": 20})
    rest = whole.override({"training.steps": 30, "start": FromRun(parent=half, keep_optimizer=True)})
    block = Block(Program(half, 2), jax.devices()[0], keep=True)
    block.assign(1, "half", half)
    block.launch(9)
    ended = block.harvest()[0].ended_with
    block = Block(Program(rest, 2), jax.devices()[0])
    block.assign(0, "rest", rest, rest.start.given(training.start_shapes(rest), ended))
    block.launch(9)
    found, wanted = block.harvest()[0], train_in_block(Program(whole, 2), {0: whole})[0]
    assert found.checksum == wanted.checksum
    for name in ("train/loss", "test/accuracy", "weight_norm"):
        np.testing.assert_array_equal(found.curves[name], wanted.curves[name][2:])
    assert found.ended_with is None


def test_without_it_the_optimizer_starts_anew(run):
    kept_, fresh = (training.trained(from_run(run, keep_optimizer=keep))[0] for keep in (True, False))
    assert kept_["train/loss"][0] == fresh["train/loss"][0]
    assert kept_["train/loss"][-1] != fresh["train/loss"][-1]


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.9])
def test_the_smallest_weights_are_removed_and_stay_so(run, rate):
    ended = training.trained(run)[1].params
    values, mask = Prune(rate=rate).apply(None, ended, None)
    assert values is ended
    removed = ~weights(mask).astype(bool)
    assert removed.sum() == round(rate * removed.size)
    sizes = np.abs(weights(ended))
    assert rate == 0 or sizes[removed].max() <= sizes[~removed].min()
    state = training.trained(from_run(run, Prune(rate=rate)))[1]
    assert (weights(state.params)[removed] == 0).all()
    assert (weights(state.params)[~removed] != 0).all()
    moved = weights(state.params) != weights(masked(ended, mask))
    assert moved[~removed].mean() > 0.9


def test_rewound_weights_are_what_the_seed_drew(run):
    child = from_run(run, Prune(rate=0.5), Rewind())
    curves = training.trained(child.override({"training.steps": 0}))
    start = training.init(training.numbers(run), training.load(training.numbers(run), training.Rows.of(run)))
    drawn, state = weights(start.params), curves[1]
    mask = weights(state.mask).astype(bool)
    np.testing.assert_array_equal(weights(state.params)[mask], drawn[mask])
    assert (weights(state.params)[~mask] == 0).all()
    by_size = np.abs(weights(training.trained(run)[1].params))  # of the end, not of the start
    assert by_size[~mask].max() <= by_size[mask].min()


def test_pruning_again_removes_what_was_removed_first(run):
    params = {"a": jnp.array([[1.0, -4.0, 0.5, 3.0]]), "bias": jnp.array([0.1])}
    _, first = Prune(rate=0.5).apply(None, params, None)
    assert first["a"].tolist() == [[False, True, False, True]]
    assert first["bias"].all()  # vectors are left alone
    grown = {"a": jnp.array([[9.0, -4.0, 9.0, 3.0]]), "bias": jnp.array([0.1])}
    _, second = Prune(rate=0.75).apply(None, grown, first)
    assert second["a"].tolist() == [[False, True, False, False]]
    _, random = Prune(rate=0.5, by="random").apply(None, params, None)
    assert random["a"].sum() == 2


UNITS = {"Linear_0": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}, "Linear_1": {"kernel": jnp.ones((4, 2))}}


@pytest.mark.parametrize(
    ("fields", "removed"),
    [
        ({"rate": 0.5, "by": "score"}, {1, 3}),
        ({"rate": 0.5, "by": "score", "largest": True}, {0, 2}),
        ({"rate": 0.25, "by": "score"}, {3}),
        ({"rate": 0.0, "by": "score"}, set()),
        ({"rate": 1.0}, {0, 1, 2, 3}),
    ],
)
def test_whole_units_are_removed_by_what_a_probe_keeps(fields, removed):
    held = {"score": jnp.array([0.3, 0.2, 0.9, 0.1])}
    values, mask = PruneUnits(**fields).apply(None, UNITS, None, held)
    assert values is UNITS
    stays = [unit not in removed for unit in range(4)]
    assert mask["Linear_0"]["bias"].tolist() == stays
    assert mask["Linear_0"]["kernel"].tolist() == [stays] * 3
    assert mask["Linear_1"]["kernel"].tolist() == [[there] * 2 for there in stays]


def test_random_units_are_as_many_and_what_was_removed_stays_so():
    _, first = PruneUnits(rate=0.5).apply(None, UNITS, None, {})
    assert first["Linear_0"]["bias"].sum() == 2
    _, second = PruneUnits(rate=0.25, by="s").apply(None, UNITS, first, {"s": jnp.arange(4.0)})
    assert (second["Linear_0"]["bias"] <= first["Linear_0"]["bias"]).all()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"by": "score"}, r"transforms.by = 'score': must be \(4,\), and the parent's probes keep other \(3,\)"),
        ({"by": "other"}, r"transforms.by = 'other': must be \(4,\)"),
        ({"incoming": ("Linear_1.kernel",)}, "transforms.incoming = .*: must each be of one side"),
        ({"incoming": ("Dense_0",), "outgoing": ()}, "transforms.incoming = .*: must each be of one side"),
        ({"outgoing": ("Linear_0.kernel",), "incoming": ("Linear_0.bias",)}, "and all of one number of units"),
    ],
)
def test_units_that_cannot_be_told_are_refused(fields, match):
    with pytest.raises(jg.FieldError, match=match):
        PruneUnits(**fields).apply(None, UNITS, None, {"other": jnp.arange(3.0)})


def test_a_run_after_its_own_training_is_pruned_by_its_own_probe(run):
    run = run.override({"training.probes": ("loss", "metrics", jg.probes.ParticipationRatio())})
    start = AfterTraining(steps=20, transforms=(PruneUnits(rate=0.25, by="ipr"),))
    child = run.override({"start": start, "training.steps": 0})
    assert child.start.run(child) == run
    assert child.start.run(child.override({"seed": 3, "task.p": 11})) == run.override({"seed": 3, "task.p": 11})
    curves, state = training.trained(run)
    pruned = training.trained(child)[1].params["Linear_0"]["kernel"]
    gone = {int(unit) for unit in np.argsort(curves["ipr"][-1])[:3]}  # of 12 units
    for unit in range(12):
        expected = 0 if unit in gone else state.params["Linear_0"]["kernel"][:, unit]
        np.testing.assert_array_equal(pruned[:, unit], np.broadcast_to(expected, 14))
    found = train_in_block(Program(child, 2), {1: child})[1]
    assert (found.status, found.curves["ipr"].shape) == ("exact", (1, 12))
    assert (found.curves["ipr"] == 0).sum() == 3
    other = child.override({"start.steps": 10, "start.transforms.0.rate": 0.5})
    assert other.signature == child.signature
    assert other.run_id != child.run_id


def test_a_transplant_takes_some_tensors_and_the_others_may_have_other_shapes(run):
    wide = run.override({"model": jg.models.EmbeddingMLP(width=8, embedding=3)})
    narrow = wide.override({"model.width": 5, "seed": 0})
    start = FromRun(parent=wide, transforms=(Transplant(parameters=("embedding",)),))
    child = narrow.override({"start": start, "training.steps": 0})
    found = training.trained(child)[1].params
    np.testing.assert_array_equal(found["embedding"], training.trained(wide)[1].params["embedding"])
    values = training.numbers(narrow)
    drawn = training.init(values, training.load(values, training.Rows.of(narrow))).params
    np.testing.assert_array_equal(found["Linear_0"]["kernel"], drawn["Linear_0"]["kernel"])
    whole = narrow.override({"start": FromRun(parent=wide)})
    with pytest.raises(jg.FieldError, match=r"start.parent = '.*': the parent has .* where float32 .* is needed"):
        training.trained(whole)


def test_the_parent_has_the_childs_seeds_or_its_own(run):
    child = from_run(run).override({"seed": 3, "split_seed": 5})
    assert child.start.run(child) == run.override({"seed": 3, "split_seed": 5})
    own = from_run(run, same_seed=False).override({"seed": 3})
    assert own.start.run(own) == run


def test_the_parent_is_part_of_the_identity_and_not_of_the_program(run):
    child = from_run(run, Prune(rate=0.5))
    assert jg.Experiment.from_json(child.to_json()) == child
    for path, value in {"start.parent.optimizer.weight_decay": 9.0, "start.parent.model.width": 3}.items():
        other = child.override({path: value})
        assert other.run_id != child.run_id
        assert other.signature == child.signature
        assert path in child.leaf_paths()
        assert other.flat()[path] == value
    harder = child.override({"start.transforms.0.rate": 0.9})
    assert harder.signature == child.signature
    assert child.override({"start": None}) == run
    assert from_run(from_run(run)).start.parent == from_run(run)  # to any depth


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (lambda e: FromRun(parent=None), "start.parent = None: must be"),
        (lambda e: FromRun(parent=e.model), "start.parent = .*: must be a jaxgen.Experiment"),
        (lambda e: FromRun(parent=e, transforms=Prune()), "start.transforms = 'Prune': must be a tuple"),
        (
            lambda e: FromRun(parent=e, transforms=(Prune(rate=1.0),)),
            r"transforms.0.rate = 1.0: must be in \[0, 1",
        ),
        (lambda e: FromRun(parent=e, transforms=(Prune(),), keep_optimizer=True), "start.keep_optimizer = True"),
        (lambda e: FromRun(parent=e, transforms=(Transplant(),)), "start.transforms.0.parameters = "),
        (lambda e: Solve(ridge=-1.0), "start.ridge = -1.0"),
        (lambda e: "FromRun", "start"),
        (lambda e: Prune(), "start = 'Prune': is no start: it has no weights"),
    ],
)
def test_what_is_no_start_is_refused(run, start, said):
    with pytest.raises(jg.FieldError, match=said):
        run.override({"start": start(run)})


def one_hots(data):
    """Tokens and labels of the toy's 29 train rows as one-hot vectors, (29, 14) and (29, 7)."""
    return np.eye(7)[np.asarray(data.inputs)[:29]].reshape(29, 14), np.eye(7)[np.asarray(data.labels)[:29]]


@pytest.mark.parametrize("ridge", [0.3, 0.0])
@pytest.mark.parametrize("width", [7, 60])  # fewer and more features than rows
def test_solved_read_outs_are_numpys_ridge_regression(ridge, width):
    base = example("random_features").base
    run = base.override({"model.width": width, "start.ridge": ridge, "training.dtype": "float64"})
    with training.numerics(run), jax.numpy_dtype_promotion("standard"):
        state = training.trained(run)[1]
        data = training.load(training.numbers(run), training.Rows.of(run))
        x, y = np.asarray(data.inputs)[:40], np.asarray(data.labels)[:40]
    features = np.maximum(x @ np.asarray(state.params["Linear_0"]["kernel"]), 0)
    gram = features @ features.T + ridge * np.eye(40)
    solved = features.T @ (np.linalg.solve(gram, y) if ridge else np.linalg.pinv(gram, rcond=1e-12) @ y)
    np.testing.assert_allclose(np.asarray(state.params["Linear_1"]["kernel"])[:, 0], solved, rtol=1e-5, atol=1e-9)


def test_classes_are_solved_for_as_one_hot_vectors(toy):
    run = toy.override({"start": Solve(parameters=("Linear_1",), ridge=1e-3), "training.dtype": "float64"})
    run = run.override({"training.steps": 0})
    with training.numerics(run):
        state = training.trained(run)[1]
        data = training.load(training.numbers(run), training.Rows.of(run))
        x, y = one_hots(data)
    features = (x @ np.asarray(state.params["Linear_0"]["kernel"])) ** 2
    solved = np.linalg.solve(features.T @ features + 1e-3 * np.eye(12), features.T @ y)
    np.testing.assert_allclose(state.params["Linear_1"]["kernel"], solved, rtol=1e-6, atol=1e-9)
    padded, plain = train_in_block(Program(run, 1), {0: run})[0].curves, training.trained(run)[0]
    assert training.capacity(run) > 29  # the rows that fill up are not fitted
    np.testing.assert_allclose(padded["test/loss"], plain["test/loss"], rtol=1e-6)


def test_of_a_trained_network_the_last_layer_is_solved_for(toy):
    start = AfterTraining(steps=20, transforms=(Solve(parameters=("Linear_1",), ridge=1e-3),))
    run = toy.override({"start": start, "training.dtype": "float64", "training.steps": 0})
    with training.numerics(run):
        found, ended = (training.trained(one)[1].params for one in (run, start.run(run)))
        data = training.load(training.numbers(run), training.Rows.of(run))
        x, y = one_hots(data)
    first = np.asarray(ended["Linear_0"]["kernel"])
    np.testing.assert_array_equal(found["Linear_0"]["kernel"], first)
    features = (x @ first) ** 2
    solved = np.linalg.solve(features.T @ features + 1e-3 * np.eye(12), features.T @ y)
    np.testing.assert_allclose(found["Linear_1"]["kernel"], solved, rtol=1e-6, atol=1e-9)


def test_lanes_are_solved_for_one_after_another(toy):
    """Batches of LAPACK's functions wait for each other in blocks on several CPU devices."""
    run = toy.override({"start": Solve(parameters=("Linear_1",)), "training.steps": 0})
    text = Program(run, 3).lowered(jax.devices()[0]).as_text()
    found = re.findall(r"custom_call @lapack_\w+\(.*?: \(tensor<([\dx]+)x[a-z]", text)
    assert found
    assert all(shape.count("x") == 1 for shape in found)


def test_what_is_pruned_is_not_solved_for(run):
    with pytest.raises(jg.FieldError, match=r"start.transforms = 'Solve': would bring back what was pruned"):
        jg.train(from_run(run, Prune(rate=0.5), Solve(parameters=("Linear_1",))))


@flax.struct.dataclass
class FromThere:
    """How far the first weight is from where it was at the first evaluation, and from the start."""

    def init(self, e):
        return jax.tree.leaves(e.initial())[0].ravel()[0]

    def measure(self, e, memory):
        return {"away": jax.tree.leaves(e.params)[0].ravel()[0] - memory}, memory


def test_a_probes_memory_may_begin_with_the_initial_parameters(run):
    probed = run.override({"training.probes": ("loss", "metrics", FromThere())})
    away = jg.train(probed)["away"]
    assert away[0] == 0
    assert away[-1] != 0


def test_the_initial_parameters_are_those_that_were_solved_for(run):
    probes = ("loss", "metrics", "distance")
    solved = run.override({"start": Solve(parameters=("Linear_1",), ridge=1.0), "training.probes": probes})
    assert jg.train(solved)["distance"][0] == 0
    with pytest.raises(jg.FieldError, match=r"training.probes = 'FromRun': .* initial parameters"):
        jg.train(from_run(run).override({"training.probes": probes}))


@pytest.mark.parametrize("transform", [None, Rewind(), Transplant(parameters=("Dense_1",))])
def test_statistics_go_with_the_weights_that_they_belong_to(run, transform):
    run = run.override({"model": example("batch_norm").Normalised(width=6)})
    values = training.numbers(run)
    drawn = training.init(values, training.load(values, training.Rows.of(run))).kept
    ended = training.trained(run)[1].kept
    child = from_run(run, *([transform] if transform else [])).override({"training.steps": 0})
    for found, wanted in zip(
        *(jax.tree.leaves(t) for t in (training.trained(child)[1].kept, drawn if transform else ended))
    ):
        np.testing.assert_array_equal(found, wanted)
    taken = from_run(run, Transplant(parameters=("BatchNorm_0",))).override({"training.steps": 0})
    for found, wanted in zip(*(jax.tree.leaves(t) for t in (training.trained(taken)[1].kept, ended))):
        np.testing.assert_array_equal(found, wanted)


@flax.struct.dataclass
class Weighted(jg.tasks.ModularAddition):
    """Rows of which every other weighs 4."""

    def examples(self, key):
        found = super().examples(key)
        return found.replace(weights=jnp.where(jnp.arange(self.size(), dtype=jnp.int32) % 2 == 0, 4.0, 1.0))


def test_rows_count_in_a_solution_as_they_weigh(run):
    task = Weighted(p=7, train_fraction=0.6)
    changes = {"task": task, "start": Solve(parameters=("Linear_1",), ridge=0.1), "training.dtype": "float64"}
    run = run.override({**changes, "training.steps": 0})
    with training.numerics(run), jax.numpy_dtype_promotion("standard"):
        state = training.trained(run)[1]
        data = training.load(training.numbers(run), training.Rows.of(run))
        x, y = one_hots(data)
        weights_ = np.asarray(data.weights)[:29, None]
    features = (x @ np.asarray(state.params["Linear_0"]["kernel"])) ** 2
    solved = np.linalg.solve(features.T @ (weights_ * features) + 0.1 * np.eye(12), features.T @ (weights_ * y))
    np.testing.assert_allclose(state.params["Linear_1"]["kernel"], solved, rtol=1e-6, atol=1e-9)
