"""What phase_diagram.py refuses, in one line, before it draws."""

import pytest
from programs import Program, refused


@pytest.fixture(scope="module")
def phase_diagram():
    return Program("phase_diagram")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--levels=.1,.5"], "levels = '.1,.5': are of --contour"),
        (["--contour=train/accuracy", "--levels=.5,.1"], "levels = [0.5, 0.1]: must ascend"),
        (["--contour=train/accuracy", "--levels=.5,nan"], "must be finite numbers"),
        (["--bins=1000"], "bins = 1000: must be a whole number in [2, 100]"),
        (["--values=nope"], "unknown field nope"),
        (["--values=steps", "--statistic=nope"], "unknown field nope"),
        (["--statistic=variance"], "is of --values"),
        (["--where=task.p"], "where = 'task.p': must look like task.p=31"),
        (["--facet=task.p", "--pool=task.p"], "is the field of --facet"),
        (["--watch=nan"], "watch = nan"),
        (["--sustained=1000000"], "sustained = 1000000: is never met: these runs have at most 51 regular evaluations"),
        (["--sustained=52"], "sustained = 52: is never met"),
    ],
)
def test_diagrams_refuse_before_anything_is_drawn(phase_diagram, synthetic_results, arguments, said, tmp_path, capfd):
    results = synthetic_results({"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]})
    out = tmp_path / "out"
    assert said in refused(phase_diagram, f"--workdir={results.workdir}", f"--out={out}", *arguments, capfd=capfd)
    assert not out.exists() or not any(out.iterdir())


def test_a_place_that_cannot_be_written_is_named(phase_diagram, synthetic_results, tmp_path, capfd):
    results = synthetic_results({"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]})
    out = tmp_path / "file" / "x"
    out.parent.write_text("")
    assert refused(phase_diagram, f"--workdir={results.workdir}", f"--out={out}", capfd=capfd) == (
        f"error: {out}: Not a directory\n"
    )
