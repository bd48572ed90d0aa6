"""The one error of every door: which field, which value, what is allowed."""

from typing import Any


class FieldError(ValueError):
    """A field holds a value that is not allowed: names the field, the value and what is allowed."""

    def __init__(self, field: str, value: Any, allowed: str):
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field} = {value!r}: {allowed}")

    def within(self, prefix: str) -> "FieldError":
        """The same error for a field of a part called `prefix`."""
        return FieldError(f"{prefix}.{self.field}", self.value, self.allowed)
