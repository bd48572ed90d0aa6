"""Claims of a paper as checkable statements on stored runs: effects, their intervals over seeds, and a verdict.

The seed is the sampling unit: whatever is averaged over within a seed (train fractions, evaluations) counts once.
"""

import dataclasses
import enum
import functools
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from jaxgen import Experiment, FieldError
from sweeps import phases
from sweeps.checks import check_type
from sweeps.results import Results
from sweeps.spec import Sweep, product

CONFIDENCE = 0.95
LEAST_SEEDS = 3
HEAD = ["claim", "measured", "mean [95 % interval]", "claimed", "seeds", "verdict"]


class Verdict(enum.StrEnum):
    """What stored runs say of a claim."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"


class Bounds(NamedTuple):
    """What is known of a quantity where it could not be watched to its end: for each seed it is in [low, high]."""

    low: pd.Series
    high: pd.Series


@dataclasses.dataclass(frozen=True)
class Effect:
    """A quantity of which a claim says that its mean over seeds is above a bound.

    Attributes:
      name: what it is, with its unit.
      values: one per seed, indexed by it; NaN where nothing is known, so that the mean may be anything. Of `Bounds`
        the lower ends, with which alone a claim can pass.
      above: the bound; None for a quantity that is only told.
      note: what a reader has to know, e.g. of which evaluations it is.
      upper: the upper ends, with which alone a claim can fail; like `values` where these are known.
    """

    name: str
    values: Any
    above: float | None = 0.0
    note: str = ""
    upper: pd.Series = dataclasses.field(init=False)

    def __post_init__(self):
        if not isinstance(self.name, str) or not isinstance(self.note, str):
            raise FieldError("effect.name", self.name, "name and note must be text")
        number = isinstance(self.above, (int, float)) and not isinstance(self.above, bool)
        if self.above is not None and not (number and np.isfinite(float(self.above))):
            raise FieldError("effect.above", self.above, "must be a finite number, or None")
        both = self.values if isinstance(self.values, Bounds) else (self.values, self.values)
        try:
            for field, ends, unknown in zip(("values", "upper"), both, (-np.inf, np.inf)):
                object.__setattr__(self, field, pd.Series(ends, dtype=float).fillna(unknown))
        except (TypeError, ValueError, OverflowError):
            raise FieldError("effect.values", self.values, "must be a number for each seed") from None

    @functools.cached_property
    def known(self) -> pd.Series:
        """Whether anything is known of each seed."""
        return ~((self.values == -np.inf) & (self.upper == np.inf))

    @property
    def seeds(self) -> int:
        """How many seeds it was measured on."""
        return int(self.known.sum())

    @property
    def mean(self) -> float:
        """Mean over the seeds that are known: of their lower ends, or of the upper ones where one has no lower end."""
        low, high = (float(ends[self.known].mean()) for ends in (self.values, self.upper))
        return high if low == -np.inf else low

    @property
    def relation(self) -> str:
        """What the true mean of these seeds is to `mean`: "≥ " or "≤ " where some are bounds, else empty."""
        low, high = (ends[self.known] for ends in (self.values, self.upper))
        return "" if low.equals(high) else "≤ " if (low == -np.inf).any() else "≥ "

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """`interval_at` 95 %."""
        return self.interval_at(CONFIDENCE)

    def interval_at(self, confidence: float) -> tuple[float, float]:
        """Student's t interval of the mean: mean ± t · s / √n; one point where all seeds agree exactly.

        The lower end is that of the lower bounds, the upper that of the upper ones. What is truly infinite counts with
        the farthest finite value, which is nearer to the others: the end is a bound all the same. Infinite below three
        seeds, where s says little, and where there is a seed of which no bound on that side is known.
        """
        return -_upper_end(-self.values, confidence), _upper_end(self.upper, confidence)

    @property
    def verdict(self) -> Verdict | None:
        """PASS: the whole interval is above the bound; FAIL: none of it; UNDECIDED otherwise. None without a bound."""
        return self.verdict_at(CONFIDENCE)

    def verdict_at(self, confidence: float) -> Verdict | None:
        """`verdict` by the interval at another confidence."""
        if self.above is None:
            return None
        low, high = self.interval_at(confidence)
        return Verdict.PASS if low > self.above else Verdict.FAIL if high <= self.above else Verdict.UNDECIDED


def _upper_end(values: pd.Series, confidence: float) -> float:
    """The upper end of the t interval of a mean of upper bounds."""
    finite = values[np.isfinite(values)]
    if len(values) < LEAST_SEEDS or (values == np.inf).any():
        return np.inf
    if not len(finite):
        return -np.inf
    values = values.clip(lower=finite.min())
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() + half)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of a paper.

    Attributes:
      name: its number in the paper or recipe.
      text: the statement.
      measure: from `Evidence` to the effects that must all be above their bounds.
      published: the paper's own numbers, printed beside ours.
    """

    name: str
    text: str
    measure: Callable[["Evidence"], Sequence[Effect]]
    published: str = ""

    def __post_init__(self):
        for field in ("name", "text", "published"):
            check_type(f"claim.{field}", getattr(self, field), str, "text")
        if not callable(self.measure):
            raise FieldError("claim.measure", self.measure, "must be a function from Evidence to a list of effects")


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A claim with what was measured. `missing` says which runs it would have needed."""

    claim: Claim
    effects: Sequence[Effect]
    missing: str = ""

    @property
    def verdict(self) -> Verdict:
        """PASS if all effects pass; FAIL if one of m fails at 1 - 5 %/m (Bonferroni); UNDECIDED otherwise.

        That all pass needs no such care: the one that is least sure to be above its bound is tested at 5 %.
        """
        tested = [effect for effect in self.effects if effect.above is not None]
        if tested and all(effect.verdict == Verdict.PASS for effect in tested):
            return Verdict.PASS
        strict = 1 - (1 - CONFIDENCE) / max(len(tested), 1)
        fails = any(effect.verdict_at(strict) == Verdict.FAIL for effect in tested)
        return Verdict.FAIL if fails else Verdict.UNDECIDED

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what is infinite or missing is null."""
        finite = lambda v: float(v) if v is not None and np.isfinite(v) else None  # noqa: E731
        effects = []
        for e in self.effects:
            by_seed = {str(seed): finite(value) for seed, value in e.values.items()}
            at_most = {"at_most": {str(seed): finite(value) for seed, value in e.upper.items()}} if e.relation else {}
            low, high = map(finite, e.interval)
            numbers = {"mean": finite(e.mean), "low": low, "high": high, "above": finite(e.above)}
            told = {"name": e.name, "verdict": e.verdict, **numbers, "seeds": e.seeds, "by_seed": by_seed}
            effects.append(told | at_most | {"note": e.note})
        said = {"name": self.claim.name, "text": self.claim.text, "published": self.claim.published}
        return {**said, "verdict": self.verdict, "confidence": CONFIDENCE, "effects": effects, "missing": self.missing}


class Missing(LookupError):
    """Runs that a claim needs are not stored."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs of one setting (or several, which count together) for several seeds.

    Attributes:
      seeds: (S,) that have all of its runs; with a split seed of its own, each pair counts.
      steps: (S, P, evaluations) of the P runs of each seed; NaN after a run's last.
      curves: gives a probe by its name, like `steps`.
      ended: (S, P) whether a run diverged or froze: what it has not reached it never will; none where left out.
    """

    seeds: np.ndarray
    steps: np.ndarray
    curves: Callable[[str], np.ndarray]
    ended: np.ndarray | None = None

    def mean(self, values: np.ndarray) -> pd.Series:
        """The mean over the runs of each seed of values (S, P), by seed."""
        return pd.Series(values.mean(axis=1), self.seeds)

    def final(self, probe: str) -> pd.Series:
        """A probe at the last evaluation, by seed."""
        return self.mean(np.take_along_axis(self.curves(probe), self._last()[..., None], 2)[..., 0])

    def largest(self, probe: str) -> pd.Series:
        """A probe's largest value over the run, by seed."""
        return self.mean(np.nanmax(self.curves(probe), axis=2))

    def average(self, probe: str, when: np.ndarray) -> pd.Series:
        """A probe's mean over the evaluations in a mask like `steps`, by seed; NaN for a seed without any."""
        when = when & np.isfinite(self.steps)
        kept = np.where(when, self.curves(probe), 0)
        with np.errstate(invalid="ignore"):
            return self.mean(kept.sum(2) / when.sum(2))

    def time(self, probe: str, threshold: float) -> np.ndarray:
        """First step at which a probe is at least at a threshold, (S, P); inf where it never was."""
        flat = self.steps.shape[0] * self.steps.shape[1], -1
        found = phases.times(self.steps.reshape(flat), self.curves(probe).reshape(flat), threshold)
        return found.reshape(self.steps.shape[:2])

    def observed(self) -> np.ndarray:
        """The step at which observation ended, (S, P)."""
        return np.nanmax(self.steps, axis=2)

    def _last(self) -> np.ndarray:
        return np.isfinite(self.steps).sum(2) - 1


def log_ratio(late: Arm, early: Arm, probe: str, threshold: float) -> Bounds:
    """log₁₀(T_late / T_early) by seed, T the first step at which a probe is at least at a threshold.

    A time that was not reached is after the end of observation, and infinite where the run diverged or froze. Of a
    seed that only one of the arms has nothing is known: (-inf, inf). Arms of one run per seed.
    """
    ends = {}
    for name, arm in (("late", late), ("early", early)):
        time = np.maximum(arm.time(probe, threshold)[:, 0], 1)
        never = np.zeros(len(time), bool) if arm.ended is None else arm.ended[:, 0]
        least = np.where(np.isfinite(time) | never, time, np.maximum(arm.observed()[:, 0], 1))
        ends[f"{name} least"], ends[f"{name} most"] = pd.Series(least, arm.seeds), pd.Series(time, arm.seeds)
    table = pd.DataFrame(ends)
    with np.errstate(invalid="ignore"):
        low = np.log10(table["late least"]) - np.log10(table["early most"])
        high = np.log10(table["late most"]) - np.log10(table["early least"])
    return Bounds(low.fillna(-np.inf), high.fillna(np.inf))


class Evidence:
    """The stored runs of a recipe, as its claims see them.

    Args:
      results: where they are stored.
      base: the experiment that the claims' arms override.
    """

    def __init__(self, results: Results, base: Experiment):
        table = results.table(["run_id", "seed", "split_seed", "status"])
        self.base = base
        self._places = {run_id: i for i, run_id in enumerate(table["run_id"].to_pylist())}
        self._results = Results(results.workdir, set(self._places))  # the same runs, should others be added meanwhile
        self._curves: dict[str, np.ndarray] = {}
        self._ended = np.isin(table["status"].to_pylist(), ("diverged", "frozen"))
        self._seeds = sorted(set(zip(table["seed"].to_pylist(), table["split_seed"].to_pylist())))

    def arm(self, *parts: Sweep) -> Arm:
        """The runs of the base with the points of `product(*parts)` for every seed that has them all.

        Raises:
          Missing: no seed does.
        """
        points, seeds, places = list(product(*parts)), [], []
        for seed, split_seed in self._seeds:
            fields = {"seed": seed, "split_seed": split_seed}
            found = [self._places.get(self.base.override({**point, **fields}).run_id) for point in points]
            if None not in found:
                seeds.append(seed if split_seed < 0 else f"{seed}, split {split_seed}")
                places.append(found)
        if not seeds:
            raise Missing(f"no run with {'; '.join(_said(point) for point in points)}")
        index = np.array(places)
        curves = lambda name: self._curve(name)[index]  # noqa: E731
        return Arm(np.array(seeds), self._curve("step")[index], curves, self._ended[index])

    def _curve(self, name: str) -> np.ndarray:
        if name not in self._curves:
            self._curves[name] = self._results.curves(name)[name]
        return self._curves[name]


def judge(claims: Sequence[Claim], evidence: Evidence) -> list[Judgement]:
    """Every claim with its effects and verdict; UNDECIDED where runs are missing."""
    found = []
    for claim in claims:
        try:
            found.append(Judgement(claim, claim.measure(evidence)))
        except (Missing, FieldError) as error:
            found.append(Judgement(claim, (), str(error)))
        except Exception as error:  # a mistake in one claim must not lose the others
            found.append(Judgement(claim, (), f"cannot be measured: {type(error).__name__}: {error}"))
    return found


def table(judgements: Sequence[Judgement]) -> str:
    """The judgements as a Markdown table, a row per effect."""
    rows = [HEAD, ["---"] * len(HEAD), *_rows(judgements)]
    return "".join("| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in row) + " |\n" for row in rows)


def html(judgements: Sequence[Judgement]) -> str:
    """The judgements as an HTML table; empty where there are none."""
    if not judgements:
        return ""
    cells = lambda row: "".join(  # noqa: E731 (narrow pages show the names, not the head)
        f'<td data-name="{name}">{escape(cell)}</td>' for name, cell in zip(HEAD, row)
    )
    body = "".join(f"<tr>{cells(row)}</tr>" for row in _rows(judgements))
    verdicts = ", ".join(f"({j.claim.name}) {j.verdict}" for j in judgements)
    table = f"<table><tr>{''.join(f'<th>{name}</th>' for name in HEAD)}</tr>{body}</table>"
    return f"<details><summary>Claims: {escape(verdicts)}</summary>{table}</details>"


def _rows(judgements: Sequence[Judgement]) -> Iterator[list[str]]:
    for j in judgements:
        published = f" Published: {j.claim.published}." if j.claim.published else ""
        yield [f"({j.claim.name}) {j.claim.text}.{published}", j.missing, "", "", "", j.verdict]
        for e in j.effects:
            low, high = e.interval
            span = f"{e.relation}{e.mean:.3g} [{low:.3g}, {high:.3g}]" if e.seeds else "–"
            claimed = "" if e.above is None else f"> {e.above:g}"
            lost = len(e.values) - e.seeds
            seeds = f"{e.seeds}" + (f" (of {len(e.values)}: others have no value)" if lost else "")
            yield ["", e.name + (f" ({e.note})" if e.note else ""), span, claimed, seeds, e.verdict or ""]


def _said(point: dict[str, Any]) -> str:
    return ", ".join(f"{path} = {value}" for path, value in point.items()) or "the base's fields"
