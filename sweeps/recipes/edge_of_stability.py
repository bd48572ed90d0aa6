"""Grokking at the edge of numerical stability (Prieto et al. 2025, arXiv 2501.04697).

    python scripts/reproduce.py --recipe=edge_of_stability --scale=quick

An MLP learns (a + b) mod p full batch with AdamW (eps 1e-25), without and with weight decay, with cross-entropy or
StableMax in three precisions, on plain or perpendicular gradients (⊥Grad). Two diagrams: train fraction × precision of
the loss, and weight decay × learning rate, each with contours of Softmax Collapse; five claims, judged over seeds.

- quick: p = 59, two hidden layers of 64, 6,000 steps, lr 1e-3 (1e-2 where the paper has it): 17 minutes on
  two CPU cores.
- paper: p = 113, 226-200-200-113, 80,000 steps, lr 5e-4 (1e-2 where the paper has it), six seeds where it has one (the
  fewest that can show what holds for most): for a GPU. StableMax and ⊥AdamW are compared at a train fraction of .4.
- smoke: seconds; only that everything runs.

The text of the paper is followed: ⊥AdamW keeps AdamW's settings, where the released code falls back to PyTorch's.
"""

import pandas as pd

import jaxgen as jg
from sweeps.axes.sweep import Sweep, chain, fixed, product, seeds, sweep
from sweeps.studies.claims import Claim, Evidence, log_ratio
from sweeps.studies.effects import Effect, share_of_seeds
from sweeps.studies.recipe import Drawing, Recipe, Scale

DTYPES = ["float16", "float32", "float64"]
SOFTMAX, STABLEMAX = jg.losses.CrossEntropy(), jg.losses.StableMaxCrossEntropy()
FRACTION, RATE, DECAY = "task.train_fraction", "optimizer.learning_rate", "optimizer.weight_decay"
PERPENDICULAR, DTYPE = "optimizer.perpendicular", "loss.dtype"
FAST = 1e-2

BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=59, train_fraction=0.7),
    model=jg.models.MLP(width=64, depth=2),
    loss=SOFTMAX,
    optimizer=jg.optimizers.AdamW(learning_rate=1e-3, weight_decay=0.0, b1=0.9, b2=0.99, eps=1e-25),
    training=jg.Training(
        steps=6000,
        evaluate_every=100,
        stop_threshold=0.99,
        stop_patience=200,
        probes=("loss", "metrics", "weight_norm", "collapse", "alignment"),
    ),
)
CLAIMED = sweep(FRACTION, [0.6, 0.7])  # where claim (1) is made


def points(fractions: list, rates: list, decays: list, count: int, claim_count: int) -> Sweep:
    """The runs of both diagrams for `count` seeds, those of the claims for `claim_count`, of claim (1) for two more."""
    losses = sweep("loss", [SOFTMAX, STABLEMAX])
    precision = product(sweep(FRACTION, fractions), losses, sweep(DTYPE, DTYPES))
    decay = product(sweep(RATE, rates), sweep(DECAY, decays), losses, sweep(PERPENDICULAR, [False, True]))
    claims = [
        sweep(DTYPE, DTYPES),
        product(fixed(RATE, FAST), fixed(DTYPE, "float64"), losses),
        product(fixed(RATE, FAST), sweep(PERPENDICULAR, [False, True])),
        product(fixed(RATE, FAST), fixed("loss", STABLEMAX)),
        sweep(DECAY, [0.1, 1.0]),
    ]
    return chain(
        product(CLAIMED, sweep(DTYPE, DTYPES), seeds(claim_count + 2)),
        *(product(part, seeds(claim_count)) for part in claims),
        *(product(part, seeds(count)) for part in (precision, decay)),
    )


def collapse_prevents_grokking(e: Evidence) -> list[Effect]:
    """Final test accuracy rises with the precision of the loss, at the fractions .6 and .7."""
    accuracy = {d: e.arm(CLAIMED, fixed(DTYPE, d)).final("test/accuracy") for d in DTYPES}
    return [
        Effect("final test accuracy, float32 - float16", accuracy["float32"] - accuracy["float16"]),
        Effect("final test accuracy, float64 - float32", accuracy["float64"] - accuracy["float32"]),
        *(Effect(f"final test accuracy, {d}", accuracy[d], None, within=(0, 1)) for d in DTYPES),
    ]


def stablemax_groks(e: Evidence) -> list[Effect]:
    """StableMax beside softmax, in float64 at the paper's learning rate and in float32."""
    soft, stable = (
        e.arm(fixed(RATE, FAST), fixed("loss", loss), fixed(DTYPE, "float64")) for loss in (SOFTMAX, STABLEMAX)
    )
    single = e.arm(fixed(RATE, FAST), fixed("loss", STABLEMAX))
    accuracy, share = "test/accuracy", "train/collapse"
    return [
        Effect("final test accuracy, StableMax - softmax, float64", stable.final(accuracy) - soft.final(accuracy)),
        share_of_seeds("final test accuracy above .9, StableMax, float64", stable.final(accuracy) > 0.9),
        Effect("final test accuracy, StableMax, float64", stable.final(accuracy), None, within=(0, 1)),
        Effect(
            "largest share of collapsed train rows, softmax - StableMax, float64",
            soft.largest(share) - stable.largest(share),
            note="each for its own function",
        ),
        Effect("final test accuracy, StableMax, float32", single.final(accuracy), None, within=(0, 1)),
        Effect("largest share of collapsed train rows, StableMax, float32", single.largest(share), None, within=(0, 1)),
    ]


def gradients_align(e: Evidence) -> list[Effect]:
    """cos(-∇L, θ) of cross-entropy in float64, before and after all train rows are right and before any collapse."""
    arm = e.arm(fixed(DTYPE, "float64"))
    fitted = arm.steps >= arm.time("train/accuracy", 1.0)[..., None]
    sound = arm.curves("train/collapse") < 0.01
    after, before = (arm.average("cosine/gradient", when) for when in (fitted & sound, ~fitted))
    return [
        share_of_seeds(
            "mean cos(-∇L, θ) after overfitting above .5",
            (after > 0.5).where(after.notna()),
            note="until 1 % of rows collapse",
        ),
        Effect("mean cos(-∇L, θ) after overfitting", after, above=None),
        Effect("the same, after - before overfitting", after - before),
    ]


def perpendicular_generalises(e: Evidence) -> list[Effect]:
    """⊥AdamW beside AdamW, at the paper's learning rate without weight decay."""
    plain, perpendicular = (e.arm(fixed(RATE, FAST), fixed(PERPENDICULAR, p)) for p in (False, True))
    ratio = log_ratio(plain, perpendicular, "test/accuracy", 0.9)
    ends = pd.Series(perpendicular.observed()[:, 0], perpendicular.seeds)
    cosine = [
        arm.average("cosine/update", (arm.steps > 0) & (arm.steps <= ends.reindex(arm.seeds).to_numpy()[:, None, None]))
        for arm in (plain, perpendicular)
    ]
    return [
        Effect(
            "log₁₀ of the steps to 90 % test accuracy, AdamW / ⊥AdamW",
            ratio,
            note="AdamW that never gets there counts from its last step on",
        ),
        share_of_seeds("final test accuracy above .9, ⊥AdamW", perpendicular.final("test/accuracy") > 0.9),
        Effect("final test accuracy, ⊥AdamW", perpendicular.final("test/accuracy"), None, within=(0, 1)),
        Effect("mean cos(Δθ, θ) until ⊥AdamW ends, AdamW - ⊥AdamW", cosine[0] - cosine[1]),
        Effect("mean cos(Δθ, θ), ⊥AdamW", cosine[1], above=None),
    ]


def decay_delays_collapse(e: Evidence) -> list[Effect]:
    """Steps until a tenth of the train rows has collapsed, cross-entropy in float32."""
    arms = {d: e.arm(fixed(DECAY, d)) for d in (0.0, 0.1, 1.0)}
    ratio = log_ratio(arms[0.1], arms[0.0], "train/collapse", 0.1)
    share = arms[0.0].largest("train/collapse") - arms[1.0].largest("train/collapse")
    return [
        Effect(
            "log₁₀ of the steps to 10 % collapsed rows, decay 0.1 / none",
            ratio,
            note=f"evaluated every {e.base.training.evaluate_every} steps",
        ),
        Effect("largest share of collapsed train rows, no decay - decay 1", share),
    ]


CLAIMS = (
    Claim(
        "1",
        "Softmax Collapse prevents grokking: without weight decay float16 < float32 < float64 in final test accuracy",
        collapse_prevents_grokking,
        "f = .7, lr 5e-4: float16 48 %, float32 66-69 %, float64 93 % (one seed, p = 113)",
    ),
    Claim(
        "2",
        "StableMax prevents Softmax Collapse and enables grokking without regularization",
        stablemax_groks,
        "f = .4, lr .01: StableMax 94 % at 50,000 steps, softmax below 1 % through 80,000 (float64)",
    ),
    Claim(
        "3",
        "Beyond the point of overfitting, gradients align with the direction of naive loss minimisation",
        gradients_align,
    ),
    Claim(
        "4",
        "⊥Grad promotes quick generalization by preventing naive loss minimisation altogether",
        perpendicular_generalises,
        "f = .4, lr .01: test 97 % at step 110",
    ),
    Claim("5", "Weight decay delays Softmax Collapse", decay_delays_collapse),
)

NO_DECAY = {DECAY: 0.0, PERPENDICULAR: False}
LOSSES = {"softmax": "CrossEntropy", "StableMax": "StableMaxCrossEntropy"}


def drawings(rate: float, fraction: float) -> tuple[Drawing, ...]:
    """Both diagrams; the first at a learning rate, the second at a train fraction."""
    precision = {name: {"loss.type": kind, RATE: rate, **NO_DECAY} for name, kind in LOSSES.items()}
    decay = {
        f"{'⊥Grad, ' if p else ''}{name}": {"loss.type": kind, PERPENDICULAR: p, DTYPE: "float32", FRACTION: fraction}
        for p in (False, True)
        for name, kind in LOSSES.items()
    }
    return (
        Drawing("precision", FRACTION, DTYPE, precision, contour="train/collapse"),
        Drawing("decay", DECAY, RATE, decay, contour="train/collapse"),
    )


PAPER = {
    "task.p": 113,
    "task.train_fraction": 0.4,
    "model.width": 200,
    "optimizer.learning_rate": 5e-4,
    "training.steps": 80_000,
    "training.evaluate_every": 200,
    "training.stop_patience": 1000,
}
SMOKE = {"task.p": 2, "model.width": 4, "training.steps": 4, "training.evaluate_every": 2}

PAPER_RATES, PAPER_DECAYS = [1e-4, 5e-4, 1e-3, 5e-3, FAST], [0.0, 0.01, 0.1, 1.0]

RECIPE = Recipe(
    base=BASE,
    sweep=points([0.6, 0.7, 0.8], [1e-3, 3e-3, FAST], [0.0, 0.01, 0.1, 1.0], 2, 6),
    name="edge_of_stability",
    description="Grokking at the edge of numerical stability: precision, StableMax, ⊥Grad, weight decay",
    definition={"threshold": 0.9, "budget": 6000, "gap": 1000},
    scales={
        "smoke": Scale(SMOKE, points([0.6], [FAST], [0.0], 1, 3), {"budget": 4, "gap": 2}),
        "paper": Scale(
            PAPER,
            points([0.3, 0.4, 0.5, 0.6, 0.7], PAPER_RATES, PAPER_DECAYS, 3, 6),
            {"budget": 80_000, "gap": 5000},
            drawings(5e-4, 0.4),
        ),
    },
    drawings=drawings(1e-3, 0.7),
    claims=CLAIMS,
)
