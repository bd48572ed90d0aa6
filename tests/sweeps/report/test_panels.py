"""Panels of several diagrams."""

import matplotlib.image
import matplotlib.style
import numpy as np
import pytest
from matplotlib.colors import LogNorm

from jaxgen import FieldError
from sweeps.report import drawing, style
from sweeps.report.panels import _figure, aligned, draw_panels

FRACTION, DECAY, MASK = "task.train_fraction", "optimizer.weight_decay", "optimizer.decay_mask"
AXES = {FRACTION: [0.3, 0.5, 0.7], DECAY: [0.01, 0.1, 1.0], MASK: ["all", "matrices", "no_embeddings"]}
KINDS = ("grokking", "memorisation", "diverged")


@pytest.fixture
def panels(synthetic_results):
    results = synthetic_results(AXES, seeds=2, kind=lambda i, j, _, seed: KINDS[i if seed else j])
    options = {"contour": "train/accuracy", "levels": (0.2, 0.9)}
    return {m: results.phase_diagram(FRACTION, DECAY, where={MASK: m}, **options) for m in AXES[MASK]}


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_every_number_of_panels_is_drawn_the_same_each_time(panels, tmp_path, ending):
    for count in (1, 3):
        some = dict(list(panels.items())[:count])
        for name in ("a", "b"):
            draw_panels(some, tmp_path / f"{name}.{ending}")
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    if ending == "png":
        picture = matplotlib.image.imread(tmp_path / "a.png")
        assert picture.shape[1] == 1400
        assert (np.ptp(picture[..., :3], axis=(0, 1)) > 0.5).all()


def test_the_values_of_a_single_diagram_stand_on_its_right(panels):
    name, diagram = next(iter(panels.items()))
    with matplotlib.style.context(["default", drawing.STYLE]):
        phases, values, *_ = _figure(aligned({name: diagram})).axes
        above, below, *_ = _figure(aligned(panels)).axes
    one, other = phases.get_position(), values.get_position()
    assert one.y0 == other.y0
    assert one.x1 < other.x0 < other.x1 <= 1 - drawing.MARGIN / drawing.WIDTH + 1e-9
    assert other.x1 > 0.95
    assert above.get_position().x0 == below.get_position().x0
    assert [axes.get_ylabel() for axes in (phases, values)] == ["weight decay", ""]


def test_axes_of_the_same_field_are_told_apart(synthetic_results):
    paths = "training.dtype", "loss.dtype"
    results = synthetic_results({path: ["float32", "float64"] for path in paths}, seeds=1)
    diagram = results.phase_diagram(*paths)
    assert [axis.label for axis in diagram.axes] == ["training dtype", "loss dtype"]
    assert {*diagram.to_xarray().dims} == {"training_dtype", "loss_dtype"}
    other = results.phase_diagram("loss.dtype", "seed", pool=paths[:1])
    assert [axis.label for axis in other.axes] == ["dtype", "seed"]


def test_panels_show_the_last_values_of_their_metric(synthetic_results, losses_only, tmp_path):
    both = lambda train, test: {**losses_only(train, test), "train/accuracy": train, "test/accuracy": test}  # noqa: E731
    results = synthetic_results(AXES, seeds=1, kind=lambda i, j, k, _: KINDS[(i + k) % 2], curves=both)
    panels = results.facets(MASK, FRACTION, DECAY, metric="loss <= .01")
    draw_panels(panels, tmp_path / "a.svg")
    assert "last test loss, mean over seeds (lower maps)" in (tmp_path / "a.svg").read_text()
    lowest, highest, wide = style.last_span(list(panels.values()))
    assert (lowest, highest, wide) == (pytest.approx(10**-2.5), pytest.approx(10**-0.25), True)
    with matplotlib.style.context(["default", drawing.STYLE]):
        drawn = _figure(aligned(panels)).axes[1].collections
    (norm,) = (c.norm for c in drawn if c.get_array() is not None)
    assert isinstance(norm, LogNorm)
    assert (norm.vmin, norm.vmax) == (lowest, highest)
    mixed = {**panels, "accuracy": results.phase_diagram(FRACTION, DECAY, where={MASK: "all"})}
    with pytest.raises(FieldError, match="must be of the same metric"):
        draw_panels(mixed, tmp_path / "b.svg")


def test_panels_with_other_values_share_their_axes(panels, synthetic_results, tmp_path):
    few = panels["all"].source.phase_diagram(
        FRACTION, DECAY, where={MASK: "all", FRACTION: 0.3}, contour="train/accuracy"
    )
    draw_panels({"all": panels["all"], "one": few}, tmp_path / "a.png")


def test_what_cannot_stand_side_by_side_is_refused(panels, tmp_path):
    for wrong in ({}, {str(i): panels["all"] for i in range(5)}):
        with pytest.raises(FieldError, match="must be 1 to 4"):
            draw_panels(wrong, tmp_path / "a.png")
    turned = panels["all"].source.phase_diagram(DECAY, FRACTION, where={MASK: "all"})
    with pytest.raises(FieldError, match="same two fields"):
        draw_panels({"a": panels["all"], "b": turned}, tmp_path / "a.png")
    with pytest.raises(FieldError, match=r"\.png"):
        draw_panels(panels, tmp_path / "a.jpg")


def test_aligned_diagrams_have_the_cells_of_all(synthetic_results):
    results = synthetic_results({FRACTION: [0.3, 0.5], DECAY: [0.1, 1.0]}, seeds=1)
    one = results.phase_diagram(FRACTION, DECAY, where={FRACTION: 0.5}, contour="train/accuracy")
    whole = results.phase_diagram(FRACTION, DECAY, contour="train/accuracy")
    spread = aligned({"one": one, "whole": whole})
    assert spread["one"].x_values == spread["whole"].x_values == [0.3, 0.5]
    np.testing.assert_array_equal(spread["one"].seeds, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(spread["whole"].counts, whole.counts)
    np.testing.assert_array_equal(spread["one"].contour.values[:, 1], one.contour.values[:, 0])
    np.testing.assert_array_equal(spread["one"].median_time[:, 1], one.median_time[:, 0])
