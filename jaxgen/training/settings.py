"""How long and how a run is trained and watched."""

import flax.struct

from jaxgen.components import leaf, part, static
from jaxgen.errors import FieldError


@flax.struct.dataclass
class Training:
    """How long and how a run is trained and watched.

    Attributes:
      steps: the budget; a multiple of `evaluate_every`. A run of 0 steps is evaluated as it begins: "exact".
      stop_threshold, stop_patience: a run ends early once `stop_metric` of all `stop_splits` has been at the threshold
        for `stop_patience` steps; patience 0 never stops.
      logit_scale: α, multiplies the outputs in the training loss (not in evaluations).
      evaluate_every: steps between two evaluations (there is one at step 0 too).
      evaluate_early: whether there are evaluations at steps 1, 2, 4, 8, … before the first `evaluate_every` too.
      evaluation_rows: rows whose outputs are in memory at a time in evaluations; None is all. Probes that look at all
        outputs together need them all.
      batch_size: rows per step, without replacement from a fresh shuffle each epoch (a last, smaller batch is left
        out); None is full batch.
      dtype: of parameters and optimizer state, "float32" or "float64".
      matmul_precision: "default", "high" or "highest".
      stop_metric, stop_below: what the stop rule watches, a metric of the task or "loss", or None; and whether low
        values reach the threshold.
      stop_splits: the splits that the stop rule watches.
      stop_frozen: whether a run ends as "frozen" once it is proved that no later step changes a bit of its parameters
        (see `jaxgen.optimizers.Optimizer.at_rest`); costs one step more per evaluation. Full batch only.
      probes: what is measured at each evaluation (`jaxgen.probes`), components or their names in lower case.
    """

    steps: int = leaf(3000, "[0, 2147483647]", "budget")
    stop_threshold: float = leaf(0.99, "(-inf, inf)", "value of the metric at which a run may end early")
    stop_patience: int = leaf(0, "[0, 2147483647]", "steps it must have stayed there; 0: never end early")
    logit_scale: float = leaf(1.0, "(0, inf)", "multiplies the outputs in the training loss")
    evaluate_every: int = static(50, "[1, 2147483647]", "steps between evaluations")
    evaluate_early: bool = static(False, doc="evaluations at steps 1, 2, 4, … before the first interval")
    evaluation_rows: int | None = static(None, "[1, 2147483647]", "rows in memory at a time in evaluations; None: all")
    batch_size: int | None = static(None, "[1, 2147483647]", "rows per step; None: all")
    dtype: str = static("float32", ("float32", "float64"), "of parameters and optimizer state")
    matmul_precision: str = static("highest", ("default", "high", "highest"), "of matrix products")
    stop_metric: str | None = static("accuracy", doc="metric that the stop rule watches; None: no rule")
    stop_below: bool = static(False, doc="whether the stop rule waits for values at or below its threshold")
    stop_splits: tuple = static(("train", "test"), doc="splits that the stop rule watches")
    stop_frozen: bool = static(False, doc="whether runs that can never change again end")
    probes: tuple = part("probe", ("loss", "metrics", "weight_norm"), doc="what is measured")

    def check(self):
        if self.steps % self.evaluate_every:
            raise FieldError("steps", self.steps, f"must be a multiple of evaluate_every = {self.evaluate_every}")
        if self.evaluate_early and not self.steps:
            raise FieldError("evaluate_early", True, "needs steps: a run of 0 steps is evaluated once")
        if self.stop_metric == "accuracy" and not 0 < self.stop_threshold <= 1:
            raise FieldError("stop_threshold", self.stop_threshold, "must be in (0, 1], for it is an accuracy")
        if self.stop_frozen and self.batch_size is not None:
            raise FieldError("stop_frozen", True, "needs full batches (batch_size = None): others differ at every step")
        if not self.stop_splits:
            raise FieldError("stop_splits", self.stop_splits, "must name at least one split")
        if not isinstance(self.probes, tuple):
            raise FieldError("probes", type(self.probes).__name__, "must be a tuple of probes")
        names = [type(probe).__name__ for probe in self.probes]
        if "Loss" not in names:
            raise FieldError("probes", ", ".join(names), "must have 'loss': whether a run diverges is told by it")
