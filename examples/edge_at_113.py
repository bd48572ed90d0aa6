"""Grokking at the edge of numerical stability at its published size: 226-200-200-113, (a + b) mod 113.

    python scripts/launch_sweep.py --sweep=examples/edge_at_113.py --workdir=out/edge_at_113

The runs of claims 1, 2 and 4 that the paper (Prieto et al. 2025, arXiv 2501.04697) shows curves of, with two seeds
each, where a GPU is not at hand: an hour or two on two CPU cores. Settings are those of
`--recipe=edge_of_stability --scale=paper`, but for how long is trained.
"""

import sweeps
from sweeps.recipes.edge_of_stability import STABLEMAX, STUDY

base = STUDY.at("paper").base
LARGE_RATE = sweeps.fixed("optimizer.learning_rate", 1e-2)  # and f = .4
axes = sweeps.product(
    sweeps.seeds(2),
    sweeps.chain(
        sweeps.product(  # ⊥AdamW and AdamW, evaluated often
            LARGE_RATE,
            sweeps.sweep("optimizer.perpendicular", [True, False]),
            sweeps.fixed("training.steps", 600),
            sweeps.fixed("training.evaluate_every", 10),
        ),
        sweeps.product(  # softmax in three precisions
            sweeps.fixed("task.train_fraction", 0.7),
            sweeps.sweep("loss.dtype", ["float16", "float32", "float64"]),
            sweeps.fixed("training.steps", 20_000),
        ),
        sweeps.product(  # StableMax
            LARGE_RATE,
            sweeps.fixed("loss", STABLEMAX),
            sweeps.fixed("loss.dtype", "float64"),
            sweeps.fixed("training.steps", 60_000),
        ),
    ),
)
recipe = sweeps.Recipe(base, axes, definition={"threshold": 0.9, "budget": 60_000, "gap": 5000})
