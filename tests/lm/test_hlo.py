"""Counts of programs whose FLOPs, bytes and turns are known."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.lm.planning.hlo import count
from aajax.lm.planning.hlo_text import arrays_of, read_module

A, B = jnp.ones((6, 10)), jnp.ones((10, 14))
SQUARE = jnp.ones((8, 8))


def counted(function, *arguments):
    return count(jax.jit(function).lower(*arguments).compile().as_text())


def turns(number, x):
    """That many products of [8, 8]."""
    return jax.lax.scan(lambda x, _: (x @ SQUARE, None), x, length=number)[0]


def nested(x):
    step = functools.partial(turns, 5)
    return jax.lax.scan(lambda x, _: (step(x), None), x, length=3)[0]


def from_two_to_nine(x):
    return jax.lax.fori_loop(2, 9, lambda _, x: x @ SQUARE, x)


def one_of_two(x, first):
    return jax.lax.cond(first, lambda x: x @ x, lambda x: x @ x @ x, x)


def gradient(a, b):
    return jax.grad(lambda a, b: jnp.sum(jnp.tanh(a @ b) ** 2), (0, 1))(a, b)


ONE = 2 * 8 * 8 * 8


@pytest.mark.parametrize(
    ("function", "arguments", "flops"),
    [
        (jnp.matmul, (A, B), 2 * 6 * 10 * 14),
        (lambda a: jnp.einsum("bij,bkj->bik", a, a), (jnp.ones((3, 4, 5)),), 480),
        (gradient, (A, B), 3 * 2 * 6 * 10 * 14),
        (functools.partial(turns, 7), (SQUARE,), 7 * ONE),
        (nested, (SQUARE,), 15 * ONE),
        (from_two_to_nine, (SQUARE,), 7 * ONE),
        (one_of_two, (SQUARE, True), 2 * ONE),
        (jnp.tanh, (A,), 0),
    ],
    ids=["matmul", "batch", "gradient", "scan", "nested", "fori", "cond", "none"],
)
def test_flops_are_those_that_run(function, arguments, flops):
    found = counted(function, *arguments)
    assert found.flops == flops
    assert found.turn is None and found.each == ()


def test_a_product_reads_its_operands_once():
    assert counted(jnp.matmul, A, B).bytes == 4 * (6 * 10 + 10 * 14 + 6 * 14)


def test_a_stack_of_weights_is_read_once_and_not_in_every_turn():
    layers = jnp.ones((100, 32, 32))
    x = jnp.ones((2, 32))

    def through(x, layers):
        return jax.lax.scan(lambda x, layer: (jnp.tanh(x @ layer), None), x, layers)[0]

    found = counted(through, x, layers)
    assert found.flops == 100 * 2 * 2 * 32 * 32
    assert layers.nbytes <= found.bytes <= 4 * layers.nbytes


def test_a_loop_that_decides_when_to_stop_is_counted_for_one_turn():
    def until(x):
        before = x @ x

        def body(x):
            return jax.lax.fori_loop(0, 3, lambda _, x: x @ SQUARE, x)

        return before + jax.lax.while_loop(lambda x: jnp.sum(x) < 1e6, body, x)

    found = counted(until, SQUARE)
    assert found.flops == ONE
    assert found.turn.flops == 3 * ONE


def test_a_loop_within_a_loop_turns_as_often_as_it_is_said_to():
    def until(x, most):
        return jax.lax.fori_loop(0, most, lambda _, x: x @ SQUARE, x)

    def several(x, most):
        return jax.lax.fori_loop(0, 3, lambda _, x: until(x, most), x)

    text = jax.jit(several).lower(SQUARE, 4).compile().as_text()
    assert count(text, inner_turns=5).flops == 15 * ONE
    assert count(text, inner_turns=5).turn is None
    text = jax.jit(until).lower(SQUARE, 4).compile().as_text()
    assert count(text, inner_turns=5).turn.flops == ONE


CONVOLUTIONS = {
    "plain": {"stride": 1, "padding": (0, 0), "lhs": 1, "rhs": 1},
    "padded": {"stride": 2, "padding": (3, 1), "lhs": 1, "rhs": 2},
    "apart": {"stride": 3, "padding": (2, 2), "lhs": 4, "rhs": 1},
}


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_multiplies_what_is_inside(options):
    size, kernel, batch, features, out = 9, 4, 2, 3, 5
    x, w = jnp.ones((batch, size, features)), jnp.ones((kernel, features, out))

    def convolve(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (options["stride"],), [options["padding"]],
            lhs_dilation=(options["lhs"],), rhs_dilation=(options["rhs"],),
            dimension_numbers=("NWC", "WIO", "NWC"),
        )  # fmt: skip

    # With ones everywhere, a result is the number of products of which it is a sum.
    products = float(np.asarray(convolve(x, w)).sum())
    text = jax.jit(convolve).lower(x, w).as_text(dialect="hlo")
    assert count(text).flops == 2 * products


TPU = """HloModule jit_step, is_scheduled=true

%body_fusion (a: bf16[16,32], b: bf16[128,32]) -> bf16[128,16] {
  %a = bf16[16,32]{1,0:T(8,128)(2,1)} parameter(0)
  %all-gather.1 = bf16[128,32]{1,0:T(8,128)(2,1)} all-gather(%a), channel_id=3, \
replica_groups=mesh['axis_0'=2,'axis_1'=8] {'axis_1'}, dimensions={0}
  %b = bf16[128,32]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  ROOT %convolution.1 = bf16[128,16]{1,0} convolution(%b, %a), dim_labels=bf_oi->bf
}

%going_on (c: bf16[16,32]) -> bf16[128,32] {
  %c = bf16[16,32]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.2 = bf16[128,32]{1,0:T(8,128)(2,1)} all-gather(%c), channel_id=3, \
replica_groups=mesh['axis_0'=2,'axis_1'=8] {'axis_1'}, dimensions={0}
}

%body (state: (u32[], bf16[16,32], bf16[128,32])) -> (u32[], bf16[16,32], \
bf16[128,32]) {
  %two = u32[]{:T(128)} constant(2)
  %state = (u32[]{:T(128)}, bf16[16,32]{1,0:T(8,128)(2,1)}, /*index=2*/bf16[128,32]\
{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %at = u32[]{:T(128)} get-tuple-element(%state), index=0
  %x = bf16[16,32]{1,0:T(8,128)(2,1)} get-tuple-element(%state), index=1
  %near = bf16[128,32]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%state), index=2
  %next = u32[]{:T(128)} add(%at, %two)
  %fusion.1 = bf16[128,16]{1,0} fusion(%x, %near), kind=kOutput, calls=%body_fusion
  %fusion.2 = bf16[128,32]{1,0:T(8,128)(2,1)S(1)} fusion(%x), kind=kLoop, \
calls=%going_on
  ROOT %out = (u32[]{:T(128)}, bf16[16,32]{1,0:T(8,128)(2,1)}, bf16[128,32]{1,0:T(8,\
128)(2,1)S(1)}) tuple(%next, %x, %fusion.2)
}

%condition (state.1: (u32[], bf16[16,32], bf16[128,32])) -> pred[] {
  %eight = u32[]{:T(128)} constant(8)
  %state.1 = (u32[]{:T(128)}, bf16[16,32]{1,0:T(8,128)(2,1)}, bf16[128,32]{1,0:T(8,\
128)(2,1)S(1)}) parameter(0)
  %at.1 = u32[]{:T(128)} get-tuple-element(%state.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%at.1, %eight), direction=LT
}

ENTRY %main (p: bf16[16,32], q: bf16[128,32]) -> bf16[128,32] {
  %p = bf16[16,32]{1,0:T(8,128)(2,1)} parameter(0)
  %q = bf16[128,32]{1,0:T(8,128)(2,1)} parameter(1)
  %first = u32[]{:T(128)} constant(2)
  %copy-start.1 = (bf16[128,32]{1,0:T(8,128)(2,1)S(1)}, bf16[128,32]{1,0:T(8,128)\
(2,1)}, u32[]{:S(2)}) copy-start(%q)
  %copy-done.1 = bf16[128,32]{1,0:T(8,128)(2,1)S(1)} copy-done(%copy-start.1)
  %start = (u32[]{:T(128)}, bf16[16,32]{1,0:T(8,128)(2,1)}, bf16[128,32]{1,0:T(8,128)\
(2,1)S(1)}) tuple(%first, %p, %copy-done.1)
  %while.1 = (u32[]{:T(128)}, bf16[16,32]{1,0:T(8,128)(2,1)}, bf16[128,32]{1,0:T(8,\
128)(2,1)S(1)}) while(%start), condition=%condition, body=%body
  ROOT %result = bf16[128,32]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%while.1), \
index=2
}
"""


def test_a_program_of_a_tpu():
    """Three turns (2, 4, 6); a gather that two fusions share is one; tiles are padded.

    What lies in the vector memory, S(1), is not read from the main one.
    """
    found = count(TPU)
    assert found.flops == 3 * 2 * 128 * 32 * 16
    gathered = 128 * 128 * 2  # bytes: lanes of 32 are padded to 128
    assert found.collectives == {"all-gather": 3 * gathered * 7 / 8}
    (gather,) = found.each
    assert (gather.times, gather.kind) == (3, "all-gather")
    given, made = 16 * 128 * 2, 128 * 16 * 2
    numbers = 3 * 4 + (4 + 4 + 1)  # what is added up and compared
    assert found.bytes == gathered + 3 * (given + made + numbers)


GROUPS = {
    "{{0,1,2,3},{4,5,6,7}}": 4,
    "[2,8]<=[16]": 8,
    "[4,2]<=[2,4]T(1,0)": 2,
    "mesh['x'=2,'y'=4,'z'=3] {'y','z'}": 12,
}
KINDS = {
    "all-gather": lambda size, g: size * g * (g - 1) / g,
    "all-reduce": lambda size, g: 2 * size * (g - 1) / g,
    "reduce-scatter": lambda size, g: size * (g - 1) / g,
    "all-to-all": lambda size, g: size * (g - 1) / g,
}


@pytest.mark.parametrize(("groups", "number"), GROUPS.items())
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_a_device_receives(kind, groups, number):
    size = {"all-gather": 240 * number, "reduce-scatter": 240 // number}.get(kind, 240)
    text = f"""HloModule m

ENTRY %main (p: f32[240]) -> f32[{size}] {{
  %p = f32[240]{{0}} parameter(0)
  ROOT %moved = f32[{size}]{{0}} {kind}(%p), channel_id=1, replica_groups={groups}
}}
"""
    found = count(text)
    assert found.collectives == {kind: pytest.approx(KINDS[kind](960, number))}


def test_collectives_that_run_beside_others():
    text = """HloModule m

ENTRY %main (p: f32[64]) -> f32[512] {
  %p = f32[64]{0} parameter(0)
  %ag = (f32[64]{0}, f32[512]{0}) all-gather-start(%p), channel_id=1, \
replica_groups=[1,8]<=[8], dimensions={0}
  %cp = (f32[64]{0}, f32[64]{0}, u32[]{:S(2)}, u32[]{:S(2)}) \
collective-permute-start(%p), channel_id=2, source_target_pairs={{0,1},{1,0}}
  %done = f32[64]{0} collective-permute-done(%cp)
  ROOT %all = f32[512]{0} all-gather-done(%ag)
}
"""
    expected = {"all-gather": 2048 * 7 / 8, "collective-permute": 256.0}
    assert count(text).collectives == expected


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("bf16[3,5]{1,0}", 30),
        ("bf16[3,5]{1,0:T(8,128)(2,1)}", 2 * 8 * 128),
        ("f32[2,9,130]{2,1,0:T(8,128)}", 4 * 2 * 16 * 256),
        ("f32[130,9]{0,1:T(8,128)}", 4 * 256 * 16),
        ("pred[7]{0}", 7),
        ("s4[6]{0}", 3),
        ("f8e4m3fn[6]{0}", 6),
        ("f32[]", 4),
        ("token[]", 0),
    ],
)
def test_bytes_of_arrays(written, size):
    (found,) = arrays_of(written)
    assert found.bytes == size
    assert found.in_main


def test_memories_other_than_the_main_one():
    near, far = arrays_of("(f32[8]{0:T(128)S(1)}, f32[8]{0:T(128)})")
    assert (near.in_main, far.in_main) == (False, True)


def test_every_instruction_is_read():
    text = jax.jit(nested).lower(SQUARE).compile().as_text()
    module = read_module(text)
    lines = [line for line in text.splitlines() if " = " in line and line[:1] == " "]
    read = sum(len(x.instructions) for x in module.computations.values())
    assert read == len(lines) > 0
    assert all(x.root in x.instructions for x in module.computations.values())
    assert math.isfinite(count(text).bytes)


# bf16[4 heads, 1024 tokens, 128] attends in two blocks of 512: three of four are seen.
SPLASH = """HloModule m

ENTRY %main (a: s8[1,2,2], q: bf16[4,1024,128], k: bf16[1024,128]) -> bf16[4,1024,128] {
  %a = s8[1,2,{width}]{2,1,0} parameter(0)
  %q = bf16[4,1024,128]{2,1,0} parameter(1)
  %k = bf16[1024,128]{1,0} parameter(2)
  ROOT %splash_mqa_{kernel}.1 = bf16[4,1024,128]{2,1,0} custom-call(%a, %a, %q, %k, \
%k), custom_call_target="tpu_custom_call", backend_config={}
}
"""


@pytest.mark.parametrize(
    ("kernel", "products"),
    [("fwd_residuals", 2), ("fwd_no_residuals", 2), ("dq", 3), ("dkv", 4)],
)
@pytest.mark.parametrize(("width", "share"), [(2, 3 / 4), (1, 1 / 2)])
def test_attention_kernels_of_tpus(kernel, products, width, share):
    text = SPLASH.replace("{kernel}", kernel).replace("{width}", str(width))
    product = 2 * 4 * 1024 * 1024 * 128
    assert count(text).flops == products * product * share
