"""What algorithms can transformers learn? A study in length generalization (Zhou et al. 2023, arXiv 2310.16028).

    python scripts/reproduce.py --recipe=rasp_length --scale=quick

Transformers should answer longer strings than they were trained on where a short program of what attention can do
(RASP-L) answers strings of all lengths, and the trained lengths are diverse. Published in figures, without a table:
counting trained up to 60 is nearly right up to 150, copies of distinct symbols go on where copies of bits do not,
parity does not, and does with the right scratchpad; bits that are always 1 in training are looked at all the same.

quick: two layers of width 64; counts of up to 20 and other strings of up to 10, tested five longer; 1,000 steps of 64
fresh strings with Muon, cosine; of strings of up to 10 half of a step's have 1 to 5. Rows begin at random positions in
training, so that all are trained, in the place of the paper's several examples in one row. The claims should survive:
what a program can be written for does not depend on width. Right is a whole answer. Claims on longer strings have as a
gate that fresh strings of the trained lengths are right. Bounds are older than any run. Pilots with seed 100: AdamW
(rate 1e-3) had .98 to 1 of the trained lengths after 2,000 steps, Muon (rate .01, decay .1) .99 to 1 after 1,000.
Found: counts go on (.73 five further), copies stop, of distinct symbols as of bits; parity of ten bits is learned
without a scratchpad, whose whole answers are not more often right further on: (3) fails, (4) passes.
"""

from typing import Any

import jaxgen as jg
from sweeps import Claim, Curves, Drawing, Effect, Scale, Study, fixed, share_of_seeds
from sweeps.recipes.positional_encoding import RIGHT, gates

TASK, LONGEST, POSITIONS, LAYERS = "task", "task.longest", "model.positions", "model.layers"
FURTHER, ROOM = 5, 64
# fmt: off
TEN: Any = {"shortest": 1, "longest": 10, "furthest": 10 + FURTHER, "buckets": 2}
TASKS = {
    "count": jg.tasks.CountUp(numbers=64, shortest=1, longest=20, furthest=20 + FURTHER),
    "distinct": jg.tasks.CopyString(alphabet=48, drawn="distinct", **TEN),
    "bits": jg.tasks.CopyString(alphabet=2, **TEN),
    "parity": jg.tasks.StringParity(**TEN),
    "hints": jg.tasks.StringParity(hints=24, **TEN),
}
BASE = jg.Experiment(
    task=TASKS["count"],
    model=jg.models.Decoder(positions=jg.positions.Learned(longest=ROOM, offset=True)), loss=jg.losses.CrossEntropy(),
    optimizer=jg.optimizers.Muon(learning_rate=0.01, weight_decay=0.1, decay_mask="matrices",
                                 schedule=jg.schedules.Cosine(warmup=50, steps=1000)),
    training=jg.Training(steps=1000, evaluate_every=100, batch_size=64, stop_metric=None, probes=("loss", "metrics")))
# fmt: on


def longest(arm):
    """Share of right answers at the longest tested length."""
    return arm.final(f"length_{arm.experiment.task.furthest}/exact_match")


def told(**arms):
    """What is right at the longest tested length."""
    return [Effect(f"share right, longest, {name}", longest(arm), None, within=(0, 1)) for name, arm in arms.items()]


def easy_above_hard(count, distinct, bits, parity):
    """Tasks with a short program, and without."""
    easy = (longest(count) + longest(distinct)) / 2
    return [
        *gates(count=count, distinct=distinct, bits=bits),
        Effect("share right, longest, mean of counts and distinct copies - copies of bits", easy - longest(bits), 0.3),
        Effect("share right, longest, parity (chance .5)", longest(parity), None, below=0.6),
        Effect("share of trained lengths right, parity", parity.final(RIGHT), None, within=(0, 1)),
        *told(count=count, distinct=distinct, bits=bits),
    ]


def distinct_above_bits(distinct, bits):
    """Copies of as long strings, after as many steps."""
    gap = longest(distinct) - longest(bits)
    return [
        *gates(distinct=distinct, bits=bits),
        Effect("share right, longest, distinct symbols - bits", gap, 0.2),
        Effect("share right, longest, bits", longest(bits), None, below=0.5),
    ]


def hints_help_parity(hints, parity):
    """A scratchpad of what stands where, beside the answer alone, of which half are right by chance."""
    gap = longest(hints) - longest(parity)
    return [
        *gates(hints=hints),
        Effect("share right, longest, parity with hints - parity", gap, 0.2),
        *told(hints=hints, parity=parity),
    ]


def all_bits_count(arm):
    """Rows whose only zeros are bits that are always 1 in training: the least degree gets none of them right."""
    learned = (arm.final(RIGHT) >= 0.99) & (arm.final("ones/exact_match") >= 0.99)
    return [
        share_of_seeds("at least .99 of train rows and of all ones right", learned, gate=True),
        Effect("share of rows with zeros among constant bits right", arm.final("test/exact_match"), 0.9),
    ]


def lengths_matter(pairs, lengths):
    """Counts with uniform ends, of which few are long, and with uniform lengths."""
    gap = longest(pairs) - longest(lengths)
    return [
        *gates(lengths=lengths),
        Effect("share right, longest, uniform pairs - lengths", gap, None, below=0.0),
        *told(pairs=pairs, lengths=lengths),
    ]


def untrained_positions_fail(plain, offset):
    """The control: positions beyond the trained lengths that were never trained."""
    return [
        *gates(plain=plain),
        Effect("share right, longest, positions from 0", longest(plain), None, below=0.1),
        *told(offset=offset),
    ]


# fmt: off
ARMS = {name: fixed(TASK, task) for name, task in TASKS.items()}
PAIRS = fixed("task.uniform", "pairs")
some = lambda *names: {name: ARMS[name] for name in names}  # noqa: E731
CLAIMS = (
    Claim("1", "Tasks with a short program go on to longer strings, others do not", easy_above_hard,
          arms=some("count", "distinct", "bits", "parity")),
    Claim("2", "It is not copying that is hard, but copying what repeats", distinct_above_bits,
          arms=some("distinct", "bits")),
    Claim("3", "A scratchpad with hints of places makes parity easy", hints_help_parity, arms=some("hints", "parity")),
    Claim("4", "It is not the interpolator of least degree that is learned", all_bits_count,
          "right where the least degree has 0", {"arm": fixed(TASK, jg.tasks.Conjunction())}),
    Claim("5", "Diverse lengths are needed: uniform ends do worse", lengths_matter,
          arms={"pairs": PAIRS, "lengths": ARMS["count"]}),
    Claim("6", "Control: with positions that are not trained nothing longer is right", untrained_positions_fail,
          arms={"plain": fixed(POSITIONS, jg.positions.Learned(longest=ROOM)), "offset": ARMS["count"]}))
SMOKE = {"model.width": 8, "model.heads": 2, "training.steps": 4, "training.evaluate_every": 2,
         "training.batch_size": 4}
PAPER = {"model.layers": 6, "model.heads": 8, "model.width": 512, "training.steps": 10_000,
         "training.evaluate_every": 500, "training.batch_size": 128, "optimizer": jg.optimizers.AdamW(
             learning_rate=1e-3, weight_decay=0.1, schedule=jg.schedules.Cosine(warmup=300, steps=10_000))}
STUDY = Study(
    name="rasp_length", paper="Zhou et al. 2023, arXiv 2310.16028", base=BASE, claims=CLAIMS,
    description="Length generalisation: tasks with and without a short program of what attention can do",
    definition={"metric": "exact_match", "threshold": 0.9, "budget": 1000, "gap": 100},
    axes={LONGEST: [10, 20], LAYERS: [1, 2]}, drawings=(Drawing("counts", LONGEST, LAYERS),),
    curves=(Curves("lengths", some("distinct", "bits", "parity", "hints"), {
                n: f"length_{n}/exact_match" for n in range(1, 16)}, "length", marks={"longest trained": 10}),
            Curves("counts_by_length", {"lengths": ARMS["count"], "pairs of ends": PAIRS}, {
                n: f"length_{n}/exact_match" for n in range(1, 26)}, "length", marks={"longest trained": 20})),
    scales={"quick": Scale(1, claim_seeds=6),
            "smoke": Scale(1, SMOKE, {LONGEST: [20], LAYERS: [1]}, 2, {"budget": 4, "gap": 2}),
            "paper": Scale(3, PAPER, {LONGEST: [10, 20], LAYERS: [2, 4, 6]}, 20,
                           {"budget": 10_000, "gap": 500})})
# fmt: on
