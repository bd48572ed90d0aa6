"""To grok or not to grok: modular addition with a share of its train labels drawn anew (Doshi et al. 2023, 2310.13061).

    python scripts/launch_sweep.py --sweep=examples/corrupted_labels.py --workdir=out/noisy
    python scripts/phase_diagram.py --workdir=out/noisy --labels=corrupted_labels

The task is a task around another one: its fields are `task.share` and, of the other, `task.task.p` and so on.
Accuracies of the corrupted and of the clean train rows are stored too, e.g. for `--values=final/corrupted/accuracy`.
The decay acts on the read-out only: a group of parameters has its own optimizer.
"""

import jaxgen as jg
import sweeps

ADAM = {"learning_rate": 1e-2, "b2": 0.98}

base = jg.Experiment(
    task=jg.tasks.CorruptedLabels(task=jg.tasks.ModularAddition(p=31), share=0.2),
    model=jg.models.QuadraticMLP(width=64),
    loss=jg.losses.MeanSquaredError(),
    optimizer=jg.optimizers.Groups(
        default=jg.optimizers.Adam(**ADAM, schedule=jg.schedules.Warmup(steps=10)),
        groups={"readout": jg.optimizers.AdamW(**ADAM, weight_decay=1.0)},
        patterns=(("readout", "Linear_1"),),
    ),
    training=jg.Training(steps=1000, evaluate_every=50),
)
axes = sweeps.product(
    sweeps.sweep("task.task.train_fraction", sweeps.linspace(0.3, 0.9, 7)),
    sweeps.sweep("task.share", sweeps.linspace(0, 0.6, 7)),
    sweeps.seeds(3),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9, "budget": 1000, "gap": 200})
