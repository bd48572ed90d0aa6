import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgen import FieldError
from sweeps.axes import grammar


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5", [0.5]),
        ("3", [3]),
        ("1e-3, 2", [0.001, 2]),
        ("[1, 2, 3]", [1, 2, 3]),
        ("linspace(.3,.7,5)", [0.3, 0.4, 0.5, 0.6, 0.7]),
        ("logspace( -2, 0, 3 )", [0.01, 0.1, 1.0]),
        ("range(3)", [0, 1, 2]),
        ("range(3, 9, 3)", [3, 6]),
        ("relu,tanh", ["relu", "tanh"]),
        ("Net#0544c55a", ["Net#0544c55a"]),
        ("true", [True]),
        ("none,32", [None, 32]),
        ("x^2+xy+y^2", ["x^2+xy+y^2"]),
    ],
)
def test_values(text, values):
    assert grammar.values(text) == values
    (point,) = {tuple(p) for p in grammar.assignment(f"a.b={text}")}
    assert point == ("a.b",)


@pytest.mark.parametrize(
    "text",
    [
        "a.b",
        "=3",
        "a b=3",
        "a=",
        "a=__import__('os')",
        "a=linspace(0,1)",
        "a=linspace(0,1,2.5)",
        "a=linspace(0,1,999999999)",
        "a=range(0)",
        "a=range(1,2,0)",
        "a=range(1.5)",
        "a=logspace(a,b,c)",
        "a=[1,2",
        "a=1;2",
        "a=open('x')",
        "a..b=1",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(FieldError):
        grammar.assignment(text)


@given(st.text(max_size=30))
def test_no_text_does_harm(text):
    with contextlib.suppress(FieldError):
        assert len(grammar.assignment(f"a={text}")) >= 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5, unique=True))
def test_every_float_is_read_back(values):
    assert grammar.values(",".join(map(repr, values))) == values
