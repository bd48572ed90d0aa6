"""Curves for print."""

import matplotlib.image
import matplotlib.style
import numpy as np
import pandas as pd
import pytest

from jaxgen import FieldError
from sweeps.report import drawing, lines


def table(arms, groups, seeds=3):
    """A made up table: the value is 1 for the first group, and less for others; seeds differ by .01."""
    rows = [
        {"arm": arm, "group": group, "seed": str(seed), "step": step, "value": 1 / (1 + i) + 0.01 * seed}
        for arm in arms
        for i, group in enumerate(groups)
        for seed in range(seeds)
        for step in (0.0, 10.0, 100.0)
    ]
    return pd.DataFrame(rows)


LEVELS, MARKS = {"chance": {"a": 0.25, "b": 0.25}}, {"longest trained": 2}


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize(("over", "groups"), [("", ["train", "test"]), ("length", [1, 2, 3])])
def test_curves_are_drawn_the_same_each_time(tmp_path, ending, over, groups):
    for name in ("x", "y"):
        lines.draw_lines(table("ab", groups), tmp_path / f"{name}.{ending}", over, LEVELS, MARKS)
    assert (tmp_path / f"x.{ending}").read_bytes() == (tmp_path / f"y.{ending}").read_bytes()
    if ending == "png":
        picture = matplotlib.image.imread(tmp_path / "x.png")
        assert picture.shape[1] == 1400
        assert (np.ptp(picture[..., :3], axis=(0, 1)) > 0.5).all()


def test_along_the_steps_each_arm_has_a_panel_with_every_seed_and_their_mean():
    with matplotlib.style.context(["default", drawing.STYLE]):
        drawn = lines._along_steps(table("abcd", ["train", "test"]), "", LEVELS, {})
    panels = [axes for axes in drawn.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [*"abcd"]
    for arm, axes in zip("abcd", panels):
        curves = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
        assert len(curves) == 2 * (3 + 1)
        assert all(line.get_xdata().tolist() == [10, 100] for line in curves)  # 0 has no place on a log axis
        thick = [line for line in curves if line.get_linewidth() > 1]
        assert [line.get_ydata()[0] for line in thick] == pytest.approx([1.01, 0.51])
        assert sum(line.get_color() == "#000000" for line in axes.lines) == (arm in "ab")


def test_over_numbers_each_arm_is_a_line_of_last_values_with_a_dot_for_each_seed():
    some = table("ab", [3, 1, 2])
    some.loc[some["step"] < 100, "value"] = 77.0
    with matplotlib.style.context(["default", drawing.STYLE]):
        axes = lines._over_numbers(some, "length", LEVELS, MARKS).axes[0]
    curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [line.get_xdata().tolist() for line in curves] == [[1, 2, 3]] * 2
    assert curves[0].get_ydata() == pytest.approx([0.51, 1 / 3 + 0.01, 1.01])
    assert [len(dots.get_offsets()) for dots in axes.collections] == [9, 9]
    places = [dots.get_offsets()[:, 0].data for dots in axes.collections]
    assert all(abs(at - round(at)) < 0.5 for at in np.concatenate(places))
    assert not np.allclose(*places)


def test_runs_that_ended_keep_their_last_value_in_the_mean():
    some = table("a", ["test"])
    some = some[~((some["seed"] == "2") & (some["step"] == 100))]
    some.loc[(some["seed"] == "2"), "value"] = 4.0
    with matplotlib.style.context(["default", drawing.STYLE]):
        axes = lines._along_steps(some, "", {}, {}).axes[0]
    (thick,) = [line for line in axes.lines if line.get_linewidth() > 1]
    assert thick.get_ydata() == pytest.approx([(1 + 1.01 + 4) / 3] * 2)


def test_levels_are_told_apart_and_the_values_are_named(tmp_path):
    levels = {"chance": {"a": 0.25}, "other": {"a": 0.5}}
    with matplotlib.style.context(["default", drawing.STYLE]):
        axes = lines._along_steps(table("a", ["test"]), "", levels, {}).axes[0]
    first, second = [line for line in axes.lines if line.get_color() == "#000000"]
    assert first._dash_pattern != second._dash_pattern
    lines.draw_lines(table("a", ["test"]), tmp_path / "a.svg", "", levels, {}, "exact_match")
    assert "exact_match" in (tmp_path / "a.svg").read_text()


def test_the_caption_counts_seeds_and_says_what_lines_are():
    groups = {n: f"length_{n}/exact_match" for n in (1, 2, 3)}
    said = lines.lines_caption(table("ab", [1, 2]), "length", LEVELS, MARKS, groups)
    assert "Of the probes: 1 length_1/exact_match, …, 3 length_3/exact_match." in said
    assert said.startswith("Curves of a (3 seeds), b (3 seeds): last values over length")
    assert "chance (dashed): a 0.25, b 0.25." in said
    assert "Dotted: longest trained, 2." in said


def test_nothing_stored_is_an_empty_figure_and_a_wrong_ending_is_refused(tmp_path):
    none = pd.DataFrame(columns=["arm", "group", "seed", "step", "value"])
    for over in ("", "length"):
        lines.draw_lines(none, tmp_path / "a.png", over, {}, {})
    with pytest.raises(FieldError, match=r"must end in \.png"):
        lines.draw_lines(none, tmp_path / "a.jpg", "", {}, {})
