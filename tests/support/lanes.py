"""Training in a block, and comparing bits, for the tests of kernel and engine."""

import jax
import numpy as np

import jaxgen as jg
from jaxgen import training
from jaxgen.kernel import Block, Program
from jaxgen.starts import parent


def train_in_block(program: Program, lanes: dict[int, jg.Experiment], device=None):
    """Results by lane index of runs put into those lanes of one block."""
    block = Block(program, device or jax.devices()[0])
    for index, run in lanes.items():
        block.assign(index, str(index), run, given(run))
    done = []
    while len(done) < len(lanes):
        block.launch(2)
        done += block.harvest()
    return {int(r.run_id): r for r in done}


def given(run: jg.Experiment):
    """What a run starts with, of a parent that is trained plainly."""
    first = parent(run)
    if first is None:
        return None
    return run.start.given(training.start_shapes(run), training.named(first, training.trained(first)[1]))


def same_bits(a, b) -> bool:
    curves = a.curves.keys() == b.curves.keys() and all(
        np.array_equal(a.curves[k], b.curves[k], equal_nan=True) for k in a.curves
    )
    return curves and (a.status, a.steps, a.checksum) == (b.status, b.steps, b.checksum)
