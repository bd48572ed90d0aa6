"""What a user's component is: a fingerprint of its source and of everything that its source reaches.

From a class, what is followed are the objects themselves, as they are at run time: its methods and bases; the globals,
closed-over values and defaults that they use, in this file and in others (`helper.f`, `from package import module`);
functions under `jax.jit`, `functools.partial`, `lru_cache`, `jax.custom_jvp`; lists, dicts, arrays, instances. Of a
function or class, the source counts without comments, docstrings and layout; of a value, the value. What is installed
counts by its name alone. What cannot be followed is refused.
"""

import ast
import builtins
import contextlib
import copyreg
import dataclasses
import dis
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from jaxgen import source, unseen
from jaxgen.errors import FieldError

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))
PRINTERS = "logging", "rich", "tqdm"  # their instances hold locks and streams, and compute nothing
VALUES = (tuple, frozenset, types.MappingProxyType)
CONTAINERS = (list, dict, set)
HEAP_TYPE = 1 << 9  # made at run time, not in C
GLOBAL_READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
GLOBAL_WRITES = ("STORE_GLOBAL", "DELETE_GLOBAL")
# What Python, dataclasses, enum and abc keep in a class: it follows from the rest, or changes without being edited.
KEPT_IN_CLASSES: tuple[str, ...] = ("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__")
KEPT_IN_CLASSES += ("__firstlineno__", "__static_attributes__", "__slots__", "__slotnames__", "__match_args__")
KEPT_IN_CLASSES += ("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__parameters__")
KEPT_IN_CLASSES += ("__abstractmethods__", "_abc_impl", "__orig_bases__", "__subclasshook__", "__dataclass_params__")
KEPT_IN_CLASSES += ("_value2member_map_", "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_")
KEPT_IN_CLASSES += ("__replace__",)
# What dataclasses and named tuples write.
WRITTEN: tuple[str, ...] = ("__init__", "__new__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__")
WRITTEN += ("__repr__", "__setattr__", "__delattr__", "__getstate__", "__setstate__", "__getnewargs__")


def is_ours(cls: type) -> bool:
    """Whether a class is part of this project."""
    return cls.__module__.split(".")[0] in source.OURS


def fingerprint(cls: type) -> str:
    """8 hex digits of all that a class is made of; the same in every process, whatever the files are called.

    Raises:
      FieldError: something that it uses has no source, or cannot be followed; says what, by which way, and why.
    """
    reader = _Reader()
    try:
        reader.follow(cls, cls.__qualname__)
    except RecursionError:
        why = "uses values that are nested too deeply to be followed"
        raise FieldError(cls.__qualname__, cls.__qualname__, why) from None
    return reader.digest()[:8]


class _Reader:
    """Walks from object to object and hashes what it meets. `way` says how it came there, for errors."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._met: dict[int, int] = {}
        self._alive: list[object] = []  # so that no address is used twice

    def digest(self) -> str:
        return self._hash.hexdigest()

    def say(self, *words: object) -> None:
        for word in words:
            text = word if isinstance(word, bytes) else str(word).encode()
            self._hash.update(b"%d:" % len(text) + text)

    def follow(self, thing: object, way: str) -> None:
        """Hashes a value and whatever it reaches."""
        unseen.check_value(thing, way)
        if isinstance(thing, PLAIN) and type(thing) in PLAIN:
            self.say(type(thing).__name__, repr(thing))
        elif isinstance(thing, types.ModuleType):
            self._module(thing, way)
        elif (public := _public_name(thing)) is not None:
            unseen.check_name(*public, way)
            self._installed(*public)
        elif type(thing) in VALUES:
            self._container(thing, way)
        elif type(thing) is np.ndarray or isinstance(thing, (np.generic, jax.Array)):
            self._array(thing, way)
        elif id(thing) in self._met:
            self.say("again", self._met[id(thing)])
        else:
            self._met[id(thing)] = len(self._met)
            self._alive.append(thing)
            self._new(thing, way)

    def _installed(self, module: str, name: str) -> None:
        self.say("installed", module, name, _version(module.split(".")[0]))

    def _new(self, thing: object, way: str) -> None:
        if isinstance(thing, type):
            self._class(thing, way)
        elif isinstance(thing, types.FunctionType):
            self._function(thing, way)
        elif isinstance(thing, types.MethodType):
            self.say("method")
            self.follow(thing.__func__, way)
            self.follow(thing.__self__, way)
        elif type(thing) in CONTAINERS:
            self._container(thing, way)
        elif isinstance(thing, functools.partial):
            self.say("partial")
            self.follow((thing.func, thing.args, thing.keywords), way)
        elif isinstance(thing, (staticmethod, classmethod)):
            self.follow(thing.__func__, way)
        elif type(thing) is property:
            self.follow((thing.fget, thing.fset, thing.fdel), way)
        elif type(thing) is functools.cached_property:
            self.follow(thing.func, way)
        elif isinstance(thing, types.BuiltinFunctionType) and not isinstance(thing.__self__, types.ModuleType | None):
            self.say("builtin method", thing.__name__)
            self.follow(thing.__self__, way)
        elif isinstance(thing, (types.GenericAlias, types.UnionType)) or type(thing).__module__ == "typing":
            self.say("type", repr(thing))
        elif source.is_installed(type(thing).__module__) and (inner := _get(thing, "__wrapped__")) is not None:
            self.say("wrapper", type(thing).__qualname__)
            self.follow(inner, way)
            self.follow({k: v for k, v in _state(thing).items() if not k.startswith("_")}, way)
        else:
            self._instance(thing, way)

    def _container(self, thing: Any, way: str) -> None:
        self.say(type(thing).__name__, len(thing))
        if isinstance(thing, (dict, types.MappingProxyType)):
            for key, value in thing.items():
                self.follow(key, way)
                self.follow(value, f"{way}[{_short(key)}]")
        elif isinstance(thing, (set, frozenset)):
            self.say(*sorted(_digest_of(item, way) for item in thing))
        else:
            for index, item in enumerate(thing):
                self.follow(item, f"{way}[{index}]")

    def _array(self, thing: np.ndarray | np.generic | jax.Array, way: str) -> None:
        if isinstance(thing, jax.Array) and jax.dtypes.issubdtype(thing.dtype, jax.dtypes.prng_key):
            self.say("key", thing.dtype)
            thing = jax.random.key_data(thing)
        if isinstance(thing, jax.core.Tracer):
            raise FieldError(way, "a traced array", "has no value: it was kept by code that ran under jit")
        array = np.asarray(thing)
        self.say("array", repr(array.dtype), array.shape)
        if array.dtype.hasobject:
            self.follow(array.tolist(), way)
        else:
            self.say(array.tobytes())

    def _function(self, function: types.FunctionType, way: str) -> None:
        code = function.__code__
        if source.is_users(function):
            node = source.of_function(function, way)
            self.say("function", source.text_of(node))
            for name, value in _globals_read(function, way):
                self._named(name, value, node, way)
            unseen.check_source(node, way)
            for name, value in _imported(node, function.__globals__, way):
                if isinstance(value, types.ModuleType) and not source.is_foreign(value.__name__):
                    self.follow(value, f"{way} → {value.__name__}")
                else:
                    self._named(name, value, node, way)
        elif source.is_made(function) and "__wrapped__" not in vars(function):
            raise FieldError(way, function.__qualname__, source.NO_SOURCE)
        else:
            node = None
            self._installed(function.__globals__.get("__name__") or "", code.co_qualname)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            self.say("closure", name)
            try:
                value = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            self._named(name, value, node, way)
        if node is not None:
            self.follow((function.__defaults__, function.__kwdefaults__), f"{way} (defaults)")
            self.follow(_state(function), f"{way} (attributes)")
        self.follow(vars(function).get("__wrapped__"), way)

    def _named(self, name: str, value: object, node: ast.AST | None, way: str) -> None:
        """A value that source calls by a name; of a module, only what is used of it."""
        self.say(name)
        if node is None or not isinstance(value, types.ModuleType):
            return self.follow(value, f"{way} → {name}")
        for chain in sorted(_chains(node, name)):
            self.say(*chain)
            found: object = value
            way_there = name
            for attribute in chain:
                if not isinstance(found, types.ModuleType) or not hasattr(found, attribute):
                    break
                found, way_there = getattr(found, attribute), f"{way_there}.{attribute}"
            self.follow(found, f"{way} → {way_there}")

    def _class(self, cls: type, way: str) -> None:
        """A class that no installed module calls by its name: all that it holds, its bases and what made it."""
        self.say("class", cls.__qualname__)
        if not cls.__flags__ & HEAP_TYPE:
            return self._installed(cls.__module__, cls.__qualname__)
        if not source.is_installed(cls.__module__) and (node := source.of_class(cls)) is not None:
            self.say(source.text_of(node))
        self.follow(type(cls), way)
        for name, value in sorted(vars(cls).items()):
            slot = isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
            if not (name in KEPT_IN_CLASSES or slot or (name in WRITTEN and _is_written(name, value))):
                self.say(name)
                self.follow(value, f"{way}.{name}")
        for base in cls.__mro__[1:]:
            self.follow(base, f"{way} → {base.__qualname__}")

    def _module(self, module: types.ModuleType, way: str) -> None:
        """A module that is handed on as a whole: its source, and all that its names stand for."""
        if source.is_foreign(module.__name__):
            return self._installed(module.__name__, "")
        if id(module) in self._met:
            return self.say("again", self._met[id(module)])
        self._met[id(module)] = len(self._met)
        self.say("module", source.text_of(source.of_module(module, way)))
        for name, value in sorted(vars(module).items()):
            if not name.startswith("__"):
                self.say(name)
                self.follow(value, f"{way}.{name}")

    def _instance(self, thing: object, way: str) -> None:
        self.say("instance")
        self.follow(type(thing), way)
        if type(thing).__module__.split(".")[0] in PRINTERS:
            return
        if isinstance(thing, np.ufunc):
            raise FieldError(way, _short(thing), "cannot be followed: use jnp.vectorize")
        if isinstance(thing, nn.Module):
            fields = [f.name for f in dataclasses.fields(thing) if f.name not in ("parent", "name")]
            return self.follow({name: getattr(thing, name, None) for name in fields}, way)
        state, own = _state(thing), _get(thing, "__dict__")
        try:
            reduced = copyreg.dispatch_table.get(type(thing), lambda thing: thing.__reduce_ex__(4))(thing)
        except Exception as error:  # whatever a class says about it
            if not state:
                why = f"cannot be followed, so that changes of it would not be noticed ({error}): use plain values"
                raise FieldError(way, _short(thing), why) from None
            reduced = "", (), None
        if isinstance(reduced, str):
            self.say(reduced)
        else:
            for part in reduced[:5]:
                self.follow(list(part) if isinstance(part, Iterator) else (state or None) if part is own else part, way)
        if not source.is_installed(type(thing).__module__):
            self.follow(state, way)  # its own way of being copied may leave something out


@functools.cache
def _version(package: str) -> str:
    """The version of an installed package, but for those that a run's provenance names and Python itself."""
    if package in (*source.OURS, *sys.stdlib_module_names, "jax", "jaxlib", "numpy", "flax", "optax"):
        return ""
    names = importlib.metadata.packages_distributions().get(package, [])
    return ", ".join(sorted(f"{name} {importlib.metadata.version(name)}" for name in set(names)))


def _public_name(thing: object) -> tuple[str, str] | None:
    """The module and name of what an installed module calls so: that says all. None for anything else."""
    module, name = _get(thing, "__module__"), _name(thing)
    if isinstance(thing, types.BuiltinFunctionType) and isinstance(thing.__self__, types.ModuleType):
        module = thing.__self__.__name__
    if not isinstance(module, str) or not isinstance(name, str) or not source.is_installed(module):
        return None
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is thing else None


def _name(thing: object) -> object:
    name = _get(thing, "__qualname__")
    return name if isinstance(name, str) else _get(thing, "__name__")


def _is_written(name: str, method: object) -> bool:
    """Whether a method in `WRITTEN` was made at run time, from a class's fields, also under wrappers."""
    inner = method.__func__ if isinstance(method, staticmethod | classmethod) else method
    if not isinstance(inner, types.FunctionType):
        return False
    wrapped = name == "__repr__" and source.is_installed(inner.__globals__.get("__name__", ""))  # by recursive_repr
    return wrapped or source.is_made(inspect.unwrap(inner))


def _get(thing: object, name: str) -> Any:
    """An attribute, None where a class's own way of looking it up fails."""
    try:
        return getattr(thing, name, None)
    except Exception:  # whatever a class raises
        return None


def _state(thing: object) -> dict[str, object]:
    """The attributes of an instance, but those that `functools.wraps` copies and those that follow from the others."""
    slots = {s: _get(thing, s) for c in type(thing).__mro__ for s in _slots(c)}
    state = {**(_get(thing, "__dict__") or {}), **slots}
    cached = {k for c in type(thing).__mro__ for k, v in vars(c).items() if isinstance(v, functools.cached_property)}
    return {name: value for name, value in state.items() if not (name in cached or str(name).startswith("__"))}


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(s for s in slots if s not in ("__dict__", "__weakref__"))


def _digest_of(thing: object, way: str) -> str:
    reader = _Reader()
    reader.follow(thing, way)
    return reader.digest()


def _short(thing: object) -> str:
    return name if isinstance(name := _name(thing), str) else repr(thing)[:60]


def _globals_read(function: types.FunctionType, way: str) -> list[tuple[str, object]]:
    """The names that a function and those inside it read from its module, or from Python, with their values.

    Raises:
      FieldError: it changes one, so that what it computes could depend on how often it was called.
    """
    names, codes = set(), [function.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        instructions = list(dis.get_instructions(code))
        names |= {i.argval for i in instructions if i.opname in GLOBAL_READS}
        for written in (i.argval for i in instructions if i.opname in GLOBAL_WRITES):
            why = "changes a global value, so that what it computes could depend on how often it was called"
            raise FieldError(way, written, f"{why}: use functools.cache, or a constant")
    space, found = function.__globals__, []
    for name in sorted(names):
        if name in space:
            found.append((name, space[name]))
        elif hasattr(builtins, name):
            found.append((name, getattr(builtins, name)))
    return found


def _chains(node: ast.AST, name: str) -> set[tuple[str, ...]]:
    """What is used of a module called `name`: chains of attributes; an empty one where it is handed on as a whole."""
    chains: set[tuple[str, ...]] = set()

    def visit(node: ast.AST, after: tuple[str, ...]) -> None:
        if isinstance(node, ast.Attribute):
            return visit(node.value, (node.attr, *after))
        if isinstance(node, ast.Name) and node.id == name:
            chains.add(after)
        for child in ast.iter_child_nodes(node):
            visit(child, ())

    visit(node, ())
    return chains


def _imported(node: ast.AST, space: Mapping[str, Any], way: str) -> Iterator[tuple[str, object]]:
    """What a function imports when it is called: the user's modules, and what it calls by a name of others."""
    for part in ast.walk(node):
        wanted: list[tuple[str, list[ast.alias]]] = []
        if isinstance(part, ast.Import):
            wanted = [(alias.name, [alias]) for alias in part.names]
        elif isinstance(part, ast.ImportFrom):
            wanted = [("." * part.level + (part.module or ""), part.names)]
        for name, parts in wanted:
            try:
                module = importlib.import_module(name, space.get("__package__"))
            except ImportError:  # perhaps optional; where it is needed, the call fails
                continue
            except Exception as error:
                raise FieldError(way, name, f"is imported inside a function, and cannot be: {error}") from None
            if not source.is_foreign(module.__name__):
                for inner in parts if isinstance(part, ast.ImportFrom) and hasattr(module, "__path__") else ():
                    with contextlib.suppress(ImportError):  # no module, but a name in one
                        importlib.import_module(f"{module.__name__}.{inner.name}")
                yield module.__name__, module
            elif isinstance(part, ast.Import):
                top = parts[0].name.split(".")[0]
                yield (parts[0].asname, module) if parts[0].asname else (top, sys.modules[top])
            else:
                yield from ((one.asname or one.name, getattr(module, one.name, None)) for one in parts)


__all__ = ["fingerprint", "is_ours"]
