"""How far weights are single waves over the tokens: the inverse participation ratio of their spectra."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import static
from jaxgen.errors import FieldError
from jaxgen.probes.evaluation import Evaluation


@flax.struct.dataclass
class ParticipationRatio:
    """Inverse participation ratio of each hidden unit over the characters of a group (Doshi et al. 2310.13061).

    Of a vector x over the tokens: IPR = Σ_k P_k² / (Σ_k P_k)², where P_k = Σ |x̂|² over the frequencies ±k of its
    discrete Fourier transform x̂: 1 for a single wave of any phase, 1/(number of frequencies) for a flat spectrum, 0
    for x = 0. "ipr", (units,), is the mean of those of a unit's incoming weights at each position of the tokens and of
    its outgoing ones to each class; "ipr/mean" is the mean over units. Runs that start from this one are given "ipr".

    Attributes:
      group: of which tokens and classes are elements: "addition" modulo p, or "multiplication" modulo a prime p: the
        powers of a primitive root in their order, without 0.
      incoming: name of the tensor (positions · p, units).
      outgoing: name of the tensor (units, p).
    """

    group: str = static("addition", ("addition", "multiplication"), "of which tokens and classes are elements")
    incoming: str = static("Linear_0.kernel", doc="name of the tensor (positions · p, units)")
    outgoing: str = static("Linear_1.kernel", doc="name of the tensor (units, p)")

    def init(self, e: Evaluation) -> jax.Array:
        return self.of_units(e)

    def measure(self, e: Evaluation, memory: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        del memory
        found = self.of_units(e)
        return {"ipr": found, "ipr/mean": jnp.mean(found)}, found

    def keeps(self, memory: jax.Array) -> dict[str, jax.Array]:
        return {"ipr": memory}

    def of_units(self, e: Evaluation) -> jax.Array:
        """The ratio of each unit, (units,).

        Raises:
          FieldError: there is no such tensor, or it has another number of tokens or classes.
        """
        tensors, p = e.tensors(e.params), e.experiment.task.vocabulary
        for field in ("incoming", "outgoing"):
            if getattr(self, field) not in tensors:
                raise FieldError(f"probe.{field}", getattr(self, field), f"must be one of {', '.join(tensors)}")
        into, out = tensors[self.incoming], tensors[self.outgoing]
        if p is None or into.ndim != 2 or into.shape[0] % p or out.shape != (into.shape[1], p):
            shapes = f"{into.shape} and {out.shape}"
            raise FieldError("probe.incoming", shapes, f"must be (positions · p, units) and (units, p) with p = {p}")
        rows = jnp.concatenate([into.reshape(-1, p, into.shape[1]), out.T[None]])
        return jnp.mean(inverse_participation(rows[:, elements(p, self.group)], axis=1), axis=0)


def inverse_participation(x: jax.Array, axis: int = -1) -> jax.Array:
    """Σ_k P_k² / (Σ_k P_k)² of the spectrum P_k along an axis, see `ParticipationRatio`; 0 where x is."""
    x = jnp.moveaxis(x, axis, -1)
    largest = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    x = x / jnp.where(largest > 0, largest, 1)  # so that no fourth power underflows
    turns = np.outer(np.arange(x.shape[-1] // 2 + 1), np.arange(x.shape[-1])) % x.shape[-1]
    angles = 2 * np.pi * turns / x.shape[-1]
    cosines, sines = (x @ jnp.asarray(wave(angles).T, x.dtype) for wave in (np.cos, np.sin))  # alike in every lane
    twice = np.where((2 * np.arange(len(turns))) % x.shape[-1] == 0, 1, 2)  # of k and -k, where these are two
    power = jnp.square(cosines) + jnp.square(sines)
    power = power * jnp.broadcast_to(jnp.asarray(twice, x.dtype), power.shape)
    total = jnp.sum(power, axis=-1)
    return jnp.sum(jnp.square(power), axis=-1) / jnp.where(total > 0, jnp.square(total), 1)


def elements(p: int, group: str) -> np.ndarray:
    """The tokens in the order of the group: 0, 1, …, p - 1, or g⁰, g¹, …, g^(p-2) mod p of the least primitive root g.

    Raises:
      FieldError: no number's powers are all of 1, …, p - 1: p is not prime.
    """
    if group == "addition":
        return np.arange(p)
    for root in range(1, p):
        powers = np.array([pow(root, k, p) for k in range(p - 1)])
        if len({*powers.tolist()} - {0}) == p - 1:
            return powers
    raise FieldError("task.p", p, "must be prime, or it has no group of multiplication over all but 0")
