"""The first diagram: when does a small network generalise on modular addition?

    python scripts/launch_sweep.py --recipe=quickstart --workdir=out/quickstart

The two-layer quadratic network learns (a + b) mod 31 from a fraction of all pairs, full batch, AdamW; train fraction ×
weight decay, 12 × 12 cells × 3 seeds = 432 runs of at most 3,000 steps. All four phases occur: generalisation at once,
grokking along its boundary, memorisation with little data or little decay, and confusion where decay is too strong.
"""

import jaxgen as jg
from sweeps import Drawing, Scale, Study, linspace, logspace

BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=31, train_fraction=0.5),
    model=jg.models.QuadraticMLP(width=64),
    loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.AdamW(learning_rate=5e-3, weight_decay=0.1, b1=0.9, b2=0.98),
    training=jg.Training(steps=3000, evaluate_every=50, stop_threshold=0.95, stop_patience=300),
)
X, Y = "task.train_fraction", "optimizer.weight_decay"
SIZES = {"quick": (12, 3), "smoke": (3, 1), "paper": (25, 10)}  # of the plane, and seeds
STUDY = Study(
    name="quickstart",
    base=BASE,
    description="Two-layer quadratic network on (a + b) mod 31",
    definition={"threshold": 0.9, "budget": 3000, "gap": 600},
    scales={k: Scale(s, axes={X: linspace(0.25, 0.85, n), Y: logspace(-2, 1, n)}) for k, (n, s) in SIZES.items()},
    drawings=(Drawing("diagram", X, Y),),
)
