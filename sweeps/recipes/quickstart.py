"""The first diagram: when does a small network generalise on modular addition?

    python scripts/launch_sweep.py --recipe=quickstart --workdir=out/quickstart

The two-layer quadratic network learns (a + b) mod 31 from a fraction of all pairs, full batch, AdamW; train fraction ×
weight decay, 12 × 12 cells × 3 seeds = 432 runs of at most 3,000 steps. About a minute on two CPU cores, and half a
minute of compiling the first time. All four phases occur: generalisation at once with much data and moderate decay, a
band of grokking along its boundary, memorisation with little data or little decay, and confusion where the decay is too
strong to fit the train set.
"""

import jaxgen as jg
from sweeps.axes.sweep import linspace, logspace, product, seeds, sweep
from sweeps.studies.recipe import Drawing, Recipe, Scale

BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=31, train_fraction=0.5),
    model=jg.models.QuadraticMLP(width=64),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=5e-3, weight_decay=0.1, b1=0.9, b2=0.98),
    training=jg.Training(steps=3000, evaluate_every=50, stop_threshold=0.95, stop_patience=300),
)


def plane(columns: int, rows: int, count: int):
    """Train fraction × weight decay × seeds."""
    return product(
        sweep("task.train_fraction", linspace(0.25, 0.85, columns)),
        sweep("optimizer.weight_decay", logspace(-2, 1, rows)),
        seeds(count),
    )


RECIPE = Recipe(
    base=BASE,
    sweep=plane(12, 12, 3),
    name="quickstart",
    description="Two-layer quadratic network on (a + b) mod 31",
    definition={"threshold": 0.9, "budget": 3000, "gap": 600},
    scales={"smoke": Scale({}, plane(3, 3, 1)), "paper": Scale({}, plane(25, 25, 10))},
    drawings=(Drawing("diagram", "task.train_fraction", "optimizer.weight_decay"),),
)
