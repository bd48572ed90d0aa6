"""A study of your own is one file: its experiment, scales, diagram, curves and claim.

    python scripts/reproduce.py --sweep=examples/own_study.py --dry_run
    python scripts/reproduce.py --sweep=examples/own_study.py --workdir=out/own_study

After Power et al. 2022 (arXiv 2201.02177), who found that weight decay makes a network generalise sooner and from less
data. A claim is a function of its arms, each of which it sees as curves and times over seeds; what runs an arm needs
follows from its axes.
"""

import jaxgen as jg
import sweeps

FRACTION, DECAY, ACCURACY = "task.train_fraction", "optimizer.weight_decay", "test/accuracy"
ARMS = {"weak": sweeps.fixed(DECAY, 0.1), "strong": sweeps.fixed(DECAY, 1.0)}
GROUPS = {"train": "train/accuracy", "test": ACCURACY}


def decay_speeds(weak, strong):
    """Steps to 90 % test accuracy with little decay and with more, on the same seeds."""
    ratio = sweeps.log_ratio(weak, strong, ACCURACY, 0.9)
    return [
        sweeps.Effect("log₁₀ of the steps to 90 % test accuracy, decay .1 / 1", ratio),
        sweeps.share_of_seeds("final test accuracy above .9, decay 1", strong.final(ACCURACY) > 0.9),
    ]


recipe = sweeps.Study(
    name="own_study",
    paper="after Power et al. 2022, arXiv 2201.02177",
    description="Weight decay and grokking on (a - b) mod 31",
    base=jg.Experiment(
        task=jg.tasks.ModularSubtraction(p=31, train_fraction=0.6),
        model=jg.models.QuadraticMLP(width=64),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.AdamW(learning_rate=5e-3, weight_decay=1.0, b2=0.98),
        training=jg.Training(steps=3000, evaluate_every=50, stop_threshold=0.95, stop_patience=300),
    ),
    definition={"threshold": 0.9, "budget": 3000, "gap": 600},
    axes={FRACTION: [0.4, 0.6, 0.8], DECAY: [0.03, 0.3, 3.0]},
    scales={"quick": sweeps.Scale(seeds=2, claim_seeds=6), "paper": sweeps.Scale(3, {"task.p": 97}, claim_seeds=6)},
    drawings=[sweeps.Drawing("decay", FRACTION, DECAY)],
    curves=[sweeps.Curves("accuracy", ARMS, GROUPS, levels={"chance": 1 / 31})],
    claims=[sweeps.Claim("1", "Weight decay makes a network generalise sooner", decay_speeds, arms=ARMS)],
)
