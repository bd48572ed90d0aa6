"""Cells that wait for runs are those of the sweep's points, not of the product of its axes."""

import json

import numpy as np
import pytest

import jaxgen as jg
import sweeps
from jaxgen import FieldError
from sweeps.recipes.quickstart import BASE
from sweeps.storage.workdir import Workdir

FRACTION, DECAY = "task.train_fraction", "optimizer.weight_decay"
GRID = {FRACTION: [0.3, 0.5, 0.7], DECAY: [0.01, 0.1, 1.0]}


def x_axis(*values):
    return sweeps.sweep(FRACTION, values)


def y_axis(*values):
    return sweeps.sweep(DECAY, values)


@pytest.fixture
def drawn(synthetic_results, tmp_path):
    """A function that gives the diagram of the first runs of a grid, of a workdir that holds a sweep."""

    def draw(sweep, stored=lambda *at: True, fields=None, **options):
        path = tmp_path / "sweep" / "sweep.json"
        if not path.exists():
            synthetic_results(GRID, seeds=2, kind=lambda *at: "grokking" if stored(*at) else None)
        held = json.loads(path.read_text())
        fields = {"seed": 0, "split_seed": None, FRACTION: 0.3, DECAY: 0.1} | (fields or {})
        path.write_text(
            json.dumps(held | {"fields": fields, "sweep": sweep if isinstance(sweep, dict) else sweep.to_dict()})
        )
        return sweeps.Results(path.parent).phase_diagram(FRACTION, DECAY, unfinished=True, **options)

    return draw


def waiting(diagram):
    rows, columns = np.nonzero(diagram.pending)
    return {(diagram.x_values[x], diagram.y_values[y]) for y, x in zip(rows, columns)}


def test_the_cells_of_a_product_wait_for_all_its_seeds(drawn):
    whole = sweeps.product(x_axis(*GRID[FRACTION], 0.9), y_axis(*GRID[DECAY]), sweeps.seeds(2))
    diagram = drawn(whole, lambda i, j, seed: (i, j, seed) != (1, 2, 1))
    assert waiting(diagram) == {(0.5, 1.0), (0.9, 0.01), (0.9, 0.1), (0.9, 1.0)}
    assert diagram.x_values == [0.3, 0.5, 0.7, 0.9]
    assert not diagram.running.any()


def test_a_chain_waits_in_its_own_cells_only(drawn):
    cross = sweeps.chain(
        sweeps.product(x_axis(0.3, 0.5, 0.7, 0.9), y_axis(0.1), sweeps.seeds(2)),
        sweeps.product(x_axis(0.5), y_axis(0.01, 0.1, 1.0, 10.0), sweeps.seeds(2)),
        sweeps.product(x_axis(0.9), sweeps.seeds(2)),  # at the base's decay: the same runs as in the first link
    )
    diagram = drawn(cross)
    assert waiting(diagram) == {(0.9, 0.1), (0.5, 10.0)}
    assert waiting(drawn(sweeps.chain(*cross.parts[:1], x_axis(0.2)))) == {(0.9, 0.1), (0.2, 0.1)}


def test_a_tie_waits_along_its_line_only(drawn):
    tied = sweeps.tie(x_axis(0.3, 0.5, 0.8, 0.9), y_axis(0.01, 0.1, 3.0, 10.0))
    assert waiting(drawn(sweeps.product(tied, sweeps.seeds(2)))) == {(0.8, 3.0), (0.9, 10.0)}


def test_other_runs_than_the_sweeps_do_not_stand_for_its_own(drawn):
    diagram = drawn(sweeps.product(x_axis(0.3, 0.5), y_axis(0.1), sweeps.seeds(1, first=7)))
    assert waiting(diagram) == {(0.3, 0.1), (0.5, 0.1)}


def test_components_on_axes_are_told_apart_by_their_fields(drawn):
    losses = [jg.losses.CrossEntropy(), jg.losses.MeanSquaredError()]
    sweep = sweeps.product(sweeps.sweep("loss", losses), x_axis(0.3), y_axis(0.1, 9.0), sweeps.seeds(2))
    base = {path: value for path, value in jg.losses.CrossEntropy().__dict__.items()}
    fields = {f"loss.{path}": value for path, value in base.items()} | {"loss.type": "CrossEntropy"}
    assert waiting(drawn(sweep, fields=fields)) == {(0.3, 0.1), (0.3, 9.0)}  # of the second loss there are no runs
    assert waiting(drawn(sweep, fields=fields, where={"loss.type": "CrossEntropy"})) == {(0.3, 9.0)}


def test_components_that_are_not_known_here_are_no_hindrance(drawn):
    own = {
        "axis": "loss",
        "values": [{"type": "Own#0123", "smoothing": 0.5}, {"type": "CrossEntropy", "dtype": "float32"}],
    }
    axes = [x_axis(0.3).to_dict(), y_axis(0.1, 9.0).to_dict(), sweeps.seeds(2).to_dict()]
    diagram = drawn({"product": [own, *axes]}, where={"loss.type": "CrossEntropy"})
    assert waiting(diagram) == {(0.3, 9.0)}


def test_what_is_held_may_be_said_to_a_percent(drawn):
    sweep = sweeps.product(
        x_axis(0.3, 0.9), y_axis(0.1), sweeps.sweep("optimizer.learning_rate", [0.001]), sweeps.seeds(2)
    )
    assert waiting(drawn(sweep, where={"optimizer.learning_rate": 0.001005})) == {(0.9, 0.1)}


def test_gathered_cells_wait_too(drawn):
    sweep = sweeps.product(x_axis(0.3, 0.69), y_axis(0.01, 0.9), sweeps.seeds(2))
    diagram = drawn(sweep, bins=2)
    assert diagram.pending.tolist() == [[False, True], [True, True]]


def test_a_sweep_that_is_none_is_told(drawn):
    with pytest.raises(FieldError, match=r"damaged \(sweep\)"):
        drawn({"axis": 3})


def test_what_a_launch_writes_is_read_and_is_small(tmp_path):
    sweep = sweeps.chain(sweeps.product(x_axis(0.3, 0.5), y_axis(0.1)), sweeps.product(x_axis(0.5), y_axis(1.0)))
    large = sweeps.product(sweep, sweeps.sweep("optimizer.learning_rate", sweeps.linspace(0.001, 0.01, 10_001)))
    for name, written in (("one", sweep), ("seeds", sweeps.product(sweep, sweeps.seeds(50_000))), ("large", large)):
        (workdir := tmp_path / name).mkdir()
        Workdir.at(workdir).write_specification("sweep", BASE, written, {})
        held = Workdir.at(workdir).read_specification()
        assert ("sweep" in held) == (written is not large)
        assert written is large or sweeps.Sweep.from_dict(held["sweep"]) == written
        assert (workdir / "sweep.json").stat().st_size < 20_000
