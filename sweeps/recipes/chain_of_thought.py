"""Explicit chain of thought: naming the bridge answers questions of unseen facts (Yao et al. 2025, arXiv 2502.04667).

    python scripts/reproduce.py --recipe=chain_of_thought --scale=quick

Facts (h, r, t) of a random world are train rows, and so are some of the questions (h, r₁, r₂) that two of them answer.
A causal transformer is trained to say bridge and answer, the answer alone, or a filler and the answer, which is as long
but says nothing. Test questions are of facts that train questions are made of, "ood" ones of facts that only occur by
themselves. Right is what has all tokens right. A run whose unseen facts are not known (.99) says nothing of the
questions about them.

paper: 2,000 entities, 40,000 facts, 8 layers of width 768, dropout .1, 20,000 steps of 512 rows, but no clipping of
gradients. quick: 48 entities, 576 facts (15 % unseen), four questions for each other one, 2 layers of width 32, no
dropout, 2,000 steps of 128 rows with Muon. With the bridge each step is a look-up of one fact, of which no second copy
is needed, at any size; but few facts may be learned in forms that do not help each other.
Sizes were chosen on pilots with seed 100. With AdamW (rate 3e-3, decay .01, 1,400 steps) the claimed seeds were judged
first: (2) and (5) PASS, (3) and (4) FAIL, (1) and (6) UNDECIDED, for without the bridge the unseen facts were not
learned in time, and with it .54 of the questions about them were right. Then a pilot with Muon, rate .01, decays .1 and
.3, 2,000 steps and a cosine knew all facts: 1 of these questions with the bridge, 0 without, .01 with a filler. So Muon
trains here, with .1; no bound was changed.
Found: 1.00 and .03 (1), at least 9 times sooner (2); unseen questions take three times as long as the facts (3 fails);
two of five wrong answers are memorised before they are averaged (4 fails); wrong bridges cost more (5).
"""

import functools

import numpy as np
import pandas as pd

import jaxgen as jg
from sweeps import Claim, Curves, Drawing, Effect, Scale, Study, chance, fixed, log_ratio, share_of_seeds, told
from sweeps.studies.effects import Bounds

ANSWER, BRIDGES, ANSWERS = "task.answer", "task.wrong_bridges", "task.wrong_answers"
TEST, OOD, UNSEEN = (f"{split}/exact_match" for split in ("test", "ood", "unseen_facts"))
KNOWN = 0.99
# fmt: off
GROUPS = {"all facts": "facts/exact_match", "unseen facts": UNSEEN, "train questions": "inferred/exact_match",
          "new questions of seen facts": TEST, "of unseen facts": OOD}
BASE = jg.Experiment(
    task=jg.tasks.TwoHop(entities=48, relations=24, degree=12, ratio=4.0, largest=4.0, answer="bridge", test_rows=256,
                         ood_rows=96),
    model=jg.models.Decoder(width=32, heads=2), loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.Muon(learning_rate=0.01, weight_decay=0.1, decay_mask="matrices",
                                 schedule=jg.schedules.Cosine(warmup=50, steps=2000)),
    training=jg.Training(steps=2000, evaluate_every=100, batch_size=128, stop_metric=None, probes=("loss", "metrics")))


def gate(name, arm):
    """That unseen facts are known in most seeds; and the final accuracy on questions of them in these."""
    knows = arm.final(UNSEEN) >= KNOWN
    said = f"share of seeds: unseen facts known at the end (.99), {name}"
    return Effect(said, knows, 0.5, share=True, gate=True), arm.final(OOD).where(knows)


guess = functools.partial(chance, known="inferred", asked="ood")


def bridges_generalise(bridge, direct):
    """Final accuracies on questions of unseen facts."""
    gates, (named, plain) = zip(gate("bridge", bridge), gate("direct", direct))
    return [
        *gates,
        Effect("final exact match, unseen facts, bridge - direct", named - plain, 0.5),
        Effect("final exact match, unseen facts, direct", plain, None, below=0.2),
        *told({"unseen facts, bridge": named, "seen facts, bridge": bridge.final(TEST),
               "seen facts, direct": direct.final(TEST)}, "final exact match, {}"),
        *told({"chance: the most frequent answer, unseen facts": guess(direct)}),
    ]


def bridges_are_sooner(bridge, direct):
    """Updates until questions of seen facts are answered."""
    name = "log₁₀ of the steps to an exact match of .9, seen facts, direct / bridge"
    return [Effect(name, log_ratio(direct, bridge, TEST, 0.9), 0.5, note="one that is not reached is a bound")]


def unseen_questions_wait(arm):
    """Questions of unseen facts beside the facts themselves."""
    ahead = pd.DataFrame((arm.curves(OOD) - arm.curves(UNSEEN)).reshape(len(arm.seeds), -1), arm.seeds).max(axis=1)
    facts, asked = (arm.time(probe, 0.9)[:, 0] for probe in (UNSEEN, OOD))
    with np.errstate(all="ignore"):
        low, high = (np.log10(np.minimum(asked, end) / facts) for end in (arm.observed()[:, 0], np.inf))
    ends = (pd.Series(value, arm.seeds).where(np.isfinite(facts)) for value in (low, high))
    return [
        share_of_seeds("never more than .05 above the facts", (ahead <= 0.05).where(ahead.notna())),
        Effect("log₁₀ of the steps to .9, questions / facts", Bounds(*ends), None, below=0.2),
    ]


def length_is_not_it(filler, direct):
    """The control: as many tokens, of which one says nothing."""
    gates, (filled, plain) = zip(gate("filler", filler), gate("direct", direct))
    return [*gates, Effect("final exact match, unseen facts, filler - direct", filled - plain, -0.1, below=0.1)]


def wrong_answers_average(arm):
    """Two of five answers are wrong in training; tests are right."""
    peak, last = arm.largest(TEST), arm.final(TEST)
    return [
        Effect("largest exact match, seen facts", peak, 0.95),
        Effect("exact match, seen facts, largest - final", peak - last),
        *told({"final exact match, seen facts": last}),
    ]


def which_step(answers, bridges):
    """Two of five answers wrong, less two of five bridges wrong, each drawn by row."""
    seen, unseen = (answers.final(probe) - bridges.final(probe) for probe in (TEST, OOD))
    return [
        Effect("final exact match, unseen facts, answers - bridges", unseen),
        Effect("final exact match, seen facts, answers - bridges", seen, None, note="of either sign"),
    ]


BRIDGE, DIRECT, FILLER = (fixed(ANSWER, name) for name in ("bridge", "direct", "filler"))
PAIR = {"bridge": BRIDGE, "direct": DIRECT}
PAPER = {"task.entities": 2000, "task.relations": 200, "task.degree": 20, "task.unseen": 0.05, "task.ratio": 7.2,
         "task.largest": 7.2, "task.test_rows": 3000, "task.ood_rows": 3000, "model.width": 768, "model.heads": 12,
         "model.layers": 8, "model.tied": True, "model.dropout": 0.1, "optimizer": jg.optimizers.AdamW(
             learning_rate=1e-4, weight_decay=0.1, decay_mask="matrices", schedule=jg.schedules.Warmup(steps=2000)),
         "training.steps": 20_000, "training.evaluate_every": 500, "training.batch_size": 512,
         "training.evaluation_rows": 3000}
SMOKE = {"task.entities": 4, "task.relations": 6, "task.degree": 3, "task.ratio": 1.0, "task.largest": 1.0,
         "task.test_rows": 3, "task.ood_rows": 2, "model.width": 4, "model.layers": 1, "training.batch_size": 4,
         "training.steps": 4, "training.evaluate_every": 2}
STUDY = Study(
    name="chain_of_thought", paper="Yao et al. 2025, arXiv 2502.04667", base=BASE,
    description="Chain of thought: who names the bridge composes facts that were never composed, in few steps",
    definition={"metric": OOD, "threshold": 0.9, "budget": 2000, "gap": 300},
    axes={ANSWERS: [0.0, 0.4], BRIDGES: [0.0, 0.4, 1.0]},
    scales={"quick": Scale(1, claim_seeds=4),
            "smoke": Scale(1, SMOKE, {ANSWERS: [0.0], BRIDGES: [0.0]}, 2, {"budget": 4, "gap": 2}),
            "paper": Scale(1, PAPER, {ANSWERS: [0.0, 0.05, 0.2, 0.4, 0.6, 0.8], BRIDGES: [0.0, 0.05, 0.1, 0.2, 0.4]},
                           1, {"budget": 20_000, "gap": 2000})},
    drawings=(Drawing("noise", ANSWERS, BRIDGES),),
    curves=(Curves("groups", PAIR | {"filler": FILLER}, GROUPS, levels={"chance, unseen facts": guess}),),
    claims=(
        Claim("1", "Naming the bridge answers questions of facts that were never composed", bridges_generalise,
              "OOD .978 with bridges (5 % wrong answers); never without", PAIR, more_seeds=2),
        Claim("2", "And is learned in far fewer steps", bridges_are_sooner, arms=PAIR, more_seeds=2),
        Claim("3", "Questions of unseen facts wait for the facts only", unseen_questions_wait,
              "OOD .953 at step 8,000 where the facts are .998", {"arm": BRIDGE}, more_seeds=2),
        Claim("4", "Wrong answers are averaged first, and memorised later", wrong_answers_average,
              "ξ = .4: .998 at step 6,000, .866 at 20,000", {"arm": fixed(ANSWERS, 0.4)}),
        Claim("5", "At equal shares wrong bridges cost more than wrong answers", which_step,
              arms={"answers": fixed(ANSWERS, 0.4), "bridges": fixed(BRIDGES, 0.4)}),
        Claim("6", "Control: a filler in the bridge's place does what answering alone does", length_is_not_it,
              arms={"filler": FILLER, "direct": DIRECT}, more_seeds=2),
    ))
# fmt: on
