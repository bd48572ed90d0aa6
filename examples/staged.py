"""Runs that start from others: how much of a network that has grokked can be removed, and does it learn again?

    python scripts/launch_sweep.py --sweep=examples/staged.py --workdir=out/tickets
    python scripts/phase_diagram.py --workdir=out/tickets --x=start.transforms.0.rate --y=task.train_fraction

Each parent is trained once, first, and its weights are kept in `out/tickets/parents`. Then the smallest weights are
removed, the others rewound to their initial values (lottery tickets: Frankle & Carbin 2019, arXiv 1803.03635), and the
network is trained again. The axis ties the parent's train fraction to the run's own.
"""

import jaxgen as jg
import sweeps

FRACTIONS = sweeps.linspace(0.4, 0.8, 5)

parent = jg.Experiment(
    task=jg.tasks.ModularAddition(p=23),
    model=jg.models.QuadraticMLP(width=48),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=3e-3, weight_decay=1.0),
    training=jg.Training(steps=1000),
)
base = parent.override(
    {"start": jg.starts.FromRun(parent=parent, transforms=(jg.starts.Prune(rate=0.5), jg.starts.Rewind()))}
)
axes = sweeps.product(
    sweeps.sweep("start.transforms.0.rate", [0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95]),
    sweeps.tie(
        sweeps.sweep("task.train_fraction", FRACTIONS), sweeps.sweep("start.parent.task.train_fraction", FRACTIONS)
    ),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9})
