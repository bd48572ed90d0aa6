import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
from jax._src import lru_cache

from jaxgen.kernel import Block, Program

PLAIN = """
    import jax
    from sweeps.execution import compilations
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_compilation_cache_dir", {folder!r})
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if {serve}:
        compilations.serve_all_devices()
        compilations.serve_all_devices()
    found = []
    jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
    for device in jax.devices():
        x = jax.device_put(2.0, device)
        assert jax.jit(lambda x: x * x + 1)(x).item() == 5 and x.device == device
    print(*(found.count(f"/jax/compilation_cache/cache_{{what}}") for what in ("misses", "hits")))
"""


@pytest.mark.parametrize(("serve", "counts"), [(False, ["2 0", "0 2"]), (True, ["1 1", "0 2"])])
def test_one_compilation_serves_all_devices(serve, counts, tmp_path):
    code = textwrap.dedent(PLAIN.format(folder=str(tmp_path), serve=serve))
    for expected in counts:  # at first, and in another process
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == expected


SEVERAL = """
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    from sweeps.execution import compilations
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_compilation_cache_dir", {folder!r})
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilations.serve_all_devices()
    found = []
    jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
    for devices in (jax.devices(), jax.devices()[::-1]):
        place = NamedSharding(Mesh(np.array(devices), ("x",)), PartitionSpec("x"))
        jax.jit(lambda x: x * x + 1, in_shardings=place).lower(jax.ShapeDtypeStruct((2,), "float32")).compile()
    print(*(found.count(f"/jax/compilation_cache/cache_{{what}}") for what in ("misses", "hits")))
"""


def test_programs_on_several_devices_are_kept_by_their_devices(tmp_path):
    code = textwrap.dedent(SEVERAL.format(folder=str(tmp_path)))
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "2 0"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_program_that_was_compiled_for_another_device_gives_the_same_bits(toy, dtype):
    told: list[str] = []
    jax.monitoring.register_event_listener(lambda event, **_: told.append(event))
    hits = lambda: told.count("/jax/compilation_cache/cache_hits")  # noqa: E731
    results, base = [], toy.override({"training.dtype": dtype, "training.steps": 20, "training.evaluate_every": 5})
    program = Program(base, 2)
    for device in jax.devices()[:2]:
        block = Block(program, device)
        before = hits()
        block.refill(iter([(str(seed), base.override({"seed": seed})) for seed in range(2)]))
        block.launch(10)
        results.append(block.harvest())
        assert {leaf.device for leaf in jax.tree.leaves(block._carry)} == {device}
    assert hits() > before  # the second was not compiled
    for one, other in zip(*results, strict=True):
        assert one.checksum == other.checksum
        np.testing.assert_equal(one.curves, other.curves)


BROKEN = """
    import warnings
    import jax
    from sweeps.execution import compilations
    jax.config.update("jax_compilation_cache_dir", {folder!r})
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if {whole}:
        compilations.keep_whole()
        compilations.keep_whole()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert jax.jit(lambda x: x * x + 1)(2.0).item() == 5
    print(sum("persistent compilation cache" in str(warning.message) for warning in told))
"""


@pytest.mark.parametrize(("whole", "counts"), [(False, [1, 1]), (True, [1, 0])])
def test_a_broken_file_among_what_is_compiled_is_replaced(whole, counts, tmp_path):
    code = textwrap.dedent(BROKEN.format(folder=str(tmp_path), whole=whole))
    told = lambda: int(subprocess.check_output([sys.executable, "-c", code], text=True))  # noqa: E731
    assert told() == 0
    (kept,) = tmp_path.glob("jit__lambda*-cache")
    kept.write_bytes(kept.read_bytes()[:-100])  # as kill -9 leaves it
    assert [told(), told()] == counts


def test_what_is_compiled_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    cache = lru_cache.LRUCache(str(tmp_path), max_size=-1)
    kind = type(cache.path)  # of `etils`, where that is installed
    write = kind.write_bytes

    def killed(path, content):
        write(path, content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.put("program", b"compiled")
    assert cache.get("program") is None
    assert [*tmp_path.iterdir()] == []
    cache.put("program", b"compiled")
    assert cache.get("program") == b"compiled"
    cache.put("program", b"anew")
    assert cache.get("program") == b"anew"
