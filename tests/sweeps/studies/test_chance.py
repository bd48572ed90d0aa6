"""What is right by chance."""

from types import SimpleNamespace

import flax.struct
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError


def arm(**data):
    """An arm of one run of one seed with these rows."""
    rows = SimpleNamespace(**{"weights": None} | data)
    of_rows = lambda find: np.array([[find(rows)]])  # noqa: E731
    return SimpleNamespace(of_rows=of_rows, mean=lambda values: pd.Series(values.mean(axis=1), [0]))


TRAIN = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)


def test_the_most_frequent_answer_is_said():
    labels = np.array([7, 7, 2, 2, 2, 7, 2, 2])
    found = sweeps.chance(arm(labels=labels, splits={"train": TRAIN, "test": ~TRAIN}))
    assert found[0] == pytest.approx(2 / 3)


def test_of_its_kind_where_rows_have_one_and_nothing_where_it_is_new():
    inputs = np.array([[0], [0], [1], [1], [1], [0], [1], [2]])
    labels = np.array([7, 7, 2, 2, 2, 7, 2, 2])
    rows = arm(inputs=inputs, labels=labels, splits={"train": TRAIN, "test": ~TRAIN})
    assert sweeps.chance(rows, by=0)[0] == pytest.approx(2 / 3)
    assert sweeps.chance(rows)[0] == pytest.approx(2 / 3)
    other = arm(inputs=inputs, labels=np.array([7, 7, 2, 2, 2, 2, 7, 2]), splits={"train": TRAIN, "test": ~TRAIN})
    assert sweeps.chance(other, by=0)[0] == 0


def test_an_answer_is_the_last_label_that_counts_and_rows_without_one_are_left_out():
    labels = np.array([[3, 5], [3, 5], [3, 9], [3, 5], [4, 4], [3, 5], [5, 8], [5, 5]])
    weights = np.array([[1, 1], [1, 1], [1, 0], [1, 1], [0, 0], [1, 1], [1, 0], [0, 0]])
    rows = {"labels": labels, "weights": weights, "splits": {"train": TRAIN, "test": ~TRAIN}}
    assert sweeps.chance(arm(**rows))[0] == 1.0  # 5 of train, and the answers 5 and 5
    none = {**rows, "splits": {"train": TRAIN, "test": TRAIN & ~TRAIN}}
    assert np.isnan(sweeps.chance(arm(**none))[0])
    with pytest.raises(FieldError, match="must be one of train, test"):
        sweeps.chance(arm(**rows), asked="ood")


def test_on_stored_runs_a_network_that_says_the_most_frequent_answer_has_it(toy, tmp_path):
    @flax.struct.dataclass
    class Mostly(jg.tasks.ModularAddition):
        """Sums of which most are 0."""

        def examples(self, key, **known):
            found = super().examples(key, **known)
            return found.replace(labels=jnp.where(found.labels < 4, 0, found.labels))

    task = Mostly(p=7, train_fraction=0.5)
    base = toy.override({"task": task, "training.steps": 10, "training.evaluate_every": 10})
    results = sweeps.run(base, sweeps.seeds(2), workdir=tmp_path / "out", quiet=True)
    found = sweeps.chance(sweeps.Evidence(results, base).arm(sweeps.fixed("task.p", 7)))
    assert ((found > 0.4) & (found < 0.75)).all()


def test_a_token_that_ends_each_row_is_no_answer():
    labels = np.array([[3, 9], [3, 9], [4, 9], [3, 9], [3, 9], [3, 9], [4, 9], [3, 9]])
    rows = arm(labels=labels, splits={"train": TRAIN, "test": ~TRAIN}, inputs=labels)
    with pytest.raises(FieldError, match="is the same in all rows"):
        sweeps.chance(rows)
    assert sweeps.chance(rows, label=-2)[0] == pytest.approx(2 / 3)
    with pytest.raises(FieldError, match="must be a place in rows of 2 inputs"):
        sweeps.chance(rows, label=-2, by=99)
