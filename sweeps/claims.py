"""Claims of a paper as checkable statements on stored runs: effects, their intervals over seeds, and a verdict.

The seed is the sampling unit: whatever is averaged over within a seed (train fractions, evaluations) counts once.
"""

import dataclasses
import enum
import functools
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

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


@dataclasses.dataclass(frozen=True)
class Effect:
    """A quantity of which a claim says that its mean over seeds is above a bound.

    Attributes:
      name: what it is, with its unit.
      values: one per seed, indexed by it; of differences, those seeds that both arms have.
      above: the bound; None for a quantity that is only told.
      note: what a reader has to know, e.g. how censored times count.
    """

    name: str
    values: pd.Series
    above: float | None = 0.0
    note: str = ""

    def __post_init__(self):
        if not isinstance(self.name, str) or not isinstance(self.note, str):
            raise FieldError("effect.name", self.name, "name and note must be text")
        number = isinstance(self.above, (int, float)) and not isinstance(self.above, bool)
        if self.above is not None and not (number and np.isfinite(float(self.above))):
            raise FieldError("effect.above", self.above, "must be a finite number, or None")
        try:
            object.__setattr__(self, "values", pd.Series(self.values, dtype=float))
        except (TypeError, ValueError, OverflowError):
            raise FieldError("effect.values", self.values, "must be a number for each seed") from None

    @property
    def seeds(self) -> int:
        """How many seeds it was measured on."""
        return int(self.values.notna().sum())

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(self.values.mean())

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """Student's t interval of the mean at 95 %: mean ± t · s / √n; one point where all seeds agree exactly.

        Infinite below three seeds, where s says little, and where a value is infinite.
        """
        values = self.values.dropna()
        if len(values) < LEAST_SEEDS or not np.isfinite(values).all():
            return -np.inf, np.inf
        half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        return float(values.mean() - half), float(values.mean() + half)

    @property
    def verdict(self) -> Verdict | None:
        """PASS: the whole interval is above the bound; FAIL: none of it; UNDECIDED otherwise. None without a bound."""
        if self.above is None:
            return None
        low, high = self.interval
        return Verdict.PASS if low > self.above else Verdict.FAIL if high <= self.above else Verdict.UNDECIDED


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
        """PASS if all effects pass; FAIL if one fails; UNDECIDED otherwise."""
        found = {effect.verdict for effect in self.effects if effect.above is not None} or {Verdict.UNDECIDED}
        return next(v for v in (Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS) if v in found)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what is infinite or missing is null."""
        finite = lambda v: float(v) if v is not None and np.isfinite(v) else None  # noqa: E731
        effects = []
        for e in self.effects:
            by_seed = {str(seed): finite(value) for seed, value in e.values.items()}
            low, high = map(finite, e.interval)
            numbers = {"mean": finite(e.mean), "low": low, "high": high, "above": finite(e.above)}
            effects.append(
                {"name": e.name, "verdict": e.verdict, **numbers, "seeds": e.seeds, "by_seed": by_seed, "note": e.note}
            )
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
    """

    seeds: np.ndarray
    steps: np.ndarray
    curves: Callable[[str], np.ndarray]

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


def log_ratio(late: Arm, early: Arm, probe: str, threshold: float) -> pd.Series:
    """log₁₀(T_late / T_early) by seed, T the first step at which a probe is at least at a threshold.

    Where T_late was not reached it counts with the end of observation, so the true ratio is larger; where T_early was
    not, but T_late was before the end of its observation, the true ratio is smaller. Where neither bound can be given
    the seed has no value (NaN). Arms of one run per seed.
    """
    times = {}
    for name, arm in (("late", late), ("early", early)):
        time = arm.time(probe, threshold)[:, 0]
        reached = np.isfinite(time)
        times[name] = pd.Series(np.maximum(np.where(reached, time, arm.observed()[:, 0]), 1), arm.seeds)
        times[f"{name} reached"] = pd.Series(reached, arm.seeds)
    table = pd.DataFrame(times).dropna()
    known = table["early reached"].astype(bool)
    known |= table["late reached"].astype(bool) & (table["late"] <= table["early"])
    return np.log10(table["late"] / table["early"]).where(known)


class Evidence:
    """The stored runs of a recipe, as its claims see them.

    Args:
      results: where they are stored.
      base: the experiment that the claims' arms override.
    """

    def __init__(self, results: Results, base: Experiment):
        table = results.table(["run_id", "seed", "split_seed"])
        self.base = base
        self._places = {run_id: i for i, run_id in enumerate(table["run_id"].to_pylist())}
        self._results = Results(results.workdir, set(self._places))  # the same runs, should others be added meanwhile
        self._curves: dict[str, np.ndarray] = {}
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
        return Arm(np.array(seeds), self._curve("step")[index], lambda name: self._curve(name)[index])

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
            span = f"{e.mean:.3g} [{low:.3g}, {high:.3g}]" if e.seeds else "–"
            claimed = "" if e.above is None else f"> {e.above:g}"
            lost = len(e.values) - e.seeds
            seeds = f"{e.seeds}" + (f" (of {len(e.values)}: others have no value)" if lost else "")
            yield ["", e.name + (f" ({e.note})" if e.note else ""), span, claimed, seeds, e.verdict or ""]


def _said(point: dict[str, Any]) -> str:
    return ", ".join(f"{path} = {value}" for path, value in point.items()) or "the base's fields"
