"""Components within components: paths, JSON, identity, lanes, and errors, to any depth."""

import dataclasses
import json
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import pytest
from lanes import same_bits, train_in_block

import jaxgen as jg
import sweeps
from jaxgen import FieldError, components, losses, models, optimizers, tasks
from jaxgen.kernel import Program


@flax.struct.dataclass
class Sum:
    """Weighted sum of losses, one alone and a table of further ones."""

    first: Any = jg.part("loss", losses.CrossEntropy())
    weight: float = jg.leaf(0.5, "[0, inf)")
    further: Any = jg.part("loss", None)
    ordered: Any = jg.part("loss", ())

    def __call__(self, outputs, labels):
        found = self.first(outputs, labels)
        for loss in (*(self.further or {}).values(), *self.ordered):
            found = found + self.weight * loss(outputs, labels)
        return found


class Doubled(nn.Module):
    """A network around a network."""

    inner: Any = jg.part("model", models.QuadraticMLP(width=4, vocabulary=5, outputs=5))
    scale: float = jg.leaf(2.0)

    @nn.compact
    def __call__(self, x):
        return self.scale * self.inner(x)


DEEP = jg.Experiment(
    tasks.CorruptedLabels(task=tasks.ModularAddition(p=5), share=0.2),
    Doubled(),
    Sum(first=Sum(weight=0.25), further={"square": losses.MeanSquaredError(), "again": Sum()}, ordered=(Sum(),)),
    optimizers.AdamW(learning_rate=0.01),
    jg.Training(steps=6, evaluate_every=2),
)
LEAVES = {
    "task.share": 0.4,
    "task.task.train_fraction": 0.7,
    "model.scale": 1.5,
    "model.inner.init_scale": 0.5,
    "loss.weight": 0.1,
    "loss.first.weight": 0.2,
    "loss.further.again.weight": 0.3,
    "loss.ordered.0.weight": 0.4,
}


def test_a_nested_experiment_is_written_and_read_back():
    assert jg.Experiment.from_json(DEEP.to_json()) == DEEP
    table = json.loads(DEEP.to_json())
    assert table["task"]["task"]["type"] == "ModularAddition"
    assert list(table["loss"]["further"]) == ["again", "square"]
    assert DEEP.flat()["loss.further.again.first.type"] == "CrossEntropy"
    assert DEEP.flat()["loss.first.further.type"] is None


@pytest.mark.parametrize("path", LEAVES)
def test_a_leaf_at_any_depth_has_a_path_and_needs_no_other_program(path):
    assert path in DEEP.leaf_paths()
    other = DEEP.override({path: LEAVES[path]})
    assert other.flat() == DEEP.flat() | {path: LEAVES[path]}
    assert other.run_id != DEEP.run_id
    assert other.signature == DEEP.signature
    assert other.structure_id == DEEP.structure_id
    assert len(jax.tree.leaves(DEEP)) == len(DEEP.leaf_paths())


@pytest.mark.parametrize(
    "changes",
    [
        {"task.task.p": 7},
        {"task.task": tasks.ModularSubtraction(p=5)},
        {"loss.first": losses.CrossEntropy()},
        {"loss.first.first.dtype": "float64"},
        {"loss.further": None},
        {"loss.further.square": Sum()},
        {"loss.ordered": ()},
        {"loss.ordered.0": losses.CrossEntropy()},
        {"model.inner.width": 6},
    ],
    ids=str,
)
def test_structure_at_any_depth_decides_the_program(changes):
    other = DEEP.override(changes)
    assert other.run_id != DEEP.run_id
    assert other.signature != DEEP.signature
    assert other.structure_id != DEEP.structure_id


def test_a_word_stands_for_a_component_and_what_is_below_it_can_be_set_at_once():
    other = DEEP.override({"task.task": "ModularDivision", "task.task.p": 7, "loss.ordered.0": "StableMaxCrossEntropy"})
    assert other.task.task == tasks.ModularDivision(p=7)
    assert other.loss.ordered == (losses.StableMaxCrossEntropy(),)


@pytest.mark.optimized
def test_lanes_of_nested_components_do_not_know_each_other():
    program = Program(DEEP, 3)
    runs = [DEEP, DEEP.override(LEAVES), DEEP.override({"seed": 4, "loss.first.weight": 9.0})]
    alone = [train_in_block(program, {0: run})[0] for run in runs]
    beside = train_in_block(program, dict(enumerate(runs)))
    assert all(same_bits(beside[i], alone[i]) for i in range(3))
    assert program.traces == 1
    assert {"clean/accuracy", "corrupted/loss"} < alone[0].curves.keys()
    assert alone[0].checksum != alone[1].checksum


def test_a_sweep_over_nested_paths_is_stored_drawn_and_continued(tmp_path):
    axes = {
        "task.share": [0.0, 0.5],
        "task.task.train_fraction": [0.5],
        "task.task": [tasks.ModularAddition(p=5), tasks.ModularSubtraction(p=5)],
    }
    sweep = sweeps.product(*(sweeps.sweep(path, values) for path, values in axes.items()))
    results = sweeps.run(DEEP, sweep, tmp_path, width=1, devices=1, quiet=True)
    runs = results.runs
    assert set(runs["task.task.type"]) == {"ModularAddition", "ModularSubtraction"}
    assert runs["loss.first.further.type"].isna().all()
    diagram = results.phase_diagram("task.share", "task.task", budget=6, gap=2)
    assert diagram.seeds.tolist() == [[1, 1], [1, 1]]
    other = DEEP.override({"task.task": tasks.ModularSubtraction(p=5)})  # what is swept over may differ in the base
    assert len(sweeps.run(other, sweep, tmp_path, width=1, devices=1, quiet=True).runs) == 4
    with pytest.raises(FieldError, match=r"holds a sweep with loss\.first\.weight = 0\.25, not 0\.5"):
        sweeps.run(DEEP.override({"loss.first.weight": 0.5}), sweep, tmp_path, width=1, devices=1, quiet=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task.task.train_fraction": 2.0}, r"task\.task\.train_fraction = 2\.0: must be in \(0, 1\]"),
        ({"task.task.tain_fraction": 0.5}, r"task\.task\.tain_fraction: did you mean task\.task\.train_fraction"),
        ({"loss.first.first": "Logistic", "loss.first.first.dtipe": ""}, r"did you mean loss\.first\.first\.dtype"),
        ({"loss.first.further": Sum(), "loss.first.further.wieght": 1}, r"did you mean loss\.first\.further\.weight"),
        ({"loss.first.further.a.weight": 1.0}, r"there is nothing to set it in: loss\.first\.further is None"),
        ({"loss.further.sqare.dtype": "float64"}, r"did you mean loss\.further\.square"),
        ({"loss.ordered.1.weight": 0.1}, r"unknown field loss\.ordered\.1"),
        ({"loss.further": {"a.b": losses.CrossEntropy()}}, r"loss\.further = 'a\.b': is no name"),
        ({"loss.further": {"a": 3}}, r"loss\.further\.a = 3: must be a component"),
        ({"loss.first": optimizers.AdamW()}, r"loss\.first = 'AdamW': is no loss"),
        ({"loss.first": None}, r"loss\.first = None: must be a component of the kind loss"),
        ({"optimizer": "adamw"}, r"did you mean optimizer\.type\.AdamW\?"),
        ({"task.task": "ModularAdition"}, r"unknown field task\.task\.type\.ModularAdition: did you mean"),
        ({"model.inner": losses.CrossEntropy()}, r"model\.inner = 'CrossEntropy': must be a flax linen module"),
        ({"task.share.x": 1}, r"unknown field task\.share\.x"),
    ],
)
def test_errors_name_the_whole_path(changes, message):
    with pytest.raises(FieldError, match=message):
        DEEP.override(changes)


def test_endless_nesting_is_refused():
    table = components.to_dict(losses.CrossEntropy())
    loss: Any = losses.CrossEntropy()
    for _ in range(40):
        table = {"type": components.type_name(Sum), "first": table}
        loss = Sum(first=loss)
    with pytest.raises(FieldError, match="nested at most 20 deep"):
        DEEP.override({"loss": loss})
    with pytest.raises(FieldError, match="nested at most 20 deep"):
        jg.Experiment.from_dict(DEEP.to_dict() | {"loss": table})


def test_a_users_component_within_ours_is_part_of_the_identity():
    @flax.struct.dataclass
    class Own(tasks.ModularAddition):
        def result(self, a, b):
            return a + 2 * b

    run = dataclasses.replace(DEEP, task=tasks.CorruptedLabels(task=Own(p=5)))
    assert "#" in run.flat()["task.task.type"]
    assert "Own" not in DEEP.to_json()
