"""A part of a task's train rows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, part, static
from jaxgen.errors import FieldError
from jaxgen.tasks.around import Around, innermost
from jaxgen.tasks.split import exact_share
from jaxgen.tasks.task import Examples, Task, is_stream, table

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment

STREAM = 0x736574  # of the key that the task has, apart from what it may split off itself


@flax.struct.dataclass
class Subset(Around):
    """`task` with ⌊share · train rows⌋ of its train rows, at least one; the others are the split "left_out".

    Which rows are left is drawn, or those for which `by` is largest: an array with a number for each row of the task
    that the run which this one starts from keeps (`FromRun` with `Rewind`, whose weights begin anew; Paul et al. 2021,
    2107.07075). Of equal numbers any are taken, and NaN comes last. A larger share has the rows of a smaller one among
    its own.

    Attributes:
      task: what rows are taken from.
      share: of the train rows.
      by: name of the array; None: rows are drawn.
      largest: whether the rows with the largest numbers stay; those with the smallest otherwise.
    """

    task: Task = part("task", doc="the task whose rows are taken")
    share: float = leaf(0.5, "(0, 1]", "share of the train rows that stays")
    by: str | None = static(None, doc="array of the run that this one starts from; None: drawn")
    largest: bool = static(True, doc="whether the rows with the largest numbers stay")

    def check(self):
        if is_stream(self.task):
            raise FieldError("task", type(self.task).__name__, "draws fresh rows at each step: there are none to leave")

    def check_start(self, run: "Experiment", first: "Experiment") -> None:
        """FieldError where the numbers of another run, which this one starts from, are not of the same rows."""
        if run.drawn_from != first.drawn_from:
            why = f"has rows of split seed {first.drawn_from}, and numbers of these: not of {run.drawn_from}'s"
            raise FieldError("start.parent", first.run_id, why)
        mine, theirs = (type(innermost(task)) for task in (self, first.task))
        if mine is not theirs:
            raise FieldError("start.parent.task", theirs.__name__, f"must be {mine.__name__}, whose rows are chosen")

    def rows(self) -> dict[str, int]:
        train, *others = self.task.rows().items()
        kept = max(1, exact_share(train[1], self.share))
        return {"train": kept, "left_out": train[1] - kept, **dict(others)}

    def examples(self, key: jax.Array, counts: Mapping[str, jax.Array], given: Mapping[str, jax.Array]) -> Examples:
        whole = counts["train"] + counts["left_out"]
        found = table(self.task, key, counts={**counts, "train": whole}, given=given)
        rows = jnp.arange(len(found.labels), dtype=jnp.int32)
        drawn = jax.random.uniform(jax.random.fold_in(key, STREAM), rows.shape, jnp.float32)
        numbers = jnp.zeros_like(drawn) if self.by is None else self.numbers(given, len(rows))
        train = rows < whole
        tie = jnp.where(train, drawn, rows.astype(jnp.float32))
        first = jnp.where(train, -numbers if self.largest else numbers, 0)
        order = jnp.lexsort((tie, first, ~train))  # rows of other splits stay where they are, whatever the numbers are
        return jax.tree.map(lambda a: a[order], found)

    def numbers(self, given: Mapping[str, jax.Array], rows: int) -> jax.Array:
        """The array `by`, float32 (rows,).

        Raises:
          FieldError: the run starts with none of that name, or with one of another shape.
        """
        found = given.get(self.by or "")
        if found is None:
            names = ", ".join(given) or "none: `start` must be a run whose probes keep some"
            raise FieldError("task.by", self.by, f"is not among the arrays that the run starts with ({names})")
        if found.shape != (rows,):
            raise FieldError("task.by", self.by, f"is of shape {found.shape} where {(rows,)} is needed")
        return found.astype(jnp.float32)
