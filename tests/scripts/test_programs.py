"""The programs under one name, as `pip install .` gives them."""

import configparser
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.cli import programs
from sweeps.interruptible import is_program
from sweeps.report import provenance

ROOT = Path(__file__).parents[2]


def ran(*arguments, file=None, cwd=ROOT):
    called = [str(file)] if file else ["-m", "sweeps"]
    done = subprocess.run([sys.executable, *called, *arguments], cwd=cwd, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_without_a_program_they_are_listed_with_a_line_each(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/jaxgen", *arguments])
    programs.main()
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "jaxgen PROGRAM --flag=value …; flags: jaxgen PROGRAM --help"
    assert [line.split()[:2] for line in lines] == [["jaxgen", name] for name in programs.PROGRAMS]


@pytest.mark.parametrize("name", ["lunch", "--workdir=out", "launch_sweep"])
def test_a_program_that_is_none_is_one_line(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/somewhere/sweeps/__main__.py", name])
    with pytest.raises(SystemExit) as ended:
        programs.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err == f"error: there is no program {name!r}: python -m sweeps {'|'.join(programs.PROGRAMS)}\n"
    assert not said.out


def test_each_has_a_module_of_the_room_with_its_script():
    for module, _ in programs.PROGRAMS.values():
        assert (ROOT / "sweeps" / "cli" / f"{module}.py").is_file()
        assert (ROOT / "scripts" / f"{module}.py").is_file()
    known = {path.stem for path in (ROOT / "sweeps" / "cli").glob("*.py")} - {
        "__init__",
        "command",
        "foretold",
        "preflight",
        "programs",
    }
    assert known == {module for module, _ in programs.PROGRAMS.values()}


def test_the_console_program_is_what_setup_names():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, _, target = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    assert name == "jaxgen"
    assert getattr(importlib.import_module(module), function) is programs.main


def test_they_take_the_flags_of_the_scripts(tmp_path):
    flags = [
        "--recipe=quickstart",
        "--scale=smoke",
        f"--workdir={tmp_path / 'w'}",
        "--dry_run",
        "--set=training.stop_patience=0",
    ]
    (tmp_path / "jaxgen").write_text("from sweeps.cli.programs import main\nmain()\n")
    code, out, err = ran("launch", *flags, file=tmp_path / "jaxgen", cwd=tmp_path)
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("program 1 of 1 is compiled and timed")
    assert "nothing was trained" in out
    code, out, err = ran("diagram", f"--workdir={tmp_path / 'none'}", cwd=ROOT)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "holds no sweep" in err


def test_help_has_commands_that_work():
    code, out, _ = ran("reproduce", "--help")
    assert code in (0, 1)  # absl's
    assert "python -m sweeps reproduce --recipe=edge_of_stability --scale=quick" in out
    assert "scripts/" not in out
    assert "--stop_after_hours" in out


def test_captions_name_a_program_that_is_there(monkeypatch):
    results = SimpleNamespace(workdir=SimpleNamespace(absolute=lambda: "/w"), specification={})
    assert "scripts/replay.py --workdir=" in provenance.replay_command(results, "x")
    monkeypatch.setattr(provenance, "SCRIPT", Path("/nowhere/scripts/replay.py"))
    assert provenance.replay_command(results, "x").startswith("python -m sweeps replay --workdir=/")


@pytest.mark.parametrize(
    ("arguments", "original", "is_one"),
    [
        (["-m", "launch"], ["python", "-X", "dev", "-m", "sweeps", "launch"], True),
        (["-m"], ["python", "-msweeps"], True),
        (["/usr/bin/jaxgen", "launch"], ["python", "/usr/bin/jaxgen", "launch"], True),
        (["-m", "sweeps"], ["python", "-m", "mine", "sweeps"], False),
        (["mine.py"], ["python", "mine.py"], False),
        (["-c"], ["python", "-c", "import sweeps"], False),
        ([""], ["python"], False),
        ([], [], False),
    ],
)
def test_signals_are_taken_where_sweeps_is_the_program_only(arguments, original, is_one):
    assert is_program(arguments, original) == is_one
