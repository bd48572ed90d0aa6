"""No silent precision: what a program computes in is what its experiment says, read off the lowered program."""

import re

import pytest

import jaxgen as jg
from jaxgen import losses
from jaxgen.kernel import Program

SHORT = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}
LOSSES = {  # an operation on (rows, outputs) that only the loss makes
    losses.CrossEntropy: "exponential",
    losses.StableMaxCrossEntropy: "log_plus_one",
    losses.MeanSquaredError: "subtract",
}
DOT = re.compile(
    r"stablehlo\.dot_general.*?precision = \[(\w+), (\w+)\].*?: \(tensor<([^>]*)>, tensor<([^>]*)>\) -> tensor<([^>]*)>"
)


def lowered(experiment) -> str:
    """The program as StableHLO."""
    program = Program(experiment, 1)
    with jg.training.numerics(program.template):
        return program._jitted.lower(*program.shapes()).as_text()


def element(tensor: str) -> str:
    return tensor.split("x")[-1]


@pytest.mark.parametrize("loss_dtype", SHORT)
@pytest.mark.parametrize("make", LOSSES)
def test_losses_are_computed_in_their_dtype(toy, make, loss_dtype):
    text = lowered(toy.override({"loss": make(dtype=loss_dtype)}))
    rows, held = sum(toy.task.rows().values()), jg.training.capacity(toy)
    operation = rf"stablehlo\.{LOSSES[make]} .*tensor<(?:{rows}|{held})x{toy.task.outputs}x(\w+)>"
    found = set(re.findall(operation, text))
    assert found == {SHORT[loss_dtype]}


ENCODER = jg.models.Transformer.encoder(width=8, heads=2, mlp_width=8)
PRODUCTS = [("mlp", "float32", p) for p in ("default", "high", "highest")]
PRODUCTS += [("mlp", "float64", "default"), ("encoder", "float32", "high"), ("encoder", "float64", "highest")]


@pytest.mark.parametrize(("model", "dtype", "matmul"), PRODUCTS)
def test_matrix_products_are_in_the_training_dtype_at_the_precision_asked_for(toy, model, dtype, matmul):
    changes = {"training.dtype": dtype, "training.matmul_precision": matmul}
    if model == "encoder":
        changes["model"] = ENCODER
    dots = DOT.findall(lowered(toy.override(changes)))
    assert len(dots) >= 3  # forward, and backward by weights and by inputs
    for *precisions, left, right, result in dots:
        assert {element(t) for t in (left, right, result)} == {SHORT[dtype]}
        assert set(precisions) == {matmul.upper()}


@pytest.mark.parametrize("loss_dtype", SHORT)
def test_every_precision_compiles_and_trains(toy, loss_dtype):
    curves = jg.train(toy.override({"loss.dtype": loss_dtype, "training.steps": 20}))
    assert curves["train/loss"][-1] < curves["train/loss"][0]


def test_a_float64_loss_leaves_the_network_in_its_own_dtype(toy):
    dots = DOT.findall(lowered(toy.override({"loss.dtype": "float64"})))
    assert {element(tensor) for dot in dots for tensor in dot[2:]} == {"f32"}


def test_highest_is_the_default(toy):
    assert jg.Training().matmul_precision == "highest"
    assert {p for dot in DOT.findall(lowered(toy)) for p in dot[:2]} == {"HIGHEST"}
