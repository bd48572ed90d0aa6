"""Whether a network of texts infers better in steps (Prystawski, Li & Goodman 2023, arXiv 2304.03843)."""

from collections.abc import Callable, Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.components import static
from jaxgen.errors import FieldError
from jaxgen.probes.evaluation import Evaluation
from jaxgen.tasks.tree_network import TreeNetwork, World

Network = Callable[[jax.Array], jax.Array]  # tokens (rows, length) to logits (rows, length, tokens)


@flax.struct.dataclass
class StepByStep:
    """Mean squared error of estimates of P(Xₜ = 1 | X_c = v) by a network of texts, see `jaxgen.tasks.TreeNetwork`.

    Of each held-out pair, both directions and both values are asked: "held_out/direct" of the text "Xₜ: X_c = v", by
    the probabilities of the two tokens of Xₜ that may follow, normalised; "held_out/scaffold" after values of all
    variables between the two, the one next to X_c first, which are drawn from the network's own probabilities;
    "held_out/negative" after values of as many random others; "held_out/free" after what the network says itself until
    it says Xₜ, or the text is as long as any trained on. The last three are means over `samples` texts.
    "held_out/marginal" is the error of P(Xₜ = 1), all that is known of pairs that are never seen together;
    "held_out/intermediate" is how many variables free texts say before Xₜ. "train/…" are the same of pairs with an
    edge between them, which are seen together.

    Attributes:
      samples: texts for each question.
    """

    samples: int = static(10, "[1, 10000]", "texts for each question")

    def measure(self, e: Evaluation) -> dict[str, jax.Array]:
        task = e.experiment.task
        if not isinstance(task, TreeNetwork):
            raise FieldError("training.probes", "StepByStep", "needs the task TreeNetwork")
        world = task.world(e.key)
        key = jax.random.fold_in(jax.random.fold_in(e.key, 2), e.step)
        found = self.errors(task, world, jnp.concatenate([world.held_out, world.adjacent]), e.network, key)
        halves = {"held_out": slice(None, task.pairs), "train": slice(task.pairs, None)}
        return {f"{name}/{k}": jnp.mean(v[half]) for name, half in halves.items() for k, v in found.items()}

    def errors(
        self, task: TreeNetwork, world: World, pairs: jax.Array, network: Network, key: jax.Array
    ) -> dict[str, jax.Array]:
        """Squared errors of all estimates by name, (pairs, questions), of pairs (pairs, 2); see the class."""
        target, condition = pairs[:, [0, 1, 0, 1]].reshape(-1), pairs[:, [1, 0, 1, 0]].reshape(-1)
        value = jnp.tile(np.array([0, 0, 1, 1], np.int32), len(pairs))
        truth = world.conditional(target, condition, value)
        repeated = lambda values: jnp.repeat(values, self.samples, axis=0)  # noqa: E731
        texts = Texts(task, network, repeated(target), repeated(2 * condition + value))
        between = path(world, target, condition)
        others = strangers(jax.random.fold_in(key, 0), world, target, condition, between)
        free, said = texts.free(jax.random.fold_in(key, 1))
        scaffold, negative = texts.after([repeated(between), repeated(others)], jax.random.fold_in(key, 2))
        estimates = {"direct": texts.direct(), "scaffold": scaffold, "negative": negative, "free": free}
        mean = lambda values: jnp.mean(values.reshape(len(target), -1).astype(truth.dtype), axis=1)  # noqa: E731
        errors = {name: jnp.square(mean(estimate) - truth) for name, estimate in estimates.items()}
        errors |= {"marginal": jnp.square(world.marginal(target) - truth), "intermediate": mean(said)}
        return {name: error.reshape(len(pairs), -1) for name, error in errors.items()}


class Texts:
    """Texts that ask for a target under a condition, (texts,): variables, and tokens."""

    def __init__(self, task: TreeNetwork, network: Network, target: jax.Array, condition: jax.Array):
        self.task, self.network, self.target = task, network, target
        padding = jnp.full((len(target), task.length - 2), task.vocabulary - 1, jnp.int32)
        self.begun = jnp.concatenate([(2 * task.variables + target)[:, None], condition[:, None], padding], axis=1)
        self.places = np.arange(task.length, dtype=np.int32)[None]

    def direct(self) -> jax.Array:
        """Estimates from nothing but the condition."""
        return self._probability(self.begun, jnp.int32(1), self.target)

    def after(self, orders: Sequence[jax.Array], key: jax.Array) -> jax.Array:
        """Estimates after values of variables that are drawn in an order, for each order: (orders, texts).

        An order is (texts, variables) and has ended where it is `variables`.
        """
        count, times = self.task.length - 2, len(orders)
        order = jnp.concatenate([one[:, :count] for one in orders])

        def step(tokens, given):
            at, variable, key = given
            named = variable < self.task.variables
            one = self._probability(tokens, at, jnp.minimum(variable, self.task.variables - 1))
            drawn = 2 * variable + (jax.random.uniform(key, one.shape, jnp.float32) < one).astype(jnp.int32)
            return jnp.where(named[:, None] & (self.places == at + 1), drawn[:, None], tokens), None

        steps = jnp.arange(1, count + 1, dtype=jnp.int32), order.T, jax.random.split(key, count)
        tokens, _ = jax.lax.scan(step, jnp.tile(self.begun, (times, 1)), steps)
        known = jnp.sum(order < self.task.variables, axis=1, dtype=jnp.int32)
        return self._probability(tokens, 1 + known, jnp.tile(self.target, times)).reshape(times, -1)

    def free(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Estimates where the network says the target itself, and how many variables it says before."""

        def step(carry, given):
            tokens, estimate, done = carry
            at, key = given
            logits = self._at(tokens, at)[:, : 2 * self.task.variables]
            said = jax.random.categorical(key, logits).astype(jnp.int32)
            estimate = jnp.where(done, estimate, self._of_two(logits, self.target))
            done |= said // 2 == self.target
            tokens = jnp.where(~done[:, None] & (self.places == at + 1), said[:, None], tokens)
            return (tokens, estimate, done), ~done

        at, keys = jnp.arange(1, self.task.length, dtype=jnp.int32), jax.random.split(key, self.task.length - 1)
        begun = self.begun, jnp.zeros(len(self.target), jnp.float32), jnp.zeros(len(self.target), bool)
        (_, estimate, _), going = jax.lax.scan(step, begun, (at, keys))
        return estimate, jnp.sum(going, axis=0)

    def _probability(self, tokens: jax.Array, at: jax.Array, variable: jax.Array) -> jax.Array:
        """That variables are 1, of what follows position `at`, (texts,)."""
        return self._of_two(self._at(tokens, at), variable)

    def _at(self, tokens: jax.Array, at: jax.Array) -> jax.Array:
        """Logits at a position, of all or of each."""
        logits = self.network(tokens)
        at = jnp.broadcast_to(at, (len(tokens),))
        return jnp.take_along_axis(logits, at[:, None, None], axis=1)[:, 0].astype(jnp.float32)

    def _of_two(self, logits: jax.Array, variable: jax.Array) -> jax.Array:
        one, zero = (jnp.take_along_axis(logits, (2 * variable + v)[:, None], axis=1)[:, 0] for v in (1, 0))
        return jax.nn.sigmoid(one - zero)


def path(world: World, target: jax.Array, condition: jax.Array) -> jax.Array:
    """The variables between two, (pairs, variables): the one next to the condition first, then `variables`."""
    there, back = world.distance[condition], world.distance[target]
    count = there.shape[1]
    between = (there + back == world.distance[condition, target][:, None]) & (there > 0) & (back > 0)
    order = jnp.argsort(jnp.where(between, there, count), axis=1).astype(jnp.int32)
    places = np.arange(count, dtype=np.int32)[None]
    return jnp.where(places < jnp.sum(between, axis=1, dtype=jnp.int32)[:, None], order, count)


def strangers(key: jax.Array, world: World, target: jax.Array, condition: jax.Array, between: jax.Array) -> jax.Array:
    """As many random variables as lie between two, that do not lie there nor are one of them; like `path`."""
    there, back, count = world.distance[condition], world.distance[target], between.shape[1]
    apart = there + back > world.distance[condition, target][:, None]
    order = jnp.argsort(jnp.where(apart, jax.random.uniform(key, apart.shape, jnp.float32), 2.0), axis=1)
    known = jnp.minimum(jnp.sum(between < count, axis=1), jnp.sum(apart, axis=1))
    return jnp.where(np.arange(count, dtype=np.int32)[None] < known[:, None], order.astype(jnp.int32), count)
