"""An edit of what a user's component computes makes new runs, however it reaches what was edited; others do not."""

import importlib
import sys
import textwrap
import threading

import jax.numpy as jnp
import pytest

import jaxgen as jg
import sweeps
from jaxgen import components, identity
from sweeps.cli import command
from sweeps.execution.plan import make_plan

HEAD = """
    import collections
    import dataclasses
    import enum
    import functools
    import typing
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
HALF = "HALF = 0.5\n"
STATIC_JIT = "@functools.partial(jax.jit, static_argnums=0)"
BLOCK = "class Block(nn.Module):\n    @nn.compact\n    def __call__(self, x): return 0.5 * x\n"
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
    "attribute put in later": style("", "self.c", after="Edited.c = 0.5\n"),
    "attribute of a function": style("def f(): return f.c\nf.c = 0.5"),
    "attribute put into a helper class": style("class H: pass\nH.c = 0.5", "H.c"),
    "class decorator": style("def put(cls):\n    cls.c = 0.5\n    return cls\n@put\nclass H: pass", "H.c"),
    "import in a class": style("class H:\n    from helper import SCALE", "H.SCALE", helper=HELPER),
    "module in a class": style("class H:\n    import helper", "H.helper.SCALE", helper=HELPER),
    "keyword of a class": style(
        "class B:\n    def __init_subclass__(cls, c): cls.c = c\nHALF = 0.5\nclass H(B, c=HALF): pass", "H.c"
    ),
    "attribute of a metaclass": style("class M(type):\n    c = 0.5\nclass H(metaclass=M): pass", "H.c"),
    "class in a class": style(f"{HALF}class H:\n    class I:\n        def f(self): return HALF", "H.I().f()"),
    "base of a class in a class": style("class B:\n    c = 0.5\nclass H:\n    class I(B): pass", "H.I.c"),
    "method under jit": style(f"{HALF}class H:\n    {STATIC_JIT}\n    def f(self): return HALF", "H().f()"),
    "method under lru_cache": style(f"{HALF}class H:\n    @functools.cache\n    def f(self): return HALF", "H().f()"),
    "static method under jit": style(
        f"{HALF}class H:\n    @staticmethod\n    @jax.jit\n    def f(): return HALF", "H.f()"
    ),
    "property under cache": style(
        f"{HALF}class H:\n    @property\n    @functools.cache\n    def f(self): return HALF", "H().f"
    ),
    "cached property": style(
        f"{HALF}class H:\n    @functools.cached_property\n    def f(self): return HALF\nH1 = H()", "H1.f"
    ),
    "setter of a property": style(
        f"{HALF}class H:\n    @property\n    def c(self): return self.d\n    @c.setter\n    def c(self, v):"
        " self.d = HALF * v\ndef f():\n    h = H()\n    h.c = 1.0\n    return h.c"
    ),
    "singledispatch": style(
        "@functools.singledispatch\ndef f(x): return 1.0\n@f.register\ndef _(x: int): return 0.5", "f(1)"
    ),
    "singledispatchmethod": style(
        f"{HALF}class H:\n    @functools.singledispatchmethod\n    def f(self, x): return HALF", "H().f(1)"
    ),
    "method under a decorator that is a class": style(
        f"{HALF}class D:\n    def __init__(self, f): self.f = f\n    def __get__(self, o, t=None):"
        " return lambda: self.f(o)\nclass H:\n    @D\n    def f(self): return HALF",
        "H().f()",
    ),
    "partial method": style(
        "class H:\n    def g(self, a): return a\n    f = functools.partialmethod(g, 0.5)", "H().f()"
    ),
    "attribute of a typing.NamedTuple": style("class T(typing.NamedTuple):\n    a: float = 1.0\n    c = 0.5", "T.c"),
    "default of a typing.NamedTuple": style("class T(typing.NamedTuple):\n    a: float = 0.5", "T().a"),
    "default of make_dataclass": style(
        "D = dataclasses.make_dataclass('D', [('a', float, dataclasses.field(default=0.5))])", "D().a"
    ),
    "default of a field": style(f"{HALF}@dataclasses.dataclass\nclass D:\n    a: float = HALF", "D().a"),
    "factory of a field": style(
        f"{HALF}@dataclasses.dataclass\nclass D:\n    a: list = dataclasses.field(default_factory=lambda: [HALF])",
        "D().a[0]",
    ),
    "dataclass with slots": style(
        f"{HALF}@dataclasses.dataclass(slots=True)\nclass D:\n    a: float = 1.0\n    def g(self): return HALF",
        "D().g()",
    ),
    "enumeration made by a call": style("E = enum.Enum('E', {'A': 0.5})", "E.A.value"),
    "flag": style("class E(enum.Flag):\n    A = 1\n    B = 2", "E.B.value", edit=("B = 2", "B = 4")),
    "network under remat": style(f"{BLOCK}N = nn.remat(Block)", "(N and 1.0)"),
    "network under nn.jit": style(f"@nn.jit\n{BLOCK}", "(Block and 1.0)"),
    "network under nn.vmap": style(
        f"{BLOCK}N = nn.vmap(Block, variable_axes={{'params': 0}}, split_rngs={{'params': True}})", "(N and 1.0)"
    ),
    "axes of nn.vmap": style(
        f"{BLOCK}N = nn.vmap(Block, variable_axes={{'params': 0}}, split_rngs={{'params': True}})",
        "(N and 1.0)",
        edit=("'params': True", "'params': False"),
    ),
    "method of a network under remat": style(
        f"{HALF}class N(nn.Module):\n    @nn.remat\n    @nn.compact\n    def __call__(self, x): return HALF * x",
        "(N and 1.0)",
    ),
    "helper called as a module of Python is": style("import this", "this.f()", this=HELPER, edit=("0.25", "0.2")),
    "mask of an array": style(
        "A = np.ma.array([0.5, 1.0], mask=[False, True])", "float(A.sum())", edit=("[False, True]", "[False, False]")
    ),
    "names in an array": style(
        "A = np.array([(0.5, 1.0)], dtype=[('a', float), ('b', float)])",
        "A['a'][0]",
        edit=("[('a', float), ('b', float)]", "[('b', float), ('a', float)]"),
    ),
    "array of a class of its own": style(
        "class T(np.ndarray):\n    def f(self): return 0.5\nA = np.ones(3).view(T)", "A.f()"
    ),
    "dictionary whose keys are attributes": style(
        "class D(dict):\n    __getattr__ = dict.__getitem__\nC = D(a=0.5)", "C.a"
    ),
    "text of an instance": style(f"{HALF}class H:\n    def __repr__(self): return str(HALF)", "float(repr(H()))"),
    "class made by a call": style("H = type('H', (), {'c': 0.5})", "H.c"),
    "class of a factory": style(
        "def make(c):\n    class H:\n        def f(self): return c\n    return H\nH = make(0.5)", "H().f()"
    ),
    "context manager": style(
        "import contextlib\n@contextlib.contextmanager\ndef half(): yield 0.5\ndef f():\n    with half() as c: return c"
    ),
    "schedule of optax": style("f = optax.piecewise_constant_schedule(1.0, {10: 0.5})", "f(3)"),
    "data frame": style("import pandas as pd\nD = pd.DataFrame({'a': [0.5]})", "float(D['a'][0])"),
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
    "an import that may be absent": style(
        "def f():\n    try:\n        import absent\n    except ImportError:\n        pass\n    return 0.5",
        edit=("pass", "pass  # none"),
    ),
    "what is printed": style(
        "import logging\nfrom rich.console import Console\nL, C = logging.getLogger('x'), Console()\n"
        "L.addHandler(logging.StreamHandler())\ndef f():\n    L.debug('a')\n    C.log('a')\n    return 0.5",
        edit=("return 0.5", "return (0.5)"),
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
        return components.type_name(command.load_file(str(folder / "own.py")).Edited)
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
        ("import pathlib", "float(pathlib.Path('x').open().read())", "reads what its source does not show"),
        ("import pandas as pd", "pd.read_csv('x')['a'][0]", "pandas.read_csv.* reads what its source does not show"),
        ("import gzip, pickle", "pickle.load(gzip.GzipFile('x'))", "pickle.load.* reads what its source"),
        ("import subprocess", "float(subprocess.check_output(['x']))", "subprocess.* reads what its source"),
        ("", "np.memmap('x')[0]", "memmap.* reads what its source does not show"),
        ("import os", "os.read(3, 4)[0]", "read.* reads what its source does not show"),
        ("import importlib.util", "importlib.util.spec_from_file_location('z', 'z.py')", "reads what its source"),
        ("import runpy", "runpy.run_path('z.py')['X']", "runpy.* reads what its source does not show"),
        ("", "float(input())", "reads what its source does not show"),
        ("import time", "time.time()", "reads what its source does not show"),
        ("def f():\n    import time\n    return time.time()", "f()", "reads what its source does not show"),
        ("def f():\n    from time import time as now\n    return now()", "f()", "reads what its source does not show"),
        ("def f():\n    import os\n    return float(os.environ['X'])", "f()", "reads what its source does not show"),
        ("def f():\n    import numpy as n\n    return n.random.rand()", "f()", "a state that all the program shares"),
        ("def f():\n    import numpy.random\n    return numpy.random.rand()", "f()", "a state that all the program"),
        ("import datetime", "datetime.datetime.now().year", "reads what its source does not show"),
        ("", "np.random.randn()", "a state that all the program shares, which no run can repeat"),
        ("import random", "random.random()", "a state that all the program shares, which no run can repeat"),
        ("", "np.random.default_rng().normal()", "has no seed, so that no run can repeat it"),
        ("N = 0\ndef f():\n    global N\n    N += 1\n    return N", "f()", "changes a global value"),
        ("f = np.frompyfunc(lambda x: 0.5 * x, 1, 1)", "f(1.0)", "cannot be followed: use jnp.vectorize"),
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


def test_values_that_a_component_changes_itself_are_refused(toy, tmp_path):
    files, _ = style("MEMO = {}\ndef f(): return MEMO.setdefault('a', 0.5)")
    (tmp_path / "own.py").write_text(files["own"])
    mine = toy.override({"loss": command.load_file(str(tmp_path / "own.py")).Edited()})
    with pytest.raises(jg.FieldError, match=r"Edited.*changes values that it uses.*functools\.cache"):
        make_plan(mine, sweeps.seeds(1))


def test_a_table_that_is_computed_once_is_no_change(toy, tmp_path):
    body = "class H:\n    @functools.cached_property\n    def c(self): return 0.5\nH1 = H()\n"
    files, _ = style(body + "@functools.cache\ndef f(): return H1.c")
    (tmp_path / "own.py").write_text(files["own"])
    mine = toy.override({"loss": command.load_file(str(tmp_path / "own.py")).Edited()})
    first, again = (make_plan(mine, sweeps.seeds(1)).run_ids for _ in range(2))
    assert first == again


def test_a_class_that_is_defined_again_trains_on(toy, tmp_path):
    (tmp_path / "own.py").write_text(style("", "0.5 * outputs.max()")[0]["own"])
    for seeds in (1, 2):  # as in a notebook whose first cells are run again
        mine = toy.override({"loss": command.load_file(str(tmp_path / "own.py")).Edited(), "training.steps": 20})
        results = sweeps.run(mine, sweeps.seeds(seeds), tmp_path / "out", width=1, devices=1)
    assert len(results.runs) == 2
