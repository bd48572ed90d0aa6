"""Starts from the weights of another run, which is an experiment too.

It is trained first, once for all that start from it, and is part of their identity.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import flax.struct
import jax
import numpy as np
import optax

from jaxgen import kinds
from jaxgen.components import leaf, part, static
from jaxgen.components.names import RUN
from jaxgen.errors import FieldError
from jaxgen.kinds import Given, Tree
from jaxgen.paths import in_group, name_of
from jaxgen.signatures import takes
from jaxgen.starts.fit import Fit
from jaxgen.starts.transforms import Rewind, Transplant, masked

if TYPE_CHECKING:
    from jaxgen.experiment import Experiment


class Continued:
    """What starts from the weights of another run have in common: what is done with them."""

    transforms: tuple

    def check(self):
        if not isinstance(self.transforms, tuple):
            raise FieldError("transforms", type(self.transforms).__name__, "must be a tuple of transforms")

    def given(self, shapes: Given, stored: Mapping[str, np.ndarray]) -> Given:
        """A tree of the given shapes with the arrays of the parent's end, "params", "kept", "opt_state", "held".

        Raises:
          FieldError: the parent has no tensor of that name, or one of another shape or dtype.
        """
        patterns = [p for t in self.transforms if isinstance(t, Transplant) for p in t.parameters]
        names = [name.partition(".")[2] for name in stored if name.startswith("params.")]
        anew = bool(self.transforms) and isinstance(self.transforms[0], Rewind)
        if patterns and not any(in_group(name, patterns) for name in names):
            raise FieldError("start.transforms", patterns, f"match none of the parent's {', '.join(names)}")

        def fill(path, shape):
            name = name_of(path)
            inner = name.split(".", 2 if name.startswith("kept.") else 1)[-1]  # without the collection
            if not name.startswith("held.") and (anew or (patterns and not in_group(inner, patterns))):
                return np.zeros(shape.shape, shape.dtype)
            found = stored.get(name)
            if found is None or (found.shape, found.dtype) != (shape.shape, shape.dtype):
                has = "nothing" if found is None else f"{found.dtype} {found.shape}"
                raise FieldError(
                    "start.parent", name, f"the parent has {has} where {shape.dtype} {shape.shape} is needed"
                )
            return found

        return jax.tree_util.tree_map_with_path(fill, shapes)

    def weights(self, drawn: optax.Params, given: Given | None, fit: Fit) -> tuple[optax.Params, optax.Params | None]:
        """See `transformed`."""
        if not given:
            why = "probes cannot have the initial parameters: what another run ended with is not kept"
            raise FieldError("training.probes", type(self).__name__, why)
        return self.transformed(drawn, given["params"], {"held": given["held"], "fit": fit})

    def beside(self, drawn: Mapping[str, Tree], kept: Mapping[str, Tree]) -> Mapping[str, Tree]:
        """What the network keeps beside its parameters, by collection: of the parent, but where weights are not."""
        for transform in self.transforms:
            if isinstance(transform, (Rewind, Transplant)):
                kept = {name: transform.apply(drawn[name], kept[name], None)[0] for name in kept}
        return kept

    def transformed(
        self, drawn: optax.Params, params: optax.Params, known: Mapping[str, object]
    ) -> tuple[optax.Params, optax.Params | None]:
        """The weights to start with, and which stay (None: all), from those that the seed draws and the parent's.

        `known` is what a transform is told whose `apply` takes it by name: "held", what the parent's probes keep, and
        "fit", the run's train rows.
        """
        mask = None
        for transform in self.transforms:
            told = {name: value for name, value in known.items() if takes(type(transform).apply, name)}
            params, mask = transform.apply(drawn, params, mask, **told)
        return (params, None) if mask is None else (masked(params, mask), mask)


@flax.struct.dataclass
class FromRun(Continued):
    """Starts with the weights with which `parent` ended, after `transforms` in their order.

    An earlier moment of a run is a parent that ends there: with fewer steps, or with a stop rule ("once test accuracy
    has been .9"). Steps are counted from 0 again. With `keep_optimizer` a run that differs from its parent in nothing
    that a step depends on goes on as if it had never stopped: not with minibatches, dropout or a stream, which are of
    the step.

    Attributes:
      parent: the experiment that is trained first.
      transforms: what is done to the weights (`Prune`, `SNIP`, `Rewind`, `Transplant`, …).
      keep_optimizer: whether the optimizer's state is the parent's too; it starts anew otherwise.
      same_seed: whether the parent has this run's `seed` and `split_seed`; its own otherwise.
    """

    parent: Any = part(RUN, doc="the experiment that is trained first")
    transforms: tuple = part("transform", (), doc="what is done to the weights")
    keep_optimizer: bool = static(False, doc="whether the optimizer's state is the parent's")
    same_seed: bool = static(True, doc="whether the parent has this run's seeds")

    def check(self):
        super().check()
        if self.keep_optimizer and self.transforms:
            raise FieldError("keep_optimizer", True, "belongs to other weights than transforms leave: drop one of both")

    def run(self, experiment: "Experiment") -> "Experiment":
        """The run that an experiment with this start starts from."""
        seeds = {"seed": experiment.seed, "split_seed": experiment.split_seed}
        return self.parent.override(seeds) if self.same_seed else self.parent


@flax.struct.dataclass
class AfterTraining(Continued):
    """Starts with the weights with which this very run ends from its seed after `steps` steps, after `transforms`.

    It is `FromRun` whose parent is this run without a start, whatever else the run is: for what is done to a network
    after training, in a run of `training.steps=0`, where its effect is measured, or of more, where it is trained again.

    Attributes:
      steps: of the first training.
      transforms: what is done to the weights (`Prune`, `PruneUnits`, `Rewind`).
    """

    steps: int = leaf(3000, "[1, 2147483647]", "of the first training")
    transforms: tuple = part("transform", (), doc="what is done to the weights")

    @property
    def keep_optimizer(self) -> bool:
        """Never: the optimizer's state starts anew."""
        return False

    def run(self, experiment: "Experiment") -> "Experiment":
        """The run that an experiment with this start starts from."""
        try:
            return experiment.override({"start": None, "training.steps": self.steps})
        except FieldError as error:
            if error.field == "training.steps":
                raise FieldError("start.steps", self.steps, error.allowed) from error
            raise


def is_continuing(start: object) -> TypeGuard[kinds.Continuing]:
    """Whether a start is from another run."""
    return hasattr(start, "run")


def has_parent(experiment: "Experiment") -> bool:
    """Whether an experiment starts from another run."""
    return is_continuing(experiment.start)


def parent(experiment: "Experiment") -> "Experiment | None":
    """The run that an experiment starts from; None where there is none."""
    return experiment.start.run(experiment) if is_continuing(experiment.start) else None


def given(experiment: "Experiment", shapes: Given, stored: Mapping[str, np.ndarray]) -> Given:
    """What an experiment starts with, in these shapes, of what the run it starts from has stored; nothing where none.

    Raises:
      FieldError: it has no tensor of that name, or one of another shape or dtype.
    """
    return experiment.start.given(shapes, stored) if is_continuing(experiment.start) else {}
