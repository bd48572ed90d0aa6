"""Where a run starts, other than from its seed: from the weights of another run, or from a solution.

The other run is an experiment too: it is trained first, once for all that start from it, and is part of their identity.
A start of your own has `weights`, as `Solve` has.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxgen import kinds
from jaxgen.components import leaf, part, static
from jaxgen.components.names import RUN
from jaxgen.errors import FieldError
from jaxgen.kinds import Given, Tree
from jaxgen.paths import by_name, in_group, name_of
from jaxgen.signatures import takes

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

    def weights(self, drawn: optax.Params, given: Given | None, fit: "Fit") -> tuple[optax.Params, optax.Params | None]:
        """See `transformed`."""
        del fit
        if not given:
            why = "probes cannot have the initial parameters: what another run ended with is not kept"
            raise FieldError("training.probes", type(self).__name__, why)
        return self.transformed(drawn, given["params"], given["held"])

    def beside(self, drawn: Mapping[str, Tree], kept: Mapping[str, Tree]) -> Mapping[str, Tree]:
        """What the network keeps beside its parameters, by collection: of the parent, but where weights are not."""
        for transform in self.transforms:
            if isinstance(transform, (Rewind, Transplant)):
                kept = {name: transform.apply(drawn[name], kept[name], None)[0] for name in kept}
        return kept

    def transformed(
        self, drawn: optax.Params, params: optax.Params, held: Mapping[str, jax.Array]
    ) -> tuple[optax.Params, optax.Params | None]:
        """The weights to start with, and which stay (None: all), from those that the seed draws and the parent's.

        A transform whose `apply` takes `held` is told what the parent's probes keep.
        """
        mask = None
        for transform in self.transforms:
            told = {"held": held} if takes(type(transform).apply, "held") else {}
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
      transforms: what is done to the weights (`Prune`, `PruneUnits`, `Rewind`, `Transplant`).
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
        return experiment.override({"start": None, "training.steps": self.steps})


@flax.struct.dataclass
class Prune:
    """Sets the ⌊rate · n⌉ smallest of the n weights in matrices to 0, by |w| over all of them; they stay 0 in training.

    Attributes:
      rate: share of the weights that are removed.
      by: "magnitude" or, as a control, "random": any of them, of fixed random numbers.
    """

    rate: float = leaf(0.5, "[0, 1)", "share of the weights in matrices that are removed")
    by: str = static("magnitude", ("magnitude", "random"), "which are removed")

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None
    ) -> tuple[optax.Params, optax.Params | None]:
        """See `FromRun.transformed`; weights that a mask has removed before are the first to go."""
        del drawn
        leaves, tree = jax.tree.flatten(params)
        before = [jnp.ones_like(w, bool) for w in leaves] if mask is None else jax.tree.leaves(mask)
        scores, keys = [], jax.random.split(jax.random.key(0, impl="threefry2x32"), len(leaves))
        for key, w, there in zip(keys, leaves, before):
            score = jnp.abs(w) if self.by == "magnitude" else jax.random.uniform(key, w.shape, w.dtype)
            scores.append(jnp.where(there, score, -1.0))
        flat = jnp.concatenate([jnp.ravel(s) for s in scores if s.ndim > 1])
        rank = jnp.zeros(flat.shape, jnp.int32).at[jnp.argsort(flat)].set(jnp.arange(flat.size, dtype=jnp.int32))
        stays, at, found = rank >= jnp.round(self.rate * flat.size).astype(jnp.int32), 0, []
        for w in leaves:
            found.append(stays[at : at + w.size].reshape(w.shape) if w.ndim > 1 else jnp.ones_like(w, bool))
            at += w.size if w.ndim > 1 else 0
        return params, jax.tree.unflatten(tree, found)


@flax.struct.dataclass
class PruneUnits:
    """Removes the ⌊rate · n⌉ of n hidden units that have the smallest numbers: their weights are 0 and stay so.

    The numbers, (n,), are what a probe of the parent keeps, for instance the participation ratio of each unit.

    Attributes:
      rate: share of the units that are removed.
      by: name of the array; None: of fixed random numbers, as a control.
      largest: whether units with the largest numbers are removed, as another control.
      incoming: patterns of the names of tensors whose last axis counts the units.
      outgoing: patterns of those whose first axis does.
    """

    rate: float = leaf(0.5, "[0, 1]", "share of the units that are removed")
    by: str | None = static(None, doc="array of the parent; None: random")
    largest: bool = static(False, doc="whether those with the largest numbers are removed")
    incoming: tuple = static(("Linear_0",), doc="patterns of tensors whose last axis counts the units")
    outgoing: tuple = static(("Linear_1.kernel",), doc="patterns of tensors whose first axis counts the units")

    def check(self):
        for field in ("incoming", "outgoing"):
            if not all(isinstance(pattern, str) for pattern in getattr(self, field)):
                raise FieldError(field, getattr(self, field), "must be patterns of names")
        if not self.incoming + self.outgoing:
            raise FieldError("incoming", (), "must name at least one tensor, here or in outgoing")

    def apply(
        self,
        drawn: optax.Params,
        params: optax.Params,
        mask: optax.Params | None,
        held: Mapping[str, jax.Array],
    ) -> tuple[optax.Params, optax.Params | None]:
        """See `Continued.transformed`; what a mask has removed before stays removed.

        Raises:
          FieldError: no tensor is matched, they disagree on how many units there are, or nothing of that name is held.
        """
        del drawn
        sides = {-1: self.incoming, 0: self.outgoing}
        matched = [(w, axis) for axis in sides for name, w in by_name(params).items() if in_group(name, sides[axis])]
        sizes = {w.shape[axis] for w, axis in matched}
        if len(sizes) != 1 or len({id(w) for w, _ in matched}) < len(matched):
            why = "must each be of one side, and all of one number of units"
            raise FieldError("transforms.incoming", f"{self.incoming}, outgoing {self.outgoing}", why)
        rank = jnp.argsort(jnp.argsort(self.numbers(held, *sizes)))
        stays = rank >= jnp.round(self.rate * len(rank)).astype(rank.dtype)

        def kept(path, w, there):
            name = name_of(path)
            if in_group(name, self.outgoing):
                return there & jnp.expand_dims(stays, range(1, w.ndim))
            return there & jnp.expand_dims(stays, range(w.ndim - 1)) if in_group(name, self.incoming) else there

        before = jax.tree.map(lambda w: jnp.ones_like(w, bool), params) if mask is None else mask
        return params, jax.tree_util.tree_map_with_path(kept, params, before)

    def numbers(self, held: Mapping[str, jax.Array], count: int) -> jax.Array:
        """What is ranked, (units,): those with the smallest go."""
        if self.by is None:
            return jax.random.uniform(jax.random.key(0, impl="threefry2x32"), (count,))
        found = held.get(self.by)
        if found is None or found.shape != (count,):
            has = ", ".join(f"{name} {a.shape}" for name, a in held.items()) or "nothing"
            raise FieldError("transforms.by", self.by, f"must be {(count,)}, and the parent's probes keep {has}")
        return -found if self.largest else found


@flax.struct.dataclass
class Rewind:
    """The weights that the seed draws, with what was removed before still removed (Frankle & Carbin, 1803.03635).

    As the first transform it leaves nothing of the parent's weights, which may be of other shapes then: what the run
    starts with is what the parent's probes keep (`jaxgen.probes`).
    """

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None
    ) -> tuple[optax.Params, optax.Params | None]:
        """See `FromRun.transformed`."""
        del params
        return drawn, mask


@flax.struct.dataclass
class Transplant:
    """Only some of the parent's tensors; the others are what the seed draws, and may have other shapes in the parent.

    Attributes:
      parameters: patterns of their names, as in a network's `groups` ("embedding", "Linear_*.kernel").
    """

    parameters: tuple = static((), doc="patterns of the names of the parent's tensors")

    def check(self):
        if not self.parameters or not all(isinstance(pattern, str) for pattern in self.parameters):
            raise FieldError("parameters", self.parameters, "must be patterns of names, at least one")

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None
    ) -> tuple[optax.Params, optax.Params | None]:
        """See `FromRun.transformed`."""

        def choose(path, new, old):
            return old if in_group(name_of(path), self.parameters) else new

        return jax.tree_util.tree_map_with_path(choose, drawn, params), mask


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a start sees of a run's train rows.

    Attributes:
      outputs: from parameters to the network's outputs (rows, …, outputs).
      labels: (rows, …).
      train: which of the rows are trained on, bool (rows,).
      weights: of rows or labels, see `jaxgen.Examples`; None: all alike.
    """

    outputs: Callable[[optax.Params], jax.Array]
    labels: jax.Array
    train: jax.Array
    weights: jax.Array | None = None


@flax.struct.dataclass
class Solve:
    """Ridge regression: the parameters θ in which the outputs are linear minimise Σ w (f(x; θ) - y)² + ridge ‖θ‖².

    The sum is over train rows and outputs, with their weights; y is the label, or one-hot of a class. Of several
    solutions (ridge = 0) the shortest. With a fixed first layer these are random features; the other parameters are
    what the seed draws. Computed from J = ∂f / ∂θ = U S Vᵀ as θ = V S (S² + ridge)⁻¹ Uᵀ (y - f(x; 0)). That is kernel
    ridge regression too, θ = Jᵀ (J Jᵀ + ridge)⁻¹ (y - f(x; 0)): with m parameters and n rows × outputs it takes
    O(m n min(m, n)) operations, whichever of the two is larger.

    Attributes:
      ridge: of the squared length of the parameters.
      parameters: patterns of the names of the parameters that are solved for ("Linear_1"); all where there are none.
    """

    ridge: float = leaf(0.0, "[0, inf)", "of the squared length of the parameters")
    parameters: tuple = static((), doc="patterns of the names of the parameters")

    def check(self):
        if not all(isinstance(pattern, str) for pattern in self.parameters):
            raise FieldError("parameters", self.parameters, "must be patterns of names")

    def weights(self, drawn: optax.Params, given: Given | None, fit: Fit) -> tuple[optax.Params, None]:
        """The parameters that are solved for, and as they are drawn the others; nothing is masked."""
        del given
        theta, whole = self.chosen(drawn)

        def residual(theta):
            outputs = fit.outputs(whole(theta))
            if jnp.issubdtype(fit.labels.dtype, jnp.integer):
                target = jax.nn.one_hot(fit.labels, outputs.shape[-1], dtype=outputs.dtype)
            else:
                target = jnp.reshape(fit.labels, outputs.shape)
            along = lambda w: jnp.reshape(w, (*w.shape, *[1] * (outputs.ndim - w.ndim)))  # noqa: E731
            found = jnp.where(along(fit.train), outputs - target, 0)
            return jnp.ravel(found if fit.weights is None else found * jnp.sqrt(along(fit.weights)))

        zero = jnp.zeros_like(theta)
        matrix, right = jax.jacfwd(residual)(zero), -residual(zero)
        left, values, directions = jnp.linalg.svd(matrix, full_matrices=False)
        counted = values > jnp.finfo(values.dtype).eps * max(matrix.shape) * values[0]  # others are rounding
        shrunk = jnp.where(counted, values, 0) / jnp.where(counted, jnp.square(values) + self.ridge, 1)
        return whole(directions.T @ (shrunk * (left.T @ right))), None

    def bend(self, drawn: optax.Params, fit: Fit) -> jax.Array:
        """How far outputs are from linear in the parameters: ‖f(2θ) - 2 f(θ) + f(0)‖ / ‖f(2θ)‖ at those drawn."""
        theta, whole = self.chosen(drawn)
        none, once, twice = (fit.outputs(whole(factor * theta)) for factor in (0, 1, 2))
        return jnp.linalg.norm(jnp.ravel(twice - 2 * once + none)) / jnp.linalg.norm(jnp.ravel(twice))

    def chosen(self, drawn: optax.Params) -> tuple[jax.Array, Callable[[jax.Array], optax.Params]]:
        """The parameters to solve for as one vector, and what makes all parameters of such a vector."""
        tensors, tree = by_name(drawn), jax.tree.structure(drawn)
        chosen = {name: w for name, w in tensors.items() if in_group(name, self.parameters or ("*",))}
        if not chosen:
            raise FieldError("start.parameters", self.parameters, f"matches none of {', '.join(tensors)}")
        theta, unravel = ravel_pytree(chosen)

        def whole(theta):
            return jax.tree.unflatten(tree, (tensors | unravel(theta)).values())

        return theta, whole


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


def masked(params: optax.Params, mask: optax.Params) -> optax.Params:
    """The parameters that a mask keeps, and 0 elsewhere."""
    return jax.tree.map(lambda w, there: jnp.where(there, w, 0), params, mask)


__all__ = [
    "AfterTraining",
    "Fit",
    "FromRun",
    "Prune",
    "PruneUnits",
    "Rewind",
    "Solve",
    "Transplant",
    "has_parent",
    "is_continuing",
    "masked",
    "parent",
]
