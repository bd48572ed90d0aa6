# ruff: noqa: E501 (lines of HLO)
"""What compiled steps move is read off their HLO: of a module written by hand, and of one that XLA wrote."""

import jax
import jax.numpy as jnp
import pytest

from sweeps.execution.hlo import Module, Moved

TEXT = """HloModule toy, is_scheduled=true

%fused (a: f32[3,130]) -> f32[3,130] {
  %a = f32[3,130]{1,0:T(8,128)} parameter(0)
  ROOT %n = f32[3,130]{1,0:T(8,128)} negate(%a)
}

%inner.1 (t: (s32[], f32[3,130])) -> (s32[], f32[3,130]) {
  %t = (s32[]{:T(128)}, f32[3,130]{1,0:T(8,128)S(1)}) parameter(0)
  %x = f32[3,130]{1,0:T(8,128)S(1)} get-tuple-element(%t), index=1
  ROOT %y = f32[3,130]{1,0:T(8,128)S(1)} fusion(%x), kind=kLoop, calls=%fused
}

%body.2 (t: (s32[], f32[3,130])) -> (s32[], f32[3,130]) {
  %t.1 = (s32[]{:T(128)}, f32[3,130]{0,1:T(8,128)}) parameter(0)
  %m = f32[3,130]{0,1:T(8,128)} get-tuple-element(%t.1), index=1
  %c = (f32[3,130]{0,1:T(8,128)S(1)}, f32[3,130]{0,1:T(8,128)}, u32[]{:S(2)}) copy-start(%m)
  %d = f32[3,130]{0,1:T(8,128)S(1)} copy-done(%c)
  %empty = f32[9]{0:T(128)} custom-call(), custom_call_target="AllocateBuffer"
  %w = (s32[]{:T(128)}, f32[3,130]{1,0:T(8,128)S(1)}) while(%d), condition=%k, body=%inner.1, metadata={op_name="jit(f)/vmap(steps)/while/body/slices/while" stack_frame_id=1}
  ROOT %z = pred[5]{0:T(512)(128)(4,1)} negate(%d)
}

ENTRY %main (p: f32[3,130]) -> f32[3,130] {
  %p = f32[3,130]{0,1:T(8,128)} parameter(0)
  ROOT %o = (s32[]{:T(128)}, f32[3,130]{0,1:T(8,128)}) while(%p), condition=%k, body=%body.2, metadata={op_name="jit(f)/vmap(steps)/while"}
}
"""
ROWS = 4 * 8 * 256  # 3 → 8 and 130 → 256
COLUMNS = 4 * 136 * 128  # 130 → 136 and 3 → 128


def test_arrays_are_counted_padded_by_memory_and_by_rounds():
    module = Module(TEXT)
    assert module.loops("steps") == ["body.2"]
    assert module.loops("slices") == ["inner.1"]
    assert module.moved("inner.1") == Moved(chip=2 * ROWS, padding=2 * (ROWS - 4 * 390))
    step = module.moved("body.2", {"slices": 3})
    assert step.main == COLUMNS + 512  # the copy's source, the flags
    assert step.chip == 2 * COLUMNS + 3 * 2 * ROWS  # the copy, read again, and three rounds
    assert step.bytes == step.main + step.chip
    assert step.padding == 3 * (COLUMNS - 4 * 390) + 507 + 6 * (ROWS - 4 * 390)


@pytest.mark.parametrize("mapped", [False, True])
def test_loops_are_found_by_the_scope_that_they_were_traced_in(mapped):
    def run(x):
        with jax.named_scope("steps"):
            return jax.lax.fori_loop(0, 5, lambda _, y: jnp.sin(y) @ y, x)

    shape = (2, 16, 16) if mapped else (16, 16)
    compiled = jax.jit(jax.vmap(run) if mapped else run).lower(jnp.ones(shape, jnp.float32)).compile()
    module = Module(compiled.as_text())
    (body,) = module.loops("steps")
    moved = module.moved(body)
    assert moved.main >= 3 * 4 * 256 * (2 if mapped else 1)
    assert moved.chip == moved.padding == 0
    assert module.loops("slices") == []
