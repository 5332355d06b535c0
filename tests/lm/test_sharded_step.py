"""A training step on meshes of eight devices equals that on one."""

import os
import subprocess
import sys

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, optax
from aajax import lm
from aajax.lm import fit, sharding

config = lm.DecoderConfig(
    family="qwen3", vocab_size=64, hidden_size=32, intermediate_size=64,
    num_layers=2, num_heads=4, num_kv_heads=4, head_dim=8, qk_norm=True,
)
params = lm.init_params(config, jax.random.key(0))
tokens = np.asarray(jax.random.randint(jax.random.key(1), (8, 12), 0, 64, jnp.int32))
batch = fit.TokenBatch(
    tokens, np.tile(np.arange(12, dtype=np.int32), (8, 1)), np.roll(tokens, -1, 1),
    np.ones((8, 12), np.float32), np.full(8, -1, np.int32),
)


def train(mesh, num_microbatches, remat):
    step = fit.make_step(
        config, optax.sgd(0.5), mesh=mesh, remat=remat,
        num_microbatches=num_microbatches,
    )
    state = step.init(params)
    rows = batch if mesh is None else sharding.shard_batch(mesh, batch)
    losses = []
    for _ in range(3):
        state, metrics = step.update(state, rows)
        losses.append(float(metrics["loss"]))
    return losses, jax.tree.map(np.asarray, state.weights)


losses, weights = train(None, 1, False)
assert losses[2] < losses[1] < losses[0], losses
cases = [(None, 4, True), ((8, 1, 1), 1, False), ((1, 8, 1), 1, True)]
cases += [((2, 2, 2), 2, False), ((1, 2, 4), 1, False)]
for shape, num_microbatches, remat in cases:
    mesh = None if shape is None else sharding.make_mesh(*shape)
    found = train(mesh, num_microbatches, remat)
    np.testing.assert_allclose(found[0], losses, atol=1e-5)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), found[1], weights
    )
print("equal")
"""


def test_meshes_of_eight_devices_learn_what_one_does():
    flags = "--xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert output.stdout.strip() == "equal", output.stderr[-2000:]
