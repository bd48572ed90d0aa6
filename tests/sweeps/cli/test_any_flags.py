"""Any flags of any program end well or in one line: never a traceback, a hang, or a text that is run."""

import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import Program

from jaxgen import FieldError
from sweeps.cli import command, foretold
from sweeps.execution import launch, plan
from sweeps.storage.workdir import Workdir

AXES = {"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]}
HOSTILE = [
    "=1+1",
    "$(touch evil)",
    "`touch evil`",
    "'; touch evil; '",
    "| touch evil",
    "__import__('os').system('touch evil')",
    "!!python/object/apply:os.system ['touch evil']",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "../../x",
    "-",
    "--",
    "%s%n",
    "a\nb",
    "\x1b[31m",
    "a" * 5000,
    "s3://",
    "file://",
    "nowhere://x/y",
    "~",
    "/dev/null",
    "/dev/full",
    "/proc/self/mem",
]
WORDS = [*AXES, "seed", "task.p", "final/test/accuracy", "test/accuracy", "loss <= 0.01", "mean", "retention", "0/2"]
NAMES = ["quickstart", "edge_of_stability", "smoke", "quick", "gke", "slurm", "gcloud", "v5e-8", "cpu", "four_phases"]
values = st.one_of(
    st.sampled_from([*HOSTILE, *WORDS, *NAMES]),
    st.one_of(st.integers(-3, 40), st.sampled_from([2**31, 2**63, 10**400]), st.floats()).map(str),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.lists(st.sampled_from([*WORDS, "0.5", "", ","]), max_size=3).map(",".join),
    st.tuples(st.sampled_from(WORDS), st.sampled_from(["0.1", "1", "", *HOSTILE])).map("=".join),
)


@pytest.fixture
def nothing_trained(monkeypatch):
    """Programs check what they are given, and train, trace and draw nothing."""

    def planned(base, points, workdir, *, name="sweep", definition=None, description="", changed=(), **options):
        launch._planned(base, points, Workdir.at(workdir), name, options)
        return None, None

    monkeypatch.setattr(plan, "rehearse", lambda template, seen: None)
    monkeypatch.setattr(plan, "MAX_RUNS", 500)
    monkeypatch.setattr(foretold, "show_plan", lambda *_: None)
    monkeypatch.setattr(command, "users_frames", lambda error: [])  # or the functions here are the user's

    def of(program):
        def drawn(results, out):
            options = program.module.chosen(results)
            results.phase_diagram(*program.module.axes(results, options["where"]), **options)

        for name, stand_in in (
            ("foresee", planned),
            ("show_parts", lambda *_: None),
            ("replay", lambda *_: ([], [])),
            ("draw", drawn),
        ):
            if hasattr(program.module, name):
                monkeypatch.setattr(program.module, name, stand_in)

    return of


PROGRAMS = {
    "status": ["{workdir}"],
    "doctor": ["{workdir}"],
    "merge": ["{workdir}"],
    "replay": ["--workdir={workdir}", "--run_id=x"],
    "phase_diagram": ["--workdir={workdir}"],
    "reproduce": ["--dry_run", "--recipe=edge_of_stability", "--scale=smoke", "--workdir=new"],
    "tpu_batch": [
        *("--recipe=quickstart", "--scale=smoke", "--target=gke", "--accelerator=v5e-1", "--shares=2"),
        *("--workdir=gs://bucket/x", "--image=a/b:1", "--out=out"),
    ],
}


@pytest.mark.parametrize("count", [25, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_any_flags_are_a_line_or_a_result(
    name, count, synthetic_results, nothing_trained, tmp_path, monkeypatch, capsys
):
    workdir = synthetic_results(AXES).workdir
    monkeypatch.chdir(tmp_path)
    program = Program(name)
    nothing_trained(program)
    flags = st.sampled_from(sorted(program._flags)).flatmap(
        lambda flag: st.one_of(
            values.map(lambda value: f"--{flag}={value}"), st.sampled_from([f"--{flag}", f"--no{flag}"])
        )
    )
    arguments = st.lists(st.one_of(flags, flags, flags, values), max_size=4)

    @settings(
        max_examples=count,
        deadline=datetime.timedelta(seconds=60),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        derandomize=True,
    )
    @given(arguments, st.booleans())
    def fuzz(given_flags, whole):
        if "--help" in given_flags:
            return
        begun = [text.format(workdir=workdir) for text in PROGRAMS[name]] if whole else []
        capsys.readouterr()
        code = program(*begun, *given_flags)
        said = capsys.readouterr().err
        assert code in (0, 1, 2, 75), said
        assert len(said.splitlines()) == (code == 2), said
        assert not list(tmp_path.rglob("evil"))

    fuzz()


literals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(literals | st.text(max_size=40), st.booleans())
def test_any_sweep_file_is_a_line(tmp_path_factory, thing, valid):
    file = tmp_path_factory.mktemp("sweeps") / "own.py"
    file.write_bytes((f"recipe = {thing!r}\n" if valid else str(thing)).encode("utf-8", "replace"))
    with pytest.raises(FieldError, match="sweep"):
        command.find_recipe(None, str(file), "quick")
