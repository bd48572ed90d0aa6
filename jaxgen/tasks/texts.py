"""What tasks of tokens share: each label is the token that follows, and some answers name a step in between."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxgen.tasks.task import Examples, Task

ANSWERS = {"direct": 1, "bridge": 2, "filler": 2}
"""Ways to answer in two steps, and how many tokens are said: the answer; the bridge before it; what says nothing."""


class Texts(Task):
    """Base of tasks that have an output for each token."""

    if TYPE_CHECKING:

        @property
        def vocabulary(self) -> int: ...

    @property
    def outputs(self) -> int:
        return self.vocabulary


def next_tokens(said: jax.Array, splits: dict[str, jax.Array], weights: jax.Array) -> Examples:
    """Rows of tokens (rows, length) as inputs, and behind each the next token as its label, with `weights`."""
    return Examples(said[:, :-1], said[:, 1:], splits, weights.astype(jnp.float32))


def answered(how: str, asked: list[jax.Array], bridge: jax.Array, answer: jax.Array, filler: int) -> jax.Array:
    """What is asked, (rows,) each, and what is answered in a way of `ANSWERS`, (rows, tokens)."""
    between = {"direct": [], "bridge": [bridge], "filler": [jnp.full_like(bridge, filler)]}[how]
    return jnp.stack([*asked, *between, answer], axis=1)
