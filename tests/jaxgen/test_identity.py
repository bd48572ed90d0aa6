"""An edit of what a user's component computes makes new runs, however it reaches what was edited; others do not."""

import importlib
import sys
import textwrap
import threading

import jax.numpy as jnp
import pytest

import jaxgen as jg
import sweeps
from jaxgen import component, identity
from sweeps import command
from sweeps.plan import make_plan

HEAD = """
    import functools
    import flax.linen as nn
    import flax.struct
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    import jaxgen as jg
"""
LOSS = """
    @flax.struct.dataclass
    class Edited:
        def __call__(self, outputs, labels):
            return {} * outputs[:, 0]
"""
HELPER = "SCALE = 0.5\n\ndef f(x=1.0):\n    return 0.25 * x\n"


def style(before, used="f()", edit=("0.5", "0.75"), after="", **others):
    """Files by name: the component's own, `own.py`, which computes `used`, and `others`; and an edit of one of them."""
    main = textwrap.dedent(HEAD) + textwrap.dedent(before) + textwrap.dedent(LOSS).format(used) + textwrap.dedent(after)
    return {"own": main, **{name: textwrap.dedent(text) for name, text in others.items()}}, edit


STYLES = {
    "its own source": style("", "0.5"),
    "constant": style("HALF = 0.5", "HALF"),
    "function": style("def f(): return 0.5"),
    "function of a function": style("def g(): return 0.5\ndef f(): return g()"),
    "default argument": style("def f(x=0.5): return x"),
    "from helper import f": style("from helper import f", helper=HELPER, edit=("0.25", "0.2")),
    "import helper; helper.f": style("import helper", "helper.f()", helper=HELPER, edit=("0.25", "0.2")),
    "import helper as h; h.SCALE": style("import helper as h", "h.SCALE", helper=HELPER),
    "from package import module; module.f": style(
        "from package_a import inner", "inner.f()", package_a__inner=HELPER, edit=("0.25", "0.2")
    ),
    "import package.module": style("import package_b.inner", "package_b.inner.SCALE", package_b__inner=HELPER),
    "import of a module from a package in the function": style(
        "def f():\n    from package_c import inner\n    return inner.SCALE", package_c__inner=HELPER
    ),
    "import in the function": style("def f():\n    import helper\n    return helper.SCALE", helper=HELPER),
    "module as a whole": style("import helper", "getattr(helper, 'SCALE')", helper=HELPER),
    "helper of a helper": style(
        "import middle", "middle.f()", middle="import helper\nf = helper.f", helper=HELPER, edit=("0.25", "0.2")
    ),
    "jit": style("@jax.jit\ndef f(): return 0.5"),
    "jit in a helper": style("import helper", "helper.g()", helper="import jax\n@jax.jit\ndef g(): return 0.5"),
    "vmap": style("f = jax.vmap(lambda x: 0.5 * x)", "f(outputs)[:, 0]"),
    "partial": style("def g(a, b): return a * b\nf = functools.partial(g, b=0.5)", "f(1.0)"),
    "function of a partial": style("def g(a, b): return 0.5 * a * b\nf = functools.partial(g, b=2.0)", "f(1.0)"),
    "custom_jvp": style("@jax.custom_jvp\ndef f(x): return 0.5 * x\nf.defjvp(lambda p, t: (f(*p), t[0]))", "f(1.0)"),
    "derivative of custom_jvp": style(
        "@jax.custom_jvp\ndef f(x): return x\nf.defjvp(lambda p, t: (f(*p), 0.5 * t[0]))", "f(1.0)"
    ),
    "lru_cache": style("@functools.lru_cache\ndef f(): return 0.5"),
    "list": style("L = [1.0, [0.5]]", "L[1][0]"),
    "dict": style("D = {'a': 0.5}", "D['a']"),
    "set": style("S = {0.5, 2.0}", "min(S)"),
    "numpy array": style("A = np.array([0.5, 1.0])", "A[0]"),
    "numpy scalar": style("A = np.float32(0.5)", "A"),
    "jax array": style("A = jnp.array([0.5, 1.0])", "A[0]"),
    "long array": style("A = np.where(np.arange(5000) == 2500, 0.5, 0.0)", "A[2500]"),
    "closure of a factory": style("def make(c):\n    def g(): return c\n    return g\nf = make(0.5)"),
    "body of a factory": style("def make(c):\n    def g(): return 0.5 * c\n    return g\nf = make(1.0)"),
    "second of two lambdas": style("g = lambda: 1.0\nf = lambda: 0.5"),
    "two lambdas in one line": style("g, f = lambda: 1.0, lambda: 0.5"),
    "one name in two modules": style(
        "import one, two", "one.f() * two.f()", one="def f(): return 1.0", two="def f(): return 0.5"
    ),
    "dict of functions": style("def g(): return 0.5\nTABLE = {'g': g}", "TABLE['g']()"),
    "instance": style("class H:\n    def __init__(self, c): self.c = c\nH1 = H(0.5)", "H1.c"),
    "method of an instance": style("class H:\n    def c(self): return 0.5\nH1 = H()", "H1.c()"),
    "bound method": style(
        "class H:\n    def __init__(self, c): self.c = c\n    def get(self): return self.c\nf = H(0.5).get"
    ),
    "number of a class of its own": style("class Number(float): pass\nN = Number(0.5)", "N"),
    "instance with slots": style("class H:\n    __slots__ = ('c',)\nH1 = H()\nH1.c = 0.5", "H1.c"),
    "static method": style("class H:\n    @staticmethod\n    def f(): return 0.5", "H.f()"),
    "property": style("class H:\n    @property\n    def c(self): return 0.5", "H().c"),
    "base class": style("class Base:\n    c = 0.5\nclass H(Base): pass", "H.c"),
    "enumeration": style("import enum\nclass E(enum.Enum):\n    A = 0.5", "E.A.value"),
    "named tuple": style("import collections\nT = collections.namedtuple('T', 'a')(0.5)", "T.a"),
    "a closure in optax": style("f = optax.constant_schedule(0.5)", "f(0)"),
    "a flax module": style("N = nn.Dense(3, kernel_init=nn.initializers.constant(0.5))", "N.features"),
    "comprehension": style("HALF = 0.5", "sum([HALF for _ in range(2)])"),
    "value computed before": style("def g(): return 0.5\nHALF = g()", "HALF"),
    "changed by a later statement": style("D = {}", "D['a']", after="D['a'] = 0.5\n"),
    "method put in later": style("", "self.f()", after="Edited.f = lambda self: 0.5\n"),
}
SAME = {
    "comment": style("def f(): return 0.5", edit=("return 0.5", "return 0.5  # half")),
    "docstring": style('def f():\n    """Half."""\n    return 0.5', edit=("Half.", "A half.")),
    "layout": style("def f(): return 0.5", edit=("return 0.5", "return (0.5)")),
    "lines above": style("def f(): return 0.5", edit=("def f", "\n\ndef f")),
    "a function that it does not use": style("import helper", "helper.f()", helper=HELPER),
    "the axes of the sweep": style("def f(): return 0.5", after="axes = [1, 2]\n", edit=("[1, 2]", "[1, 2, 3]")),
    "a base experiment": style("def f(): return 0.5", after="base = (Edited(), 3)\n", edit=("3)", "4)")),
    "a local name like a global one": style(
        "axes = [1, 2]\ndef f():\n    axes = 0.5\n    return axes", edit=("[1, 2]", "[1]")
    ),
}


def name_of(files, folder):
    """The name of `Edited` in `own.py`, loaded anew from a folder of its own."""
    before, path = dict(sys.modules), list(sys.path)
    for name, text in files.items():
        package, _, inner = name.rpartition("__")
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / f"{inner}.py").write_text(text)
        if package:
            (folder / package / "__init__.py").write_text("")
    try:
        importlib.invalidate_caches()
        return component.type_name(command.load_file(str(folder / "own.py")).Edited)
    finally:
        for name in set(sys.modules) - set(before):
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
        sys.path[:] = path


def names_of(files, edit, folder):
    before, after = edit
    assert sum(text.count(before) for text in files.values()) >= 1
    edited = {name: text.replace(before, after) for name, text in files.items()}
    return [name_of(one, folder / str(i)) for i, one in enumerate((files, files, edited))]


@pytest.mark.parametrize("reach", STYLES)
def test_an_edit_is_noticed_however_it_is_reached(reach, tmp_path):
    first, again, edited = names_of(*STYLES[reach], tmp_path)
    assert first == again
    assert edited != first


@pytest.mark.parametrize("what", SAME)
def test_an_edit_that_changes_nothing_keeps_the_runs(what, tmp_path):
    first, again, edited = names_of(*SAME[what], tmp_path)
    assert first == again == edited


@pytest.mark.parametrize(
    ("before", "used", "said"),
    [
        ("", "open('x').read()", "reads what its source does not show"),
        ("", "eval('0.5')", "reads what its source does not show"),
        ("import pathlib", "float(pathlib.Path('x').read_text())", "read_text.* reads what its source does not show"),
        ("", "jnp.load('x.npy')", "reads what its source does not show"),
        ("exec('def f(): return 0.5')", "f()", "has no source"),
        ("", "np.load('x.npy')", "reads what its source does not show"),
        ("import os", "float(os.environ['X'])", "reads what its source does not show"),
        ("import threading\nLOCK = threading.Lock()", "(LOCK and 1.0)", "cannot be followed"),
        ("G = (i for i in range(3))", "next(G)", "cannot be followed"),
        ("", "(__import__('os') and 1.0)", "reads what its source does not show"),
        ("deep = []\nfor _ in range(100000): deep = [deep]", "len(deep)", "nested too deeply"),
    ],
)
def test_what_cannot_be_followed_is_refused(before, used, said, tmp_path):
    files, _ = style(before, used)
    with pytest.raises(jg.FieldError, match=said) as refused:
        name_of(files, tmp_path)
    assert "Edited" in refused.value.field


def test_a_file_edited_after_it_was_loaded_is_refused(tmp_path):
    file = tmp_path / "own.py"
    files, _ = STYLES["function"]
    file.write_text(files["own"])
    edited = command.load_file(str(file)).Edited
    file.write_text(files["own"].replace("0.5", "0.75"))
    with pytest.raises(jg.FieldError, match="edited since"):
        identity.fingerprint(edited)


def test_a_value_changed_in_a_notebook_is_noticed_also_under_jit(toy, tmp_path):
    files, _ = style("HALF = 0.5\n@jax.jit\ndef f(): return HALF")
    (tmp_path / "notebook.py").write_text(files["own"])
    notebook = command.load_file(str(tmp_path / "notebook.py"))
    mine, found = toy.override({"loss": notebook.Edited()}), []
    for half in (0.5, 0.0):
        notebook.HALF = half
        (run_id,) = make_plan(mine, sweeps.seeds(1)).run_ids
        found.append((run_id, float(mine.loss(jnp.ones((3, 2)), None)[0])))
    assert [value for _, value in found] == [0.5, 0.0]
    assert found[0][0] != found[1][0]
    text, notebook.HALF = mine.to_json(), 0.25
    with pytest.raises(jg.FieldError, match="what it is made of has changed"):
        jg.Experiment.from_json(text)


def test_the_name_does_not_depend_on_threads_or_what_was_looked_at_before(tmp_path):
    files, _ = STYLES["instance"]
    (tmp_path / "own.py").write_text(files["own"])
    edited, found = command.load_file(str(tmp_path / "own.py")).Edited, []
    threads = [threading.Thread(target=lambda: found.append(identity.fingerprint(edited))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
