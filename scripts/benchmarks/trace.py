"""Where the time of a step goes: microseconds of each operation of the compiled program."""

import collections
import glob
import re
import tempfile
from typing import Any

import jax

from jaxgen.kernel import Block, Program
from sweeps.execution.profile import set_up_jax

INTERVALS = 8
MOST = 25


def show(experiment: Any) -> None:
    """Prints the operations of one lane's step on one device that take the longest, evaluations included.

    Operations may overlap where the device has several threads, so that their sum can exceed the time of a step.
    """
    set_up_jax()
    device = jax.local_devices()[0]
    program = Program(experiment, 1)
    block = Block(program, device)
    block.assign(0, "traced", experiment)
    block.launch(INTERVALS)
    block.harvest()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            block.launch(INTERVALS)
            block.harvest()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        events = jax.profiler.ProfileData.from_file(path)
    steps = INTERVALS * experiment.training.evaluate_every
    spent: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for event in (e for plane in events.planes for line in plane.lines for e in line.events):
        if "hlo_op" in dict(event.stats):
            spent[event.name] += event.duration_ns
            calls[event.name] += 1
    text = program.compiled(device).as_text()
    bodies = dict(re.findall(r"^%?([\w.\-]+) \([^\n]*\{\n(.*?)^\}", text, re.M | re.S))
    print(f"{'µs/step':>9}{'calls/step':>12}  operation, its shape, what is fused in it")
    for name, nanoseconds in spent.most_common(MOST):
        found = re.search(rf"%?{re.escape(name)} = (\S+) [^\n]*?(?:calls=%?([\w.\-]+)|\n)", text)
        shape, body = found.groups() if found else ("", None)
        fused = re.findall(r"= \S+ ([\w\-]+)\(", bodies.get(body or "", ""))
        parts = " ".join(dict.fromkeys(op for op in fused if op not in ("parameter", "bitcast", "constant")))
        print(f"{nanoseconds / steps / 1e3:9.2f}{calls[name] / steps:12.2f}  {name} {shape.partition('{')[0]}  {parts}")
