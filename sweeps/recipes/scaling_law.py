"""Provable scaling laws of feature emergence from learning dynamics of grokking (Tian 2025, arXiv 2509.21519).

    python scripts/reproduce.py --recipe=scaling_law --scale=quick

A network of one hidden layer, V σ(W x) without biases, learns the product in a group of M elements from n of the M²
pairs: squared error of centred outputs, full batch, Adam with L2 of strength η in the gradient. The paper finds the
boundary between memorisation and generalisation at n proportional to M ln M (its code draws it at 2.7482 M ln M), units
that are features of single irreducible representations, no grokking without decay, and near the boundary a small
learning rate that generalises where a large one memorises.

paper: M = 23 to 127, for a GPU; not run here. quick: M = 13, 17, 23 and the 24 permutations of four things, K = 128,
η = 2e-3: more decay than the paper's makes everything sooner (in pilots, seeds from 100 on, the boundary of M = 17 and
23 lay between 2.4 and 2.8 M ln M at 2e-3 as at 5e-4), and M ln M does not ask how large M is. Muon had no pilot.

Found: n_c = 2.55 M ln M with an exponent of .97, and no grokking without decay. Undecided: (3), at lr .05 most runs
generalise as well; (4), units of 23 elements are not pure (.72) when their runs stop, as soon as they generalise; (5).
"""

import numpy as np
import pandas as pd
from flax.core import FrozenDict

import jaxgen as jg
from sweeps import Claim, Drawing, Effect, Scale, Study, fixed, product, share_of_seeds, told

FRACTION, RATE, DECAY = "task.train_fraction", "optimizer.learning_rate", "optimizer.weight_decay"
ACCURACY, PURITY, COVERED = "test/accuracy", "features/purity", "features/covered"
SIZES, COUNTS = (13, 17, 23), (2.2, 2.45, 2.7, 2.95)
# fmt: off
BASE = jg.Experiment(
    task=jg.tasks.ModularAddition(p=23, train_fraction=0.4),
    model=jg.models.MLP(width=128, depth=1, activation="square"), loss=jg.losses.CentredSquaredError(),
    optimizer=jg.optimizers.Adam(learning_rate=5e-3, weight_decay=2e-3),
    training=jg.Training(steps=1000, evaluate_every=20, stop_threshold=0.99, stop_patience=100,
                         probes=("loss", "metrics", "weight_norm", "features")))
# fmt: on
PAPER = {"task.p": 71, "model.width": 1024, DECAY: 2e-4, "training.steps": 30_000, "training.evaluate_every": 100}
SMOKE = {"model.width": 4, "training.steps": 4, "training.evaluate_every": 2}


def of(size, count):
    """A group of so many elements with n = count · M ln M pairs."""
    return product(fixed("task.p", size), fixed(FRACTION, round(count * float(np.log(size)) / size, 4)))


def boundaries(arms):
    """ln n_c of each seed and M: where the final test accuracy crosses 1/2, linear in n between the counts."""
    found = {}
    for size in SIZES:
        finals = pd.DataFrame({c: arms[f"M{size}_{i}"].final(ACCURACY) for i, c in enumerate(COUNTS)})
        found[size] = np.log(finals.apply(lambda row: crossing(row.to_numpy()), axis=1) * size * np.log(size))
    return pd.DataFrame(found)


def crossing(accuracies):
    """The count at which accuracies first reach 1/2; NaN where they begin above or never do."""
    at = int(np.argmax(accuracies >= 0.5))
    if not accuracies[at] >= 0.5 or at == 0:
        return np.nan
    return float(np.interp(0.5, accuracies[at - 1 : at + 1], COUNTS[at - 1 : at + 1]))


def boundary_is_m_log_m(**arms):
    """The slope of ln n_c over ln(M ln M), seed by seed, and over ln M²; and the constant n_c / (M ln M)."""
    logs, x = boundaries(arms), np.log([size * np.log(size) for size in SIZES])
    centred = x - x.mean()
    slope = (logs * centred).sum(axis=1, skipna=False) / (centred**2).sum()
    doubled = 2 * np.log(SIZES) - np.mean(2 * np.log(SIZES))
    constant = np.exp((logs - x).mean(axis=1, skipna=False))
    narrower = (logs - 2 * np.log(SIZES)).std(axis=1, skipna=False) - (logs - x).std(axis=1, skipna=False)
    return [
        Effect("exponent of M ln M in the boundary n_c", slope, 0.8, below=1.2, note="M² would be 1.45, M 0.72"),
        Effect("exponent of M²", (logs * doubled).sum(axis=1, skipna=False) / (doubled**2).sum(), None),
        Effect("n_c / (M ln M)", constant, None, published=2.7482, note="at 50 % test accuracy"),
        Effect("spread over M of ln(n_c / M²) less that of ln(n_c / (M ln M))", narrower),
    ]


def decay_is_needed(none, some):
    """Final test accuracy with and without decay, at 2.95 M ln M; both fit their train rows."""
    return [
        Effect("final test accuracy, η = 2e-3 less η = 0", some.final(ACCURACY) - none.final(ACCURACY), 0.5),
        share_of_seeds("test accuracy below .5 to the end, η = 0", none.largest(ACCURACY) < 0.5),
        Effect("final train accuracy, η = 0", none.final("train/accuracy"), None, within=(0, 1)),
    ]


def small_rates(small, large):
    """At 2.6 M ln M the same number of steps at two learning rates."""
    gap = Effect("final test accuracy, lr .005 less lr .05", small.final(ACCURACY) - large.final(ACCURACY))
    return [
        gap,
        *told({"test": large.final(ACCURACY), "train": large.final("train/accuracy")}, "final {} accuracy, lr .05"),
    ]


def become_features(cyclic, permutations):
    """Of trained units, the mean share of power in one irreducible representation, and the energy over its maximum."""
    found = []
    for name, arm in (("Z23", cyclic), ("S4", permutations)):
        first = arm.average(PURITY, arm.steps == 0)
        found += [
            share_of_seeds(f"units of {name} have .9 of their power in one part", arm.final(PURITY) > 0.9),
            Effect(f"that share, {name}, end less beginning", arm.final(PURITY) - first),
            *told({name: arm.final("features/energy")}, "energy over its largest value, {}", (0, 1.01)),
            *told({name: arm.final(ACCURACY)}, "test accuracy, {}"),
        ]
    return found


def muon_covers_more(adam, muon):
    """Share of the frequencies that have a unit, of few units."""
    one, other = muon.final(COVERED), adam.final(COVERED)
    return [
        Effect("share of frequencies with a unit, Muon less Adam", one - other),
        *told({"Adam": other, "Muon": one}, "share, {}"),
        Effect("final test accuracy, Muon less Adam", muon.final(ACCURACY) - adam.final(ACCURACY), None),
    ]


# fmt: off
MUON = jg.optimizers.Groups(
    default=BASE.optimizer, patterns=(("features", "Linear_0"),),
    groups=FrozenDict(features=jg.optimizers.Muon(weight_decay=2e-3, decay_kind="coupled", momentum=0.99)))
PERMUTATIONS = jg.tasks.GroupProduct(group="S4", train_fraction=0.6)
NARROW = product(of(23, 2.95), fixed("model.width", 24))
CLAIMS = (
    Claim("1", "Memorisation turns into generalisation at n proportional to M ln M", boundary_is_m_log_m,
          arms={f"M{size}_{i}": of(size, c) for size in SIZES for i, c in enumerate(COUNTS)}),
    Claim("2", "Without weight decay there is no grokking", decay_is_needed,
          arms={"none": product(of(23, 2.95), fixed(DECAY, 0.0)), "some": of(23, 2.95)}),
    Claim("3", "Near the boundary a small learning rate generalises where a large one memorises", small_rates,
          "M = 127, n = 3225: .001 and .002 generalise, .005 memorises",
          {"small": of(23, 2.6), "large": product(of(23, 2.6), fixed(RATE, 0.05))}),
    Claim("4", "Units become features of single irreducible representations, local maxima of the energy",
          become_features, arms={"cyclic": of(23, 2.95), "permutations": fixed("task", PERMUTATIONS)}),
    Claim("5", "Muon covers more features where units are few", muon_covers_more,
          arms={"adam": NARROW, "muon": product(NARROW, fixed("optimizer", MUON))}),
)
STUDY = Study(
    name="scaling_law", paper="Tian 2025, arXiv 2509.21519", base=BASE, claims=CLAIMS,
    description="Scaling laws of feature emergence: how much data of which group, decay, learning rate, Muon",
    definition={"threshold": 0.9, "budget": 1000, "gap": 100},
    axes={"task.p": [*SIZES], FRACTION: [0.3, 0.35, 0.4, 0.45, 0.5, 0.55], DECAY: [0.0, 5e-4, 2e-3, 8e-3]},
    scales={"quick": Scale(1, claim_seeds=6),
            "smoke": Scale(1, SMOKE, {"task.p": [13], FRACTION: [0.5], DECAY: [0.0]}, 3, {"budget": 4, "gap": 2}),
            "paper": Scale(3, PAPER, {"task.p": [23, 71, 127]}, 6, {"budget": 30_000, "gap": 3000})},
    drawings=(Drawing("boundary", FRACTION, "task.p"), Drawing("decay", FRACTION, DECAY)))
# fmt: on
