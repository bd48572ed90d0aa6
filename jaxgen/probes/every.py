"""Probes with a cadence of their own."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import part, static
from jaxgen.errors import FieldError
from jaxgen.kinds import Tree
from jaxgen.probes.evaluation import Evaluation, measured_by, remembers


@flax.struct.dataclass
class Every:
    """`probe`, measured at the evaluations whose step is a multiple of `steps`; NaN at the others.

    For what costs more than training does. Where a block has one lane, as by rule on a CPU, the other evaluations do
    not compute it; where it has several, all compute it. A memory changes only where the probe is measured.
    Its "final/…" is NaN for runs that end between its steps, and times of what it measures are refused.

    Attributes:
      probe: what is measured; nothing that the end of a run is decided by.
      steps: a multiple of `training.evaluate_every`.
    """

    probe: Any = part("probe", doc="what is measured")
    steps: int = static(1000, "[1, 2147483647]", "steps between its measurements")

    def check(self):
        if isinstance(self.probe, (Every, tuple)):
            raise FieldError("probe", type(self.probe).__name__, "must be one probe, at every evaluation")

    def init(self, e: Evaluation) -> Tree:
        """The probe's own memory; an empty one where it has none."""
        return self.probe.init(e) if remembers(self.probe) else {}

    def keeps(self, memory: Tree) -> dict[str, jax.Array]:
        """What the probe keeps for runs that start from this one."""
        return self.probe.keeps(memory) if hasattr(self.probe, "keeps") else {}

    def measure(self, e: Evaluation, memory: Tree) -> tuple[dict[str, jax.Array], Tree]:
        t = e.experiment.training
        if self.steps % t.evaluate_every:
            raise FieldError("probe.steps", self.steps, f"must be a multiple of evaluate_every = {t.evaluate_every}")

        measured = lambda memory: measured_by(self.probe, e.again(), memory)  # noqa: E731
        shapes, _ = jax.eval_shape(measured, memory)
        decisive = {"train/loss", "weight_norm", *(f"{split}/{t.stop_metric}" for split in t.stop_splits)}
        if taken := decisive & shapes.keys():
            why = "decides when a run ends: it must be measured at every evaluation"
            raise FieldError("probe", type(self.probe).__name__, f"measures {sorted(taken)[0]!r}, which {why}")
        blank = jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), shapes)
        return jax.lax.cond(e.step % self.steps == 0, measured, lambda memory: (blank, memory), memory)
