"""Ctrl-C and `kill` at any moment of the programs as people run them."""

import glob
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sweeps
from sweeps import interruptible
from sweeps.cli import command
from sweeps.storage import store

ROOT = Path(__file__).parents[2]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}
SIGNALS = list(CODES)
OWN = """
import jaxgen as jg, sweeps
base = jg.Experiment(
    jg.tasks.ModularAddition(p=7, train_fraction=0.6), jg.models.QuadraticMLP(width=12), jg.losses.CrossEntropy(),
    jg.optimizers.AdamW(learning_rate=0.01), jg.Training(steps=30000, evaluate_every=100),
)
recipe = sweeps.Recipe(base, sweeps.product(sweeps.sweep("optimizer.weight_decay", [0.1, 1.0]), sweeps.seeds(2)))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks /proc when a program is reachable")


def signalled(name, arguments, number, delay=0.0, until=lambda: True):
    """Sends a signal so many seconds after its first statement, and not before `until`: code, stdout, stderr."""
    program = name.split() if " " in name else [str(ROOT / "scripts" / f"{name}.py")]
    arguments = [sys.executable, *program, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, cwd=ROOT, **pipes) as process:
        status = Path(f"/proc/{process.pid}/status")
        while not caught(status) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(delay)
        while not until() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def caught(status):
    """Whether the process handles SIGTERM, which Python itself does not."""
    return int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) >> (signal.SIGTERM - 1) & 1


def check(number, code, err):
    """One line about the signal, and nothing but progress beside it."""
    lines = [line for line in err.splitlines() if not re.match(r"\d+/\d+ runs ", line)]
    said = ["interrupted: the same command continues"], ["stopped: the same command continues"]
    assert code in (0, CODES[number]), err
    assert lines in (said if code else ([], *said)), err


@pytest.mark.parametrize("name", ["launch_sweep", "phase_diagram", "replay", "reproduce", "-m sweeps replay"])
def test_a_signal_during_imports_is_one_line(name):
    for number, delay in ((signal.SIGINT, 0), (signal.SIGTERM, 0.2)):
        code, out, err = signalled(name, ["--workdir=none", "--run_id=x"], number, delay)
        assert (code, out, err) == (CODES[number], "", "interrupted: the same command continues\n")


def test_a_signal_during_imports_of_the_installed_program_is_one_line(tmp_path):
    (tmp_path / "jaxgen").write_text("from sweeps.cli.programs import main\nmain()\n")  # as pip writes it
    code, out, err = signalled(f"-W ignore {tmp_path / 'jaxgen'}", ["launch"], signal.SIGINT)
    assert (code, out, err) == (130, "", "interrupted: the same command continues\n")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A sweep of 4 runs: the flags to launch it, a function that trains it here, and a workdir where that was done."""
    folder = tmp_path_factory.mktemp("signals")
    (folder / "own.py").write_text(OWN)
    recipe = command.find_recipe(None, str(folder / "own.py"), "quick")

    def train(workdir):
        sweeps.run(recipe.base, recipe.sweep, workdir, name="own", width=1, devices=2, quiet=True)
        return {row["run_id"]: repr({**row, "provenance": ""}) for row in store.read(workdir).to_pylist()}

    train(folder / "whole")
    flags = [f"--sweep={folder / 'own.py'}", "--width=1", "--devices=2", "--checkpoint_seconds=0.1"]
    return flags, train, folder / "whole"


def goes_on(own, workdir):
    """Whether the sweep that was stopped and is continued equals the one that never was, and leaves nothing behind."""
    _, train, whole = own
    left = [workdir / "inflight" / "*", workdir / "**" / "*.tmp"]
    return train(workdir) == train(whole) and not any(glob.glob(str(p), recursive=True) for p in left)


def test_a_sweep_that_was_signalled_goes_on_to_the_same_bits(own, tmp_path):
    codes = []
    blocks = lambda: set(glob.glob(str(tmp_path / "inflight" / "*.block")))  # noqa: E731
    for number in SIGNALS:
        before = blocks()
        in_training = lambda: blocks() - before  # noqa: B023, E731
        code, out, err = signalled("launch_sweep", [*own[0], f"--workdir={tmp_path}"], number, until=in_training)
        check(number, code, err)
        assert code == 0 or re.search(r"[0-3] of 4 runs are stored in .*: the same command continues", out)
        codes.append(code)
    assert codes[0] == 130
    assert goes_on(own, tmp_path)


def test_a_second_signal_does_not_wait():
    asked = []
    with interruptible.asked(asked.append):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert asked == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_after_the_last_word_changes_nothing(tmp_path):
    leaving = tmp_path / "leaving"
    slowly = f"import atexit, pathlib, time\natexit.register(lambda: (open({str(leaving)!r}, 'w'), time.sleep(0.5)))"
    (tmp_path / "own.py").write_text(f"{slowly}\n{OWN}")
    arguments = [f"--sweep={tmp_path / 'own.py'}", f"--workdir={tmp_path / 'none'}", "--seeds=0"]
    code, _, err = signalled("launch_sweep", arguments, signal.SIGINT, until=leaving.exists)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: seeds = 0")


def drawing(own, out):
    return [f"--workdir={own[2]}", "--x=optimizer.weight_decay", "--y=seed", f"--out={out}"]


def test_a_signal_while_figures_are_drawn_is_one_line(own, tmp_path):
    begun = (tmp_path / "diagram.png").exists
    code, _, err = signalled("phase_diagram", drawing(own, tmp_path), signal.SIGINT, until=begun)
    assert (code, err) == (130, "interrupted: the same command continues\n")


@pytest.mark.slow
def test_60_signals_at_random_moments(own, tmp_path):
    rng, codes, begun = random.Random(0), [], time.monotonic()
    signalled("launch_sweep", [*own[0], f"--workdir={tmp_path / 'timed'}"], signal.SIGTERM, until=lambda: False)
    seconds = time.monotonic() - begun
    for trial in range(60):
        workdir, number = tmp_path / str(codes.count(0)), SIGNALS[trial % 2]
        delay = rng.uniform(0, 1.1) * seconds
        code, _, err = signalled("launch_sweep", [*own[0], f"--workdir={workdir}"], number, delay)
        check(number, code, err)
        codes.append(code)
        assert code or goes_on(own, workdir)
    assert goes_on(own, workdir)
    assert set(codes) == {0, 75, 130}


@pytest.mark.slow
def test_20_signals_while_figures_are_drawn(own, tmp_path):
    rng = random.Random(0)
    for trial in range(20):
        number = SIGNALS[trial % 2]
        code, _, err = signalled("phase_diagram", drawing(own, tmp_path), number, rng.uniform(0, 12))
        check(number, code, err)
