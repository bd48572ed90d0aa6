"""Optimizers and losses of optax by name: each becomes a component whose fields are the numbers of its signature."""

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import optax

from jaxgen.components import leaf, static, unknown
from jaxgen.errors import FieldError
from jaxgen.kinds import Component

PREFIX = "optax."


def component(kind: str, name: str, numbers: Mapping[str, float]) -> Any:
    """The component of an optax function, with some of its numbers given.

    Raises:
      FieldError: optax has no such function, or that has no such number, or one is missing.
    """
    cls = component_class(kind, name)
    known = {f.name: f for f in dataclasses.fields(cls)}
    for given in numbers:
        if given not in known:
            raise unknown(f"{kind}.{given}", [f"{kind}.{field}" for field in known])
    for field in known.values():
        if field.name not in numbers and field.default is dataclasses.MISSING:
            raise FieldError(f"{kind}.{field.name}", None, f"is missing: {PREFIX}{name} needs it")
    return cls(**numbers)


@functools.cache
def component_class(kind: str, name: str) -> type:
    """The class of the components of one optax function: its `type` in files is "optax.<name>".

    Raises:
      FieldError: optax has no such function.
    """
    functions = _optimizers() if kind == "optimizer" else _losses()
    if name not in functions:
        raise unknown(f"{kind}.type.{PREFIX}{name}", [f"{kind}.type.{PREFIX}{known}" for known in functions])
    function = functions[name]
    parameters = list(inspect.signature(function).parameters.values())[0 if kind == "optimizer" else 2 :]
    fields = {p.name: found for p in parameters if (found := _field(p)) is not None}
    body: dict[str, object] = {field: default for field, (_, default) in fields.items() if default is not None}
    body["__annotations__"] = {field: hint for field, (hint, _) in fields.items()}
    listed = "".join(f"\n      {field}: as there." for field in fields)
    body["__doc__"] = f"`optax.{name}` with the numbers of its signature.\n\n    Attributes:{listed}\n    "
    body["__module__"], body["__qualname__"] = __name__, PREFIX + name
    if kind == "optimizer":
        body["transform"] = lambda self: function(**_given(self))
    else:
        body["__call__"] = lambda self, outputs, labels: _promoted(function, outputs, labels, **_given(self))
    return flax.struct.dataclass(type(name.split(".")[-1], (), body), kw_only=True)


def _promoted(function: Callable, *arguments: jax.Array, **numbers: float) -> jax.Array:
    """Calls it under optax's own rules of promotion between dtypes and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return function(*arguments, **numbers)


def _given(self: Component) -> dict[str, float]:
    return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


def _field(parameter: inspect.Parameter) -> tuple[type | types.UnionType, object] | None:
    """Type and declaration of what a parameter becomes: nothing for functions, masks and dtypes, which keep defaults.

    Floats, and numbers that have no default or may be None, are leaves. Whole numbers, texts and truth values are
    structure.
    """
    if parameter.name.endswith("mask") or parameter.name == "where":
        return None
    default, doc = parameter.default, f"`{parameter.name}` of the optax function"
    if isinstance(default, (bool, int, str)):
        return type(default), static(default, doc=doc)
    number = "float" in str(parameter.annotation) or "int" in str(parameter.annotation)
    if isinstance(default, float):
        return float, leaf(default, doc=doc)
    if default is None and number:
        return float | None, leaf(None, doc=doc)
    if default is inspect.Parameter.empty and number:
        return float, leaf(dataclasses.MISSING, doc=doc)
    return None


@functools.cache
def _optimizers() -> dict[str, Callable]:
    """What is public in optax and optax.contrib, has a learning rate, and says that it returns a transformation.

    Those with random numbers of their own are left out: they would not follow the run's seed.
    """
    found = {}
    for prefix, module in (("", optax), ("contrib.", optax.contrib)):
        for name, function in vars(module).items():
            if inspect.isfunction(function) and not name.startswith("_"):
                signature = inspect.signature(function)
                made = "GradientTransformation" in str(signature.return_annotation)
                random = signature.parameters.keys() & {"key", "seed"}
                if made and "learning_rate" in signature.parameters and not random and not name.startswith("scale_by"):
                    found[prefix + name] = function
    return dict(sorted(found.items()))


@functools.cache
def _losses() -> dict[str, Callable]:
    """What is public in optax.losses and takes outputs and labels."""
    pairs = ("logits", "labels"), ("predictions", "targets"), ("predictor_outputs", "targets"), ("scores", "labels")
    functions = {n: f for n, f in vars(optax.losses).items() if callable(f) and not n.startswith("_")}
    return {n: f for n, f in sorted(functions.items()) if tuple(_names(f)[:2]) in pairs}


def _names(function: Callable) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []
