"""To grok or not to grok at its published size: f = W (U a + V b)² with 500 units, (a + b) mod 97.

    python scripts/launch_sweep.py --sweep=examples/corrupted_at_97.py --workdir=out/corrupted_at_97
    python scripts/phase_diagram.py --workdir=out/corrupted_at_97 --labels=corrupted_labels \\
        --x=task.task.train_fraction --y=task.share

Train fraction × corrupted share for the weight decay 15, at 9 × 9 of the 17 × 17 values of the paper's diagram (Doshi
et al. 2023, arXiv 2310.13061), one seed as there, where a GPU is not at hand: half an hour on two CPU cores. Settings
are those of `--recipe=corrupted_labels --scale=paper`.
"""

import sweeps
from sweeps.recipes.corrupted_labels import DECAY, FRACTION, SEVENTEEN, SHARE, STUDY

axes = sweeps.product(
    sweeps.fixed(DECAY, 15.0),
    sweeps.sweep(FRACTION, SEVENTEEN[FRACTION][::2]),
    sweeps.sweep(SHARE, SEVENTEEN[SHARE][::2]),
)
recipe = sweeps.Recipe(STUDY.at("paper").base, axes, definition={"threshold": 0.9, "budget": 2000, "gap": 200})
