"""Dialogues sampled on meshes of eight devices are those of one device."""

import json
import os
import subprocess
import sys

import jax
import pytest

from aajax import lm
from aajax.lm.sampling.sampler import Sampler

PROGRAM = r"""
import json, sys
import jax, jax.numpy as jnp, numpy as np
from aajax import lm
from aajax.lm.model import lora
from aajax.lm.mesh import sharding
from aajax.lm.sampling.grammar import FREE, compile_grammar
from aajax.lm.sampling.sampler import Sampler, Sampling, num_programs

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

VOCAB = 48
config = lm.DecoderConfig(
    family="qwen3", vocab_size=VOCAB, hidden_size=32, intermediate_size=64,
    num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, qk_norm=True,
)
params = jax.tree_util.tree_map_with_path(
    lambda path, x: x if path[-1].key == "scale" else 10 * x,
    lm.init_params(config, jax.random.key(0)),
)
tuned = lora.init_adapters(config, lora.LoraConfig(rank=2), jax.random.key(1), 2)
tuned = tuned._replace(weights=jax.tree.map(lambda x: x + 0.05, tuned.weights))
grammar, (start,) = compile_grammar(
    ["[a-d]{2,6}"], [None] * 4 + [bytes([97 + i]) for i in range(VOCAB - 4)]
)
stop = np.arange(VOCAB) < 4
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [14], [15, 16]]  # 5 of 8 rows
ROWS = np.array([0, 1, -1, 1, 0], np.int32)


def play(mesh):
    base, route = params, tuned
    if mesh is not None:
        base, route = sharding.shard(params, mesh), sharding.shard(tuned, mesh)
    sampler = Sampler(config, mesh=mesh, prefill_chunk=32)
    route = {"adapters": route, "adapter_id": ROWS}
    sampling = Sampling(np.array([9, 3, 0, 12, 5]), stop, grammar=grammar)
    session = sampler.append(sampler.start(5), base, PROMPTS, **route)
    check(mesh, session, 64)
    # Two pieces, and a larger cache, for some; none for one.
    more = [[20] * 62, [21], [], [22, 23], [24] * 40]
    session = sampler.append(session, base, more, **route)
    check(mesh, session, 128)
    session, sample, tries = sampler.generate_checked(
        session, base, jax.random.key(3),
        sampling._replace(
            state=np.full(5, start), temperature=np.array([1.0, 0.5, 1.0, 2.0, 0.0])
        ),
        accepts=lambda row, ids: row == 1, num_tries=2, **route,
    )
    check(mesh, session, 128)
    before = num_programs()
    session, other = sampler.generate(
        session, base, jax.random.split(jax.random.key(4), 5),
        sampling._replace(state=np.where(ROWS == 0, start, FREE)), donate=True, **route,
    )
    assert num_programs() == before, "another turn compiled again"
    return (sample, other), tries, session.length


def check(mesh, session, size):
    cache = session.cache
    assert cache.key.shape[3] == size
    if mesh is None:
        return
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    rows = cache.key.shape[1] // parts
    assert rows * parts == 8
    part = (2, rows, 2 // mesh.shape["tensor"], size, 8)
    for x in cache.key, cache.value:
        assert {piece.data.shape for piece in x.addressable_shards} == {part}
    for x in session.last, cache.length:
        assert {len(piece.data) for piece in x.addressable_shards} == {rows}


wanted = play(None)
assert wanted[1].tolist() == [3, 1, 3, 3, 3]
assert all((sample.length > 0).sum() >= 4 for sample in wanted[0])
for shape in json.loads(sys.argv[1]):
    samples, *others = play(sharding.make_mesh(*shape))
    for found, sample in zip(samples, wanted[0], strict=True):
        np.testing.assert_allclose(found.log_prob, sample.log_prob, rtol=0, atol=1e-5)
        found, sample = (x._replace(log_prob=None) for x in (found, sample))
        jax.tree.map(np.testing.assert_array_equal, found, sample)
    jax.tree.map(np.testing.assert_array_equal, others, list(wanted[1:]))
print("equal")
"""


def run(shapes):
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(shapes)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=900,
    )
    assert output.stdout.strip() == "equal", output.stderr[-2000:]


@pytest.mark.slow
def test_a_mesh_of_eight_devices_samples_what_one_does():
    run([(2, 2, 2)])


@pytest.mark.slow
def test_every_kind_of_mesh_samples_what_one_device_does():
    run([(8, 1, 1), (1, 4, 2), (1, 8, 1), (4, 1, 2)])


def test_other_axes_are_refused():
    config = lm.DecoderConfig(
        family="llama", vocab_size=8, hidden_size=8, intermediate_size=8,
        num_layers=1, num_heads=1, num_kv_heads=1, head_dim=8,
    )  # fmt: skip
    mesh = jax.make_mesh(
        (1,), ("x",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:1]
    )
    with pytest.raises(ValueError, match="mesh has axes x: data, fsdp, tensor are"):
        Sampler(config, mesh=mesh)
