"""Claims of a paper as checkable statements on stored runs: effects, their intervals over seeds, and a verdict.

The seed is the sampling unit: whatever is averaged over within a seed (train fractions, evaluations) counts once. Where
train splits have seeds of their own, both are units.
"""

import dataclasses
import enum
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats

from jaxgen import Experiment, FieldError
from sweeps import phases
from sweeps.checks import check_type
from sweeps.results import Results
from sweeps.spec import Sweep, product

CONFIDENCE = 0.95
LEAST_SEEDS = 3
UNITS = "seeds", "splits"
STAKES = np.array([0.5, 0.75, 0.9, 1.0])
"""Shares of the capital that bets on a bounded mean put at risk: near all of it, as a few seeds ask for."""
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
      values: one per seed, indexed by it, or by seed and split; NaN where nothing is known, so that the mean may be
        anything. Of `Bounds` the lower ends, with which alone a claim can pass.
      above: the bound; None for a quantity that is only told.
      note: what a reader has to know, e.g. of which evaluations it is.
      within: (low, high) between which a value must lie, e.g. (0, 1) of an accuracy. The interval then holds whatever
        the distribution is, where Student's t of a few skewed values does not: for single bounded means.
      share: whether a value is 1 where something happened and else 0; see `share_of_seeds`.
      upper: the upper ends, with which alone a claim can fail; like `values` where these are known.
    """

    name: str
    values: Any
    above: float | None = 0.0
    note: str = ""
    within: tuple[float, float] | None = None
    share: bool = False
    upper: pd.Series = dataclasses.field(init=False)

    def __post_init__(self):
        if not isinstance(self.name, str) or not isinstance(self.note, str):
            raise FieldError("effect.name", self.name, "name and note must be text")
        number = isinstance(self.above, (int, float)) and not isinstance(self.above, bool)
        if self.above is not None and not (number and np.isfinite(float(self.above))):
            raise FieldError("effect.above", self.above, "must be a finite number, or None")
        check_type("effect.share", self.share, bool, "true or false")
        if self.share:
            object.__setattr__(self, "within", (0, 1))
        limits = _limits(self.within)
        both = self.values if isinstance(self.values, Bounds) else (self.values, self.values)
        try:
            for field, ends, unknown in zip(("values", "upper"), both, limits):
                object.__setattr__(self, field, pd.Series(ends, dtype=float).fillna(unknown))
        except (TypeError, ValueError, OverflowError):
            raise FieldError("effect.values", self.values, "must be a number for each seed") from None
        self._check_values(limits)

    def _check_values(self, limits: tuple[float, float]) -> None:
        if self.values.index.nlevels > len(UNITS):
            raise FieldError("effect.values", self.values.index.names, "must be by seed, or by seed and split")
        if self.within is None:
            return
        for ends in (self.values, self.upper):
            wrong = ~ends.isin(limits) if self.share else (ends < limits[0]) | (ends > limits[1])
            if wrong.any():
                allowed = "must be 0 or 1" if self.share else f"must be in [{limits[0]:g}, {limits[1]:g}]"
                raise FieldError("effect.values", float(ends[wrong].iloc[0]), allowed)
        units = list(unit_means(self.values.to_numpy(), self.values.index).values())
        if len(units) > 1 or len(units[0]) != len(self.values):
            why = "needs independent values, and several share a seed or a split: hold one of them"
            raise FieldError("effect.within", self.within, why)

    @functools.cached_property
    def known(self) -> pd.Series:
        """Whether anything is known of each seed."""
        low, high = _limits(self.within)
        return ~((self.values == low) & (self.upper == high))

    @functools.cached_property
    def unit(self) -> str:
        """What was taken as independent, and how many there are: "8 seeds", "10 splits", "5 seeds × 5 splits"."""
        means = unit_means(self.values.to_numpy(), self.values.index)
        return " × ".join(f"{len(values)} {name}" for name, values in means.items())

    @property
    def method(self) -> str:
        """Of what kind the interval is."""
        if self.share:
            return "Clopper–Pearson, of a share"
        return "Student's t" if self.within is None else "betting, of a mean in [{:g}, {:g}]".format(*self.within)

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
        """An interval of the mean: Student's t, mean ± t · s / √n; for `within` and `share` one that is exact.

        The lower end is that of the lower bounds, the upper that of the upper ones. What is truly infinite counts with
        the farthest finite value, which is nearer to the others: the end is a bound all the same. Where seeds and
        splits cross, (s / √n)² is the sum of those of the means by seed and of the means by split, with one degree of
        freedom less than there are of the fewer. Infinite where there is a seed of which no bound on that side is
        known; below three seeds, where s says little; and where all values are equal, from which s is not known
        either, unless they are n with 2 · 2⁻ⁿ ≤ 1 - confidence (six at 95 %), which bound a median by the sign test:
        a mean that hangs on rare exceptions is not covered. Nor is, by t, that of values with a skewness beyond .5: an
        end that should be wrong in 2.5 % of cases is so in .049 at .8 and .11 at 2 (a difference of arms that are
        alike has none); `scripts/benchmarks/claims_coverage.py` measures it.
        """
        if self.within is None:
            low, high = (ends.to_numpy() for ends in (-self.values, self.upper))
            return -_upper_end(low, self.values.index, confidence), _upper_end(high, self.upper.index, confidence)
        low, high = self.within
        if self.share:
            return _share_ends(int(self.values.sum()), int(self.upper.sum()), len(self.values), confidence)
        from_low, from_high = (self.values - low) / (high - low), (high - self.upper) / (high - low)
        least, rest = (least_mean(part.to_numpy(), (1 - confidence) / 2) for part in (from_low, from_high))
        return low + (high - low) * least, high - (high - low) * rest

    @property
    def verdict(self) -> Verdict | None:
        """PASS: the whole interval is above the bound; FAIL: none of it; UNDECIDED otherwise. None without a bound."""
        return self.verdict_at(CONFIDENCE)

    def verdict_at(self, confidence: float) -> Verdict | None:
        """`verdict` by the interval at another confidence."""
        if self.above is None:
            return None
        low, high = self.interval if confidence == CONFIDENCE else self.interval_at(confidence)
        return Verdict.PASS if low > self.above else Verdict.FAIL if high <= self.above else Verdict.UNDECIDED


def _limits(within: Any) -> tuple[float, float]:
    """Between which numbers values lie."""
    if within is None:
        return -np.inf, np.inf
    try:
        low, high = map(float, within)
    except (TypeError, ValueError, OverflowError):
        low = high = np.nan
    if not -np.inf < low < high < np.inf:
        raise FieldError("effect.within", within, "must be two finite numbers, the lower first")
    return low, high


def unit_means(values: np.ndarray, index: pd.Index) -> dict[str, np.ndarray]:
    """The means by seed, by split, or by both, whichever are independent: those that vary.

    Where each split has one seed (or the other way round), its runs are no more than a seed's (a split's).
    """
    if index.nlevels == 1:
        return {UNITS[0]: values}
    levels = [pd.factorize(index.get_level_values(level))[0] for level in (0, 1)]
    seeds, splits = (level.max(initial=-1) + 1 for level in levels)
    if splits <= 1 or splits == len(values) > 1 < seeds:
        chosen = [0]
    elif seeds == 1 or seeds == len(values):
        chosen = [1]
    else:
        chosen = [0, 1]
    return {UNITS[i]: np.bincount(levels[i], values) / np.bincount(levels[i]) for i in chosen}


def _upper_end(values: np.ndarray, index: pd.Index, confidence: float) -> float:
    """The upper end of the t interval of a mean of upper bounds."""
    if (values == np.inf).any():
        return np.inf
    finite = values[np.isfinite(values)]
    if len(finite):
        values = np.maximum(values, finite.min())
    means = unit_means(values, index).values()
    count = min(map(len, means))
    few = 2 * 0.5**count > 1 - confidence
    if count < LEAST_SEEDS or (few and (values == values[0]).all()):
        return np.inf
    if not len(finite):
        return -np.inf
    error = sum(mean.var(ddof=1) / len(mean) for mean in means) ** 0.5
    return float(values.mean() + stats.t.ppf((1 + confidence) / 2, count - 1) * error)


def _share_ends(least: int, most: int, count: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's exact interval (1934) of a share of which the successes are in [least, most]."""
    alpha = (1 - confidence) / 2
    low = stats.beta.ppf(alpha, least, count - least + 1) if least else 0.0
    high = stats.beta.ppf(1 - alpha, most + 1, count - most) if most < count else 1.0
    return float(low), float(high)


def least_mean(values: np.ndarray, alpha: float) -> float:
    """What the mean of numbers in [0, 1] is below with a probability of at most α, whatever their distribution.

    The least m with K(m) = ¼ Σ_θ Πᵢ (1 - θ + θ xᵢ/m) ≤ 1/α, θ one of `STAKES`: the capital of four gamblers who start
    with ¼ and put the share θ of theirs on "xᵢ > m". At the true mean E K = 1, as the xᵢ are independent, so that K
    exceeds 1/α with a probability of at most α (Markov), and K falls with m. This is a confidence bound by betting
    (Waudby-Smith and Ramdas 2024, arXiv 2010.09686) with stakes that are fixed beforehand; so the order of the values
    does not matter, and at three to eight values it is tighter than with stakes learned on the way.

    Args:
      values: (n,) in [0, 1], or lower bounds of such.
      alpha: in (0, 1).

    >>> round(least_mean(np.ones(8), 0.025), 2)
    0.59
    """

    def gain(m: float) -> float:
        return float(np.prod(1 - STAKES + STAKES * values[:, None] / m, axis=0).mean() - 1 / alpha)

    least = 1e-9
    return optimize.brentq(gain, least, 1) if gain(least) > 0 else 0.0


def share_of_seeds(name: str, happened: pd.Series, above: float | None = 0.5, note: str = "") -> Effect:
    """The share of seeds in which something happened, with its exact interval: half of them are exceeded by six of six.

    Args:
      name: what happened.
      happened: true or false by seed; NaN where it is not known, which counts as false for PASS and as true for FAIL.
      above: the share that the claim exceeds.
      note: see `Effect`.

    Raises:
      FieldError: a value is something else.
    """
    return Effect(f"share of seeds: {name}", happened, above, note, share=True)


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
            by_seed = {_seed_name(seed): finite(value) for seed, value in e.values.items()}
            at_most = {_seed_name(seed): finite(value) for seed, value in e.upper.items()}
            low, high = map(finite, e.interval)
            numbers = {"mean": finite(e.mean), "low": low, "high": high, "above": finite(e.above)}
            how = {"interval": e.method, "unit": e.unit, "seeds": e.seeds}
            told = {"name": e.name, "verdict": e.verdict, **numbers, **how, "by_seed": by_seed}
            effects.append(told | ({"at_most": at_most} if e.relation else {}) | {"note": e.note})
        said = {"name": self.claim.name, "text": self.claim.text, "published": self.claim.published}
        return {**said, "verdict": self.verdict, "confidence": CONFIDENCE, "effects": effects, "missing": self.missing}


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
    """

    seeds: pd.Index
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
        seeds = sorted(set(zip(table["seed"].to_pylist(), table["split_seed"].to_pylist())))
        self._seeds = {(seed, seed if split < 0 else split): (seed, split) for seed, split in reversed(seeds)}
        self._own_splits = any(split >= 0 for _, split in seeds)

    def arm(self, *parts: Sweep) -> Arm:
        """The runs of the base with the points of `product(*parts)` for every seed that has them all.

        Raises:
          Missing: no seed does.
        """
        points, seeds, places = list(product(*parts)), [], []
        for unit, (seed, split_seed) in sorted(self._seeds.items()):
            fields = {"seed": seed, "split_seed": split_seed}
            found = [self._places.get(self.base.override({**point, **fields}).run_id) for point in points]
            if None not in found:
                seeds.append(unit if self._own_splits else seed)
                places.append(found)
        if not seeds:
            raise Missing(f"no run with {'; '.join(_said(point) for point in points)}")
        units = pd.MultiIndex.from_tuples(seeds, names=["seed", "split"]) if self._own_splits else pd.Index(seeds)
        index = np.array(places)
        curves = lambda name: self._curve(name)[index]  # noqa: E731
        return Arm(units, self._curve("step")[index], curves, self._ended[index])

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


def standing(judgements: Sequence[Judgement], launches: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What the verdicts together are worth, as plain data.

    Args:
      judgements: of all claims of a study.
      launches: those that `sweep.json` tells of.

    Returns:
      `claims_tested`: claims with a bound; `passes_by_chance`: how many of them PASS on average if none is true, at
      most, as each does with 2.5 %; `launches`: `seeds`, `splits` and `runs` that each asked for, null where it is not
      recorded; `changed`: whether a later one asked for others than the first, null where that is not known.
    """
    tested = sum(any(effect.above is not None for effect in j.effects) for j in judgements)
    asked = [{key: launch.get(key) for key in ("seeds", "splits", "runs")} for launch in launches]
    known = [one for one in asked if None not in one.values()]
    changed = any(one != known[0] for one in known)
    told = changed or len(known) == len(asked) > 0 or len(asked) == 1
    chance = {"claims_tested": tested, "passes_by_chance": round(tested * (1 - CONFIDENCE) / 2, 6)}
    return {**chance, "launches": asked, "changed": changed if told else None}


def _caveats(judgements: Sequence[Judgement], launches: Sequence[Mapping[str, Any]]) -> str:
    """What a reader of the verdicts has to know of them together."""
    found = standing(judgements, launches)
    chance = "{passes_by_chance:.2g} of {claims_tested} claims would PASS by chance if none were true".format(**found)
    asked = "; ".join("{seeds} seeds, {splits} splits, {runs} runs".format(**one) for one in found["launches"])
    added = {
        None: "Whether seeds were added after the first launch is not recorded",
        False: "No seeds were added after the first launch",
        True: f"Launches asked for different runs ({asked}): if for the sake of a verdict, more PASS by chance",
    }[found["changed"]]
    return f"{chance} (2.5 % each at most). {added}."


def table(judgements: Sequence[Judgement], launches: Sequence[Mapping[str, Any]] = ()) -> str:
    """The judgements as a Markdown table, a row per effect, and what they are worth together; see `standing`."""
    rows = [HEAD, ["---"] * len(HEAD), *_rows(judgements)]
    lines = ["| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in row) + " |\n" for row in rows]
    return "".join([*lines, "\n", _caveats(judgements, launches), "\n"])


def html(judgements: Sequence[Judgement], launches: Sequence[Mapping[str, Any]] = ()) -> str:
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
            low, high = e.interval
            span = f"{e.relation}{e.mean:.3g} [{low:.3g}, {high:.3g}]" if e.seeds else "–"
            claimed = "" if e.above is None else f"> {e.above:g}"
            lost = len(e.values) - e.seeds
            seeds = e.unit + (f" ({lost} of {len(e.values)} values are not known)" if lost else "")
            yield ["", e.name + (f" ({e.note})" if e.note else ""), span, claimed, seeds, e.verdict or ""]


def _said(point: dict[str, Any]) -> str:
    return ", ".join(f"{path} = {value}" for path, value in point.items()) or "the base's fields"


def _seed_name(seed: Any) -> str:
    return "{}, split {}".format(*seed) if isinstance(seed, tuple) else str(seed)
