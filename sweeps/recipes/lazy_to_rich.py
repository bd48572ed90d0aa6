"""Grokking as the transition from lazy to rich training dynamics (Kumar et al. 2024, arXiv 2310.06110).

    python scripts/reproduce.py --recipe=lazy_to_rich --scale=quick

A committee of N quadratic units learns y = ½ (β·x)² of P Gaussian rows in D dimensions by plain gradient descent. Its
output is α times what it says beyond its start, with the rate lr₀/α²: the larger α, the longer it stays the kernel
machine of its initial features (lazy) before units turn towards β (rich). ε, the quadratic part of the units, says how
much of y the initial kernel has. Errors are exact, over all inputs. Kernel regression is solved, with α infinite. And
(a + b) mod 23 groks by plain gradient descent while the norm of the weights grows. No decay anywhere.

paper: D = 100, N = 500, P = 550, for a GPU; not run here. quick: D = 30, N = 100, P = 60, 150 (5 D) and 450 (15 D),
3,000 steps: what is claimed depends on P/D and on α, not on how large D is. R² of .9 is what counts as learned. Pilots,
from which α, ε, P and the rates were chosen, had seeds from 100 on. Modular addition: lr 10, for 100 diverged here.
Found: five of six claims. (2) holds in steps; in units of the time to fit, the delay is shorter where features are
misaligned. (4), first measured against the linear network trained by the same descent, of which two of six did not fit
in 3,000 steps, is measured against the solved one, as was planned: .1 better, its bound.
"""

import numpy as np
import pandas as pd

import jaxgen as jg
from sweeps import Claim, Drawing, Effect, Scale, Study, fixed, log_delay, product, share_of_seeds, told
from sweeps.studies.effects import Bounds

ALPHA, EPSILON, ROWS = "model.scale", "model.epsilon", "task.train_rows"
FITTED, LEARNED, LEVEL = "train/r2", "population/r2", 0.9
PROBES = "loss", "metrics", "weight_norm", "population_error"
# fmt: off
BASE = jg.Experiment(
    task=jg.tasks.GaussianQuadratic(dimension=30, train_rows=150, samples=500),
    model=jg.models.Committee(width=100, scale=0.5, epsilon=0.1), loss=jg.losses.MeanSquaredError(),
    optimizer=jg.optimizers.SGD(learning_rate=300.0),  # a tenth of N D, of which the kernel's largest eigenvalues are ½
    training=jg.Training(steps=3000, evaluate_every=20, stop_metric="r2", stop_threshold=0.95, stop_patience=100,
                         probes=PROBES))
PAPER = {"task.dimension": 100, ROWS: 550, "task.samples": 2550, "model.width": 500, "training.steps": 100_000,
         "optimizer.learning_rate": 5000, "training.evaluate_every": 100}
SMOKE = {"training.steps": 4, "training.evaluate_every": 2}
# fmt: on


def delay(arm):
    """log₁₀ of the steps between R² of .9 on the train rows and on all inputs, by seed."""
    return log_delay(arm, FITTED, LEARNED, LEVEL)


def when_fitted(arm, probe):
    """A probe at the first evaluation with an R² of .9 on the train rows, by seed."""
    return arm.average(probe, arm.steps == arm.time(FITTED, LEVEL)[..., None])


def laziness_delays(rich, middle, lazy):
    """Delays at α = 1/8, 1/2 and 2; runs that do not learn in time count from their last step on."""
    delays = {"1/8": delay(rich), "1/2": delay(middle), "2": delay(lazy)}
    pairs = ("1/8", "1/2"), ("1/2", "2")
    found = [Effect(f"log₁₀ of the delay, α = {b} less α = {a}", delays[b] - delays[a]) for a, b in pairs]
    return found + told(delays, "log₁₀ of the delay in steps, α = {}", within=None)


def misalignment_delays(misaligned, aligned):
    """Delays at ε = .1 and .3, and in units of the time that the train rows took."""
    ratios = []
    for arm in (misaligned, aligned):
        fitted = pd.Series(np.log10(arm.time(FITTED, LEVEL)[:, 0]), arm.seeds)
        ratios.append(Bounds(*(end - fitted for end in delay(arm))))
    return [
        Effect("log₁₀ of the delay in steps, ε = .1 less ε = .3", delay(misaligned) - delay(aligned)),
        Effect("the same of the delay over the time to fit", ratios[0] - ratios[1], None),
    ]


def middle_sizes_delay(few, middle, many):
    """At P = 2 D nothing but the train rows is learned; at 15 D there is less of a delay than at 5 D."""
    return [
        share_of_seeds("R² below .9 to the end, P = 2 D", few.largest(LEARNED) < LEVEL),
        share_of_seeds("train rows fitted, P = 2 D", few.largest(FITTED) >= LEVEL),
        Effect("log₁₀ of the delay in steps, P = 5 D less P = 15 D", delay(middle) - delay(many)),
    ]


def begins_as_kernel(kernel, lazy, rich):
    """R² on all inputs when the train rows are fitted, beside that of kernel regression with the initial features."""
    solved = kernel.final(LEARNED)
    return [
        Effect("R² when fitted, α = 32, less the kernel's", when_fitted(lazy, LEARNED) - solved, -0.1, below=0.1),
        Effect("R² when fitted, α = 1/8, less the kernel's", when_fitted(rich, LEARNED) - solved),
        Effect("R² of the kernel", solved, None),
    ]


def kernels_align(rich, lazy):
    """Tangent kernels after 1,000 steps, α = 1/8 and 2."""
    found = []
    for name, said in (("change", "‖K - K₀‖ / ‖K₀‖"), ("alignment", "centred alignment of K with the labels")):
        one, other = (arm.final(f"kernel/{name}") for arm in (rich, lazy))
        found.append(Effect(f"{said}, α = 1/8 less α = 2", one - other))
        found += told({"1/8": one, "2": other}, f"{said}, α = {{}}", within=None)
    return found


def norms_grow(arm):
    """Plain gradient descent without decay on (a + b) mod 23, test accuracy and norm."""
    fitted, learned = (arm.time(f"{split}/accuracy", LEVEL) for split in ("train", "test"))
    first, then = (arm.average("weight_norm", arm.steps == t[..., None]) for t in (np.zeros_like(learned), learned))
    gap = learned - np.where(np.isfinite(learned), fitted, 0)  # infinite where it never gets there
    late = pd.Series(((gap > 0) & np.isfinite(gap))[:, 0], arm.seeds)
    return [
        share_of_seeds("test accuracy above .9, later than that of the train rows", late),
        Effect("norm of the weights, when it gets there over the beginning", then / first, 1.0),
        Effect("steps to 90 % of the test rows less those of the train rows", arm.mean(gap), None),
    ]


# fmt: off
MODULAR = product(
    fixed("task", jg.tasks.ModularAddition(p=23, train_fraction=0.9)),
    fixed("model", jg.models.MLP(width=100, depth=1, activation="square")),
    fixed("optimizer", jg.optimizers.SGD(learning_rate=10.0)), fixed("training.stop_metric", "accuracy"),
    fixed("training.probes", ("loss", "metrics", "weight_norm")))
KERNEL = product(fixed("model.linear", True), fixed("start", jg.starts.Solve(parameters=("kernel",))),
                 fixed("training.dtype", "float64"), fixed("training.steps", 0))
WATCHED = product(fixed("training.probes", (*PROBES, jg.probes.Every("tangent_kernel", 500))),
                  fixed("training.stop_metric", None), fixed("training.steps", 1000))
AT = {a: fixed(ALPHA, a) for a in (0.125, 0.5, 2.0, 32.0)}
CLAIMS = (
    Claim("1", "Grokking needs no regularisation, and the lazier the training, the longer the delay", laziness_delays,
          arms={"rich": AT[0.125], "middle": AT[0.5], "lazy": AT[2.0]}),
    Claim("2", "The delay is longer where the initial features are misaligned with the target", misalignment_delays,
          arms={"misaligned": AT[0.5], "aligned": fixed(EPSILON, 0.3)}),
    Claim("3", "It needs a middle amount of data", middle_sizes_delay,
          arms={"few": fixed(ROWS, 60), "middle": AT[0.5], "many": fixed(ROWS, 450)}),
    Claim("4", "Before it groks the network is the kernel regression of its initial features", begins_as_kernel,
          arms={"kernel": KERNEL, "lazy": AT[32.0], "rich": AT[0.125]}, more_seeds=14),
    Claim("5", "Features are learned: the tangent kernel turns towards the labels, the more the richer", kernels_align,
          arms={"rich": product(AT[0.125], WATCHED), "lazy": product(AT[2.0], WATCHED)}),
    Claim("6", "Modular addition groks by plain gradient descent while the norm of the weights grows", norms_grow,
          arms={"arm": MODULAR}),
)
STUDY = Study(
    name="lazy_to_rich", paper="Kumar et al. 2024, arXiv 2310.06110", base=BASE, claims=CLAIMS,
    description="Lazy to rich: output scale, alignment and data of a committee of quadratic units",
    definition={"metric": "population/r2", "threshold": LEVEL, "budget": 3000, "gap": 100},
    axes={ALPHA: [0.125, 0.5, 2.0, 8.0], EPSILON: [0.05, 0.1, 0.2], ROWS: [60, 100, 150, 250, 450]},
    scales={"quick": Scale(1, claim_seeds=6),
            "smoke": Scale(1, SMOKE, {ALPHA: [0.5], EPSILON: [0.1], ROWS: [150]}, 3, {"budget": 4, "gap": 2}),
            "paper": Scale(3, PAPER, {ROWS: [50, 120, 500], ALPHA: [0.03125, 0.125, 0.5, 2.0, 8.0, 32.0]}, 6,
                           {"budget": 100_000, "gap": 1000})},
    drawings=(Drawing("laziness", ALPHA, EPSILON), Drawing("data", ALPHA, ROWS)))
# fmt: on
