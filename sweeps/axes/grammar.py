"""The values that `--set path=values` understands. Nothing is evaluated.

0.5   0.1,0.2,0.5   [32, 64]   linspace(0.3, 0.7, 9)   logspace(-2, 1, 12)   range(5)   relu   true   none
"""

import contextlib
import re

from jaxgen import FieldError
from sweeps.axes import sweep
from sweeps.axes.algebra import MAX_VALUES

_CALL = re.compile(r"(linspace|logspace|range)\s*\(([^()]*)\)")
_WORD = re.compile(r"[A-Za-z_][\w.^+#-]*")
_LITERALS = {"true": True, "false": False, "none": None}


def assignment(text: str, flag: str = "set", example: str = "task.train_fraction=linspace(0.3,0.7,9)") -> sweep.Sweep:
    """The axis that `path=values`, given to a flag, describes.

    Args:
      text: what was given.
      flag: its name.
      example: what it should look like.

    >>> list(assignment("seed=range(2)"))
    [{'seed': 0}, {'seed': 1}]

    Raises:
      FieldError: the text is not of that form.
    """
    path, equals, right = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", path.strip()):
        raise FieldError(flag, text, f"must look like {example}")
    return sweep.sweep(path.strip(), values(right, path.strip()))


def values(text: str, path: str = "set") -> list[object]:
    """The values that `text` lists.

    >>> values("logspace(-1, 1, 3)")
    [0.1, 1.0, 10.0]
    """
    text = text.strip()
    if call := _CALL.fullmatch(text):
        return _called(call[1], [_scalar(a, path) for a in call[2].split(",") if a.strip()], path)
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return [_scalar(item, path) for item in text.split(",")]


def _called(name: str, arguments: list, path: str) -> list:
    if not all(isinstance(a, (int, float)) and not isinstance(a, bool) for a in arguments):
        raise FieldError(path, arguments, f"{name} takes numbers")
    if name != "range":
        if len(arguments) != 3 or not isinstance(arguments[2], int):
            raise FieldError(path, arguments, f"{name} takes (start, stop, count)")
        return getattr(sweep, name)(*arguments)
    if not 1 <= len(arguments) <= 3 or not all(isinstance(a, int) for a in arguments) or 0 in arguments[2:]:
        raise FieldError(path, arguments, "range takes one to three whole numbers, the third not 0")
    start, stop, step = (0, *arguments, 1) if len(arguments) == 1 else (*arguments, 1)[:3]
    count = (stop - start + step - (1 if step > 0 else -1)) // step  # len() holds 63 bits
    if count > MAX_VALUES:
        raise FieldError(path, count, f"an axis has at most {MAX_VALUES:,} values")
    return list(range(start, stop, step))


def _scalar(text: str, path: str) -> object:
    text = text.strip()
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    if text.lower() in _LITERALS:
        return _LITERALS[text.lower()]
    if _WORD.fullmatch(text):
        return text
    raise FieldError(path, text, "must be numbers, words, a list, linspace(a,b,n), logspace(a,b,n) or range(n)")
