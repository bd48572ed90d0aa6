"""What is timed: experiments in the middle of the planes that people sweep, without an end."""

import dataclasses
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

import jaxgen as jg
from jaxgen import training


@dataclasses.dataclass(frozen=True)
class Case:
    """One benchmark case.

    Attributes:
      name: what it is called on the command line.
      about: one line.
      experiment: what each lane trains; the seed differs.
    """

    name: str
    about: str
    experiment: jg.Experiment

    @property
    def flops(self) -> float:
        """Useful floating-point operations of one step: 2 per multiply-add of the matrix products after the look-up.

        Forward and backward (so 6 for each forward one, less 2 where inputs need no gradient); only rows that are
        trained on count, and only the network's products.
        """
        return 2.0 * multiply_adds(self.experiment)


def multiply_adds(experiment: jg.Experiment) -> int:
    """Multiply-adds of the network and its gradient on the train rows, less look-ups (which depend on the platform)."""
    data, state, _ = training.shapes(experiment)
    inputs = jax.ShapeDtypeStruct((experiment.task.rows()["train"], *data.inputs.shape[1:]), data.inputs.dtype)
    values = training.numbers(experiment)
    total = lambda p, x: jnp.sum(jnp.square(training.apply(values, p, x)))  # noqa: E731
    return _count(jax.make_jaxpr(jax.grad(total))(state.params, inputs).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, result = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += math.prod(result) * math.prod(left[i] for i in contracted)
        elif equation.primitive.name == "cond":  # a branch for each platform: a look-up is a product on some
            total += min(_count(branch.jaxpr) for branch in equation.params["branches"])
        else:
            times = equation.params["length"] if equation.primitive.name == "scan" else 1
            for inner in jax.core.jaxprs_in_params(equation.params):
                total += times * _count(inner)
    return total


def takes_inputs(model: Any) -> bool:
    """Whether a network is given inputs as they are; others get one-hot vectors, as in the field's public code."""
    return isinstance(
        model, (jg.models.EmbeddingMLP, jg.models.Transformer, jg.models.Decoder, jg.models.FixedReadoutMLP)
    )


@flax.struct.dataclass
class Texts(jg.Task):
    """Random tokens, each the label of the one before."""

    count: int = jg.static(64, "[1, 100000]", "rows")
    length: int = jg.static(24, "[1, 10000]", "tokens of a row")
    vocabulary: int = jg.static(64, "[2, 100000]", "different tokens")

    @property
    def outputs(self) -> int:
        """All tokens."""
        return self.vocabulary

    def rows(self) -> dict[str, int]:
        """One row is not trained on."""
        return {"train": self.count, "test": 1}

    def examples(self, key: jax.Array) -> jg.Examples:
        """See the class."""
        said = jax.random.randint(key, (self.count + 1, self.length + 1), 0, self.vocabulary, jnp.int32)
        return jg.Examples(said[:, :-1], said[:, 1:])


def _decoder(count: int, length: int) -> jg.Experiment:
    return _endless(
        Texts(count=count, length=length),
        jg.models.Decoder(width=64, heads=4, layers=2),
        SOFTMAX,
        jg.optimizers.AdamW(learning_rate=1e-3, weight_decay=1.0, b2=0.98),
    )


def _edge(p: int, fraction: float, loss: Any) -> jg.Experiment:
    return _endless(
        jg.tasks.ModularAddition(p=p, train_fraction=fraction),
        jg.models.MLP(width=200, depth=2),
        loss,
        jg.optimizers.AdamW(learning_rate=1e-3, weight_decay=0.0, b2=0.99, eps=1e-25),
    )


def _endless(task: Any, model: Any, loss: Any, optimizer: Any) -> jg.Experiment:
    return jg.Experiment(task, model, loss, optimizer, jg.Training(steps=2 * 10**9, evaluate_every=50))


SOFTMAX, STABLEMAX = jg.losses.CrossEntropy(), jg.losses.StableMaxCrossEntropy()
CASES = {
    case.name: case
    for case in (
        Case(
            "quadratic-31",
            "the quickstart: two-layer quadratic network of 64, p = 31",
            _endless(
                jg.tasks.ModularAddition(p=31, train_fraction=0.55),
                jg.models.QuadraticMLP(width=64),
                SOFTMAX,
                jg.optimizers.AdamW(learning_rate=5e-3, weight_decay=0.1, b2=0.98),
            ),
        ),
        Case("edge-mlp-59", "118-200-200-59, cross-entropy, f = .5", _edge(59, 0.5, SOFTMAX)),
        Case("edge-mlp-59-stablemax", "118-200-200-59, StableMax, f = .5", _edge(59, 0.5, STABLEMAX)),
        Case("edge-mlp-113", "226-200-200-113, cross-entropy, f = .4", _edge(113, 0.4, SOFTMAX)),
        Case("edge-mlp-113-stablemax", "226-200-200-113, StableMax, f = .4", _edge(113, 0.4, STABLEMAX)),
        Case(
            "corrupted-97",
            "quadratic network of 500, p = 97, squared error, f = .5",
            _endless(
                jg.tasks.ModularAddition(p=97, train_fraction=0.5),
                jg.models.QuadraticMLP(width=500),
                jg.losses.MeanSquaredError(),
                jg.optimizers.AdamW(learning_rate=0.01, weight_decay=5.0, b2=0.98),
            ),
        ),
        Case(
            "toy-10",
            "toy addition: 1-D embeddings, tanh decoder 1-200-200-30, squared error, 45 rows",
            _endless(
                jg.tasks.Templates(task=jg.tasks.ToyAddition()),
                jg.models.EmbeddingMLP(),
                jg.losses.MeanSquaredError(),
                jg.optimizers.AdamW(learning_rate=1e-3, weight_decay=0.1),
            ),
        ),
        Case(
            "transformer-31",
            "one layer, d = 64, 4 heads, MLP of 256, p = 31, f = .55",
            _endless(
                jg.tasks.ModularAddition(p=31, train_fraction=0.55),
                jg.models.Transformer(width=64, heads=4, mlp_width=256),
                SOFTMAX,
                jg.optimizers.AdamW(learning_rate=1e-3, weight_decay=1.0, b2=0.98),
            ),
        ),
        Case("decoder-2x64", "causal, 2 layers, d = 64, 4 heads, MLP of 256, 64 texts of 24 tokens", _decoder(64, 24)),
        Case("decoder-2x64-short", "the same, 256 texts of 4 tokens", _decoder(256, 4)),
        Case(
            "xor-gram",
            "XOR clusters: 200 rows in 40,000 dimensions, carried in their span; 1,000 ReLUs, gradient descent",
            _endless(
                jg.tasks.XorClusters(),
                jg.models.FixedReadoutMLP(width=1000, init_scale=1e-4),
                jg.losses.Logistic(),
                jg.optimizers.SGD(learning_rate=1e-5),
            ),
        ),
    )
}
