"""The one error of every door: which field, which value, what is allowed."""

SHOWN = 200  # characters of a value in a message


class FieldError(ValueError):
    """A field holds a value that is not allowed: names the field, the value and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str):
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field} = {shown(value)}: {allowed}")

    def within(self, prefix: str) -> "FieldError":
        """The same error for a field of a part called `prefix`."""
        return FieldError(f"{prefix}.{self.field}", self.value, self.allowed)


def check_type(field: str, value: object, kind: type | tuple[type, ...], allowed: str) -> None:
    """FieldError where `value` is none of its kind."""
    if not isinstance(value, kind):
        raise FieldError(field, value, f"must be {allowed}")


def check_list(field: str, values: object, kind: type, allowed: str) -> None:
    """FieldError where `values` is no list of one kind."""
    if not isinstance(values, (list, tuple)):
        raise FieldError(field, values, f"must be a list of {allowed}")
    for value in values:
        check_type(field, value, kind, f"a list of {allowed}")


def shown(value: object) -> str:
    """A value on one line of a message; the middle of a long one is left out."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # whole numbers of thousands of digits, lists that hold themselves, what users wrote
        text = f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 4 :]}"


def first_line(error: BaseException) -> str:
    """An error's kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:SHOWN]}" if lines else type(error).__name__
