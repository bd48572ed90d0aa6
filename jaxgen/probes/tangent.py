"""The tangent kernel of a network, and exact errors of networks that are quadratic (arXiv 2310.06110)."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.errors import FieldError
from jaxgen.probes.evaluation import Evaluation


@flax.struct.dataclass
class TangentKernel:
    """The tangent kernel K(x, x') = Σ_c ∂f_c(x)/∂θ · ∂f_c(x')/∂θ on the train rows.

    "kernel/change": ‖K - K₀‖ / ‖K₀‖ with K₀ of the parameters that the run began with; "kernel/alignment": centred
    alignment with the labels (Cortes et al. 2012), ⟨HKH, YYᵀ⟩ / (‖HKH‖ ‖HYYᵀH‖), H = 1 - 11ᵀ/n, Y the labels, one-hot
    of classes. Norms are Frobenius'. For networks that treat rows one by one.
    """

    def init(self, e: Evaluation) -> dict[str, jax.Array]:
        return {"kernel": _tangent_kernel(e)}

    def measure(self, e: Evaluation, memory: dict) -> tuple[dict[str, jax.Array], dict]:
        first, kernel, train = memory["kernel"], _tangent_kernel(e), e.splits["train"].astype(e.outputs.dtype)
        labels = e.labels
        if jnp.issubdtype(labels.dtype, jnp.integer):
            labels = jax.nn.one_hot(labels, e.outputs.shape[-1], dtype=kernel.dtype)
        labels = labels.reshape(len(labels), -1).astype(kernel.dtype)
        centre = jnp.diag(train) - jnp.outer(train, train) / jnp.sum(train)
        inner, outer = centre @ kernel @ centre, centre @ labels @ labels.T @ centre
        norms = jnp.linalg.norm(inner) * jnp.linalg.norm(outer)
        found = {
            "kernel/change": jnp.linalg.norm(kernel - first) / jnp.linalg.norm(first),
            "kernel/alignment": jnp.sum(inner * outer) / jnp.where(norms > 0, norms, 1),
        }
        return found, memory


@flax.struct.dataclass
class PopulationError:
    """Squared error and R² over all inputs x ~ N(0, I/D), exact where network and target are quadratic in x.

    Of g = f - y, with gradient b and Hessian A at x = 0, E g² = (g(0) + Tr A / 2D)² + |b|²/D + ‖A‖²/2D²; the variance
    of y is |b|²/D + ‖A‖²/2D² with its own. Of others it is of their second order. "population/error",
    "population/r2" = 1 - error / variance. For tasks with a `target` and networks of one output.
    """

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        target = getattr(e.experiment.task, "target", None)
        if target is None:
            raise FieldError("training.probes", "PopulationError", "needs a task with a target: GaussianQuadratic")
        size = e.inputs.shape[-1]

        def moments(function):
            zero = jnp.zeros(size, e.inputs.dtype)
            slope, bend = jax.grad(function)(zero), jax.hessian(function)(zero)
            mean = function(zero) + jnp.trace(bend) / (2 * size)
            return mean, jnp.sum(jnp.square(slope)) / size + jnp.sum(jnp.square(bend)) / (2 * size**2)

        mean, variance = moments(lambda x: e.network(x[None])[0, 0] - target(x))
        error = jnp.square(mean) + variance
        return {"population/error": error, "population/r2": 1 - error / moments(target)[1]}


def _tangent_kernel(e: Evaluation) -> jax.Array:
    """K on all rows, 0 where one is not trained on: (rows, rows)."""

    def slopes(row):
        tree = jax.jacrev(lambda params: e.network(row[None], params)[0])(e.params)
        return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(tree)], axis=1)

    found = jax.vmap(slopes)(e.inputs)
    found = jnp.where(e.splits["train"][:, None, None], found, 0).reshape(len(found), -1)
    return found @ found.T
