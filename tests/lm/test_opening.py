"""Openings that sequences share, read once, give the numbers of whole sequences."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import lm
from aajax.lm.model import lora
from aajax.lm.model.config import Delta
from aajax.lm.model.decoder import forward_after
from aajax.lm.model.precision import matmuls_in
from aajax.lm.sampling.sampler import Sampler

CONFIG = lm.DecoderConfig(
    family="gemma3_text", vocab_size=32, hidden_size=16, intermediate_size=24,
    num_layers=3, num_heads=2, num_kv_heads=1, head_dim=8, attention_bias=True,
    window=7, sliding=(True, False, True), local_rope=lm.Rope(theta=100.0),
)  # fmt: skip
OPENING = np.arange(2, 22, dtype=np.int32) % 32
LENGTHS = 5, 2, 0  # of what follows


RECURRENT = dataclasses.replace(
    CONFIG, sliding=(), window=None, local_rope=None, recurrent=(True, False, True),
    delta=Delta(1, 2, 4, 6, kernel=3), output_gate=True,
)  # fmt: skip

# A layer with keys and values, and one of each kind that has those of another.
UNEQUAL = dataclasses.replace(
    CONFIG, num_layers=4, sliding=(True, False) * 2, full_head_dim=12, value_norm=True,
    num_shared=2, wide_shared=True, layer_scale=True, per_layer_size=5,
)  # fmt: skip


def weights_of(config):
    def noisy(shapes):
        rng = np.random.default_rng(0)
        return jax.tree.map(
            lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), x.dtype), shapes
        )

    params = jax.eval_shape(lambda: lm.init_params(config, jax.random.key(0)))
    small = lora.LoraConfig(rank=2, alpha=3.0)
    adapters = jax.eval_shape(
        lambda: lora.init_adapters(config, small, jax.random.key(0))
    )
    return noisy(params), noisy(adapters)._replace(scale=jnp.array([1.5]))


@pytest.fixture(scope="module")
def given():
    return weights_of(CONFIG)


CASES = [(CONFIG, "float32"), (CONFIG, "bfloat16"), (UNEQUAL, "float32")]


def rest():
    place = np.arange(max(LENGTHS), dtype=np.int32)
    real = place < np.array(LENGTHS)[:, None]
    tokens = (7 * place + 3 * np.arange(3)[:, None]) % 32
    return np.where(real, tokens, 0), np.where(real, len(OPENING) + place, -1), real


@pytest.mark.parametrize(
    ("config", "precision"), CASES, ids=["windows", "bfloat16", "unequal"]
)
def test_hidden_states_and_gradients_are_those_of_whole_sequences(config, precision):
    params, adapters = weights_of(config)
    tokens, positions, real = rest()
    begun = np.arange(len(OPENING), dtype=np.int32)
    every = np.concatenate([np.tile(OPENING, (3, 1)), tokens], 1)
    at = np.concatenate([np.tile(begun, (3, 1)), positions], 1)

    def whole(weights):
        adapter = adapters._replace(weights=weights)
        ids = jnp.zeros(3, jnp.int32)
        hidden, _ = lm.forward(config, params, every, at, None, adapter, ids)
        return hidden[:, len(OPENING) :]

    def shared(weights):
        adapter = adapters._replace(weights=weights)
        with matmuls_in(precision):
            return forward_after(config, params, OPENING, tokens, positions, adapter)

    def both(function):
        def loss(weights):
            hidden = function(weights)
            return jnp.sum(jnp.where(real[:, :, None], jnp.sin(hidden), 0.0)), hidden

        gradient, hidden = jax.jit(jax.grad(loss, has_aux=True))(adapters.weights)
        return gradient, hidden[real]

    share = {"float32": 1e-5, "bfloat16": 0.05}[precision]
    found, wanted = both(shared), both(whole)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.abs(y).max() > 0.01
        np.testing.assert_allclose(x, y, rtol=0, atol=share * np.abs(y).max())


def test_the_base_alone_has_no_adapter(given):
    params, _ = given
    tokens, positions, real = rest()
    last = np.append(OPENING, tokens[1, :2])[None]

    @jax.jit
    def both(params):
        shared = forward_after(CONFIG, params, OPENING, tokens, positions)
        return shared, lm.forward(CONFIG, params, last, np.arange(22)[None])[0]

    found, wanted = both(params)
    np.testing.assert_allclose(found[1, 1], wanted[0, -1], atol=1e-5)


def test_several_adapters_are_refused(given):
    params, adapters = given
    two = lora.stack([adapters, adapters])
    with pytest.raises(ValueError, match="adapters has 2: 1 is needed"):
        forward_after(CONFIG, params, OPENING, *rest()[:2], two)
    with pytest.raises(ValueError, match="config is of gemma3_text, with recurrent"):
        forward_after(RECURRENT, params, OPENING, *rest()[:2], None)


@pytest.mark.parametrize("config", [CONFIG, RECURRENT], ids=["windows", "recurrent"])
def test_a_session_reads_its_opening_once_for_each_adapter(config):
    params, one = weights_of(config)
    adapters = lora.stack([one, one._replace(scale=jnp.array([-2.0]))])
    sampler = Sampler(config)
    ids = np.array([1, -1, 0, 1, -1, 0], np.int32)
    # All as wide as one block of tokens, for which one program is compiled.
    rows = [[*OPENING[:17].tolist(), *range(i % 4)] for i in range(6)]
    found = sampler.append(sampler.start(6), params, rows, adapters, ids)
    # A row at a time has nothing to share.
    for row, tokens in enumerate(rows):
        alone = sampler.append(
            sampler.start(1), params, [tokens], adapters, ids[row : row + 1]
        )
        assert found.length[row] == alone.length[0] == len(tokens)
        np.testing.assert_allclose(found.last[row], alone.last[0], atol=1e-4)
        again = [
            sampler.append(session, params, [[3]] * number, adapters, who)
            for session, number, who in (
                (found, 6, ids),
                (alone, 1, ids[row : row + 1]),
            )
        ]
        np.testing.assert_allclose(again[0].last[row], again[1].last[0], atol=1e-4)
