import json

import pytest

import sweeps
from jaxgen import FieldError
from sweeps.studies.run import foresee


@pytest.mark.parametrize("definition", [{"threshold": "x"}, {"threshold": 2}, {"colour": 1}, {"budget": 10**400}])
def test_a_damaged_definition_is_refused_with_what_to_do(toy, synthetic_results, definition):
    results = synthetic_results({"optimizer.weight_decay": [0.1, 1.0]}, name="sweep")
    held = results.specification | {"definition": definition}
    (results.workdir / "sweep.json").write_text(json.dumps(held))
    points = sweeps.sweep("optimizer.weight_decay", [0.1, 1.0])
    for look in (
        lambda: sweeps.Results(results.workdir),
        lambda: results.definition(),
        lambda: sweeps.run(toy, points, results.workdir),
        lambda: foresee(toy, points, results.workdir),
    ):
        with pytest.raises(FieldError, match=r"\(definition\): the stored runs do not need it, move .*sweep.json away"):
            look()
