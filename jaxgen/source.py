"""Source of functions and classes as syntax trees, found by their places in their files, and whose source it is."""

import ast
import functools
import importlib.machinery
import linecache
import site
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path

from jaxgen.errors import FieldError

OURS = ("jaxgen", "sweeps")
NO_SOURCE = "has no source that can be read: define it in a file, so that edits are noticed"


def is_installed(module: str | None) -> bool:
    """Whether a module is Python's, this project's or in a folder of installed packages, by its name."""
    if module is None:
        return True
    top = module.split(".")[0]
    if top in OURS or top in sys.builtin_module_names:
        return True
    file = getattr(sys.modules.get(module, sys.modules.get(top)), "__file__", None)
    if file is None:
        return top in sys.stdlib_module_names and top != "__main__"
    return in_installed_folder(file)  # also where it is called as a module of Python is


def is_foreign(module: str) -> bool:
    """`is_installed`, also for packages without a file of their own."""
    if is_installed(module):
        return True
    places = list(getattr(sys.modules.get(module), "__path__", ()))
    return bool(places) and all(map(in_installed_folder, places))


def is_users(function: types.FunctionType) -> bool:
    """Whether a function stands in a file, or a notebook, of the user's."""
    foreign = is_installed(function.__globals__.get("__name__", "")) or in_installed_folder(
        function.__code__.co_filename
    )
    return not (foreign or is_made(function))


def is_made(function: types.FunctionType) -> bool:
    """Whether a function of a user's module was made at run time, without a file: by `exec`, dataclasses, wrappers."""
    file = function.__code__.co_filename
    made = file.startswith("<") and not file.startswith("<ipython-input")
    return made and not is_installed(function.__globals__.get("__name__", ""))


@functools.cache
def in_installed_folder(file: str) -> bool:
    """Whether a file is of Python or of an installed package, also through links."""
    places = [sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")]
    places += [*site.getsitepackages(), site.getusersitepackages()]
    resolved = Path(file).resolve()
    return any(resolved.is_relative_to(Path(place).resolve()) for place in places)


def of_function(function: types.FunctionType, way: str) -> ast.AST:
    """The syntax tree of a function or lambda, found by its place in its file.

    Raises:
      FieldError: there is no source, or it is not what was loaded.
    """
    code = function.__code__
    tree = _tree(code.co_filename, way)
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if code.co_name == "<lambda>" and isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno:
            found.append(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first == code.co_firstlineno:
                found.append(node)
    if len(found) > 1:
        places = set(code.co_positions())
        found = [n for n in found if isinstance(n, ast.Lambda) and _span(n.body) in places] or found
    if not found or _is_other_code(function):
        raise FieldError(way, function.__qualname__, "is not as its file says: the file was edited since; start anew")
    if len({ast.unparse(n) for n in found}) > 1:
        raise FieldError(way, function.__qualname__, "stands in one line with another: give it a line of its own")
    return found[0]


def of_class(cls: type) -> ast.ClassDef | None:
    """The syntax tree of a class, found by its name in its file; None for one that was made without a statement."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    lines = set()
    for value in vars(cls).values():
        if isinstance(value, types.FunctionType) and value.__module__ == cls.__module__ and is_users(value):
            lines.add(value.__code__.co_firstlineno)
            file = value.__code__.co_filename
    path = [part for part in cls.__qualname__.split(".") if part != "<locals>"]
    tree = _tree(file, cls.__qualname__) if file is not None else ast.Module([], [])
    found = [node for node, name in _classes(tree, ()) if list(name) == path]
    if len(found) > 1:
        found = [n for n in found if any(n.lineno <= at <= (n.end_lineno or 0) for at in lines)] or found
    return found[-1] if found else None


def text_of(tree: ast.AST) -> str:
    """Source in one layout, without comments and docstrings."""
    copy = ast.parse(ast.unparse(tree))
    for node in ast.walk(copy):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(copy)


def of_module(module: types.ModuleType, way: str) -> ast.Module:
    """The syntax tree of a whole module.

    Raises:
      FieldError: there is no source.
    """
    file = getattr(module, "__file__", None)
    if file is None and hasattr(module, "__path__"):  # a package without a file of its own
        return ast.Module([], [])
    return _tree(file or module.__name__, way)


def _tree(file: str, way: str) -> ast.Module:
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file))
    if not text and not (file.endswith(".py") and Path(file).is_file()):
        raise FieldError(way, file, NO_SOURCE)
    try:
        return _parsed(text)
    except (SyntaxError, ValueError):
        raise FieldError(way, file, "is not as it was loaded: it is no Python now") from None


@functools.lru_cache(64)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _classes(node: ast.AST, inside: tuple[str, ...]) -> Iterator[tuple[ast.ClassDef, tuple[str, ...]]]:
    for child in ast.iter_child_nodes(node):
        name = inside
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name = (*inside, child.name)
            if isinstance(child, ast.ClassDef):
                yield child, name
        yield from _classes(child, name)


def _is_other_code(function: types.FunctionType) -> bool:
    """Whether a function was not compiled from its file as it is now; not known for what an import hook rewrote."""
    loader = function.__globals__.get("__loader__")
    if type(loader) is not importlib.machinery.SourceFileLoader:
        return False
    file = function.__code__.co_filename
    return function.__code__ not in _codes("".join(linecache.getlines(file)), file)


@functools.lru_cache(64)
def _codes(text: str, file: str) -> frozenset[types.CodeType]:
    """Every code object that a file compiles to."""
    found, codes = set(), [compile(text, file, "exec", dont_inherit=True)]
    while codes:
        code = codes.pop()
        found.add(code)
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(found)


def _span(node: ast.expr) -> tuple:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset
