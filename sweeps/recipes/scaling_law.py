"""Provable scaling laws of feature emergence from learning dynamics of grokking (Tian 2025, arXiv 2509.21519).

    python scripts/reproduce.py --recipe=scaling_law --scale=quick

A network of one hidden layer, V σ(W x) without biases, learns the product in a group of M elements from n of the M²
pairs: squared error of centred outputs, full batch, Adam with L2 of strength η in the gradient. The paper's code draws
the boundary between memorisation and generalisation at 2.7482 M ln M.

paper: M = 23 to 127, for a GPU; not run here. quick: M = 13, 17, 23 and the 24 permutations of four things, K = 128,
η = 2e-3: more decay than the paper's makes everything sooner (the boundary of M = 17 and 23 is the same in pilots), and
M ln M does not ask how large M is. (3) to (5) were undecided at first, on the same six seeds (lr .005 and .05 at 2.6;
units when runs stop; 24 units at 2.95): their settings, and those of (6), are of pilots with seeds 100 to 103.

Found: n_c = 2.55 M ln M with an exponent of .97; for permutations 3.0 (the largest representation, d / 2, would make it
3.8); features are pure in time (4). (5) does not show: one in seven frequencies is lost by Muon and by Adam.
"""

import numpy as np
import pandas as pd
from flax.core import FrozenDict

import jaxgen as jg
from sweeps import Claim, Drawing, Effect, Scale, Study, fixed, laws, product, share_of_seeds, told, trend

FRACTION, RATE, DECAY = "task.train_fraction", "optimizer.learning_rate", "optimizer.weight_decay"
ACCURACY, PURITY, COVERED = "test/accuracy", "features/purity", "features/covered"
SIZES, COUNTS, MORE = (13, 17, 23), (2.2, 2.45, 2.7, 2.95), (2.6, 2.95, 3.3, 3.7)


def of(size, count):
    """A group of so many elements with n = count · M ln M pairs."""
    return product(fixed("task.p", size), fixed(FRACTION, round(count * float(np.log(size)) / size, 4)))


def boundary(arms, name, counts=COUNTS):
    """n_c / (M ln M) of each seed: where the final test accuracy is 1/2; NaN where that is beyond the counts."""
    found = laws.crossing({c: arms[f"{name}_{i}"].final(ACCURACY) for i, c in enumerate(counts)})
    return found.where((found > counts[0]) & np.isfinite(found))


def boundary_is_m_log_m(**arms):
    """The slope of ln n_c over ln(M ln M), seed by seed, and over ln M²; and the constant n_c / (M ln M)."""
    logs = np.log(pd.DataFrame({size: boundary(arms, f"M{size}") for size in SIZES}))
    n = logs + np.log([size * np.log(size) for size in SIZES])
    narrower = (n - 2 * np.log(SIZES)).std(axis=1, skipna=False) - logs.std(axis=1, skipna=False)
    over, note = {np.log(m * np.log(m)): n[m] for m in SIZES}, "M² would be 1.45, M 0.72"
    return [
        trend("ln n_c over ln(M ln M)", over, 0.8, below=1.2, note=note),
        trend("ln n_c over ln M²", {2 * np.log(m): n[m] for m in SIZES}, None),
        Effect("n_c / (M ln M)", np.exp(logs.mean(axis=1, skipna=False)), None, published=2.7482),
        Effect("spread over M of ln(n_c / M²) less that of ln(n_c / (M ln M))", narrower),
    ]


def decay_is_needed(none, some):
    """Final test accuracy with and without decay, at 2.95 M ln M; both fit their train rows."""
    gap = Effect("final test accuracy, η = 2e-3 less η = 0", some.final(ACCURACY) - none.final(ACCURACY), 0.5)
    never = share_of_seeds("test accuracy below .5 to the end, η = 0", none.largest(ACCURACY) < 0.5)
    return [gap, never, *told({"η = 0": none.final("train/accuracy")}, "final train accuracy, {}")]


def small_rates(small, large):
    """At 2.55 M ln M the same number of steps at two learning rates."""
    one, other = small.final(ACCURACY), large.final(ACCURACY)
    gap = Effect("final test accuracy, lr .002 less lr .1", one - other)
    return [gap, *told({".002": one, ".1": other}, "final test accuracy, lr {}")]


def become_features(cyclic, permutations):
    """Of trained units, the mean share of power in one irreducible representation, and the energy over its maximum."""
    found = []
    for name, arm in (("Z23", cyclic), ("S4", permutations)):
        last, first = arm.final(PURITY), arm.average(PURITY, arm.steps == 0)
        found += [
            share_of_seeds(f"units of {name} have .9 of their power in one part", last > 0.9),
            Effect(f"that share, {name}, end less beginning", last - first),
            *told({f"energy over its largest value, {name}": arm.final("features/energy")}, within=(0, 1.01)),
            *told({f"test accuracy, {name}": arm.final(ACCURACY)}),
        ]
    return found


def muon_covers_more(adam, muon):
    """Share of the frequencies that have a unit, of few units."""
    one, other = muon.final(COVERED), adam.final(COVERED)
    gap = Effect("share of frequencies with a unit, Muon less Adam", one - other)
    return [gap, *told({"Adam": other, "Muon": one}, "share, {}")]


def holds_elsewhere(trained, solved, **arms):
    """Memory at 2.2 M ln M and generalisation at 3.7 by other networks; the boundary of a non-abelian group."""
    found = []
    for name in NETWORKS:
        few, many = (arms[f"{name}_{i}"].final(ACCURACY) for i in (0, 1))
        found.append(share_of_seeds(f"{name}: test accuracy below .5 at 2.2, above at 3.7", (few < 0.5) & (many > 0.5)))
    cyclic, permutations = boundary(arms, "M23"), boundary(arms, "S4", MORE)
    found.append(Effect("n_c / (M ln M), permutations over 23 elements", permutations / cyclic, 1.0, published=1.5))
    found += told({"permutations": permutations}, "n_c / (M ln M), {}", None)
    return found + told({"trained": trained.final(ACCURACY), "solved": solved.final(ACCURACY)}, "test accuracy, V {}")


# fmt: off
BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=23, train_fraction=0.4),
    model=jg.models.MLP(width=128, depth=1, activation="square"), loss=jg.losses.CentredSquaredError(),
    optimizer=jg.optimizers.Adam(learning_rate=5e-3, weight_decay=2e-3),
    training=jg.Training(steps=1000, evaluate_every=20, stop_threshold=0.99, stop_patience=100,
                         probes=("loss", "metrics", "weight_norm", "features")))
PAPER = {"task.p": 71, "model.width": 1024, DECAY: 2e-4, "training.steps": 30_000, "training.evaluate_every": 100}
SMOKE = {"model.width": 4, "training.steps": 100, "training.evaluate_every": 100}
MUON = jg.optimizers.Groups(
    default=BASE.optimizer, patterns=(("features", "Linear_0"),),
    groups=FrozenDict(features=jg.optimizers.Muon(0.01, weight_decay=2e-3, decay_kind="coupled", momentum=0.99)))
PERMUTATIONS = fixed("task", jg.tasks.GroupProduct(group="S4", train_fraction=0.6))
NARROW = product(fixed(FRACTION, 0.7), fixed("model.width", 16), fixed("training.steps", 2000))
LONG = product(fixed("training.steps", 4000), fixed("training.stop_patience", 0))
NEAR = product(of(23, 2.55), fixed("training.steps", 3000))
NETWORKS = {"ReLU": fixed("model.activation", "relu"), "SiLU": fixed("model.activation", "silu"),
            "V from 0": fixed("model.readout_scale", 0.0)}
SOLVED = jg.starts.AfterTraining(steps=200, transforms=(jg.starts.Solve(parameters=("Linear_1",), ridge=1e-2),))
CYCLIC = {f"M{size}_{i}": of(size, c) for size in SIZES for i, c in enumerate(COUNTS)}
OTHERS = {f"{name}_{i}": product(of(23, c), one) for name, one in NETWORKS.items() for i, c in enumerate((2.2, 3.7))}
OTHERS |= {f"S4_{i}": product(PERMUTATIONS, fixed(FRACTION, round(0.1324 * c, 4))) for i, c in enumerate(MORE)}
OTHERS |= {name: arm for name, arm in CYCLIC.items() if name.startswith("M23")}
OTHERS |= {"trained": product(of(13, 2.95), fixed("training.steps", 200)),
           "solved": product(of(13, 2.95), fixed("start", SOLVED), fixed("training.steps", 0))}
CLAIMS = (
    Claim("1", "Memorisation turns into generalisation at n proportional to M ln M", boundary_is_m_log_m, arms=CYCLIC),
    Claim("2", "Without weight decay there is no grokking", decay_is_needed,
          arms={"none": product(of(23, 2.95), fixed(DECAY, 0.0)), "some": of(23, 2.95)}),
    Claim("3", "Near the boundary a small learning rate generalises where a large one memorises", small_rates,
          "M = 127, n = 3225: .001 and .002 generalise, .005 memorises",
          {"small": product(NEAR, fixed(RATE, 0.002)), "large": product(NEAR, fixed(RATE, 0.1))}, more_seeds=14),
    Claim("4", "Units become features of single irreducible representations, local maxima of the energy",
          become_features, arms={"cyclic": product(of(23, 2.95), LONG), "permutations": product(PERMUTATIONS, LONG)}),
    Claim("5", "Muon covers more features where units are few", muon_covers_more,
          arms={"adam": NARROW, "muon": product(NARROW, fixed("optimizer", MUON))}, more_seeds=14),
    Claim("6", "So it is with other activations and V from 0, and later in a non-abelian group", holds_elsewhere,
          "× d / 2 of its largest representation", OTHERS),
)
STUDY = Study(
    name="scaling_law", paper="Tian 2025, arXiv 2509.21519", base=BASE, claims=CLAIMS,
    description="Scaling laws of feature emergence: how much data of which group, decay, learning rate, Muon",
    definition={"threshold": 0.9, "budget": 1000, "gap": 100},
    axes={"task.p": [*SIZES], FRACTION: [0.3, 0.35, 0.4, 0.45, 0.5, 0.55], DECAY: [0.0, 5e-4, 2e-3, 8e-3]},
    scales={"quick": Scale(1, claim_seeds=6),
            "smoke": Scale(1, SMOKE, {"task.p": [13], FRACTION: [0.5], DECAY: [0.0]}, 3, {"budget": 100, "gap": 100}),
            "paper": Scale(3, PAPER, {"task.p": [23, 71, 127]}, 6, {"budget": 30_000, "gap": 3000})},
    drawings=(Drawing("boundary", FRACTION, "task.p"), Drawing("decay", FRACTION, DECAY)))
# fmt: on
