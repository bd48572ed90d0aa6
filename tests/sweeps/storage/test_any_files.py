"""Whatever a launch's file or a saved block says, sound JSON or not: readers tell of it or pass it over."""

import hashlib
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import Program

import sweeps
from sweeps.report import caption
from sweeps.report.provenance import Provenance
from sweeps.storage import checkpoint, launches, status
from sweeps.storage.workdir import Workdir

AXES = {"task.train_fraction": [0.2, 0.4], "optimizer.weight_decay": [0.1, 1.0]}
KEYS = [
    *launches.OWN,
    *launches.ADDED,
    "command",
    "jax",
    "device_kind",
    "workers",
    "runs",
    "seeds",
    "stored",
    "devices",
]
TEXTS = [
    "0of3",
    "all",
    "2026-01-01T00:00:00+00:00",
    "2026-01-01",
    "=1+1",
    "<script>",
    "\x1b[31m",
    "[bold]x[/bold]",
    "[/]",
]
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
facts = st.dictionaries(st.sampled_from(KEYS), plain, max_size=6)


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_any_launch_is_told_of(count, synthetic_results, capsys):
    results, show = synthetic_results(AXES), Program("status").module.show
    folder = results.workdir / "launches"
    folder.mkdir()
    diagram = results.phase_diagram(*AXES)

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(st.lists(facts, min_size=1, max_size=3))
    def check(found):
        for number, one in enumerate(found):
            (folder / f"{number}.json").write_text(json.dumps(one))
        assert len(launches.told(launches.read(results.workdir))) <= len(found)
        show(status.look(results.workdir))
        assert Provenance.of(sweeps.Results(results.workdir)).versions
        assert caption.caption(diagram)
        for path in folder.iterdir():
            path.unlink()

    check()
    (folder / "1.json").write_text(json.dumps({"host": "[/]", "share": "[b]"}))
    capsys.readouterr()
    show(status.look(results.workdir))
    assert "[/]" in capsys.readouterr().out


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.slow)])
def test_any_manifest_of_a_block_is_read_or_passed_over(count, tmp_path):
    folder = tmp_path / "inflight"
    folder.mkdir()
    lane = st.fixed_dictionaries({"run_id": plain, "step": plain, "fields": plain}) | plain
    headers = st.fixed_dictionaries({"program": plain, "lanes": st.lists(lane, max_size=3) | plain}) | plain
    arrays = st.dictionaries(
        st.sampled_from(["carry/0", "curve/0/step", "curve/x/step", "header ", "curve/0/"]),
        st.sampled_from([np.zeros(3), np.zeros((0, 2), np.int32), np.array("text"), np.array(1.0)]),
        max_size=3,
    )

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(headers, arrays)
    def check(header, held):
        buffer = io.BytesIO()
        np.savez(buffer, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **held)
        content = buffer.getvalue()
        (folder / "x.block").write_bytes(checkpoint.MAGIC + hashlib.sha256(content).digest() + content)
        workdir = Workdir.at(tmp_path)
        found = checkpoint.load(workdir)
        assert len(found) + len(checkpoint.damaged(workdir)) == 1
        for saved in found:
            assert all(isinstance(run_id, str) for run_id in saved.run_ids)
            assert checkpoint.running(workdir) is not None

    check()
