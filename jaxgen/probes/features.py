"""What the units of a first layer have learned of a finite group (Tian 2025, arXiv 2509.21519)."""

import flax.struct
import jax
import jax.numpy as jnp

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.finite_groups import energy, greatest_energies, isotypic_projections
from jaxgen.probes.evaluation import Evaluation

ALIVE = 1e-2


@flax.struct.dataclass
class Features:
    """Which representations of the group the units of the first layer are features of.

    A unit has weights w = (u, v) on the M one-hot values of each of two tokens. Its power ‖u‖² + ‖v‖² falls into
    shares, one for each real isotypic part of functions on the group (`jaxgen.finite_groups.isotypic_projections`:
    frequencies, where the group is cyclic). Units with less than a hundredth of the largest power are left out.

    "features/units": (parts,) how many units have at least `purity` of their power in each part; "features/covered":
    share of the parts, but for the constant one, that have such a unit; "features/purity": mean over units of the
    largest share; "features/energy": mean over units of E(w/‖w‖) over its largest value in the part of the largest
    share (`jaxgen.finite_groups.greatest_energies`), 1 where all units are at local maxima of it.

    Attributes:
      purity: share of a unit's power in one part from which on it is a feature of it.
      parameter: name of the first layer's weights, (2 M, units).
    """

    purity: float = leaf(0.8, "(0, 1]", "share of a unit's power that makes it a feature")
    parameter: str = static("Linear_0.kernel", doc="name of the first layer's weights")

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        group = getattr(e.experiment.task, "group", None)
        if group is None:
            raise FieldError("training.probes", "Features", "needs a task of a group: GroupProduct or ModularAddition")
        weights = e.tensors(e.params).get(self.parameter)
        parts = isotypic_projections(group)
        if weights is None or weights.ndim != 2 or len(weights) != 2 * parts.shape[1]:
            why = f"must name weights of {2 * parts.shape[1]} rows"
            raise FieldError("training.probes.parameter", self.parameter, why)
        largest = jnp.asarray(greatest_energies(group), weights.dtype)
        halves = weights.reshape(2, parts.shape[1], -1)
        powers = jnp.sum(
            jnp.square(jnp.einsum("rgh,shk->srgk", jnp.asarray(parts, weights.dtype), halves)), axis=(0, 2)
        )
        power = jnp.sum(powers, axis=0)
        alive = power >= ALIVE * jnp.max(power)
        unit = weights / jnp.sqrt(jnp.where(power > 0, power, 1))[None]
        shares = powers / jnp.where(power > 0, power, 1)[None]
        units = jnp.sum((shares >= self.purity) & alive[None], axis=1)
        at = jax.lax.argmax(shares, 0, jnp.int32)
        highest = largest[at]
        ratio = jnp.where(highest > 0, energy(unit, group) / jnp.where(highest > 0, highest, 1), 0)
        mean = lambda values: jnp.sum(jnp.where(alive, values, 0)) / jnp.sum(alive, dtype=values.dtype)  # noqa: E731
        return {
            "features/units": units,
            "features/covered": jnp.mean(units[1:] > 0, dtype=weights.dtype),
            "features/purity": mean(jnp.max(shares, axis=0)),
            "features/energy": mean(ratio),
        }
