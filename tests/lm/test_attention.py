"""Attention without matrices of scores gives the numbers of attention with them.

Kernels are emulated: JAX's interpreter of Pallas runs them on CPUs.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import lm
from aajax.lm.model import attention
from aajax.lm.training import fit


def arrays(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def near(found, wanted, share):
    """Within a share of the largest number of each array."""
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
        np.testing.assert_allclose(x, y, rtol=0, atol=share * np.abs(y).max())


@pytest.fixture
def emulated(monkeypatch):
    """Programs are made as for a TPU, whose kernels are emulated."""
    kernel = functools.partial(attention.splash, interpret=True)
    monkeypatch.setattr(attention, "platform", lambda: "tpu")
    monkeypatch.setitem(attention.KERNELS, "splash", kernel)


@pytest.mark.parametrize(
    "shape, window, dtype, share",
    [
        # Grouped heads of 64 numbers, and a length that is no multiple of 128.
        ((2, 200, 4, 2, 64), None, "float32", 1e-5),
        ((1, 130, 3, 1, 8), 50, "float32", 1e-5),
        ((2, 130, 4, 2, 128), None, "bfloat16", 2e-2),
    ],
)
def test_splash_attention_is_attention_with_scores(shape, window, dtype, share):
    batch, length, num_heads, num_kv_heads, size = shape
    of_queries = batch, length, num_heads, size
    of_keys = batch, num_kv_heads, length, size
    *given, weight = arrays(of_queries, of_keys, of_keys, of_queries, dtype=dtype)
    at = np.arange(length)
    seen = at[None] <= at[:, None]
    if window is not None:
        seen &= at[:, None] - at[None] < window
    mask = jnp.broadcast_to(jnp.asarray(seen), (batch, length, length))
    scale = 0.7 * size**-0.5

    def both(attend):
        def loss(*given):
            y = attend(*given)
            return jnp.sum((y * weight).astype(jnp.float32)), y

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*given)

    kernel = functools.partial(
        attention.splash, window=window, scale=scale, interpret=True
    )
    (_, found), found_gradient = both(kernel)
    (_, wanted), gradient = both(lambda q, k, v: attention.attend(q, k, v, mask, scale))
    assert found.dtype == wanted.dtype
    near((found, found_gradient), (wanted, gradient), share)


# Both kinds of layers, heads in groups, scores with a bound.
CONFIG = lm.DecoderConfig(
    family="gemma3_text", vocab_size=32, hidden_size=16, intermediate_size=32,
    num_layers=3, num_heads=4, num_kv_heads=2, head_dim=8, qk_norm=True,
    window=4, sliding=(True, False, True), local_rope=lm.Rope(theta=100.0),
    attention_cap=1.5,
)  # fmt: skip
TOKENS = np.random.default_rng(1).integers(0, 32, (3, 12)).astype(np.int32)
# Padding at the end, at the beginning, and between.
POSITIONS = np.array(
    [
        [*range(12)],
        [-1, -1, -1, *range(8), -1],
        [0, 1, 2, -1, -1, 3, 4, -1, 5, 6, 7, 8],
    ],
    np.int32,
)


def trained(remat=False):
    """A training step of all weights, and hidden states of real tokens."""
    params = jax.tree.map(
        lambda x: 5 * x, lm.init_params(CONFIG, jax.random.key(0))
    )  # larger than as they begin, so that attention is uneven
    weights = (POSITIONS >= 0).astype(np.float32)
    batch = fit.TokenBatch(TOKENS, POSITIONS, np.roll(TOKENS, -1, 1), weights)

    def loss(params):
        sums = fit.token_loss(CONFIG, params, batch, remat=remat)
        hidden, cache = lm.forward(CONFIG, params, TOKENS, POSITIONS)
        assert cache is None
        return sums.total / sums.weight, hidden

    (total, hidden), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return total, gradient, hidden[POSITIONS >= 0]


def test_training_by_the_kernel_is_training_with_scores(emulated):
    found = trained(remat=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "platform", lambda: "cpu")
        wanted = trained()
    near(found, wanted, 2e-5)


def read_in_pieces(size, fill):
    """Hidden states of real tokens, read into a cache in three pieces, and lengths."""
    params = jax.tree.map(lambda x: 5 * x, lm.init_params(CONFIG, jax.random.key(0)))
    cache = lm.init_cache(CONFIG, 3, size)
    cache = cache._replace(key=cache.key + fill, value=cache.value + fill)
    tokens = np.random.default_rng(2).integers(0, 32, (3, 37)).astype(np.int32)
    length = np.array([[37], [20], [3]])
    positions = np.where(np.arange(37) < length, np.arange(37), -1).astype(np.int32)
    read = jax.jit(functools.partial(lm.forward, CONFIG, params))
    found = []
    for piece in slice(0, 18), slice(18, 36), slice(36, 37):
        hidden, cache = read(tokens[:, piece], positions[:, piece], cache)
        found.append(np.asarray(hidden)[positions[:, piece] >= 0])
    return np.concatenate(found), cache.length


def test_caches_are_read_in_blocks_as_a_whole(monkeypatch):
    # 40 slots are no multiple of 16.
    wanted, length = read_in_pieces(40, 0.0)
    monkeypatch.setattr(attention, "platform", lambda: "cuda")
    monkeypatch.setattr(attention, "SLOTS", 16)
    found, found_length = read_in_pieces(40, 0.0)
    near(found, wanted, 1e-5)
    assert found_length.tolist() == length.tolist() == [37, 20, 3]


@pytest.mark.parametrize(
    "most, rows",  # each of 20 sequences has 320 scores
    [(1600, 20), (1599, 4), (1000, 2), (1, 1)],
)
def test_many_scores_are_made_of_few_sequences_at_a_time(monkeypatch, most, rows):
    query, key, value = arrays((20, 5, 4, 8), (20, 2, 16, 8), (20, 2, 16, 8))
    mask = jnp.asarray(np.random.default_rng(1).random((20, 5, 16)) < 0.5)
    attend, seen = attention.attend, []
    wanted = attend(query, key, value, mask, 0.3, 2.0)

    def spy(query, *others, **options):
        seen.append(len(query))
        return attend(query, *others, **options)

    monkeypatch.setattr(attention, "attend", spy)
    monkeypatch.setattr(attention, "SCORES", most)
    found = attention.attend_in_parts(query, key, value, mask, scale=0.3, cap=2.0)
    near(found, wanted, 1e-6)
    assert set(seen) == {rows}


def test_long_pieces_of_prompts_are_read_by_the_kernel(monkeypatch):
    # No windows; a row with nothing new, one that ends within a piece, padding between.
    config = dataclasses.replace(CONFIG, sliding=(), window=None, local_rope=None)
    params = jax.tree.map(lambda x: 3 * x, lm.init_params(config, jax.random.key(0)))
    tokens = np.random.default_rng(2).integers(0, 32, (2, 3, 160)).astype(np.int32)
    positions = np.full((2, 3, 160), -1, np.int32)
    positions[0, 0, 3:] = np.arange(157)
    positions[0, 1, :9] = np.arange(9)
    positions[1, 0, :160:2] = 157 + np.arange(80)
    positions[1, 1, :130] = 9 + np.arange(130)

    def read():
        cache, found = lm.init_cache(config, 3, 384), []
        read = jax.jit(functools.partial(lm.forward, config, params))
        for i in range(2):
            hidden, cache = read(tokens[i], positions[i], cache)
            found.append(hidden[positions[i] >= 0])
        return found, cache.length

    wanted, length = read()
    monkeypatch.setattr(attention, "platform", lambda: "tpu")
    monkeypatch.setattr(attention, "SLOTS", 128)
    monkeypatch.setattr(attention, "blocks_in_use", None)
    kernel = functools.partial(attention.splash_piece, interpret=True)
    monkeypatch.setitem(attention.KERNELS, "piece", kernel)
    found, found_length = read()
    near(found, wanted, 1e-4)
    assert found_length.tolist() == length.tolist() == [237, 139, 0]


def test_blocks_that_are_not_in_use_are_not_read(monkeypatch):
    # Which would be seen: 0 · nan is nan.
    assert np.isnan(read_in_pieces(64, np.nan)[0]).any()
    monkeypatch.setattr(attention, "platform", lambda: "cuda")
    monkeypatch.setattr(attention, "SLOTS", 1)
    assert np.isfinite(read_in_pieces(64, np.nan)[0][-1]).all()


@pytest.mark.parametrize(
    "kind, platform, found",
    [
        ("TPU v5 lite", "tpu", "tpu"),
        ("NVIDIA H100 80GB HBM3", "gpu", "cuda"),
        ("AMD Instinct MI300X", "gpu", "gpu"),
    ],
)
def test_programs_are_made_for_the_devices_of_the_mesh(kind, platform, found):
    assert attention.platform() == "cpu"
    device = jax.sharding.AbstractDevice(kind, 1, platform)
    mesh = jax.sharding.AbstractMesh((1, 1, 1), ("data", "fsdp", "tensor"))
    with jax.sharding.use_abstract_mesh(mesh.update(abstract_device=device)):
        assert attention.platform() == found


@pytest.mark.parametrize(
    "where, head_dim, dtype, cap, kernel",
    [
        ("cpu", 128, "bfloat16", None, None),
        ("tpu", 80, "float32", None, "splash"),
        ("tpu", 80, "float32", 50.0, "splash"),
        ("cuda", 64, "bfloat16", None, "cudnn"),
        ("cuda", 64, "bfloat16", 50.0, None),
        ("cuda", 64, "float32", None, None),
        ("cuda", 256, "bfloat16", None, None),
    ],
)
def test_which_kernel_there_is(monkeypatch, where, head_dim, dtype, cap, kernel):
    monkeypatch.setattr(attention, "platform", lambda: where)
    config = lm.DecoderConfig(
        family="llama", vocab_size=8, hidden_size=8, intermediate_size=8,
        num_layers=1, num_heads=1, num_kv_heads=1, head_dim=head_dim,
        attention_cap=cap,
    )  # fmt: skip
    assert attention.fused_kernel(config, jnp.dtype(dtype)) == kernel
