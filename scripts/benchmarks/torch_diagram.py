"""A sweep as a loop in PyTorch: every run to its budget, one after another, on one thread."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.jax_peers import weights
from benchmarks.torch_peers import Training
from jaxgen import training
from jaxgen.kernel import Result
from sweeps import recipes
from sweeps.storage.store import Writer


def train(scale: str, share: str, shares: str, workdir: str) -> None:
    """Trains every `shares`-th run of the quickstart from `share` on, stores the curves, and prints the seconds."""
    torch.set_num_threads(1)
    recipe, spent = recipes.load("quickstart").at(scale), 0.0

    @jax.jit
    def start(values, rows):
        data = training.load(values, rows)
        return training.init(values, data).params, data.inputs, data.labels

    with Writer(Path(workdir)) as writer:
        for index in range(int(share), len(recipe.sweep), int(shares)):
            run = recipe.base.override(recipe.sweep[index])
            params, tokens, labels = start(training.numbers(run), training.Rows.of(run))
            held = {**weights(params), "tokens": np.asarray(tokens), "labels": np.asarray(labels)}
            begin = time.perf_counter()
            curves = _curves(run, Training(run, held))
            spent += time.perf_counter() - begin
            writer.put(Result(run.run_id, run, "finished", run.training.steps, 0, curves), "{}")
    print(spent)


def _curves(run: Any, whole: Training) -> dict[str, np.ndarray]:
    count, every = run.task.rows()["train"], run.training.evaluate_every
    x, y = whole.inputs[:count], whole.labels[:count]
    params = {name: torch.nn.Parameter(w.clone()) for name, w in whole.start.items()}
    optimizer = whole.optimizer(params)
    steps, train_accuracy, test_accuracy = [], [], []
    for step in range(run.training.steps + 1):
        if step % every == 0:
            with torch.no_grad():
                right = (whole.outputs(params, whole.inputs).argmax(1) == whole.labels).float()
            steps.append(step)
            train_accuracy.append(float(right[:count].mean()))
            test_accuracy.append(float(right[count:].mean()))
        if step < run.training.steps:
            optimizer.zero_grad()
            whole.loss(params, x, y).backward()
            optimizer.step()
    curves = {"step": steps, "train/accuracy": train_accuracy, "test/accuracy": test_accuracy}
    return {name: np.array(values, np.int32 if name == "step" else np.float32) for name, values in curves.items()}
