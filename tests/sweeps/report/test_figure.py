import dataclasses
import doctest
import json
import re
import shlex
import shutil
from html import unescape
from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import LogNorm

from jaxgen import FieldError
from sweeps.axes import scales
from sweeps.diagrams.labels import FOUR_PHASES, LABELLINGS
from sweeps.diagrams.results import Results
from sweeps.report import caption, drawing, figure, provenance, style

FRACTION, DECAY, MASK = "task.train_fraction", "optimizer.weight_decay", "optimizer.decay_mask"
GRID = {FRACTION: [0.3, 0.5, 0.7], DECAY: [0.01, 0.1, 1.0]}
MASKS = ["all", "matrices", "no_embeddings"]


def texts(path):
    """What is printed in an SVG: matplotlib leaves it as a comment beside its outlines."""
    return [unescape(text) for text in re.findall(r"<!-- (.*?) -->", path.read_text(), re.DOTALL)]


def test_refuses_another_ending(synthetic_results, tmp_path):
    diagram = synthetic_results(GRID).phase_diagram(FRACTION, DECAY)
    with pytest.raises(FieldError, match=r"path = .*must end in \.png, \.svg or \.pdf"):
        diagram.plot(tmp_path / "diagram.bmp")


@pytest.mark.parametrize(("ending", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_same_diagram_gives_the_same_bytes_whatever_the_users_style(synthetic_results, tmp_path, ending, start):
    diagram = synthetic_results(GRID).phase_diagram(FRACTION, DECAY)
    paths = [tmp_path / f"{name}{ending}" for name in "ab"]
    diagram.plot(paths[0])
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        diagram.plot(paths[1])
        assert dict(matplotlib.rcParams) == before
    written = paths[0].read_bytes()
    assert written == paths[1].read_bytes()
    assert written.startswith(start)
    assert len(written) > 10_000


def test_legend_names_the_labels_that_are_there(synthetic_results, tmp_path):
    def kind(i, j, seed):
        return ("comprehension", "diverged", "undecided")[i] if j or seed else "confusion"

    diagram = synthetic_results(GRID, seeds=2, kind=kind).phase_diagram(FRACTION, DECAY)
    diagram.plot(tmp_path / "diagram.svg")
    found = texts(tmp_path / "diagram.svg")
    runs = diagram.counts.sum((0, 1))
    for index, name in enumerate(diagram.labelling.names):
        assert (f"{name} ({runs[index]} runs)" in found) == (runs[index] > 0), name
    assert "seeds disagree: 2nd label inside" in found
    assert {"not reached by step 1000 or", "earlier end"} <= {*found}  # the key is as narrow as its map
    assert "not watched to step 1000" in found
    assert "no runs" not in found


def test_prints_names_as_they_are(synthetic_results, tmp_path):
    name = "<script>alert(1)</script> $x_1$ \\frac{ \N{CJK UNIFIED IDEOGRAPH-7F51}\n end"
    diagram = synthetic_results({MASK: MASKS, DECAY: [0.1, 1.0]}, name=name).phase_diagram(MASK, DECAY)
    diagram.plot(tmp_path / "diagram.svg")
    source = (tmp_path / "diagram.svg").read_text()
    assert "<script" not in source
    assert any("$x_1$ \\frac{ □ end" in text for text in texts(tmp_path / "diagram.svg"))


EDGES = {
    "one cell": ({FRACTION: [0.5], DECAY: [1.0]}, lambda i, j, seed: "grokking"),
    "one row": ({FRACTION: [0.3, 0.5, 0.7], DECAY: [1.0]}, None),
    "one column": ({FRACTION: [0.5], DECAY: [0.1, 1.0]}, None),
    "texts": ({MASK: MASKS, "optimizer.decay_kind": ["coupled", "decoupled"]}, None),
    "a 0 beside a log sweep": ({FRACTION: [0.3, 0.5], DECAY: [0.0, 0.01, 0.1, 1.0]}, None),
    "cells without runs": (GRID, lambda i, j, seed: None if (i + j) % 2 else "grokking"),
    "never reached": (GRID, lambda i, j, seed: "memorisation"),
    "nothing but diverged": (GRID, lambda i, j, seed: "diverged"),
    "diverged and undecided": (GRID, lambda i, j, seed: ("diverged", "undecided")[seed]),
}


@pytest.mark.parametrize("case", EDGES)
def test_draws(synthetic_results, tmp_path, case):
    axes, kind = EDGES[case]
    synthetic_results(axes, kind=kind).phase_diagram(*axes).plot(tmp_path / "diagram.png")
    assert (tmp_path / "diagram.png").stat().st_size > 10_000


def test_not_reached_has_no_colour_of_a_time(synthetic_results):
    """Censored cells are hatched, and the scale spans the times that were reached."""

    def kind(i, j, seed):
        return "memorisation" if i == 0 else "comprehension" if i == 1 else "grokking"

    diagram = synthetic_results(GRID, kind=kind).phase_diagram(FRACTION, DECAY)
    times, (low, high) = style.colour_times(diagram)
    np.testing.assert_array_equal(np.isnan(times), np.isinf(diagram.median_time))
    assert (low, high) == (60, 700)
    with matplotlib.style.context(["default", drawing.STYLE]):
        drawn = figure._figure(diagram).axes[1].collections
    hatched = [c for c in drawn if c.get_hatch()]
    assert [len(c.get_paths()) for c in hatched] == [3]
    painted = [c for c in drawn if c.get_array() is not None]
    assert [len(c.get_paths()) for c in painted] == [6]


@pytest.mark.slow
def test_large_diagram(synthetic_results, tmp_path):
    axes = {FRACTION: np.linspace(0.2, 0.8, 60).tolist(), DECAY: np.geomspace(1e-4, 10, 60).tolist()}
    synthetic_results(axes, seeds=1).phase_diagram(FRACTION, DECAY).plot(tmp_path / "diagram.png")
    assert (tmp_path / "diagram.png").stat().st_size > 50_000


def test_colours_differ_in_grey():
    def lightness(colour):
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (red, green, blue)]
        return 116 * np.cbrt(np.dot((0.2126, 0.7152, 0.0722), linear)) - 16

    assert np.diff(sorted(lightness(label.colour) for label in FOUR_PHASES.labels)).min() > 7
    for labelling in LABELLINGS.values():
        assert np.diff(sorted(lightness(label.colour) for label in labelling.labels)).min() > 5
        assert max(lightness(label.ink) for label in labelling.labels) < 62


def test_examples_of_style():
    assert doctest.testmod(style).failed == 0
    assert doctest.testmod(scales).failed == 0


def test_the_replay_command_runs_in_any_directory(synthetic_results, tmp_path, monkeypatch):
    results = synthetic_results(GRID)
    held = results.specification | {"sources": [str(tmp_path / "own.py")]}
    (results.workdir / "sweep.json").write_text(json.dumps(held))
    monkeypatch.chdir(tmp_path)
    command = shlex.split(provenance.replay_command(Results(Path(results.workdir).name), "0123"))
    assert command[0] == "python"
    assert Path(command[1]).samefile(Path(caption.__file__).parents[2] / "scripts" / "replay.py")
    assert command[2:] == [f"--workdir={results.workdir}", f"--sweep={tmp_path / 'own.py'}", "--run_id=0123"]
    assert Path(command[1]).is_absolute()


def test_the_caption_tells_what_the_description_does_not(synthetic_results):
    axes = {FRACTION: [0.3, 0.4, 0.5, 0.6, 0.7], DECAY: [0.1, 1.0]}
    results = synthetic_results({**axes, "optimizer.learning_rate": [0.1, 0.2], "task.p": [5, 7]}, name="demo")
    held = results.specification | {"description": "mod 31", "changed": ["task.p", "optimizer.learning_rate", "nope"]}
    (results.workdir / "sweep.json").write_text(json.dumps(held))
    for p in (5, 7):
        diagram = results.phase_diagram(*axes, where={"task.p": p}, pool=["optimizer.learning_rate"])
        first, *_ = caption.caption(diagram).splitlines()
        assert first == f"demo: mod 31, with task.p = {p}; optimizer.learning_rate = 0.1, 0.2"
    held["changed"] = [FRACTION]
    (results.workdir / "sweep.json").write_text(json.dumps(held))
    first, *_ = caption.caption(diagram).splitlines()
    assert first == "demo: mod 31, with task.train_fraction = 0.3 … 0.7 (5 values)"


def test_runs_of_several_settings_in_a_cell_are_not_called_seeds(synthetic_results):
    results = synthetic_results(GRID, seeds=3)
    alone = caption.caption(results.phase_diagram(FRACTION, DECAY))
    assert "3 seeds per cell" in alone
    assert "draws of one kind" not in alone
    binned = results.phase_diagram(FRACTION, DECAY, bins=(2, None))
    said = caption.caption(binned)
    assert "3–6 runs per cell (" in said
    assert "differ in more than their seeds (3 in all)" in said
    assert style.cells_text(binned) == "3–6 runs per cell"


def test_the_caption_says_how_sure_the_figure_is_and_how_to_make_it_again(synthetic_results, tmp_path):
    def kind(i, j, seed):
        return "memorisation" if i == 0 else "comprehension" if i == 1 else "grokking"

    diagram = synthetic_results(GRID, seeds=3, kind=kind).phase_diagram(FRACTION, DECAY)
    diagram.plot(tmp_path / "diagram.png")
    said = (tmp_path / "diagram.txt").read_text()
    assert "27 runs over train fraction (3 values) and weight decay (3), 3 seeds per cell" in said
    assert str(diagram.definition) in said
    assert "comprehension 9, grokking 9, memorisation 9" in said
    assert "9 of 27 runs did not reach the threshold and are censored" in said
    low, high = diagram.probability_interval()
    assert f"± {np.mean(high - low) / 2:.2f} on average" in said
    assert f"inside: {diagram.boundary.area.value:.2f} [" in said
    assert f"replay.py --workdir={tmp_path / 'sweep'} --run_id={diagram.runs['run_id'][0]}" in said


def test_the_key_and_the_caption_speak_of_what_is_drawn(synthetic_results, tmp_path):
    def written(columns=2, **options):
        results.phase_diagram(FRACTION, DECAY, **options).plot(tmp_path / "d.svg", columns)
        return texts(tmp_path / "d.svg"), (tmp_path / "d.txt").read_text()

    results = synthetic_results(GRID, seeds=3, kind=lambda i, j, s: "grokking" if i > 1 else "confusion")
    found, said = written(gap=680)
    assert "P(generalise) = ½, 95 % band" in found
    assert "turns within one interval of gap" in found
    assert "Line (a and c): P(generalise) = ½" in said
    found, said = written(contour="train/accuracy")
    assert [text for text in found if "½" in text] == ["P(generalise) = ½, 95 % band"]  # in (c), where it is drawn
    assert not [text for text in found if "turns within" in text]
    assert "Line (c): P(generalise) = ½" in said
    assert "Contour: the largest train/accuracy" in said
    assert "Line, not drawn here: " in written(1, contour="train/accuracy")[1]
    shutil.rmtree(results.workdir)
    results = synthetic_results(GRID, seeds=3, kind=lambda *_: "grokking")
    assert not [text for text in written()[0] if text.startswith("P(generalise) =")]


def test_a_map_of_values_says_what_it_leaves_out(synthetic_results, tmp_path):
    kinds = ("grokking", "comprehension", "undecided", "diverged")
    kind = lambda i, j, s: kinds[min(j, 1)] if s else kinds[2 + j % 2]  # noqa: E731
    diagram = synthetic_results(GRID, seeds=3, kind=kind).phase_diagram(FRACTION, DECAY)
    times = diagram.value_map("test_time")
    times.plot(tmp_path / "values.svg")
    said = (tmp_path / "values.txt").read_text()
    assert "mean over the seeds of a cell of test_time." in said
    assert "27 runs over train fraction (3) and weight decay (3), 3 seeds per cell" in said
    assert "9 runs without a value; 3 runs diverged; 6 runs undecided." in said
    assert f"Definition: {diagram.definition}." in said
    assert "6 runs undecided" in " ".join(texts(tmp_path / "values.svg"))
    cells = times.cell_table()
    assert cells["undecided"].tolist() == [1] * 3 + [0] * 3 + [1] * 3
    assert cells["diverged"].tolist() == [0] * 3 + [1] * 3 + [0] * 3
    assert cells["left_out"].tolist() == [1] * 9
    times.to_csv(tmp_path / "values.csv")
    assert (tmp_path / "values.csv").read_text().startswith(f"{FRACTION},{DECAY},seeds,diverged,undecided,count,")
    plain = diagram.source.value_map(FRACTION, DECAY, "steps")
    plain.plot(tmp_path / "values.svg", "variance")
    said = (tmp_path / "values.txt").read_text()
    assert "3 runs diverged" in said
    assert not [word for word in ("undecided", "Definition", "without a value") if word in said]
    for name in ("susceptibility", "binder_low"):
        with pytest.raises(FieldError, match=rf"{name}': needs cells with 16 values or more: here they have 3 at most"):
            plain.plot(tmp_path / "values.svg", name)


@pytest.mark.parametrize(
    ("values", "logarithmic"), [((1, 5, 101), True), ((1, 5, 99), False), ((0, 5, 1000), False), ((-1, 2, 300), False)]
)
def test_values_over_decades_are_shown_by_their_logarithm(synthetic_results, values, logarithmic):
    diagram = synthetic_results(GRID, seeds=1).phase_diagram(FRACTION, DECAY)
    runs = diagram.runs.assign(mine=np.array(values, float)[diagram.runs["cell"] % 3])
    with matplotlib.style.context(["default", drawing.STYLE]):
        drawn = figure._values(dataclasses.replace(diagram, runs=runs).value_map("mine"), "mean")
    (painted,) = (c for c in drawn.axes[0].collections if c.get_array() is not None)
    assert isinstance(painted.norm, LogNorm) == logarithmic


def test_the_figure_names_the_metric_and_its_decades(synthetic_results, losses_only, tmp_path):
    diagram = synthetic_results(GRID, curves=losses_only).phase_diagram(FRACTION, DECAY, metric="loss <= .01")
    diagram.plot(tmp_path / "d.svg")
    found = texts(tmp_path / "d.svg")
    assert "definition: test loss ≤ 0.01 (first crossing)" in " ".join(found)
    assert "loss" in found
    assert not [text for text in found if "accuracy" in text]
    assert "test loss ≤ 0.01" in (tmp_path / "d.txt").read_text()
    assert "accuracy" not in (tmp_path / "d.txt").read_text()
    with matplotlib.style.context(["default", drawing.STYLE]):
        curves = figure._figure(diagram).axes[6]
    assert curves.get_yscale() == "log"
    low, high = curves.get_ylim()
    values = [diagram.curves[name] for name in ("train/loss", "test/loss")]
    assert 0.5 * np.nanmin(values) < low < np.nanmin(values) < np.nanmax(values) < high < 2 * np.nanmax(values)
    assert curves.lines[0].get_ydata()[0] == 0.01


def test_the_figure_of_another_split_names_it(synthetic_results, tmp_path):
    ood = lambda train, test: {"train/accuracy": train, "ood/accuracy": test}  # noqa: E731
    diagram = synthetic_results(GRID, curves=ood).phase_diagram(FRACTION, DECAY, metric="ood/accuracy >= .9")
    diagram.plot(tmp_path / "d.svg")
    found = " ".join(texts(tmp_path / "d.svg"))
    assert "train (dashed) and ood (solid)" in found
    assert "median step at threshold (ood)" in found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.1, 0.2), (0.01, 0.2, False)),
        ((0.0, 0.002, 2.0), (0.002, 2.0, True)),  # what is 0 lies below the axis
        ((-1.0, 0.5), (-1.0, 0.5, False)),
        ((np.inf, np.nan), (0.01, 1.01, False)),
    ],
)
def test_curves_go_from_the_least_to_the_largest_of_their_values_and_threshold(synthetic_results, values, expected):
    curves = lambda train, test: dict.fromkeys(("train/loss", "test/loss"), np.resize(values, len(test)))  # noqa: E731
    diagram = synthetic_results(GRID, curves=curves).phase_diagram(FRACTION, DECAY, metric="loss <= .01")
    assert style.curve_span(diagram) == pytest.approx(expected)


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_figure_of_one_column(synthetic_results, tmp_path, ending):
    diagram = synthetic_results(GRID, seeds=2).phase_diagram(FRACTION, DECAY)
    diagram.plot(tmp_path / f"d{ending}", columns=1)
    if ending == ".png":
        assert matplotlib.image.imread(tmp_path / "d.png").shape[1] == 680  # 3.4 inches
    with pytest.raises(FieldError, match="columns = 3"):
        diagram.plot(tmp_path / "d.png", columns=3)


def test_curves_are_summed_up_where_more_than_half_of_the_runs_are_seen():
    steps = np.array([[0.0, 10, 20], [0.0, 10, np.nan], [0.0, 20, np.nan]])
    values = np.array([[0.0, 0.4, 0.8], [0.2, 0.6, np.nan], [0.4, 1.0, np.nan]])
    at, (middle,) = style.quantiles(steps, values, (0.5,))
    np.testing.assert_array_equal(at, [0, 10, 20])
    np.testing.assert_allclose(middle, [0.2, 0.5, 0.8])  # the second has ended at .6
    at, _ = style.quantiles(steps[:, :2], values[:, :2], (0.5,))
    np.testing.assert_array_equal(at, [0, 10, 20])


def test_a_run_that_has_ended_keeps_its_last_value_in_the_median():
    steps = np.array([[0.0, 10, np.nan, np.nan], [0.0, 10, 20, 30], [0.0, 10, 20, 30]])
    values = np.array([[0.0, 1.0, np.nan, np.nan], [0.0, 0.1, 0.2, 0.9], [0.0, 0.3, 0.4, 0.95]])
    at, (middle,) = style.quantiles(steps, values, (0.5,))
    np.testing.assert_array_equal(at, [0, 10, 20, 30])
    np.testing.assert_allclose(middle, [0, 0.3, 0.4, 0.95])  # of three, also where one has ended


@pytest.mark.parametrize(("seeds", "told"), [(1, "(no interval: 1 seed)"), (2, "(no interval: 2 seeds)"), (3, "[")])
def test_an_area_of_too_few_seeds_has_no_interval(synthetic_results, seeds, told):
    diagram = synthetic_results(GRID, seeds=seeds).phase_diagram(FRACTION, DECAY)
    assert f" {told}" in style.area_text(diagram.boundary, "{:.3f}")
