"""Many overrides at once are what each is alone."""

import hypothesis
import pytest
from hypothesis import strategies as st

import jaxgen as jg
from jaxgen import losses, optimizers, variants
from jaxgen.training import capacity, computed
from jaxgen.variants import Variants

OPTIMIZERS = [optimizers.SGD(), optimizers.SGD(momentum=0.9), optimizers.Adam()]
VALUES = {
    "task.p": [5, 7, 7.0, 7.5, True],
    "task.train_fraction": [0.5, 0.25, 1, 1.0, True, "half", 2.0],
    "optimizer": OPTIMIZERS,
    "optimizer.weight_decay": [0, 0.0, -0.0, 1, 1.0, None, -1],
    "optimizer.learning_rate": [0.1, 1e39, float("nan")],
    "optimizer.momentum": [0.5],
    "loss": [losses.CrossEntropy(), losses.CrossEntropy(dtype="float64"), losses.MeanSquaredError(), 3],
    "loss.dtype": ["float16", "float31"],
    "model.width": [3, 12],
    "training.steps": [100, 105, 200],
    "training.batch_size": [None, 4, 40],
    "training.stop_frozen": [True, False],
    "seed": [0, 1, -1, 1.0, True, 2**31],
    "split_seed": [None, 0, 3, -1],
    "seed.x": [1],
    "nothing": [1],
    "task.nothing": [1],
}
POINTS = st.lists(
    st.sampled_from(sorted(VALUES)).flatmap(lambda path: st.tuples(st.just(path), st.sampled_from(VALUES[path]))),
    max_size=4,
).map(dict)


def alone(base, point):
    try:
        made = base.override(point)
    except jg.FieldError as error:
        return str(error)
    program = made.structure_json(), capacity(made)
    return made.run_id, program, (made.training.steps, made.task.rows()["train"], computed(made))


def among(many, point):
    try:
        run_id, kind = many.identify(point)
    except jg.FieldError as error:
        return str(error)
    assert (kind.template.structure_json(), capacity(kind.template)) == kind.program
    return run_id, kind.program, kind.budget


@pytest.mark.parametrize("kept", [3, 1000])
@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(points=st.lists(POINTS, min_size=2, max_size=6))
def test_a_run_among_many_is_what_it_is_alone(kept, points):
    base = jg.Experiment(
        task=jg.tasks.ModularAddition(p=7, train_fraction=0.6),
        model=jg.models.QuadraticMLP(width=12),
        loss=losses.CrossEntropy(),
        optimizer=optimizers.SGD(),
        training=jg.Training(steps=100, evaluate_every=10),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "KEPT", kept)
        many = Variants(base)
        for point in [*points, *points]:
            assert among(many, point) == alone(base, point)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("task.train_fraction", [1, 1.0, True]),
        ("seed", [1, True, 1.0]),
        ("optimizer.weight_decay", [0.0, -0.0, 0, False]),
    ],
)
def test_values_that_are_equal_and_yet_others_are_told_apart(toy, path, values):
    many = Variants(toy)
    for value in values:
        assert among(many, {path: value}) == alone(toy, {path: value})
