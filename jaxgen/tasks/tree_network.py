"""Some variables at a time of a random world (Prystawski, Li & Goodman 2023, arXiv 2304.03843)."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import leaf, static
from jaxgen.errors import FieldError
from jaxgen.tasks.task import Examples
from jaxgen.tasks.texts import Texts

LARGEST_RADIUS = 16
CERTAIN = 1e-3  # probabilities are so far from 0 and 1, so that each value can be asked about


@flax.struct.dataclass
class World:
    """A Bayesian network of binary variables in which each has one parent: all pairs have a closed form.

    Attributes:
      parent: (variables,), of each variable, int32; of the first itself.
      given: (variables, 2), probability that a variable is 1 where its parent is 0 and 1; of the first both are alike.
      joint: (variables, variables, 2, 2), probability of two variables' values.
      distance: (variables, variables), edges between two of them, int32.
      seen_distance: the same in the network that says what is seen together.
      held_out: (pairs, 2), variables that are never seen together.
      adjacent: (pairs, 2), variables with an edge between them, of the most mutual information.
    """

    parent: jax.Array
    given: jax.Array
    joint: jax.Array
    distance: jax.Array
    seen_distance: jax.Array
    held_out: jax.Array
    adjacent: jax.Array

    def conditional(self, target: jax.Array, condition: jax.Array, value: jax.Array) -> jax.Array:
        """Probability that variables are 1 where others have these values; all (…,)."""
        both = self.joint[condition, target, value]
        return both[..., 1] / jnp.sum(both, axis=-1)

    def marginal(self, variable: jax.Array) -> jax.Array:
        """Probability that variables are 1."""
        return self.joint[variable, variable, 1, 1]


@flax.struct.dataclass
class TreeNetwork(Texts):
    """Texts on values that some variables of a world have: which go together is learned of neighbours only.

    The world is a tree of binary variables: each but the first has a parent, whose value decides with which probability
    it is 1; these are drawn from Beta(`concentration`, `concentration`), that of the first from U(0, 1). Of `worlds` so
    drawn the one with the largest mean mutual information of pairs is taken. The `pairs` pairs of the largest mutual
    information that are 2 to `apart` edges apart are held out: no row has both of one.

    A row names a target Xₖ, then says of the variables that are observed "Xᵢ = v", each one token, in random order and
    the target last; right-padded. Observed are those at most r edges from a random variable, P(r) = ½ʳ, each left out
    with probability `dropped`; or all of them. Of a held-out pair one is left out, and of more than `longest` near
    variables those that are too many, at random. The labels are the next tokens; padding has weight 0.

    Tokens: Xᵢ = v is 2 i + v, the target Xₖ is 2 variables + k, then the padding.

    Attributes:
      variables: of the world.
      shape: "chain": each variable's parent is the one before; "tree": any before it.
      observed: "near", "all", or "elsewhere": near in a world with other places for the same variables.
      concentration: of probabilities; below 1 they are near 0 and 1.
      worlds: how many are drawn.
      pairs: held out.
      apart: edges between the variables of a held-out pair, at most; what lies between them has room in a row.
      longest: most variables in a row, but where all are observed.
      dropped: probability that a variable is not seen.
      train_rows, test_rows: rows of these splits.
    """

    variables: int = static(16, "[4, 1000]", "of the world")
    shape: str = static("chain", ("chain", "tree"), "whose child each variable is")
    observed: str = static("near", ("near", "all", "elsewhere"), "which variables are seen together")
    concentration: float = leaf(0.2, "(0, inf)", "of the Beta distribution of probabilities")
    worlds: int = static(10, "[1, 1000]", "drawn, of which the most dependent is taken")
    pairs: int = static(8, "[1, 1000]", "of variables that are never seen together")
    apart: int = static(6, "[2, 1000]", "edges between the variables of a held-out pair, at most")
    longest: int = static(8, "[4, 1000]", "most variables in a row, but where all are observed")
    dropped: float = leaf(0.2, "[0, 1)", "probability that a variable is not seen")
    train_rows: int = static(16384, "[1, 10000000]", "rows trained on")
    test_rows: int = static(512, "[1, 1000000]", "rows tested on")

    def check(self):
        if self.pairs > self.variables - 2:
            why = f"must be at most {self.variables - 2}: so many pairs are two edges apart in every tree"
            raise FieldError("pairs", self.pairs, why)
        if self.apart > self.longest - 2:
            raise FieldError("apart", self.apart, f"must be at most longest - 2 = {self.longest - 2}")
        if self.longest > self.variables:
            raise FieldError("longest", self.longest, f"must be at most variables = {self.variables}")

    @property
    def vocabulary(self) -> int:
        return 3 * self.variables + 1

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.variables if self.observed == "all" else self.longest

    def rows(self):
        return {"train": self.train_rows, "test": self.test_rows}

    def examples(self, key):
        world = self.world(key)
        of, values, order = jax.random.split(jax.random.fold_in(key, 1), 3)
        count = self.train_rows + self.test_rows
        seen = self._seen(of, world, count)
        rank = jnp.argsort(jnp.where(seen, jax.random.uniform(order, seen.shape, jnp.float32), 2.0), axis=1)
        rank = rank[:, : self.length].astype(jnp.int32)
        known = jnp.sum(seen, axis=1, keepdims=True, dtype=jnp.int32)
        place = jnp.arange(self.length, dtype=jnp.int32)[None]
        there = place < known
        said = 2 * rank + jnp.take_along_axis(self._values(values, world, count), rank, axis=1)
        last = jnp.take_along_axis(rank, jnp.clip(known - 1, 0, self.length - 1), axis=1)
        said = jnp.where(there, said, self.vocabulary - 1)
        inputs = jnp.concatenate([2 * self.variables + last, said[:, :-1]], axis=1)
        return Examples(inputs, said, weights=there.astype(jnp.float32))

    def world(self, key: jax.Array) -> World:
        """The world of a run, by the key that its rows are drawn from."""
        structure, tables, places = jax.random.split(jax.random.fold_in(key, 0), 3)
        parent = self._parents(structure)
        distance = self._distances(parent)
        near = distance
        if self.observed == "elsewhere":
            to = jnp.argsort(jax.random.uniform(places, (self.variables,), jnp.float32))
            near = distance[to[:, None], to[None]]
        given = jax.vmap(self._tables)(jax.random.split(tables, self.worlds))
        joint = jax.vmap(self._joint, (0, None))(given, parent)
        information = jax.vmap(mutual_information)(joint)
        best = jnp.argmax(jnp.mean(information, axis=(1, 2)))
        given, joint, information = given[best], joint[best], information[best]
        once = np.triu(np.ones((self.variables, self.variables), bool), 1)
        apart = (distance >= 2) & (distance <= self.apart) & once
        held_out, adjacent = (self._most(information, among) for among in (apart, (distance == 1) & once))
        return World(parent, given, joint, distance, near, held_out, adjacent)

    def _most(self, information: jax.Array, among: jax.Array) -> jax.Array:
        """The `pairs` of the largest mutual information, (pairs, 2)."""
        _, at = jax.lax.top_k(jnp.where(among, information, -1.0).reshape(-1), self.pairs)
        return jnp.stack([at // self.variables, at % self.variables], axis=1).astype(jnp.int32)

    def _parents(self, key: jax.Array) -> jax.Array:
        """Of each variable, int32; that of the first is itself."""
        before = jnp.arange(self.variables, dtype=jnp.int32) - 1
        if self.shape == "tree":
            drawn = jax.random.uniform(key, (self.variables,), jnp.float32) * (before + 1).astype(jnp.float32)
            before = jnp.minimum(drawn.astype(jnp.int32), before)
        return jnp.maximum(before, 0)

    def _distances(self, parent: jax.Array) -> jax.Array:
        """Edges between two variables, int32."""

        def add(i, distance):
            new = jnp.where(np.arange(self.variables, dtype=np.int32) < i, distance[parent[i]] + 1, 0)
            return distance.at[i].set(new).at[:, i].set(new)

        return jax.lax.fori_loop(1, self.variables, add, jnp.zeros((self.variables, self.variables), jnp.int32))

    def _tables(self, key: jax.Array) -> jax.Array:
        """See `World.given`."""
        first, others = jax.random.split(key)
        shape = (self.variables, 2)
        drawn = jax.random.beta(others, self.concentration, self.concentration, shape, jnp.float32)
        drawn = drawn.at[0].set(jax.random.uniform(first, (), jnp.float32))
        return jnp.clip(drawn, CERTAIN, 1 - CERTAIN)

    def _joint(self, given: jax.Array, parent: jax.Array) -> jax.Array:
        """See `World.joint`: P(i, j) = Σ_k P(i, k) P(j | k), k the parent of j, for all i before j."""
        child = jnp.stack([1 - given, given], axis=-1)  # variable, parent's value, its own

        def add(j, joint):
            column = jnp.einsum("iab,bc->iac", joint[:, parent[j]], child[j])
            own = jnp.diag(jnp.sum(column[parent[j]], axis=0))
            return joint.at[:, j].set(column).at[j].set(column.transpose(0, 2, 1)).at[j, j].set(own)

        alone = jnp.zeros((self.variables, self.variables, 2, 2), jnp.float32).at[0, 0].set(jnp.diag(child[0, 0]))
        return jax.lax.fori_loop(1, self.variables, add, alone)

    def _values(self, key: jax.Array, world: World, count: int) -> jax.Array:
        """Of all variables, (rows, variables) int32."""
        chance = jax.random.uniform(key, (self.variables, count), jnp.float32)

        def add(i, found):
            return found.at[i].set((chance[i] < world.given[i][found[world.parent[i]]]).astype(jnp.int32))

        return jax.lax.fori_loop(0, self.variables, add, jnp.zeros(chance.shape, jnp.int32)).T

    def _seen(self, key: jax.Array, world: World, count: int) -> jax.Array:
        """Which variables are observed, (rows, variables) bool."""
        of, far, drop, which = jax.random.split(key, 4)
        seen = jax.random.uniform(drop, (count, self.variables), jnp.float32) >= self.dropped
        if self.observed == "all":
            seen = jnp.ones_like(seen)
        else:
            centre = jax.random.randint(of, (count,), 0, self.variables, jnp.int32)
            radius = 1 + jnp.sum(
                jnp.cumprod(jax.random.bernoulli(far, 0.5, (count, LARGEST_RADIUS)), axis=1, dtype=jnp.int32), axis=1
            )
            seen &= world.seen_distance[centre] <= radius[:, None]
        first = jax.random.bernoulli(which, 0.5, (self.pairs, count))

        def break_up(i, seen):
            one, other = world.held_out[i, 0], world.held_out[i, 1]
            both = seen[:, one] & seen[:, other]
            seen = seen.at[:, one].set(seen[:, one] & ~(both & first[i]))
            return seen.at[:, other].set(seen[:, other] & ~(both & ~first[i]))

        return jax.lax.fori_loop(0, self.pairs, break_up, seen)


def mutual_information(joint: jax.Array) -> jax.Array:
    """Σ p(a, b) log p(a, b) / (p(a) p(b)) of all pairs, in nats; `joint`: (n, n, 2, 2)."""
    alone = jnp.sum(joint, axis=-1, keepdims=True) * jnp.sum(joint, axis=-2, keepdims=True)
    positive = joint > 0
    ratio = jnp.where(positive, joint, 1) / jnp.where(positive, alone, 1)
    return jnp.sum(joint * jnp.log(ratio), axis=(-2, -1))
