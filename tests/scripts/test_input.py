"""What the programs refuse, and how: at once, in one line, with exit code 2, writing nothing."""

import errno
import os
import sys
import sysconfig
from pathlib import Path

import pytest
from programs import Program, refused

import sweeps
from jaxgen import FieldError
from sweeps.cli import command
from sweeps.execution import pilot, plan
from sweeps.studies import refine
from sweeps.studies.run import foresee

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="about files of Linux")
FOLDERS = "stdlib", "platstdlib", "purelib", "platlib"
RECIPE = "--recipe=quickstart", "--scale=smoke"


@pytest.fixture(scope="module")
def launch_sweep():
    return Program("launch_sweep")


@pytest.fixture(scope="module")
def reproduce():
    return Program("reproduce")


@pytest.mark.parametrize("dry", [[], ["--dry_run"]])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds=1000000000"], "seeds = 1000000000: an axis has at most 1,000,000 values"),
        (
            ["--set=seed=range(99999999999999999999999)"],
            "99999999999999999999999: an axis has at most 1,000,000 values",
        ),
        (["--set=seed=range(1000000)"], "has 9,000,000 points, at most 2,000,000"),
        (["--set=task.train_fraction=linspace(0,1,1000000000)"], "count = 1000000000: an axis has at most 1,000,000"),
        (["--set=task.train_fraction=linspace(0,inf,3)"], "linspace = inf: must be a number in"),
        (["--set=seed=" + "9" * 400], "must be at most 3.4e+38"),
        (["--set=task=ModularAddition"], "is a whole component: --set gives numbers and words"),
        (["--set=task=31"], "is a whole component"),
        (["--set=training.probes=[loss]"], "training.probes = None: is a list: --set gives numbers and words"),
        (["--set=optimizer.weight_decay=0.1,0.100000000001"], "are the same number in float32"),
        (["--set=training.steps=2147483647", "--set=training.evaluate_every=1"], "2,147,483,647 evaluations"),
        (["--stop_after_hours=nan"], "stop_after_hours = nan: must be a number above 0"),
        (["--stop_after_hours=inf"], "stop_after_hours = inf: must be a number above 0, at most 1e+09"),
        (["--checkpoint_seconds=nan"], "checkpoint_seconds = nan"),
        (["--checkpoint_seconds=inf"], "checkpoint_seconds = inf"),
        (["--devices=99"], "devices = 99: must be a whole number in [1, 2]"),
        (["--width=1000000000"], "width = 1000000000: must be a whole number in [1, 65536]"),
        (["--key=3"], "key = 3: goes with --refine=X,Y only"),
        (["--noon_grid"], "goes with --refine=X,Y only"),
    ],
)
def test_launch_and_dry_run_refuse_the_same(launch_sweep, dry, arguments, said, tmp_path, capfd):
    workdir = tmp_path / "none"
    assert said in refused(launch_sweep, *RECIPE, *arguments, *dry, f"--workdir={workdir}", capfd=capfd)
    assert not workdir.exists()


@pytest.mark.parametrize("dry", [[], ["--dry_run"]])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget=100000000"], "budget = 100000000: must be a whole number of at least 1, at most 100,000"),
        (["--seeds=3"], "--refine gives each point seeds of its own"),
        (["--set=seed=3"], "--refine gives each point seeds of its own"),
        (["--goal=nan"], "goal = nan"),
        (["--stop_after_hours=nan"], "stop_after_hours = nan"),
    ],
)
def test_refinement_refuses_the_same_in_a_dry_run(launch_sweep, dry, arguments, said, tmp_path, capfd):
    workdir, line = tmp_path / "none", "--refine=task.train_fraction,optimizer.weight_decay"
    assert said in refused(launch_sweep, *RECIPE, line, *arguments, *dry, f"--workdir={workdir}", capfd=capfd)
    assert not workdir.exists()


@pytest.mark.parametrize("workdir", ["/", ".", "~", "project", "above"])
def test_directories_that_hold_other_things_are_refused(launch_sweep, workdir, capfd):
    project = Path(plan.__file__).parents[2]
    places = {"~": Path.home(), "project": project, "above": project.parent}
    flag = f"--workdir={places.get(workdir, workdir)}"
    assert "must be a directory of its own" in refused(launch_sweep, *RECIPE, flag, "--dry_run", capfd=capfd)


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ([], []),
        (["--seeds=5", "--set=task.p=31", "--set=split_seed=3"], []),
        (["--set=task.p=7", "--set=optimizer.weight_decay=1,2"], ["optimizer.weight_decay", "task.p"]),
        (["--set=task.p=7", "--refine=task.train_fraction,optimizer.weight_decay"], ["task.p"]),
    ],
)
def test_what_set_changes_of_a_recipe_is_kept_for_captions(launch_sweep, arguments, changed, monkeypatch, tmp_path):
    given = {}

    def run(*_, **options):
        given.update(options)
        raise FieldError("nothing", None, "is trained")

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(refine, "run", run)
    assert launch_sweep(*RECIPE, *arguments, f"--workdir={tmp_path / 'none'}") == 2
    assert given["changed"] == changed
    assert given["description"] == "Two-layer quadratic network on (a + b) mod 31"


@pytest.mark.parametrize("dry", [[], ["--dry_run"]])
@pytest.mark.parametrize("line", [[], ["--refine=task.train_fraction,optimizer.weight_decay"]])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        pytest.param("/proc/x", "/proc cannot be written (No such file or directory): use another", marks=ON_LINUX),
        pytest.param("/dev/null", "is a file: it must be a directory", marks=ON_LINUX),
        pytest.param("/dev/null/x", "/dev/null cannot be written (Not a directory): use another", marks=ON_LINUX),
        ("x" * 300, "cannot be written (File name too long): use another directory"),
        ("nowhere", "is a file: it must be a directory"),
        ("runs", "its runs must be a directory: move {}/runs away"),
        ("damaged", "its damaged must be a directory: move {}/damaged away"),
        ("lock", "its lock must be a file: move {}/lock away"),
    ],
)
def test_places_that_cannot_hold_a_sweep_are_refused(launch_sweep, dry, line, place, said, tmp_path, capfd):
    workdir = tmp_path / place
    if place == "nowhere":
        workdir.symlink_to(tmp_path / "none")
    elif place == "lock":
        (workdir / place).mkdir(parents=True)
    elif place in ("runs", "damaged"):
        workdir.mkdir()
        (workdir / place).write_text("")
    before = sorted(tmp_path.rglob("*"))
    error = refused(launch_sweep, *RECIPE, *line, *dry, f"--workdir={workdir}", capfd=capfd)
    assert error.startswith(f"error: workdir = '{workdir}': ") or len(place) > 200
    assert said.format(workdir) in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("folder", ["", "runs", "inflight", "damaged"])
def test_places_that_are_read_only_are_refused(launch_sweep, folder, monkeypatch, tmp_path, capfd):
    (tmp_path / folder).mkdir(exist_ok=True)
    make = os.mkdir

    def mkdir(path, *mode):
        if Path(path).parent == tmp_path / folder:  # root could write anywhere
            raise PermissionError(errno.EACCES, "Permission denied", path)
        make(path, *mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    said = f"{tmp_path / folder} cannot be written (Permission denied): use another directory"
    assert said in refused(launch_sweep, *RECIPE, "--dry_run", f"--workdir={tmp_path}", capfd=capfd)


@pytest.mark.parametrize("wrong", [{"definition": {"gap": -1}}, {"name": "a\nb"}, {"name": 3}, {"definition": [1]}])
@pytest.mark.parametrize("begin", [sweeps.run, foresee])
def test_names_and_definitions_are_checked_before_a_dry_run_too(begin, wrong, toy, tmp_path):
    with pytest.raises(FieldError, match=next(iter(wrong))[:3] + "|gap"):
        begin(toy, sweeps.seeds(1), tmp_path / "none", **wrong)
    assert not (tmp_path / "none").exists()


BROKEN = """import jaxgen as jg
import sweeps


def half(n):
    return n / 0


half(3)
"""


def test_an_error_in_a_users_file_shows_their_own_lines(launch_sweep, tmp_path, capfd):
    file = tmp_path / "broken.py"
    file.write_text(BROKEN)
    assert launch_sweep(f"--sweep={file}", f"--workdir={tmp_path / 'none'}") == 2
    assert capfd.readouterr().err.splitlines() == [
        f'  File "{file}", line 9, in <module>',
        "    half(3)",
        f'  File "{file}", line 6, in half',
        "    return n / 0",
        f"error: sweep = '{file}': cannot be run: ZeroDivisionError: division by zero",
    ]
    file.write_text("recipe = (\n")
    assert launch_sweep(f"--sweep={file}", f"--workdir={tmp_path / 'none'}") == 2
    assert "'(' was never closed" in capfd.readouterr().err
    file.write_text("import sys\nsys.exit(0)\n")
    assert launch_sweep(f"--sweep={file}", f"--workdir={tmp_path / 'none'}") == 2
    assert "SystemExit" in capfd.readouterr().err


FAILING = """import flax.struct
import jaxgen as jg
import sweeps


@flax.struct.dataclass
class Odd:
    def __call__(self, outputs, labels):
        return outputs.nonsense(labels)


base = jg.Experiment(jg.tasks.ModularAddition(p=5), jg.models.MLP(width=4), Odd(), jg.optimizers.SGD())
recipe = sweeps.Recipe(base, sweeps.seeds(1))
"""


def test_an_error_in_a_users_component_shows_their_own_lines(launch_sweep, tmp_path, capfd):
    file = tmp_path / "failing.py"
    file.write_text(FAILING)
    assert launch_sweep(f"--sweep={file}", f"--workdir={tmp_path / 'none'}", "--dry_run") == 2
    frame, line, error = capfd.readouterr().err.splitlines()
    assert frame == f'  File "{file}", line 9, in __call__'
    assert line == "    return outputs.nonsense(labels)"
    assert error.startswith("error: loss = 'Odd': fails on the outputs of MLP: AttributeError: ")


ENDING = FAILING.replace("return outputs.nonsense(labels)", "raise ENDING(0)")


@pytest.mark.parametrize(("ending", "code"), [("SystemExit", 2), ("KeyboardInterrupt", 130)])
def test_a_component_cannot_end_the_program_as_if_all_were_done(launch_sweep, ending, code, tmp_path, capfd):
    file = tmp_path / "ending.py"
    file.write_text(ENDING.replace("ENDING", ending))
    assert launch_sweep(f"--sweep={file}", f"--workdir={tmp_path / 'none'}", "--dry_run") == code
    said = capfd.readouterr().err.splitlines()
    if code == 2:
        assert said[0] == f'  File "{file}", line 9, in __call__'
        assert said[-1] == "error: loss = 'Odd': fails on the outputs of MLP: SystemExit: 0"
    else:
        assert said == ["interrupted"]  # a dry run has nothing to continue


def test_a_users_code_cannot_end_the_program_at_any_other_place(tmp_path, monkeypatch, capfd):
    (tmp_path / "leaves.py").write_text("import sys\n\n\ndef leave():\n    sys.exit()\n")
    leave = command.load_file(str(tmp_path / "leaves.py")).leave
    program = Program("launch_sweep")
    monkeypatch.setattr(program.module, "main", leave)
    assert program(*RECIPE, f"--workdir={tmp_path / 'none'}") == 2
    frame, _, error = capfd.readouterr().err.splitlines()
    assert (frame, error) == (f'  File "{tmp_path / "leaves.py"}", line 5, in leave', "error: SystemExit")


def test_frames_of_libraries_are_not_the_users_where_the_environment_is_a_link(tmp_path, monkeypatch):
    library = tmp_path / "environment" / "library.py"
    library.parent.mkdir()
    library.write_text("def fail():\n    raise ArithmeticError\n")
    (tmp_path / "link").symlink_to(library.parent)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: dict.fromkeys(FOLDERS, str(tmp_path / "link")))
    for place in (tmp_path / "link", library.parent):
        names: dict = {}
        exec(compile(library.read_text(), str(place / "library.py"), "exec"), names)
        with pytest.raises(ArithmeticError) as caught:
            names["fail"]()
        assert [frame.name for frame in command.users_frames(caught.value)] == [caught.traceback[0].name]


def test_the_dry_run_tells_of_the_width_that_is_asked_for(launch_sweep, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(pilot, "SECONDS", 0.1)
    assert launch_sweep(*RECIPE, "--dry_run", "--width=6", "--devices=1", f"--workdir={tmp_path / 'none'}") == 0
    row = next(line for line in capfd.readouterr().out.splitlines() if line.startswith("│ the only program "))
    assert [cell.strip() for cell in row.strip("│").split("│")][2] == "6"


def test_reproduce_refuses_the_same_in_a_dry_run(reproduce, tmp_path, capfd):
    flags = "--recipe=edge_of_stability", "--scale=smoke", f"--workdir={tmp_path / 'none'}"
    for dry in ([], ["--dry_run"]):
        assert "stop_after_hours = nan" in refused(reproduce, *flags, *dry, "--stop_after_hours=nan", capfd=capfd)
        assert "1,000,000 values" in refused(reproduce, *flags, *dry, "--seeds=1000000000", capfd=capfd)
        assert "devices = 99" in refused(reproduce, *flags, *dry, "--devices=99", capfd=capfd)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dry_run", "--for=v5litepod-8"], "for = 'v5litepod-8': did you mean v5e-8?"),
        (["--for=v5e-8"], "for = 'v5e-8': goes with --dry_run only"),
        (["--dry_run", "--price_per_hour=2"], "price_per_hour = 2.0: is of an accelerator's chip"),
        (["--dry_run", "--for=h100", "--price_per_hour=nan"], "price_per_hour = nan: must be a number of at least 0"),
        (["--max_hours=nan"], "max_hours = nan: must be a number above 0"),
        (["--max_memory=0"], "max_memory = 0.0: must be a number above 0"),
    ],
)
def test_what_is_asked_for_another_machine_is_refused_in_a_line(launch_sweep, arguments, said, tmp_path, capfd):
    assert said in refused(launch_sweep, *RECIPE, f"--workdir={tmp_path / 'none'}", *arguments, capfd=capfd)
