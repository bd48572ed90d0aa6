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
        (["--metric=loss <= .01", "--threshold=.5"], "threshold = 0.5: is said by the metric already, 'loss <= .01'"),
        (["--metric=accuracy"], "metric = 'accuracy': must look like 'loss <= 0.01'"),
        (["--metric=accuracy >= 2"], "threshold = 2.0: must be a number in [0, 1]"),
        (["--metric=r2 >= .5"], "metric = 'r2': has no curve train/r2 here: there are train/accuracy, test/accuracy"),
        (["--metric=ood/accuracy >= .5"], "metric = 'ood/accuracy': has no curve ood/accuracy here"),
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


def test_a_metric_by_name_is_drawn_where_no_accuracy_is_stored(
    phase_diagram, synthetic_results, losses_only, tmp_path, capfd
):
    axes = {"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]}
    flags = [f"--workdir={synthetic_results(axes, curves=losses_only).workdir}", f"--out={tmp_path / 'out'}"]
    assert "metric = 'accuracy': has no curve train/accuracy here" in refused(phase_diagram, *flags, capfd=capfd)
    assert phase_diagram(*flags, "--metric=loss <= .01") == 0
    written = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert {*written} == {"diagram.png", "diagram.svg", "diagram.txt", "diagram.csv", "report.html"}
    assert written["diagram.csv"].splitlines()[0].endswith(b",test_loss")
    assert "(four_phases): test loss ≤ 0.01 (first crossing), budget 1000" in written["diagram.txt"].decode()
