"""What a dry run prints: a row for each program, and what all of them take together."""

import dataclasses

import jax
from absl import flags
from rich.table import Table

from jaxgen import FieldError, training
from sweeps.batch import roofline
from sweeps.cli import command
from sweeps.execution import widths
from sweeps.execution.launch import left_alone
from sweeps.execution.plan import Group, Plan, told_apart
from sweeps.execution.prediction import Cost, Prediction
from sweeps.execution.progress import clock
from sweeps.storage import store
from sweeps.storage.workdir import Where

flags.disclaim_key_flags()  # they are of the program that defines them

ROWS = 12  # programs that are shown one by one
BUSY = 0.9  # share of the machine below which the others are told of


@dataclasses.dataclass(frozen=True)
class Target:
    """An accelerator to foretell for, by its name, and what an hour of one of its chips costs."""

    name: str
    price: float | None = None

    def __post_init__(self):
        roofline.named(self.name)
        if self.price is not None and not 0 <= self.price < 1e6:
            raise FieldError("price_per_hour", self.price, "must be a number of at least 0")


def target(name: str | None, price: float | None) -> Target | None:
    """What `--for` and `--price_per_hour` ask for.

    Raises:
      FieldError: there is no such accelerator, or the price is of none.
    """
    if name is None and price is not None:
        raise FieldError("price_per_hour", price, "is of an accelerator's chip: name it with --for")
    return None if name is None else Target(name, price)


class Flags:
    """The flags of a program that foretells, when this is made: what to tell, and what is not to be started."""

    def __init__(self):
        self._dry_run = flags.DEFINE_bool(
            "dry_run", False, "Print the programs, and the time and memory they take; train nothing."
        )
        self._for = flags.DEFINE_string(
            "for", None, "With --dry_run: what it would take on one of v5e-8, h100, h200-8, … too, by peak rates."
        )
        self._price = flags.DEFINE_float(
            "price_per_hour", None, "With --for: what an hour of one chip costs you.", lower_bound=0
        )
        stop = "Stop, resumably, after this long."
        hours = "Refuse, before anything starts, what may take longer by the dry run's time"
        hours += " (--stop_after_hours trains a part)."
        memory = "Refuse, before anything starts, what takes more GiB on a device."
        said = {"stop_after_hours": stop, "max_hours": hours, "max_memory": memory}
        self._limits = [flags.DEFINE_float(name, None, text, lower_bound=0) for name, text in said.items()]

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be trained."""
        return self._dry_run.value

    @property
    def limits(self) -> dict[str, float | None]:
        """Those that `sweeps.Options` has, by name."""
        return {flag.name: flag.value for flag in self._limits}

    @property
    def target(self) -> Target | None:
        """See the function of this name; refused where something is to be trained."""
        name, price = self._for.value, self._price.value
        if name is not None and not self.dry_run:
            raise FieldError("for", name, "goes with --dry_run only: a launch trains on this machine")
        return target(name, price)


def show_plan(plan: Plan, prediction: Prediction, workdir: Where, asked: Target | None = None) -> None:
    """Prints a plan as a table with its cost, and which stored files a launch would set aside."""
    groups = [g for g in plan.groups if g.pending]
    if groups:
        command.print_table(_table(groups, prediction))
    decaying = dict.fromkeys(found for group in groups if (found := training.decaying(group.template)))
    if len(decaying) == 1:
        ((some, all_),) = decaying
        print(f"weight decay, where it is above 0, acts on {some:,} of {all_:,} parameters")
    device = jax.local_devices()[0]
    for called in dict.fromkeys(group.lapack for group in groups if widths.alone(group.lapack, device)):
        print(f"one lane where {called} calls LAPACK, which lanes at once may wait for: {widths.IN_TURN}")
    for file in store.damaged(workdir):
        print(f"{file} cannot be read: a launch sets it aside, its runs start anew")
    if strangers := store.strangers(workdir):
        print(left_alone(strangers))
    runs, steps, programs = prediction.first
    if runs:
        print(f"first: {runs} runs of {programs} programs that others start from, {steps:,} lane-steps at most")
    for line in _totals(plan, prediction):
        print(line)
    if asked is not None:
        for line in on_accelerator(plan, prediction, asked):
            print(line)


def _table(groups: list[Group], prediction: Prediction) -> Table:
    table = Table("program")
    for name in ("runs", "lanes", "rows (wasted)", "compile", "memory", "time", "of peak"):
        table.add_column(name, no_wrap=True)
    costs = prediction.costs[: len(groups)]
    names = told_apart([g.template for g in groups])
    order = sorted(range(len(groups)), key=lambda i: -(costs[i].training + costs[i].compiling))
    shown = sorted(order[:ROWS]) if len(groups) > ROWS + 1 else range(len(groups))
    for i in shown:
        table.add_row(names[i], *_cells([groups[i]], [costs[i]], prediction))
    if others := sorted(set(range(len(groups))) - set(shown)):
        left = [groups[i] for i in others]
        table.add_row(f"{len(left)} others, each less", *_cells(left, [costs[i] for i in others], prediction))
    return table


def _cells(groups: list[Group], costs: list[Cost], prediction: Prediction) -> list[str]:
    """Runs, lanes, rows, compiling, memory, time and share of the peak of some programs together."""
    seconds = sum(c.compiling + c.training for c in costs) / prediction.devices
    compiling = sum(c.compiling for c in costs) / prediction.devices
    training_seconds = sum(c.training for c in costs)
    share = sum(c.rate * c.training for c in costs) / max(training_seconds, 1e-9) / prediction.speed.rate
    rows = sorted({round(g.rows) for g in groups if g.steps})
    computed = sum(g.rows * g.steps for g in groups)
    wasted = sum(g.padding * g.rows * g.steps for g in groups) / computed if computed else 0.0
    return [
        _counts(sum(len(g.pending) for g in groups), sum(g.resumed for g in groups), sum(g.stored for g in groups)),
        _between([c.lanes for c in costs]),
        f"{_between(rows)} ({wasted:.0%})" if rows else "none",
        seconds_of(compiling),
        mebibytes(max(c.bytes for c in costs)),
        seconds_of(seconds),
        f"{share:.0%}",
    ]


def _counts(pending: int, resumed: int, stored: int) -> str:
    """Runs by what happens to them: "30 new, 6 resumed, 10 stored"."""
    counts = {"new": pending - resumed, "resumed": resumed, "stored": stored}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _between(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} – {high:,}"


def _totals(plan: Plan, prediction: Prediction) -> list[str]:
    """The lines below the table."""
    stored = len(plan.run_ids) - plan.pending
    device = f"{prediction.devices} × {jax.local_devices()[0].device_kind}"
    lines = [f"{len(plan.run_ids)} runs, {stored} stored, {plan.pending} to train: {plan.steps:,} lane-steps at most"]
    if not prediction.costs:
        return [*lines, "nothing is left to train"]
    if prediction.tried:
        expected = sum(cost.steps for cost in prediction.costs)
        lines[0] += f", about {expected:,} as runs end early (so {prediction.tried} of them did that were tried)"
    spent = ", ".join(f"{name} {seconds_of(value)}" for name, value in prediction.parts.items())
    lines.append(f"time on {device}: {between(prediction.low, prediction.high)} ({spent})")
    if (compiled := sum(cost.is_measured for cost in prediction.costs)) == len(prediction.costs):
        lines.append(
            "  all programs were measured, and lie compiled on disk: that compiling is tracing and loading them"
        )
    if prediction.speed.free < BUSY:
        slow = between(prediction.low / prediction.speed.free, prediction.high / prediction.speed.free)
        share = f"other processes have {1 - prediction.speed.free:.0%} of this machine now"
        lines.append(f"  that is alone: {share}, and as long as they do it takes {slow}")
    if compiled < len(prediction.costs):
        lines.append(
            f"  {compiled} of {len(prediction.costs)} programs were measured, the others follow from their sizes"
        )
    share = f"{prediction.share:.0%} of the {prediction.speed.rate / 1e9:.0f} GFLOP/s that one of these multiplies with"
    lines.append(f"memory: {mebibytes(prediction.bytes)} per device; training reaches {share}; nothing was trained")
    return lines


def on_accelerator(plan: Plan, prediction: Prediction, asked: Target) -> list[str]:
    """Lines on what the plan would take on an accelerator that is not here (`sweeps.batch.roofline`)."""
    chip, count = roofline.named(asked.name)
    groups = [g for g in plan.groups if g.pending]
    steps = {i: cost.steps for i, (_, cost) in enumerate(zip(groups, prediction.costs))}
    found = roofline.bounds(plan, chip, count, steps)
    lanes = [widths.by_memory(g.template, chip.kind) for g in groups]
    size = max((widths.lane_bytes(g.template) * n for g, n in zip(groups, lanes)), default=0.0)
    low, high = (f"{hours:.2g}" for hours in (found.low, found.high))
    lines = [
        f"on {asked.name} ({count} {'chip' if count == 1 else 'chips'}): {low} to {high} chip-hours, "
        f"{between(*(3600 * hours for hours in found.hours))} if all are kept busy",
        "  bounds by FLOPs, bytes and published peak rates, nothing measured: from all products at their peak to every",
        "  operation going through the chip's memory; compiling, kernels' starts, idle lanes and the host are left out",
    ]
    if lanes:
        block = f"blocks of {_between(lanes)} lanes, two at a time of at most {size / 1e9:.2g} GB each"
        lines.append(f"  {block}, of {chip.memory / 1e9:.0f} GB{': they do not fit' if 2 * size > chip.memory else ''}")
    if asked.price is None:
        lines.append("  what it costs: --price_per_hour of one chip (no list price is kept here)")
    else:
        low, high = (f"{hours * asked.price:,.2f}" for hours in (found.low, found.high))
        lines.append(f"  at {asked.price:g} an hour and chip: {low} to {high}, and more for what is left out")
    return lines


def between(low: float, high: float) -> str:
    """A range of seconds in words."""
    return f"{seconds_of(low)} to {seconds_of(high)}"


def seconds_of(seconds: float) -> str:
    """Seconds as `clock` says them, below ten with a digit more.

    >>> seconds_of(0.24), seconds_of(8.26), seconds_of(192)
    ('0.2 s', '8.3 s', '3 min 12 s')
    """
    return f"{seconds:.1f} s" if seconds < 9.95 else clock(seconds)


def mebibytes(size: float) -> str:
    """Bytes as MiB."""
    return f"{size / 2**20:,.1f} MiB"
