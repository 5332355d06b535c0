"""A kernel that runs on each of eight devices gives the numbers of one device."""

import os
import subprocess
import sys

PROGRAM = r"""
import functools
import jax, jax.numpy as jnp, numpy as np
from aajax.lm.mesh.sharding import make_mesh
from aajax.lm.model import attention

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
rng = np.random.default_rng(0)
B, L, H, K, D = 4, 24, 4, 2, 8
shapes = (B, L, H, D), (B, K, L, D), (B, K, L, D), (B, L, H, D)
*given, weight = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
kernel = functools.partial(attention.splash, window=9, scale=0.3, interpret=True)


@jax.jit
def run(*given):
    def loss(*given):
        y = attention.on_each_device(kernel, *given)
        return jnp.sum(y * weight), y

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(*given)


wanted = run(*given)
# Rows and heads split; two devices for a head of keys; more devices than rows.
for shape in (2, 2, 2), (1, 2, 4), (1, 8, 1):
    with jax.set_mesh(make_mesh(*shape)):
        found = run(*given)
    if shape == (2, 2, 2):
        assert {x.data.shape for x in found[0][1].addressable_shards} == {(1, L, 2, D)}
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5 * np.abs(y).max())

# A prompt's second piece, into a cache of which some is in use.
slots, index = (2, B, K, 256, D), jnp.int32(1)
key, value, own_key, own_value, query = [
    rng.normal(size=shape).astype(np.float32)
    for shape in (slots, slots, *shapes[1:3], shapes[0])
]
piece = attention.Piece(jnp.array([0, 5, 256, 130], jnp.int32), jnp.int32(2))
attention.SLOTS = 128
attention.KERNELS["piece"] = functools.partial(attention.splash_piece, interpret=True)


@jax.jit
def read(query, key, value, own_key, own_value):
    layer = attention.Layer(jnp.array(False), index, (own_key, own_value))
    return piece(query, key, value, layer, 0.3)


given = query, key, value, own_key, own_value
wanted = read(*given)
with jax.set_mesh(make_mesh(2, 2, 2)):
    np.testing.assert_allclose(read(*given), wanted, rtol=0, atol=1e-5)
print("equal")
"""


def test_a_kernel_on_eight_devices_is_the_kernel_on_one():
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert output.stdout.strip() == "equal", output.stderr[-2000:]
