"""Measures how often claims that are not so PASS, and claims that are so FAIL, by chance.

  python scripts/benchmarks/claims_coverage.py                # 2000 repeats, a quarter of an hour of one core
  python scripts/benchmarks/claims_coverage.py --repeats=10000 --seed=1

In each world the true mean is exactly the bound of the claim, where both mistakes are likeliest. Printed as Markdown:
the share of repeats with a PASS and with a FAIL at 3, 6 and 8 seeds; nominal are .025 each. n × n means n seeds and n
splits. Repeat i of a world at n seeds draws from numpy's default_rng((seed, number of the world, n)), in turn.

Worlds:
  paired     differences of two arms on the same seeds, by Student's t: Gaussian; of two Gamma arms of one mean and
             shapes 9 and 4 (skewness -.46); of two exponential arms, of two accuracies from Beta(9, 1); -1, 0 or 1; a
             claim of three Gaussian effects, correlated by .5
  bounded    one accuracy of mean .9, `within` (0, 1): Beta(9, 1); Beta(90, 10); 1 with a probability of .9 or else 0;
             .95 or (1 in 10) .45
  share      whether something happened, with a probability of ½, of which the claim says "in more than half"
  times      log₁₀ of the ratio of two times of one log-normal distribution, seen at 50 evaluations: all reached; with
             1 in 5 not reached in time (censored); and 1 in 10 diverged besides
  crossed    seeds × splits with effects of both and of the pair, of variances 1, 1, ¼; of seeds and the pair only
  laws       of `sweeps.laws`: the exponent of times over five sizes, with log-normal noise, the same for all seeds or
             with exponents that differ between them; the critical value of outcomes at nine numbers, of a rise that
             seeds move, or a steep one that they do not; the area of a phase of 5 × 5 points whose line seeds move, and
             log₁₀ of the ratio of two such areas, moved alike; which of x √n and x / √n lets three curves collapse,
             where they depend on x alone and n is ¼, 1 and 4, with noise of runs, and of seeds besides
  uncovered  what Student's t cannot do: differences of accuracies that differ in spread, Beta(90, 10) less Beta(18, 2)
             (skewness .8); from an exponential distribution (2); that are .1 in nine of ten seeds and else -.9; and a
             single accuracy from Beta(9, 1), as it would be without `within`
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from absl import flags
from scipy.special import expit

from sweeps.cli import command
from sweeps.studies import claims, laws
from sweeps.studies.claims import Arm, Claim, Judgement
from sweeps.studies.effects import Effect, Verdict, share_of_seeds

SEEDS = 3, 6, 8
BAR = 0.04
EVALUATIONS = np.linspace(0, 10_000, 51)

REPEATS = flags.DEFINE_integer("repeats", 2000, "How often each is drawn.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the random numbers.", lower_bound=0)

Draw = Callable[[np.random.Generator, int], Effect | list[Effect]]


def paired(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    return lambda rng, n: Effect("difference", draw(rng, n))


def accuracy(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    return lambda rng, n: Effect("accuracy", draw(rng, n), above=0.9, within=(0, 1))


def three(rng: np.random.Generator, n: int) -> list[Effect]:
    shared = rng.normal(size=n)
    return [Effect("difference", (shared + rng.normal(size=n)) / 2**0.5) for _ in range(3)]


def times(decades: float, last: float, diverged: float = 0) -> Draw:
    """Two arms whose log₁₀ T have a deviation, of which the last evaluation is so many above the mean; some diverge."""

    def arm(rng: np.random.Generator, n: int) -> Arm:
        time = EVALUATIONS[-1] * 10 ** (decades * (rng.normal(size=(n, 1, 1)) - last))
        ended = rng.random((n, 1)) < diverged
        steps = np.broadcast_to(EVALUATIONS, (n, 1, len(EVALUATIONS)))
        values = ((steps >= time) & ~ended[..., None]).astype(float)
        return Arm(pd.RangeIndex(n), steps, lambda name: values, ended)

    return lambda rng, n: Effect("log ratio", claims.log_ratio(arm(rng, n), arm(rng, n), "test/accuracy", 1.0))


def crossed(seed: float, split: float, pair: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Effect:
        values = seed * rng.normal(size=(n, 1)) + split * rng.normal(size=n) + pair * rng.normal(size=(n, n))
        return Effect("difference", pd.Series(values.ravel(), pd.MultiIndex.from_product([range(n)] * 2)))

    return draw


def exponent(spread: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Effect:
        own = -1.5 + spread * rng.normal(size=n)
        arms = {x: pd.Series(7 * x**own * np.exp(0.3 * rng.normal(size=n))) for x in (1.0, 3.0, 10.0, 30.0, 100.0)}
        return laws.exponent("steps", arms, above=-1.5)

    return draw


def critical(slope: float, shift: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Effect:
        own = 0.47 + shift * rng.normal(size=n)
        arms = {x: pd.Series(rng.random(n) < expit(slope * (x - own))) for x in np.linspace(0, 1, 9)}
        return laws.critical("fraction", arms, above=0.47)

    return draw


def phase(rng: np.random.Generator, moved: np.ndarray) -> pd.Series:
    """The area beyond a line through the middle that each seed moves; its mean is ½, as all is symmetric."""
    side = np.linspace(0, 1, 5)
    chances = {(x, y): expit((x + y - 1 + moved) / 0.1) for x in side for y in side}
    return laws.area({point: pd.Series(rng.random(len(moved)) < chance) for point, chance in chances.items()})


def area(rng: np.random.Generator, n: int) -> Effect:
    return Effect("area", phase(rng, 0.1 * rng.normal(size=n)), above=0.5)


def ratio(rng: np.random.Generator, n: int) -> Effect:
    moved = 0.1 * rng.normal(size=n)
    return laws.ratio("areas", phase(rng, moved), phase(rng, moved), above=0.0)


def collapse(of_seeds: float) -> Draw:
    """Of two scalings that are as wrong: n and 1 / n are alike."""

    def draw(rng: np.random.Generator, n: int) -> Effect:
        shared = of_seeds * rng.normal(size=n)
        arms = {
            (size, x): pd.Series(expit(3 * x) + shared + 0.1 * rng.normal(size=n))
            for size in (0.25, 1.0, 4.0)
            for x in np.linspace(-1, 1, 9)
        }
        return laws.collapses("accuracy", arms, lambda size, x: x * size**0.5, lambda size, x: x / size**0.5)

    return draw


COVERED: dict[str, Draw] = {
    "paired: Gaussian": paired(lambda rng, n: rng.normal(size=n)),
    "paired: Gamma less Gamma": paired(lambda rng, n: rng.gamma(9, 4, n) - rng.gamma(4, 9, n)),
    "paired: exponential less exponential": paired(lambda rng, n: rng.exponential(size=n) - rng.exponential(size=n)),
    "paired: accuracies": paired(lambda rng, n: rng.beta(9, 1, n) - rng.beta(9, 1, n)),
    "paired: -1, 0, 1": paired(lambda rng, n: rng.choice([-1.0, 0.0, 1.0], n)),
    "paired: three effects": three,
    "bounded: Beta(9, 1)": accuracy(lambda rng, n: rng.beta(9, 1, n)),
    "bounded: Beta(90, 10)": accuracy(lambda rng, n: rng.beta(90, 10, n)),
    "bounded: 1 or 0": accuracy(lambda rng, n: (rng.random(n) < 0.9).astype(float)),
    "bounded: .95 or .45": accuracy(lambda rng, n: np.where(rng.random(n) < 0.9, 0.95, 0.45)),
    "share of seeds: ½": lambda rng, n: share_of_seeds("it happened", pd.Series(rng.random(n) < 0.5)),
    "times: all reached": times(0.15, 4),
    "times: 1 in 5 censored": times(0.5, 0.8416),
    "times: and 1 in 10 diverged": times(0.5, 0.8416, 0.1),
    "seeds × splits: both": crossed(1, 1, 0.5),
    "seeds × splits: of seeds": crossed(1, 0, 0.5),
}
LAWS: dict[str, Draw] = {
    "exponent: noise": exponent(0),
    "exponent: and seeds differ": exponent(0.2),
    "critical value: seeds differ": critical(30, 0.06),
    "critical value: a steep rise": critical(200, 0),
    "area: a line that seeds move": area,
    "ratio of two areas, moved alike": ratio,
    "collapse: noise": collapse(0),
    "collapse: and seeds differ": collapse(0.1),
}
UNCOVERED: dict[str, Draw] = {
    "paired: accuracies of two spreads": paired(lambda rng, n: rng.beta(90, 10, n) - rng.beta(18, 2, n)),
    "paired: exponential": paired(lambda rng, n: rng.exponential(size=n) - 1),
    "paired: .1 or, 1 in 10, -.9": paired(lambda rng, n: np.where(rng.random(n) < 0.9, 0.1, -0.9)),
    "Beta(9, 1) by Student's t": lambda rng, n: Effect("accuracy", rng.beta(9, 1, n), above=0.9),
}


def measure(worlds: dict[str, Draw], repeats: int, seed: int = 0) -> pd.DataFrame:
    """The share of repeats with each mistake, a row per world and number of seeds."""
    claim = Claim("1", "is above its bound", lambda evidence: [])
    numbers = {name: number for number, name in enumerate([*COVERED, *UNCOVERED, *LAWS])}
    rows = []
    for name, draw in worlds.items():
        for n in SEEDS:
            rng, verdicts = np.random.default_rng((seed, numbers[name], n)), []
            for _ in range(repeats):
                effects = draw(rng, n)
                verdicts.append(Judgement(claim, effects if isinstance(effects, list) else [effects]).verdict)
            wrong = {verdict.value: verdicts.count(verdict) / repeats for verdict in (Verdict.PASS, Verdict.FAIL)}
            rows.append({"world": name, "seeds": n, **wrong})
    return pd.DataFrame(rows)


def markdown(found: pd.DataFrame) -> str:
    """A row per world; what is above the bar is bold."""
    head = [f"{verdict}, {n} seeds" for verdict in ("PASS", "FAIL") for n in SEEDS]
    lines = [["world", *head], ["---"] * (1 + len(head))]
    for world, rows in found.groupby("world", sort=False):
        values = [value for verdict in ("PASS", "FAIL") for value in rows[verdict]]
        lines.append([str(world), *(f"**{v:.3f}**" if v > BAR else f"{v:.3f}" for v in values)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    for title, worlds in (("Covered", COVERED), ("Laws", LAWS), ("Not covered", UNCOVERED)):
        found = measure(worlds, REPEATS.value, SEED.value)
        print(f"{title}, {REPEATS.value} repeats\n\n{markdown(found)}", flush=True)


if __name__ == "__main__":
    command.main(main)
