"""Claims of a paper as checkable statements on stored runs: what they measure, by seed, and a verdict.

The seed is the sampling unit: whatever is averaged over within a seed (train fractions, evaluations) counts once. Where
train splits have seeds of their own, both are units.
"""

import dataclasses
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, TypeAlias, cast

import jax
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from jaxgen import Experiment, FieldError, training
from jaxgen.errors import check_list, check_type, first_line
from sweeps.axes.sweep import Sweep, product
from sweeps.diagrams import phases
from sweeps.diagrams.plane import SEEDS
from sweeps.storage.runs import Runs
from sweeps.studies.effects import CONFIDENCE, Bounds, Effect, Verdict

Place: TypeAlias = float | tuple[float, ...]
"""A number of an axis, or one of each of several axes."""
HEAD = ["claim", "measured", "mean [95 % interval]", "claimed", "seeds", "verdict"]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of a paper.

    Attributes:
      name: its number in the paper or recipe.
      text: the statement.
      measure: gives the effects that must all be within their bounds: from an `Arm` for each of `arms`, by its name,
        or, where the claim has none, from `Evidence`.
      published: the paper's own numbers, printed beside ours.
      arms: the runs that it is made of, by a name: a point, or points that count together, that override the base. A
        study trains them for every seed.
      more_seeds: how many seeds it needs beyond those that a study gives its claims.
      planned: how many seeds, the first ones, its arms were planned with. Others that are stored, for other claims say,
        are left out; a planned one that an arm lacks is not known. None: all that are stored.
    """

    name: str
    text: str
    measure: Callable[..., Sequence[Effect]]
    published: str = ""
    arms: Mapping[str, Sweep] = dataclasses.field(default_factory=dict)
    more_seeds: int = 0
    planned: int | None = None

    def __post_init__(self):
        for field in ("name", "text", "published"):
            check_type(f"claim.{field}", getattr(self, field), str, "text")
        if not callable(self.measure):
            raise FieldError("claim.measure", self.measure, "must be a function that gives a list of effects")
        check_sweeps("claim.arms", self.arms)
        if self.arms:
            try:
                inspect.signature(self.measure).bind(**self.arms)
            except (TypeError, ValueError) as error:
                why = f"must take the arms {', '.join(self.arms)} by name ({error})"
                raise FieldError("claim.measure", getattr(self.measure, "__name__", self.measure), why) from None
        counts = {"more_seeds": self.more_seeds} | ({} if self.planned is None else {"planned": self.planned})
        for field, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise FieldError(f"claim.{field}", count, "must be a whole number of at least 0")

    @property
    def part(self) -> str:
        """What its runs are called among the parts of a recipe."""
        return f"claim ({self.name})"

    def measured(self, evidence: "Evidence") -> Sequence[Effect]:
        """Its effects on stored runs.

        Raises:
          Missing: no seed has all runs of an arm.
        """
        if not self.arms:
            return self.measure(evidence)
        return self.measure(**{name: evidence.arm(arm, first=self.planned) for name, arm in self.arms.items()})


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A claim with what was measured.

    Attributes:
      claim: the claim.
      effects: what was measured.
      missing: which runs it would have needed.
      traceback: of the error that its code ended in.
    """

    claim: Claim
    effects: Sequence[Effect]
    missing: str = ""
    traceback: str = ""

    @property
    def verdict(self) -> Verdict:
        """PASS if all effects pass; FAIL if one of m fails at 1 - 5 %/m (Bonferroni); UNDECIDED otherwise.

        That all pass needs no such care: the one that is least sure to be within its bounds is tested at 5 %. UNDECIDED
        too where an effect that is a gate does not pass, for then the others say nothing of the claim; ERROR where the
        claim's own code fails.
        """
        if self.traceback:
            return Verdict.ERROR
        tested = [effect for effect in self.effects if effect.is_bounded]
        if tested and all(effect.verdict == Verdict.PASS for effect in tested):
            return Verdict.PASS
        if any(effect.gate and effect.verdict != Verdict.PASS for effect in tested):
            return Verdict.UNDECIDED
        tested = [effect for effect in tested if not effect.gate]
        strict = 1 - (1 - CONFIDENCE) / max(len(tested), 1)
        fails = any(effect.verdict_at(strict) == Verdict.FAIL for effect in tested)
        return Verdict.FAIL if fails else Verdict.UNDECIDED

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON; what is infinite or missing is null."""
        finite = lambda v: float(v) if v is not None and np.isfinite(v) else None  # noqa: E731
        effects = []
        for e in self.effects:
            by_seed = {_seed_name(seed): finite(value) for seed, value in e.values.items()}
            at_most = {_seed_name(seed): finite(value) for seed, value in e.upper.items()}
            numbers = {"mean": finite(e.estimate.value), "low": finite(e.estimate.low), "high": finite(e.estimate.high)}
            numbers |= {"above": finite(e.above), "below": finite(e.below), "published": finite(e.published)}
            how = {"text": e.text, "claimed": e.claimed, "of": e.of, "interval": e.method, "unit": e.unit}
            told = {"name": e.name, "verdict": e.verdict, **numbers, **how, "seeds": e.seeds, "by_seed": by_seed}
            effects.append(told | ({"at_most": at_most} if e.relation else {}) | {"note": e.note})
        said = {"name": self.claim.name, "text": self.claim.text, "published": self.claim.published}
        found = {"verdict": self.verdict, "confidence": CONFIDENCE, "effects": effects, "missing": self.missing}
        return {**said, **found} | ({"traceback": self.traceback} if self.traceback else {})


class Missing(LookupError):
    """Runs that a claim needs are not stored."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs of one setting (or several, which count together) for several seeds.

    Attributes:
      seeds: (S,) that have all of its runs; pairs of seed and split where splits have seeds of their own.
      steps: (S, P, evaluations) of the P runs of each seed; NaN after a run's last.
      curves: gives a probe by its name, like `steps`.
      ended: (S, P) whether a run diverged or froze: what it has not reached it never will; none where left out.
      experiments: (P,) the runs of a seed, but for the seed.
    """

    seeds: pd.Index
    steps: np.ndarray
    curves: Callable[[str], np.ndarray]
    ended: np.ndarray | None = None
    experiments: Sequence[Experiment] = ()

    @property
    def experiment(self) -> Experiment:
        """The first of its runs, but for the seed."""
        return self.experiments[0]

    def along(self, values: np.ndarray, *axes: str) -> dict[Place, pd.Series]:
        """Values (S, P) by seed at each number of an axis, or at each tuple of numbers of several: for `sweeps.laws`.

        Runs that differ in other fields are averaged.

        Args:
          values: (S, P).
          axes: dotted paths of fields that hold a number.

        Raises:
          FieldError: one does not.
        """
        numbers = [tuple(_number(experiment, axis) for axis in axes) for experiment in self.experiments]
        places = {number: [i for i, other in enumerate(numbers) if other == number] for number in numbers}
        return {
            number[0] if len(axes) == 1 else number: pd.Series(values[:, place].mean(axis=1), self.seeds)
            for number, place in places.items()
        }

    def mean(self, values: np.ndarray) -> pd.Series:
        """The mean over the runs of each seed of values (S, P), by seed."""
        return pd.Series(values.mean(axis=1), self.seeds)

    def finals(self, probe: str) -> np.ndarray:
        """A probe at the last evaluation of each run, (S, P)."""
        return np.take_along_axis(self.curves(probe), self._last()[..., None], 2)[..., 0]

    def final(self, probe: str) -> pd.Series:
        """A probe at the last evaluation, by seed."""
        return self.mean(self.finals(probe))

    def of_rows(self, find: Callable[[training.Data], ArrayLike]) -> np.ndarray:
        """What a function finds in the rows of each run, which are drawn anew, (S, P, …): the sizes of splits, say."""
        load = jax.jit(training.load)

        def found(seed: Any, experiment: Experiment) -> np.ndarray:
            named = dict(zip(SEEDS, seed)) if isinstance(seed, tuple) else {"seed": int(seed)}
            one = experiment.override(named)
            return np.asarray(find(load(training.numbers(one), training.Rows.of(one))))

        return np.array([[found(seed, one) for one in self.experiments] for seed in self.seeds])

    def largest(self, probe: str) -> pd.Series:
        """A probe's largest value over the run, by seed."""
        return self.mean(np.nanmax(self.curves(probe), axis=2))

    def average(self, probe: str, when: np.ndarray) -> pd.Series:
        """A probe's mean over the evaluations in a mask like `steps`, by seed; NaN for a seed without any."""
        when = when & np.isfinite(self.steps)
        kept = np.where(when, self.curves(probe), 0)
        with np.errstate(invalid="ignore"):
            return self.mean(kept.sum(2) / when.sum(2))

    def time(self, probe: str, threshold: float, below: bool = False) -> np.ndarray:
        """First step at which a probe is at least, with `below` at most, at a threshold, (S, P); inf where never."""
        flat = self.steps.shape[0] * self.steps.shape[1], -1
        found = phases.times(self.steps.reshape(flat), self.curves(probe).reshape(flat), threshold, below=below)
        return found.reshape(self.steps.shape[:2])

    def until(self, other: "Arm") -> np.ndarray:
        """The evaluations, but for that at step 0, up to the end of another arm's run of the same seed: a mask."""
        ends = pd.Series(other.observed().max(axis=1), other.seeds).reindex(self.seeds).to_numpy()
        return (self.steps > 0) & (self.steps <= ends[:, None, None])

    def observed(self) -> np.ndarray:
        """The step at which observation ended, (S, P)."""
        return np.nanmax(self.steps, axis=2)

    def _last(self) -> np.ndarray:
        return np.isfinite(self.steps).sum(2) - 1


def log_ratio(
    late: Arm, early: Arm, probe: str, threshold: float, below: bool = False, other: str | None = None
) -> Bounds:
    """log₁₀(T_late / T_early) by seed, T the first step at which a probe is at least, or at most, at a threshold.

    `other` is the probe of the early arm, where it is not the same.

    A time that was not reached is after the end of observation, and infinite where the run diverged or froze. Of a
    seed that only one of the arms has nothing is known: (-inf, inf). Arms of one run per seed.
    """
    ends = {}
    for name, arm, measured in (("late", late, probe), ("early", early, other or probe)):
        time = np.maximum(arm.time(measured, threshold, below)[:, 0], 1)
        never = np.zeros(len(time), bool) if arm.ended is None else arm.ended[:, 0]
        least = np.where(np.isfinite(time) | never, time, np.maximum(arm.observed()[:, 0], 1))
        ends[f"{name} least"], ends[f"{name} most"] = pd.Series(least, arm.seeds), pd.Series(time, arm.seeds)
    table = pd.DataFrame(ends)
    with np.errstate(invalid="ignore"):
        low = np.log10(table["late least"]) - np.log10(table["early most"])
        high = np.log10(table["late most"]) - np.log10(table["early least"])
    return Bounds(low.fillna(-np.inf), high.fillna(np.inf))


def log_delay(arm: Arm, first: str, then: str, threshold: float) -> Bounds:
    """log₁₀ of the steps between two probes reaching a threshold, one interval of evaluation at least, by seed.

    Where the second does not reach it the end of observation is the lower bound; of a seed whose first does not,
    nothing is known.

    Raises:
      FieldError: the arm has several runs per seed.
    """
    if arm.steps.shape[1] != 1:
        raise FieldError("log_delay", arm.steps.shape[1], "runs per seed: needs one, as sweeps.fixed gives it")
    before, after = arm.time(first, threshold)[:, 0], arm.time(then, threshold)[:, 0]
    known, ends = np.isfinite(before), []
    for until, unknown in ((np.minimum(after, arm.observed()[:, 0]), -np.inf), (after, np.inf)):
        steps = np.where(known, until, 1) - np.where(known, before, 0)
        logs = np.log10(np.maximum(steps, arm.experiment.training.evaluate_every))
        ends.append(pd.Series(np.where(known, logs, unknown), arm.seeds))
    return Bounds(*ends)


def check_sweeps(field: str, arms: object) -> None:
    """FieldError where it is no table of names and of sweeps without seeds, which a study gives."""
    check_type(field, arms, Mapping, "a table of names and sweeps")
    for name, arm in cast(Mapping[object, object], arms).items():
        check_type(field, name, str, "text")
        check_type(f"{field}.{name}", arm, Sweep, "made by sweeps.fixed, product, …")
        if seeded := cast(Sweep, arm).axes.keys() & {*SEEDS}:
            raise FieldError(f"{field}.{name}", sorted(seeded)[0], "is for the study to give")


class Evidence:
    """The stored runs of a recipe, as its claims see them.

    Args:
      results: where they are stored.
      base: the experiment that the claims' arms override.
    """

    def __init__(self, results: Runs, base: Experiment):
        table = results.table(["run_id", "seed", "split_seed", "status"])
        self.base = base
        self._places = {run_id: i for i, run_id in enumerate(table["run_id"].to_pylist())}
        self._results = results.only(set(self._places))  # the same runs, should others be added meanwhile
        self._curves: dict[str, np.ndarray] = {}
        self._ended = np.isin(table["status"].to_pylist(), ("diverged", "frozen", "exact"))
        seeds = sorted(set(zip(table["seed"].to_pylist(), table["split_seed"].to_pylist())))
        self._seeds = seeds
        self._own_splits = any(seed != split for seed, split in seeds)

    def arm(self, *parts: Sweep, first: int | None = None) -> Arm:
        """The runs of the base with the points of `product(*parts)` for every seed that has them all.

        With `first` of so many seeds only, from 0 on.

        Raises:
          Missing: no seed does.
        """
        points, seeds, places = list(product(*parts)), [], []
        for seed, split in (pair for pair in self._seeds if first is None or pair[0] < first):
            found = [self._place({**point, "seed": seed}, split) for point in points]
            if None not in found:
                seeds.append((seed, split) if self._own_splits else seed)
                places.append(found)
        if not seeds:
            raise Missing(f"no run with {'; '.join(_said(point) for point in points)}")
        units = pd.MultiIndex.from_tuples(seeds, names=["seed", "split"]) if self._own_splits else pd.Index(seeds)
        index = np.array(places)
        curves = lambda name: self._curve(name)[index]  # noqa: E731
        return Arm(units, self._curve("step")[index], curves, self._ended[index], [*map(self.base.override, points)])

    def _place(self, point: Mapping[str, object], split: int) -> int | None:
        """Where the run of a point lies whose rows were drawn from that split seed; None where there is none."""
        followed = [None] if point["seed"] == split else []  # the same run by two names
        ids = (self.base.override({**point, "split_seed": value}).run_id for value in (*followed, split))
        return next((self._places[run_id] for run_id in ids if run_id in self._places), None)

    def _curve(self, name: str) -> np.ndarray:
        if name not in self._curves:
            self._curves[name] = self._results.curves(name)[name]
        return self._curves[name]


def judge(claims: Sequence[Claim], evidence: Evidence) -> list[Judgement]:
    """Every claim with its effects and verdict; UNDECIDED where runs are missing, ERROR where its own code fails."""
    found = []
    for claim in claims:
        try:
            effects = claim.measured(evidence)
            check_list(f"claim ({claim.name}).measure", effects, Effect, "effects")
            if not effects:
                raise FieldError(f"claim ({claim.name}).measure", effects, "must give effects")
            found.append(Judgement(claim, effects))
        except Missing as error:
            found.append(Judgement(claim, (), str(error)))
        except Exception as error:  # a mistake in one claim must not lose the others
            why = f"cannot be measured: {first_line(error)}"
            found.append(Judgement(claim, (), why, "".join(traceback.format_exception(error))))
    return found


def standing(judgements: Sequence[Judgement], launches: Sequence[Mapping[str, object]] = ()) -> dict[str, Any]:
    """What the verdicts together are worth, as plain data.

    Args:
      judgements: of all claims of a study.
      launches: those that `sweep.json` tells of.

    Returns:
      `claims_tested`: claims with a bound; `passes_by_chance`: how many of them PASS on average if none is true,
      as each nominally does with 2.5 %; `launches`: `seeds`, `splits` and `runs` that each asked for, null where it is
      not recorded; `changed`: whether a later one asked for others than the first, null where that is not known.
    """
    tested = sum(any(effect.is_bounded for effect in j.effects) for j in judgements)
    asked = [{key: launch.get(key) for key in ("seeds", "splits", "runs")} for launch in launches]
    known = [one for one in asked if None not in one.values()]
    changed = any(one != known[0] for one in known)
    told = changed or len(known) == len(asked) > 0 or len(asked) == 1
    chance = {"claims_tested": tested, "passes_by_chance": round(tested * (1 - CONFIDENCE) / 2, 6)}
    return {**chance, "launches": asked, "changed": changed if told else None}


def _caveats(judgements: Sequence[Judgement], launches: Sequence[Mapping[str, object]]) -> str:
    """What a reader of the verdicts has to know of them together."""
    found = standing(judgements, launches)
    chance = "{passes_by_chance:.2g} of {claims_tested} claims would PASS by chance if none were true".format(**found)
    asked = "; ".join("{seeds} seeds, {splits} splits, {runs} runs".format(**one) for one in found["launches"])
    added = {
        None: "Whether seeds were added after the first launch is not recorded",
        False: "No seeds were added after the first launch",
        True: f"Launches asked for different runs ({asked}): if for the sake of a verdict, more PASS by chance",
    }[found["changed"]]
    return f"{chance} (2.5 % each, nominally). {added}."


def table(judgements: Sequence[Judgement], launches: Sequence[Mapping[str, object]] = ()) -> str:
    """The judgements as a Markdown table, a row per effect, and what they are worth together; see `standing`."""
    rows = [HEAD, ["---"] * len(HEAD), *_rows(judgements)]
    lines = ["| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in row) + " |\n" for row in rows]
    return "".join([*lines, "\n", _caveats(judgements, launches), "\n"])


def html(judgements: Sequence[Judgement], launches: Sequence[Mapping[str, object]] = ()) -> str:
    """The judgements as an HTML table, and what they are worth together; empty where there are none."""
    if not judgements:
        return ""
    cells = lambda row: "".join(  # noqa: E731 (narrow pages show the names, not the head)
        f'<td data-name="{name}">{escape(cell)}</td>' for name, cell in zip(HEAD, row)
    )
    body = "".join(f"<tr>{cells(row)}</tr>" for row in _rows(judgements))
    verdicts = ", ".join(f"({j.claim.name}) {j.verdict}" for j in judgements)
    table = f"<table><tr>{''.join(f'<th>{name}</th>' for name in HEAD)}</tr>{body}</table>"
    said = f"<p>{escape(_caveats(judgements, launches))}</p>"
    return f"<details><summary>Claims: {escape(verdicts)}</summary>{table}{said}</details>"


def _rows(judgements: Sequence[Judgement]) -> Iterator[list[str]]:
    for j in judgements:
        published = f" Published: {j.claim.published}." if j.claim.published else ""
        yield [f"({j.claim.name}) {j.claim.text}.{published}", j.missing, "", "", "", j.verdict]
        for e in j.effects:
            yield ["", e.name + (f" ({e.note})" if e.note else ""), e.text, e.claimed, e.of, e.verdict or ""]


def _number(experiment: Experiment, axis: str) -> float:
    value = experiment.flat().get(axis)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FieldError(axis, value, "must be a field that holds a number")
    return value


def _said(point: dict[str, object]) -> str:
    return ", ".join(f"{path} = {value}" for path, value in point.items()) or "the base's fields"


def _seed_name(seed: object) -> str:
    return "{}, split {}".format(*seed) if isinstance(seed, tuple) else str(seed)
