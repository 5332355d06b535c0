"""Weights that are moved to where they play do the same there."""

import os
import subprocess
import sys

import pytest

from aajax import lm
from aajax.errors import InputError
from aajax.lm.mesh.playing import check_divides_devices
from aajax.lm.sampling.prefill import fitting_chunk
from aajax.lm.sampling.sampler import Sampler

PROGRAM = r"""
import jax, jax.numpy as jnp, numpy as np
from aajax import lm
from aajax.lm.mesh.playing import (
    Longest, cache_bytes, device_memory, moved, playing_mesh, playing_tensor,
)
from aajax.lm.mesh.sharding import make_mesh, shard
from aajax.lm.model import lora
from aajax.lm.sampling.sampler import Sampler, Sampling

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
config = lm.DecoderConfig(
    family="llama", vocab_size=48, hidden_size=32, intermediate_size=64,
    num_layers=1, num_heads=4, num_kv_heads=2, head_dim=8,
)
params = jax.tree.map(lambda x: 5 * x, lm.init_params(config, jax.random.key(0)))
tuned = lora.init_adapters(config, lora.LoraConfig(rank=2), jax.random.key(1), 2)
tuned = tuned._replace(weights=jax.tree.map(lambda x: x + 0.05, tuned.weights))
ROWS = np.array([0, 1, -1, 1, 0], np.int32)


def play(sampler, params, tuned):
    route = {"adapters": tuned, "adapter_id": ROWS}
    prompts = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [14], [15, 16]]
    session = sampler.append(sampler.start(5), params, prompts, **route)
    sampling = Sampling(np.array([6, 3, 0, 8, 5]), np.arange(48) < 4)
    _, sample = sampler.generate(session, params, jax.random.key(3), sampling, **route)
    return sample


def same(found, wanted):
    np.testing.assert_allclose(found.log_prob, wanted.log_prob, rtol=0, atol=1e-5)
    found, wanted = (x._replace(log_prob=None) for x in (found, wanted))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


wanted = play(Sampler(config), params, tuned)
trains_on = make_mesh(1, 4, 2)
plays_on = playing_mesh(trains_on, 2)
assert dict(plays_on.shape) == {"data": 4, "fsdp": 1, "tensor": 2}
assert playing_mesh(plays_on, 2) is plays_on
assert dict(playing_mesh(trains_on, 4).shape) == {"data": 2, "fsdp": 1, "tensor": 4}

sampler = Sampler(config, mesh=plays_on)
placed = shard(params, trains_on)
spoken = sampler.prepare(placed)
kernel = ("layers", "mlp", "up", "kernel")
for tree, part in (placed, (1, 8, 32)), (spoken, (1, 32, 32)):
    for name in kernel:
        tree = tree[name]
    assert {piece.data.shape for piece in tree.addressable_shards} == {part}
jax.tree.map(np.testing.assert_array_equal, spoken, params)
assert sampler.prepare(spoken) is spoken, "copied for nothing"
adapters = sampler.prepare_adapters(shard(tuned, trains_on))
# Side by side, split over tensor.
joined = lora.joined(tuned, jnp.float32)
jax.tree.map(np.testing.assert_array_equal, adapters, joined)
same(play(sampler, spoken, adapters), wanted)
# Other devices next to each other.
again = moved(playing_mesh(make_mesh(8, devices=jax.devices()[::-1]), 2), spoken)
jax.tree.map(np.testing.assert_array_equal, again, params)

# Four tenths of a device's memory may be taken.
size = sum(x.nbytes for x in jax.tree.leaves(params))
fits = lambda parts: playing_tensor(
    make_mesh(1, 8, 1), config, jnp.float32, size / parts / 0.4 + 1
)
assert device_memory(trains_on) is None  # a CPU does not say
assert playing_tensor(trains_on, config, jnp.float32, None) == 2
assert [fits(parts) for parts in (1, 2, 3, 4, 8, 1000)] == [1, 2, 4, 4, 8, 8]
# More devices share the weights if there is no room beside them for the cache, unless
# no number of devices leaves it.
slot = cache_bytes(config, jnp.float32, Longest(16, 1), 8, 1)
shared = lambda share: playing_tensor(
    make_mesh(1, 8, 1), config, jnp.float32, size / 0.4 + 1,
    Longest(16, int(share * size / slot)),
)
assert slot >= 2 * config.num_layers * 16 // 8 * 2 * 8 * 4
assert [shared(share) for share in (0.5, 1.1, 1.2, 1.6, 1.7)] == [1, 1, 2, 2, 1]
print("equal")
"""


def test_weights_play_on_eight_devices_what_they_do_on_one():
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


def test_devices_that_do_not_divide_are_refused():
    check_divides_devices(4, 8)
    with pytest.raises(InputError, match="play_tensor is 3: a divisor of 8, the"):
        check_divides_devices(3, 8)


CONFIG = lm.DecoderConfig(
    family="llama", vocab_size=48, hidden_size=32, intermediate_size=64,
    num_layers=1, num_heads=4, num_kv_heads=2, head_dim=8,
)  # fmt: skip


def test_prompts_are_read_in_chunks_that_fit():
    token = (4 * 32 + 3 * 64) * 4 + 4 * 4 * (2 * 8 + 1024)

    def chunk(rows, tokens):
        memory = 8 * tokens * token
        return fitting_chunk(CONFIG, rows, None, "float32", memory)

    assert [chunk(1, x) for x in (1, 16, 31, 64, 127, 5000)] == [
        16,
        16,
        16,
        64,
        64,
        512,
    ]
    assert chunk(8, 512) == 64
    assert fitting_chunk(CONFIG, 8, None, "float32", None) == 512
    assert Sampler(CONFIG).chunk_of(8) == 512
    assert Sampler(CONFIG, prefill_chunk=32).chunk_of(8) == 32
    assert Sampler(CONFIG).chunk_of(8, 8 * 512 * token) == 64
