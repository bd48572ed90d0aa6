"""A short run that starts from another one, pruned."""

import pytest

import jaxgen as jg
from examples import example


@pytest.fixture
def staged() -> jg.Experiment:
    short = jg.Training(steps=20, evaluate_every=10)
    parent = example("staged").parent.override({"task.p": 5, "model.width": 6, "training": short})
    start = example("staged").base.start.replace(parent=parent)
    return parent.override({"start": start})
