"""Parameters that are solved for."""

import functools
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.kinds import Given
from jaxgen.lapack import one_by_one
from jaxgen.paths import by_name, in_group
from jaxgen.starts.fit import Fit


@flax.struct.dataclass
class Solve:
    """Ridge regression: the parameters θ in which the outputs are linear minimise Σ w (f(x; θ) - y)² + ridge ‖θ‖².

    The sum is over train rows and outputs, with their weights; y is the label, or one-hot of a class. Of several
    solutions (ridge = 0) the shortest. With a fixed first layer these are random features; the other parameters are
    what the seed draws. Computed from J = ∂f / ∂θ = U S Vᵀ as θ = V S (S² + ridge)⁻¹ Uᵀ (y - f(x; 0)). That is kernel
    ridge regression too, θ = Jᵀ (J Jᵀ + ridge)⁻¹ (y - f(x; 0)): with m parameters and n rows × outputs it takes
    O(m n min(m, n)) operations, whichever of the two is larger.

    As a transform it is the same with the others as they are so far: `AfterTraining(transforms=(Solve(…),))` solves
    for the last layer of a network that is trained. What is pruned would not stay so, and is refused before it.

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
        return self.apply(drawn, drawn, None, fit)

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None, fit: Fit
    ) -> tuple[optax.Params, None]:
        """See `Continued.transformed`.

        Raises:
          FieldError: weights have been removed before.
        """
        del drawn
        if mask is not None:
            raise FieldError("start.transforms", "Solve", "would bring back what was pruned: put it first")
        theta, whole = self.chosen(params)

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
        left, values, directions = one_by_one(functools.partial(jnp.linalg.svd, full_matrices=False))(matrix)
        counted = values > jnp.finfo(values.dtype).eps * max(matrix.shape) * values[0]  # others are rounding
        shrunk = jnp.where(counted, values, 0) / jnp.where(counted, jnp.square(values) + self.ridge, 1)
        return whole(directions.T @ (shrunk * (left.T @ right))), None

    def bend(self, params: optax.Params, fit: Fit) -> jax.Array:
        """How far outputs are from linear: ‖f(θ + η) - f(θ) - f(η) + f(0)‖ / ‖f(θ + η)‖, with θ, η ~ N(0, 1).

        NaN where all outputs are 0. Multiples of one θ would not do: ReLU networks without biases are linear in them.
        """
        drawn, whole = self.chosen(params)
        one, other = jax.random.normal(jax.random.key(0, impl="threefry2x32"), (2, *drawn.shape), drawn.dtype)
        none, first, second, both = (fit.outputs(whole(theta)) for theta in (0 * one, one, other, one + other))
        return jnp.linalg.norm(jnp.ravel(both - first - second + none)) / jnp.linalg.norm(jnp.ravel(both))

    def chosen(self, params: optax.Params) -> tuple[jax.Array, Callable[[jax.Array], optax.Params]]:
        """The parameters to solve for as one vector, and what makes all parameters of such a vector."""
        tensors, tree = by_name(params), jax.tree.structure(params)
        patterns = self.parameters or ("*",)
        for pattern in patterns:
            if not any(in_group(name, (pattern,)) for name in tensors):
                raise FieldError("start.parameters", pattern, f"matches none of {', '.join(tensors)}")
        chosen = {name: w for name, w in tensors.items() if in_group(name, patterns)}
        theta, unravel = ravel_pytree(chosen)

        def whole(theta):
            return jax.tree.unflatten(tree, (tensors | unravel(theta)).values())

        return theta, whole
