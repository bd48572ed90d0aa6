"""A workdir of results that nobody trained."""

import json

import numpy as np
import pytest

import sweeps
from jaxgen import Experiment, Training, losses, models, optimizers, tasks
from jaxgen.kernel import Result
from sweeps.storage.store import Writer

STEPS, EVERY = 1000, 20
TIMES = {  # (train, test) step at which the accuracy rises, by the kind of run
    "comprehension": (20, 60),
    "grokking": (20, 700),
    "memorisation": (20, np.inf),
    "confusion": (np.inf, np.inf),
    "diverged": (np.inf, np.inf),
    "undecided": (np.inf, np.inf),
}


@pytest.fixture
def losses_only():
    """For `synthetic_results`: curves of losses that are at .01 where accuracies would be at .8."""
    return lambda train, test: {"train/loss": 10 ** (-2.5 * train), "test/loss": 10 ** (-2.5 * test)}


@pytest.fixture
def synthetic_results(tmp_path):
    """A function that writes runs with made-up curves and returns their `sweeps.Results`.

    Its arguments: `axes`, values by dotted path; `seeds` per cell; `kind`, a function of a cell's indices (one per
    axis) and the seed that names what the run does (see `TIMES`), or None for no such run; `name` of the sweep;
    `curves`, a function of the accuracies on train and test that gives the curves to be stored; `definition`, what of
    the sweep's is different.
    """

    def write(axes, seeds=2, kind=None, name="demo <b>&", curves=accuracies, definition=None):
        workdir = tmp_path / "sweep"
        workdir.mkdir()
        definition = {"gap": 600, "budget": STEPS} | (definition or {})
        held = {"schema": 3, "name": name, "fields": {}, "axes": axes, "definition": definition, "launches": []}
        (workdir / "sweep.json").write_text(json.dumps(held))
        base = Experiment(
            tasks.ModularAddition(p=7),
            models.QuadraticMLP(width=4),
            losses.CrossEntropy(),
            optimizers.AdamW(),
            Training(steps=STEPS, evaluate_every=EVERY),
        )
        with Writer(workdir) as writer:
            for index in np.ndindex(*(len(values) for values in axes.values())):
                values = {path: axes[path][i] for path, i in zip(axes, index)}
                for seed in range(seeds):
                    what = (kind or _cycle)(*index, seed)
                    if what is not None:
                        writer.put(_run(base.override(values | {"seed": seed}), what, curves), "{}")
        return sweeps.Results(workdir)

    return write


def accuracies(train, test):
    return {"train/accuracy": train, "test/accuracy": test}


def _cycle(*index_and_seed):
    return ("comprehension", "grokking", "memorisation", "confusion")[sum(index_and_seed[:-1]) % 4]


def _run(experiment, kind, curves):
    ended = kind in ("diverged", "undecided")
    step = np.arange(0, (STEPS // 2 if ended else STEPS) + 1, EVERY)
    rise = lambda at: 0.1 + 0.9 / (1 + np.exp(-(step - at) / 15 - 3))  # noqa: E731
    train, test = (np.full(len(step), 0.1) if np.isinf(at) else rise(at) for at in TIMES[kind])
    status = "diverged" if kind == "diverged" else "stopped" if ended else "finished"
    return Result(experiment.run_id, experiment, status, int(step[-1]), 0, {"step": step, **curves(train, test)})
