"""Every component × every property: a new task, model, loss or optimizer gets all guarantees by a row here."""

import dataclasses

import numpy as np
import pytest
from lanes import same_bits, train_in_block

import jaxgen as jg
from examples import example
from jaxgen import components, losses, models, optimizers, positions, probes, tasks
from jaxgen.kernel import Program

# no probes, or with rows of their own
ELSEWHERE = "Evaluation", "Every", "Features", "LinearFit", "Parallelograms", "PopulationError"
ELSEWHERE += "LinearRead", "LogitLens", "PositionFit", "StepByStep"
EVERY_PROBE = tuple(getattr(probes, name)() for name in probes.__all__ if name not in ELSEWHERE)
SHARED = models.Decoder(
    width=8, heads=2, layers=1, repeats=2, norm="rms", tied=True, dropout=0.1, predicts=1, positions=positions.Rotary()
)
WORLD = tasks.TwoHop(
    entities=4, relations=6, degree=3, ratio=1.0, largest=2.0, unseen=0.1, test_rows=3, ood_rows=2, answer="bridge"
)
TABLES = tasks.FunctionTables(
    size=5, form="non_tree", ratio=1.0, largest=2.4, unseen=0.1, test_rows=10, ood_rows=4, answer="bridge"
)
ROWS = {
    "addition": {"task": tasks.ModularAddition(p=5)},
    "subtraction": {"task": tasks.ModularSubtraction(p=5)},
    "multiplication": {"task": tasks.ModularMultiplication(p=5)},
    "division": {"task": tasks.ModularDivision(p=5)},
    "unordered-pairs": {"task": tasks.ModularAddition(p=5, ordered=False)},
    "without-zeros": {"task": tasks.ModularMultiplication(p=5, lowest=1)},
    "polynomial": {"task": tasks.ModularPolynomial(p=5)},
    "parity": {  # its inputs are numbers, in float32
        "task": tasks.SparseParity(bits=6, relevant=2, samples=40),
        "model": models.MLP(width=4),
        "training": jg.Training(steps=6, evaluate_every=2),
    },
    "toy-addition": {
        "task": tasks.Templates(task=tasks.KnownClasses(task=tasks.ToyAddition(p=4)), dimensions=3),
        "model": models.EmbeddingMLP(width=4, embedding=2),
        "loss": losses.MeanSquaredError(),
        "training": jg.Training(steps=6, evaluate_every=2, probes=("loss", "metrics", "parallelograms")),
    },
    "matrix-embeddings": {
        "task": tasks.KnownClasses(task=tasks.GroupProduct(group="S3")),
        "model": models.MatrixEmbeddingMLP(width=4, embedding=2, embedding_scale=0.5),
    },
    "group": {
        "task": tasks.GroupProduct(group="Z2xS3"),
        "model": models.MLP(width=4, depth=1, activation="square", readout_scale=0.5),
        "training": jg.Training(steps=6, evaluate_every=2, probes=("loss", "metrics", "features")),
    },
    "xor-clusters": {
        "task": tasks.XorClusters(train_rows=12, test_rows=8, dimension=100),
        "model": models.FixedReadoutMLP(width=6, init_scale=0.1),
        "loss": losses.Logistic(),
        "optimizer": optimizers.SGD(learning_rate=1e-3),
    },
    "xor-points": {
        "task": tasks.XorPoints(train_rows=12, test_rows=8, dimension=10),
        "model": models.FixedReadoutMLP(width=6, init_scale=0.1),
        "loss": losses.Logistic(),
        "optimizer": optimizers.SGD(learning_rate=1e-3),
        "training": jg.Training(steps=6, evaluate_every=2, probes=("loss", "metrics", probes.LinearFit())),
    },
    "corrupted-labels": {"task": tasks.CorruptedLabels(task=tasks.ModularAddition(p=5), share=0.3)},
    "subset": {"task": tasks.Subset(task=tasks.ModularAddition(p=5), share=0.7)},
    "practice": {"task": example("late_labels").LateLabels(p=5, until=3)},
    "quadratic": {"model": models.QuadraticMLP(width=4)},
    "two-layer": {"model": models.TwoLayer(width=4, activation="relu", init_scale=0.5, dropout=0.2)},
    "normalised-two-layer": {
        "task": tasks.ModularAddition(p=5),
        "model": models.TwoLayer(width=4, init_scale=0.5, batch_norm=True),
        "optimizer": optimizers.SGD(momentum=0.9),
        "training": jg.Training(steps=6, evaluate_every=2),
    },
    "mlp": {"model": models.MLP(width=4, use_bias=True, activation="gelu")},
    "product-of-read-outs": {"model": models.EmbeddingMLP(embedding=3, width=4, depth=1, readout=5)},
    "transformer": {"model": models.Transformer(width=8, heads=2, mlp_width=8)},
    "transformer-encoder": {"model": models.Transformer.encoder(width=8, heads=2, mlp_width=8)},
    "two-hop": {
        "task": WORLD,
        "model": models.Decoder(width=8, heads=2, layers=1, mlp_width=8),
        "training": jg.Training(
            steps=6, evaluate_every=2, probes=("loss", "metrics", probes.LogitLens(), probes.LinearRead())
        ),
    },
    "tree-network": {
        "task": tasks.TreeNetwork(variables=12, pairs=2, apart=2, longest=6, worlds=2, train_rows=9, test_rows=3),
        "model": example("sequence").Recurrent(width=4),
        "training": jg.Training(steps=6, evaluate_every=2, probes=("loss", "metrics")),
    },
    "strings": {
        "task": tasks.CopyString(alphabet=3, longest=2, furthest=9, rows_each=1),
        "model": example("sequence").Recurrent(width=4),
        "training": jg.Training(steps=6, evaluate_every=2, batch_size=4, probes=("loss", "metrics")),
    },
    "strings-in-buckets": {
        "task": tasks.CopyString(alphabet=3, longest=4, furthest=9, rows_each=1, buckets=2),
        "model": example("sequence").Recurrent(width=4),
        "training": jg.Training(steps=6, evaluate_every=2, batch_size=8, probes=("loss", "metrics")),
    },
    "mixture": {
        "task": tasks.Mixture(
            first=tasks.CopyString(alphabet=3, longest=2, furthest=9, rows_each=1),
            second=tasks.CopyString(alphabet=3, longest=2, furthest=9, rows_each=1, order="reversed"),
            share=0.4,
        ),
        "model": example("sequence").Recurrent(width=4),
        "training": jg.Training(steps=6, evaluate_every=2, batch_size=4, probes=("loss", "metrics")),
    },
    "function-tables": {
        "task": TABLES,
        "model": example("sequence").Recurrent(width=4),
        "training": jg.Training(steps=6, evaluate_every=2, probes=("loss", "metrics")),
    },
    "comparison": {
        "task": tasks.Comparison(entities=6, attributes=2, values=3, ratio=1.0, largest=2.0, unseen=0.34, test_rows=4),
        "model": example("sequence").Recurrent(width=4),
        "training": jg.Training(steps=6, evaluate_every=2, probes=("loss", "metrics")),
    },
    "decoder-shared": {"model": SHARED},
    "decoder-offset": {
        "model": models.Decoder(width=8, heads=2, predicts=1, positions=positions.Learned(longest=4, offset=True))
    },
    "cross-entropy": {"loss": losses.CrossEntropy()},
    "cross-entropy-16": {"loss": losses.CrossEntropy(dtype="float16")},
    "cross-entropy-64": {"loss": losses.CrossEntropy(dtype="float64")},
    "stablemax": {"loss": losses.StableMaxCrossEntropy()},
    "stablemax-b16": {"loss": losses.StableMaxCrossEntropy(dtype="bfloat16")},
    "mse": {"loss": losses.MeanSquaredError()},
    "centred-squared-error": {"loss": losses.CentredSquaredError()},
    "sgd": {"optimizer": optimizers.SGD(momentum=0.9, weight_decay=0.01)},
    "adam": {"optimizer": optimizers.Adam()},
    "adamw": {"optimizer": optimizers.AdamW(decay_mask="matrices")},
    "adamw-coupled": {"optimizer": optimizers.AdamW(decay_kind="coupled")},
    "perp-adamw": {"optimizer": optimizers.PerpAdamW(learning_rate=0.01)},
    "perp-sgd": {"optimizer": optimizers.PerpSGD.released()},
    "lion": {"optimizer": optimizers.Lion()},
    "muon": {"optimizer": optimizers.Muon()},
    "decay-to-start": {"optimizer": optimizers.AdamW(decay_kind="initial", decay_mask="matrices")},
    "l1": {"optimizer": optimizers.SGD(decay_kind="l1", weight_decay=0.01)},
    "grokfast-ema": {
        "optimizer": optimizers.Adam(filter=jg.filters.GrokfastEMA(), decay_kind="loss", weight_decay=0.01)
    },
    "grokfast-average": {"optimizer": optimizers.Adam(filter=jg.filters.GrokfastAverage(window=3))},
    "clip": {"optimizer": optimizers.AdamW(filter=jg.filters.ClipNorm(largest=0.05))},
    "cosine": {"optimizer": optimizers.AdamW(schedule=jg.schedules.Cosine(warmup=2, steps=5))},
    "clamp": {"optimizer": optimizers.SGD(clamp=jg.clamps.NormClamp(ratio=0.9, start=1))},
    "optax-adamw": {"optimizer": optimizers.Optax("adamw", learning_rate=0.01)},
    "optax-loss": {"loss": losses.Optax("softmax_cross_entropy_with_integer_labels")},
    "groups": {
        "model": models.EmbeddingMLP(width=4, embedding=3),
        "optimizer": optimizers.Groups(
            default=optimizers.AdamW(decay_mask="no_embeddings"),
            groups={"embeddings": optimizers.SGD(momentum=0.9), "readout": optimizers.Lion()},
            patterns=(("readout", "Linear_2"),),
        ),
    },
    "seldom": {
        "training": jg.Training(
            steps=8,
            evaluate_every=2,
            probes=("loss", "metrics", probes.Every("alignment", 4), probes.Every(example("own_probe").Highest(), 4)),
        )
    },
    "every-probe": {
        "task": tasks.ModularAddition(p=5),
        "model": models.QuadraticMLP(width=4),
        "training": jg.Training(steps=6, evaluate_every=2, probes=EVERY_PROBE),
    },
    "own-probes": {
        "training": jg.Training(
            steps=6,
            evaluate_every=2,
            probes=("loss", "metrics", example("own_probe").Spectrum(), example("own_probe").Highest()),
        ),
        "model": models.QuadraticMLP(width=5),
    },
    "stream": {
        "task": example("stream").OnlineParity(bits=5),
        "training": jg.Training(steps=6, evaluate_every=2, batch_size=4),
        "model": models.MLP(width=5),
    },
    "sequence": {
        "task": example("sequence").RunningSum(rows_trained=9),
        "model": example("sequence").Recurrent(width=4),
        "training": jg.Training(steps=6, evaluate_every=2, evaluation_rows=50),
    },
    "batch-norm": {  # not with the row of float64: flax promotes float32 there
        "task": tasks.ModularAddition(p=5),
        "model": example("batch_norm").Normalised(width=4),
        "optimizer": optimizers.SGD(momentum=0.9),  # signs (L1) and ratios (Adam) magnify gradients that are rounding
        "training": jg.Training(steps=6, evaluate_every=2),
    },
    "regression": {
        "task": example("regression").Teacher(noise=0.1),
        "model": models.MLP(width=3),
        "loss": losses.MeanSquaredError(),
        "training": jg.Training(steps=6, evaluate_every=2, stop_metric="r2"),
    },
    "committee": {
        "task": tasks.GaussianQuadratic(dimension=4, train_rows=9, samples=20),
        "model": models.Committee(width=5, scale=2.0),
        "loss": losses.MeanSquaredError(),
        "training": jg.Training(
            steps=6,
            evaluate_every=2,
            stop_metric="r2",
            probes=("loss", "metrics", "tangent_kernel", "population_error"),
        ),
    },
    "solved": {
        "task": example("random_features").Linear(size=4),
        "model": models.MLP(width=4, depth=1),
        "loss": losses.MeanSquaredError(),
        "training": jg.Training(steps=6, evaluate_every=2, stop_metric=None),
        "start": jg.starts.Solve(ridge=0.1, parameters=("Linear_1",)),
    },
    "step": {"loss": example("changing_loss").SoftAtFirst(until=3)},
    "passes": {"task": tasks.ModularAddition(p=13)},
    "minibatch": {"training": jg.Training(steps=6, evaluate_every=2, batch_size=3)},
    "float64": {"training": jg.Training(steps=6, evaluate_every=2, dtype="float64")},
}


BASE = jg.Experiment(
    task=tasks.ModularAddition(p=5),
    model=models.QuadraticMLP(width=4),
    loss=losses.CrossEntropy(),
    optimizer=optimizers.AdamW(),
    training=jg.Training(steps=6, evaluate_every=2),
)
FROM_BASE = {kind: getattr(BASE, kind) for kind in components.KINDS}  # no other row goes with these
ROWS["from-run"] = FROM_BASE | {
    "start": jg.starts.FromRun(
        parent=BASE,
        transforms=(jg.starts.Prune(rate=0.4), jg.starts.Transplant(parameters=("Linear_*",)), jg.starts.Rewind()),
    )
}
ROWS["pruned-at-start"] = FROM_BASE | {
    "start": jg.starts.FromRun(
        parent=BASE,
        transforms=(
            jg.starts.Rewind(),
            jg.starts.SNIP(rate=0.2),
            jg.starts.GraSP(),
            jg.starts.SynFlow(rate=0.7, rounds=3),
        ),
    )
}
ROWS["norm-of-a-ticket"] = FROM_BASE | {
    "start": jg.starts.FromRun(
        parent=BASE, transforms=(jg.starts.Prune(rate=0.4), jg.starts.Rewind(), jg.starts.MatchNorm(order=1))
    )
}
KEEPING = BASE.override({"training.probes": ("loss", "metrics", example("data_diet").EL2N())})
ROWS["chosen-rows"] = FROM_BASE | {
    "task": tasks.Subset(task=BASE.task, by="el2n"),
    "start": jg.starts.FromRun(parent=KEEPING, transforms=(jg.starts.Rewind(),)),
}
WATCHED = BASE.override({"training.probes": ("loss", "metrics", probes.ParticipationRatio())})
ROWS["after-training"] = {kind: getattr(WATCHED, kind) for kind in components.KINDS} | {
    "start": jg.starts.AfterTraining(steps=4, transforms=(jg.starts.PruneUnits(rate=0.5, by="ipr"),))
}
ROWS["continued"] = FROM_BASE | {"start": jg.starts.FromRun(parent=BASE, keep_optimizer=True)}


def experiment(row: str) -> jg.Experiment:
    return BASE.override(ROWS[row])


def parts(row: str):
    return [(path, part) for path, part in experiment(row).walk() if path.partition(".")[0] in ROWS[row]]


@pytest.mark.parametrize("row", ROWS)
def test_json_round_trip(row):
    e = experiment(row)
    assert jg.Experiment.from_json(e.to_json()) == e


@pytest.mark.parametrize("row", ROWS)
def test_each_field_is_part_of_the_run_and_leaves_are_not_structure(row):
    e = experiment(row)
    for kind, part in parts(row):
        for field in components.fields(type(part)):
            value = getattr(part, field.name)
            if components.part_kind(field) or isinstance(value, (bool, str, tuple, type(None))):
                continue
            other = value * 0.5 if isinstance(value, float) else value * 2
            if field.name in ("samples", "p", "dimensions", "evaluate_every", "shortest", "buckets") or other == value:
                continue
            changed = e.override({f"{kind}.{field.name}": other})
            assert changed.run_id != e.run_id
            assert (changed.signature == e.signature) == (f"{kind}.{field.name}" in e.leaf_paths())


@pytest.mark.parametrize("row", ROWS)
def test_every_field_has_a_line_of_documentation(row):
    for _, part in parts(row):
        ours = type(part).__module__.startswith("jaxgen.")  # not those of examples
        for field in dataclasses.fields(type(part)) if ours else ():
            if field.name in ("parent", "name", "vocabulary", "outputs"):
                continue
            assert field.metadata.get("doc"), f"{type(part).__name__}.{field.name}"
            assert field.name in type(part).__doc__ + "".join(b.__doc__ or "" for b in type(part).__mro__[1:])


def packed() -> dict[str, dict]:
    """The rows in as few experiments as hold each of them, where no two change the same part."""
    packs: list[dict[str, dict]] = []
    for name, row in sorted(ROWS.items(), key=lambda item: -len(item[1])):
        room = [pack for pack in packs if not any(row.keys() & other.keys() for other in pack.values())]
        if not room:
            packs.append({})
        (room or packs[-1:])[0][name] = row
    return {"+".join(pack): {kind: part for row in pack.values() for kind, part in row.items()} for pack in packs}


OPTIMIZED = {"minibatch", "transformer", "from-run"}  # in the default run too
PACKS = [
    pytest.param(row, id=name, marks=[pytest.mark.optimized] if OPTIMIZED & {*name.split("+")} else [])
    for name, row in packed().items()
]
ALONE = [pytest.param(row, marks=pytest.mark.slow, id=f"{name} alone") for name, row in ROWS.items()]


@pytest.mark.parametrize("row", [*PACKS, *ALONE])
def test_lanes_do_not_know_each_other_and_train_what_a_plain_run_trains(row):
    """The same bits alone, in another lane, beside others and beside a diverging run; up to rounding, a plain run's."""
    e = BASE.override(row)
    program = Program(e, 3)
    alone = train_in_block(program, {0: e})[0]
    assert alone.status == "finished"
    assert np.isfinite(alone.curves["train/loss"]).all()
    rates = [path for path in e.leaf_paths() if path.endswith("learning_rate")]
    others = {0: e.override({"seed": 1}), 1: e, 2: e.override({**dict.fromkeys(rates, 1e30), "seed": 2})}
    beside = train_in_block(program, others)
    assert same_bits(beside[1], alone)
    assert same_bits(train_in_block(program, {2: e})[2], alone)
    assert program.traces == 1
    plain = jg.train(e)
    assert plain.keys() == alone.curves.keys()
    half = "16" in getattr(e.loss, "dtype", "")
    for name in plain:
        np.testing.assert_allclose(
            plain[name], alone.curves[name], rtol=3e-2 if half else 2e-4, atol=1e-6, err_msg=name
        )
