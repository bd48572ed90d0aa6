"""The coverage principle: when compositions of unknown functions can be learned (Chang et al. 2025, arXiv 2505.20278).

    python scripts/reproduce.py --recipe=coverage --scale=quick

t = f₂(f₁(x₁, x₂), x₃) with random tables f₁, f₂: [n]² → [n] is learned from N of the inputs, without ever seeing
f₁ or f₂ alone. A test row is k-covered if the train rows show, by at least k shared contexts each, that parts of it act
like parts of train rows (`jaxgen.tasks.coverage_cutoff`, the released code's definition, over all sets of positions):
this is computed, not trained. The paper has n = 50, GPT-2 of 8 layers × 768 and 62,500 steps of 4,096 rows; `paper` has
batches of 2,048, for some arms have only 2,500 rows.
quick: n = 20, two layers × 64, 2,000 steps of 256 rows with Muon: the theory is of data and should not depend on that.
Pilots with seed 100: AdamW (lr 5e-4 to 4e-3, decays .3 and 1) was at .19 to .26 of test rows after 512,000 rows at
N = 2,200 and 3,000, Muon (lr .01, decay .2) at .98 after 307,000 at N = 3,000. k = 0 is tested at N = 400, where about
80 rows have it. In pilots they were at .18, and rows with unseen calls at .04 to .23, not at 1/n = .05; the bounds of
(1) and (2), fixed before, do not know that and stay. That of the filler in (5) was set after them.
Found: half of the rows are right from 1.5 times the N on at which half have k ≥ 2 (3), and .28 of NON-TREE's (4).
"""

import functools

import numpy as np
import pandas as pd

import jaxgen as jg
from sweeps import Claim, Curves, Drawing, Effect, Overlay, Scale, Study, fixed, laws, product, sweep, told

RATIO, SIZE, FORM, ANSWER = (f"task.{name}" for name in ("ratio", "size", "form", "answer"))
FITTED, TEST = "train/exact_match", "test/exact_match"
LEVELS, UNSEEN = 4, ("first_unseen", "second_unseen", "both_unseen")
# fmt: off
BASE = jg.Experiment(
    task=jg.tasks.FunctionTables(size=20, ratio=2.5, largest=6.0, ood_rows=512),
    model=jg.models.Decoder(width=64, layers=2, heads=4), loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.Muon(learning_rate=0.02, weight_decay=0.5, decay_mask="matrices",
                                 schedule=jg.schedules.Cosine(steps=2000, warmup=50)),
    training=jg.Training(steps=2000, evaluate_every=100, batch_size=256, stop_metric=None, probes=("loss", "metrics")))


def by_level(arm):
    """How many test rows have k = 0, 1, 2 and at least 3, (S, P, 4)."""
    return arm.of_rows(lambda data: [int(data.splits[f"k{k}"].sum()) for k in range(LEVELS)])


def accuracy(arm, counts, *levels):
    """The final accuracy on test rows of these k together, by seed; NaN where there are none."""
    held, right = counts[:, 0][:, levels], np.stack([arm.final(f"k{k}/exact_match") for k in levels], axis=1)
    return pd.Series((held * np.nan_to_num(right)).sum(1), arm.seeds) / np.where(held.sum(1), held.sum(1), np.nan)


def fitted(name, arm):
    """That an arm fits its train rows: a condition."""
    return Effect(f"final accuracy on train rows, {name}", arm.final(FITTED), 0.99, gate=True)


def follows_coverage(few, some):
    """N = 400, of k = 0, and 1,000."""
    none, counts = by_level(few), by_level(some)
    low, high = accuracy(some, counts, 0, 1), accuracy(some, counts, 3)
    return [
        fitted("N = 1,000", some),
        Effect("final accuracy at N = 1,000, k ≥ 3 less k ≤ 1", high - low, 0.3),
        Effect("final accuracy at N = 400, k = 0, less 1/n", accuracy(few, none, 0) - 1 / 20, -0.05, below=0.05),
        *told({f"k = {k}": accuracy(some, counts, k) for k in range(1, LEVELS)}, "final accuracy at N = 1,000, {}"),
        *told({"rows of k = 0 at N = 400": pd.Series(none[:, 0, 0], few.seeds)}, within=None)]


def needs_coverage(arm, most):
    """Accuracy with unseen calls, the largest over N; `most` has the largest N."""
    worst = {kind: pd.Series(arm.finals(f"{kind}/exact_match").max(axis=1), arm.seeds) for kind in UNSEEN}
    return [Effect("final accuracy on test rows, N = 2,400", most.final(TEST), 0.9, gate=True)] + [
        Effect(f"largest final accuracy over N, {kind.replace('_', ' ')}", values, None, below=0.15)
        for kind, values in worst.items()
    ]


def threshold(arm):
    """N at accuracy ½ over N at which half of the test rows have k ≥ 2."""
    counts, rows = by_level(arm), arm.experiment.task.size**2
    covered = counts[..., 2:].sum(2) / counts.sum(2)
    found = [rows * laws.crossing(arm.along(values, RATIO)) for values in (arm.finals(TEST), covered)]
    names = "N at accuracy ½", "N at which half of the rows have k ≥ 2"
    ratio = Effect(f"log₁₀ of {' over '.join(names)}", np.log10(found[0]) - np.log10(found[1]), -0.2, below=0.2)
    return [ratio, *told(dict(zip(names, found)), within=None)]


def paths_hinder(tree, other):
    """2-HOP and NON-TREE on N = 2,400 rows."""
    counts, name = by_level(other), "final accuracy on test rows, "
    covered = pd.Series(counts[:, 0, 3] / counts[:, 0].sum(1), other.seeds)
    return [
        fitted("2-HOP", tree), fitted("NON-TREE", other), Effect(f"{name}2-HOP", tree.final(TEST), 0.9, gate=True),
        Effect(f"{name}2-HOP - NON-TREE", tree.final(TEST) - other.final(TEST), 0.3),
        *told({f"{name}NON-TREE": other.final(TEST), "share of its test rows with k ≥ 3": covered}),
    ]


def bridges_save_data(direct, bridge, filler):
    """N = 1,000: b and then t, against t alone, and a token that says nothing and then t; all of it must be right."""
    plain, named, filled = (arm.final(TEST) for arm in (direct, bridge, filler))
    return [
        Effect("final accuracy on test rows, b t - t", named - plain),
        Effect("final accuracy on test rows, filler t - t", filled - plain, None, below=0.1),
        *told({"t": plain, "b t": named, "filler t": filled}, "final accuracy on test rows, {}"),
    ]


@functools.cache
def powers():
    """Of n: slopes and logarithms of the factors, for N at which 99 % of the test rows have k ≥ 1, 2 and 3."""
    needed = [jg.tasks.rows_to_cover(jg.tasks.FunctionTables(size=size)) for size in (16, 20, 25)]
    return np.polyfit(np.log([16, 20, 25]), np.log(needed), 1)


def needed(k):
    """N / n² at which 99 % of the test rows have at least this k."""
    return lambda n: np.exp(powers()[1][k - 1]) * n ** (powers()[0][k - 1] - 2)


OVERLAYS = [Overlay(f"99 % of test rows have k ≥ {k}", needed(k)) for k in (1, 2, 3)]
RATIOS, MOST = [1.0, 1.5, 2.5, 4.0, 6.0], fixed(RATIO, 6.0)  # of N to n²
CLAIMS = (
    Claim("1", "The accuracy on a test row follows its coverage: those of k = 0 stay at chance", follows_coverage,
          arms={"few": fixed(RATIO, 1.0), "some": fixed(RATIO, 2.5)}),
    Claim("2", "Without coverage there is no generalisation: rows with calls that no train row has stay below 3/n",
          needs_coverage, arms={"arm": sweep(RATIO, RATIOS), "most": MOST}),
    Claim("3", "The data needed are those at which test rows are covered at k ≥ 2, within a factor 1.6", threshold,
          "N for 99 % test accuracy ∝ n^2.26; theory 2.25 for k = 2", {"arm": sweep(RATIO, RATIOS)}),
    Claim("4", "Where x₂ acts along two paths (NON-TREE), rows that are covered are not learned", paths_hinder,
          "fails at N = 50,000 of about 61,000", {"tree": MOST, "other": product(MOST, fixed(FORM, "non_tree"))}),
    Claim("5", "Answering the bridge first saves data; a token that says nothing does not", bridges_save_data,
          arms={answer: fixed(ANSWER, answer) for answer in ("direct", "bridge", "filler")}),
)
PAPER = {SIZE: 50, "task.test_rows": 2000, "task.ood_rows": 2000, "model.width": 768, "model.heads": 12,
         "model.layers": 8, "model.dropout": 0.1, "training.steps": 62_500, "training.evaluate_every": 2500,
         "training.batch_size": 2048, "optimizer": jg.optimizers.AdamW(
             learning_rate=8e-4, weight_decay=0.1, schedule=jg.schedules.Warmup(steps=2000))}
SMOKE = {SIZE: 10, "task.unseen": 0.2, "task.test_rows": 20, "task.ood_rows": 8, "model.width": 8, "model.heads": 2,
         "training.steps": 4, "training.evaluate_every": 2, "training.batch_size": 8, "optimizer.schedule.warmup": 0}
STUDY = Study(
    name="coverage", paper="Chang et al. 2025, arXiv 2505.20278", base=BASE, claims=CLAIMS,
    description="The coverage principle: compositions of random tables, learned where data cover them",
    definition={"metric": TEST, "threshold": 0.9, "budget": 2000, "gap": 200},
    axes={SIZE: [16, 20, 25], RATIO: RATIOS[1:]},
    scales={"quick": Scale(1, claim_seeds=6),
            "smoke": Scale(1, SMOKE, {SIZE: [10, 11], RATIO: [2.0, 2.5]}, 3, {"budget": 4, "gap": 2}),
            "paper": Scale(1, PAPER, {SIZE: [50], RATIO: RATIOS[1:]}, 3, {"budget": 62_500, "gap": 5000})},
    curves=(Curves("groups", {"N = 400": fixed(RATIO, 1.0), "N = 1,000": fixed(RATIO, 2.5), "N = 2,400": MOST},
                   {"train rows": FITTED, **{f"k = {k}": f"k{k}/exact_match" for k in range(LEVELS)},
                    "unseen calls": "both_unseen/exact_match"}, levels={"1 / n": 1 / 20}),),
    drawings=[Drawing("rows", SIZE, RATIO, overlays=OVERLAYS)])
# fmt: on
