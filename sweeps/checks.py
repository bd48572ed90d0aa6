"""Checks of what users give where types alone decide."""

from typing import Any

from jaxgen import FieldError


def check_type(field: str, value: Any, kind: type | tuple[type, ...], allowed: str) -> None:
    """FieldError where `value` is none of its kind."""
    if not isinstance(value, kind):
        raise FieldError(field, value, f"must be {allowed}")


def check_list(field: str, values: Any, kind: type, allowed: str) -> None:
    """FieldError where `values` is no list of one kind."""
    check_type(field, values, (list, tuple), f"a list of {allowed}")
    for value in values:
        check_type(field, value, kind, f"a list of {allowed}")
