"""What signatures are made of: trees of arrays, plain data, and what a component of each kind has.

A component of your own need not extend anything here, only have what its kind has; a task extends `jaxgen.Task`, and a
network is a flax module. What else it may have is said with each kind: it is asked for where it is there.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, TypedDict

import jax
import numpy as np
import optax

if TYPE_CHECKING:
    import dataclasses

    from jaxgen.experiment import Experiment
    from jaxgen.probes.evaluation import Evaluation
    from jaxgen.starts import Fit
    from jaxgen.tasks.task import Examples

Tree: TypeAlias = "jax.Array | np.ndarray | Sequence[Tree] | Mapping[str, Tree] | None"
"""Arrays, or shapes of such, in containers: what probes remember, or networks keep beside their parameters."""

Plain: TypeAlias = "bool | int | float | str | Sequence[Plain] | Mapping[str, Plain] | None"
"""What fields hold and files say; tuples are lists in JSON."""


class Given(TypedDict, total=False):
    """What one run gives to another that starts from it, or the shapes of that; empty where a run starts from its seed.

    Attributes:
      params: the parameters.
      kept: what the network keeps beside them, by flax collection ("batch_stats").
      opt_state: the optimizer's state, where it is kept.
      held: what its probes keep for runs that start from it, by name.
    """

    params: optax.Params
    kept: Mapping[str, Tree]
    opt_state: optax.OptState
    held: Mapping[str, jax.Array]


class Component(Protocol):
    """A component of whatever kind: an instance of a `flax.struct.dataclass`, or of a flax module, a dataclass too."""

    __dataclass_fields__: "ClassVar[dict[str, dataclasses.Field]]"


class Stream(Protocol):
    """A task whose train rows are drawn anew at each step."""

    def draw(self, key: jax.Array, step: jax.Array, rows: int, /) -> "Examples | tuple[Examples, ...]":
        """So many rows, at once or in buckets."""


class Loss(Protocol):
    """One loss per label."""

    def __call__(self, outputs: jax.Array, labels: jax.Array, /) -> jax.Array:
        """From outputs (rows, …, outputs) and labels (rows, …) to losses like the labels."""


class ChangingLoss(Protocol):
    """A loss that changes on the way."""

    def __call__(self, outputs: jax.Array, labels: jax.Array, /, step: jax.Array) -> jax.Array:
        """As of any loss, after so many steps."""


class Optimizer(Protocol):
    """An optax chain made of numbers that can be swept. Its `transform` may take `groups=None`, those of the network.

    It may have `decaying(params, groups)`, which of the parameters decay, and be `Resting`.
    """

    def transform(self) -> optax.GradientTransformation:
        """The chain."""


class Resting(Protocol):
    """An optimizer that can prove that it stands still, as `training.stop_frozen` asks: `can_rest` says so."""

    @property
    def can_rest(self) -> bool:
        """Whether updates depend on parameters, gradient and state alone."""

    def at_rest(self, before: optax.OptState, after: optax.OptState, /) -> jax.Array:
        """Whether steps that change no parameter, and the state so, always go on so."""


class Schedule(Protocol):
    """How a learning rate changes."""

    def factor(self, count: jax.Array, /) -> jax.Array:
        """What the rate is multiplied by in the step after `count` others, float32."""


class Filter(Protocol):
    """What an optimizer sees in the place of the gradient."""

    def transform(self) -> optax.GradientTransformation:
        """As an optax transformation, the first of a chain."""


class Clamp(Protocol):
    """What is imposed on the weights after a step."""

    def transform(self) -> optax.GradientTransformation:
        """As an optax transformation, the last of a chain."""


class Probe(Protocol):
    """What is measured at an evaluation; one that remembers is a `Remembering`."""

    def measure(self, e: "Evaluation", /) -> Mapping[str, jax.Array]:
        """Numbers, vectors or matrices by name."""


class Remembering(Protocol):
    """A probe with a memory, which it carries from one evaluation to the next.

    It may have `keeps(memory)`: what runs that start from this one are given, arrays by name.
    """

    def init(self, e: "Evaluation", /) -> Tree:
        """The memory that a run begins with."""

    def measure(self, e: "Evaluation", memory: Tree, /) -> tuple[Mapping[str, jax.Array], Tree]:
        """Numbers by name, and the new memory."""


class Start(Protocol):
    """Where a run begins, other than from its seed; from another run where it is `Continuing`."""

    def weights(
        self, drawn: optax.Params, given: Given | None, fit: "Fit", /
    ) -> tuple[optax.Params, optax.Params | None]:
        """Parameters to begin with, and which of their numbers stay in training, like them, bool; None: all.

        Args:
          drawn: the parameters that the seed draws.
          given: what another run ended with.
          fit: the run's train rows.
        """


class Continuing(Start, Protocol):
    """A start from the weights of another run, which is trained first."""

    @property
    def keep_optimizer(self) -> bool:
        """Whether the optimizer's state is that run's too."""

    def run(self, experiment: "Experiment", /) -> "Experiment":
        """The run that an experiment with this start starts from."""

    def given(self, shapes: Given, stored: Mapping[str, np.ndarray], /) -> Given:
        """What `weights` and `beside` are given, in these shapes, of what that run has stored."""

    def beside(self, drawn: Mapping[str, Tree], kept: Mapping[str, Tree], /) -> Mapping[str, Tree]:
        """What the network keeps beside its parameters, by collection."""


class Transform(Protocol):
    """What is done to the weights of another run.

    Its `apply` may take `held`, what that run's probes keep, by name, and `fit`, the train rows of the run that starts
    (`jaxgen.starts.Fit`).
    """

    def apply(
        self, drawn: optax.Params, params: optax.Params, mask: optax.Params | None, /
    ) -> tuple[optax.Params, optax.Params | None]:
        """The weights, and which stay, from those that the seed draws, those so far, and which stayed so far."""
