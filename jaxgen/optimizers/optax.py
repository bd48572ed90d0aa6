"""Optimizers of optax by name."""

from jaxgen import from_optax, kinds


def Optax(name: str, **numbers: float) -> kinds.Optimizer:
    """The component of an optax optimizer: `Optax("adamw", learning_rate=1e-3, b1=0.9)` or `Optax("contrib.muon", …)`.

    It has a learning rate, no random numbers of its own, and needs no more than gradients and parameters: others are
    unknown, or refused when a sweep is planned. Its fields are the numbers of the factory's signature, with its
    defaults: floats can be swept without compiling again; whole numbers, texts and truth values are structure.
    Functions, masks and dtypes keep their defaults. In files and tables its type is "optax.adamw".

    Raises:
      FieldError: optax has no optimizer of that name, it has no such number, or one without a default is missing.
    """
    return from_optax.component("optimizer", name, numbers)
