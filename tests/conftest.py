# ruff: noqa: E402 (caches are chosen before JAX is imported)
"""The whole suite runs under JAX's strict modes, on two CPU devices, with caches of its own."""

import atexit
import os
import shutil
import signal
import tempfile

import compiling


def own_folder(variable: str) -> None:
    os.environ[variable] = folder = tempfile.mkdtemp(prefix="jaxgen-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


own_folder("XDG_CACHE_HOME")
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers and the programs that tests start share what is compiled
    own_folder("JAX_COMPILATION_CACHE_DIR")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import fault_table
import jax
import pytest

import jaxgen as jg
from jaxgen import training
from sweeps.execution import compilations, engine

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
compilations.serve_all_devices()
compilations.keep_whole()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What is skipped for want of PyTorch or a browser would pass unseen on CI, which installs them: it fails there."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped, though CI=true: {call.excinfo.value}"
    return report


def pytest_addoption(parser):
    parser.addoption("--faults-page", metavar="FILE", help="put what trials of faults came to into the table of a page")


def pytest_terminal_summary(terminalreporter):
    fault_table.tell(terminalreporter)


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as under `nohup`: programs that tests start would ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if page := config.option.faults_page:
        config.pluginmanager.register(fault_table.Page(page))
    if "not slow" in config.option.markexpr:
        compiling.quicken()


@pytest.fixture(autouse=True)
def optimizations(request, monkeypatch):
    """What `optimized` tests train, and the programs they start, is compiled as people have it."""
    if request.node.get_closest_marker("optimized"):
        options = training.compiler_options() | compiling.OPTIMIZED
        monkeypatch.setattr(training, "compiler_options", lambda: options)
        monkeypatch.setattr(engine, "_PROGRAMS", {})
        monkeypatch.setenv("XLA_FLAGS", compiling.as_people_have_it()["XLA_FLAGS"])


@pytest.fixture(scope="session")
def toy() -> jg.Experiment:
    """The smallest experiment that does everything: 100 steps of (a + b) mod 7."""
    return jg.Experiment(
        task=jg.tasks.ModularAddition(p=7, train_fraction=0.6),
        model=jg.models.QuadraticMLP(width=12),
        loss=jg.losses.CrossEntropy(),
        optimizer=jg.optimizers.AdamW(learning_rate=0.01, weight_decay=0.1),
        training=jg.Training(steps=100, evaluate_every=10),
    )
