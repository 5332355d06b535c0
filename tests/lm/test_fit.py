"""The training step on one device: its loss, its parts, and what it holds in memory."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aajax import lm
from aajax.lm.model import lora
from aajax.lm.training import fit

BATCH, LENGTH, VOCAB, CHUNK = 4, 24, 50, 8
CONFIG = lm.DecoderConfig(
    family="qwen2",
    vocab_size=VOCAB,
    hidden_size=16,
    intermediate_size=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    attention_bias=True,
)


def chunked_loss(*arguments, **options):
    return fit.token_loss(*arguments, **options, chunk_size=CHUNK)


@pytest.fixture(scope="module")
def params():
    # Of unit gain, so that rounding errors stay what they are.
    return jax.tree_util.tree_map_with_path(
        lambda path, x: x if path[-1].key == "scale" else 12 * x,
        lm.init_params(CONFIG, jax.random.key(0)),
    )


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, VOCAB, (BATCH, LENGTH + 1), dtype=np.int32)
    positions = np.tile(np.arange(LENGTH, dtype=np.int32), (BATCH, 1))
    positions[1, 15:] = -1
    targets = np.where(positions < 0, -1, tokens[:, 1:])
    weights = rng.uniform(0.5, 3, (BATCH, LENGTH)) * (positions >= 0)
    weights[2, :5] = 0
    which = np.array([0, -1, 1, 1], np.int32)
    weights = weights.astype(np.float32)
    return fit.TokenBatch(tokens[:, :-1], positions, targets, weights, which)


@pytest.fixture(scope="module")
def tuned():
    adapters = lora.init_adapters(
        CONFIG, lora.LoraConfig(rank=2), jax.random.key(1), num_adapters=3
    )
    weights = jax.tree.map(lambda x: x + 0.01, adapters.weights)
    return adapters._replace(weights=weights)


@pytest.fixture(scope="module")
def step():
    return fit.make_step(CONFIG, optax.sgd(0.1), chunked_loss)


@pytest.fixture(scope="module")
def after(step, params, batch):
    return step.update(step.init(params), batch)


def close(found, wanted):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5),
        found,
        wanted,
    )


def test_loss_and_entropy_are_weighted_means(params, batch, after):
    hidden, _ = lm.forward(
        CONFIG, params, jnp.asarray(batch.tokens), jnp.asarray(batch.positions)
    )
    score = np.asarray(lm.logits(CONFIG, params, hidden), np.float64)
    score -= np.log(np.exp(score).sum(-1, keepdims=True))
    total = entropy = 0.0
    for i, j in zip(*np.nonzero(batch.weights), strict=True):
        total -= batch.weights[i, j] * score[i, j, batch.targets[i, j]]
        entropy -= batch.weights[i, j] * np.sum(np.exp(score[i, j]) * score[i, j])
    _, metrics = after
    weight = batch.weights.sum()
    np.testing.assert_allclose(metrics["weight"], weight, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], total / weight, rtol=1e-5)
    np.testing.assert_allclose(metrics["entropy"], entropy / weight, rtol=1e-5)


def test_the_step_is_down_the_gradient(params, batch, after):
    def loss(params):
        sums = chunked_loss(CONFIG, params, batch)
        return sums.total / sums.weight

    gradient = jax.jit(jax.grad(loss))(params)
    state, metrics = after
    close(state.weights, jax.tree.map(lambda x, g: x - 0.1 * g, params, gradient))
    assert int(state.step) == 1
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-5)


def test_parts_of_unequal_weight_add_up_to_the_whole(params, batch, after):
    assert len(set(batch.weights.sum(1))) == BATCH
    parts = fit.make_step(
        CONFIG, optax.sgd(0.1), chunked_loss, num_microbatches=2, remat=True
    )
    close(parts.update(parts.init(params), batch), after)


def test_a_state_is_consumed_and_what_it_was_made_of_is_not(step, params, batch):
    state = step.init(params)
    step.update(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.weights))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))


def test_adapters_learn_from_their_own_sequences(params, batch, tuned):
    step = fit.make_step(CONFIG, optax.sgd(0.1), chunked_loss, adapters=True)
    state = step.init(tuned.weights)
    state, metrics = step.update(state, batch, params, tuned.scale)
    for leaf, before in zip(
        jax.tree.leaves(state.weights), jax.tree.leaves(tuned.weights), strict=True
    ):
        moved = np.any(leaf != before, axis=(0, 2, 3))
        assert moved.tolist() == [True, True, False]
    # Adapter 1 alone, of the sequences that take it: the same gradient, by the share
    # that they have of the weight.
    own = jax.tree.map(lambda x: x[2:], batch)
    alone, own_metrics = step.update(step.init(tuned.weights), own, params, tuned.scale)
    share = own_metrics["weight"] / metrics["weight"]

    def change(state):
        pairs = zip(
            jax.tree.leaves(state.weights), jax.tree.leaves(tuned.weights), strict=True
        )
        return [np.asarray(x - y)[:, 1] for x, y in pairs]

    close(change(state), [x * float(share) for x in change(alone)])


def test_targets_that_are_left_out_may_be_forbidden(params, batch):
    last = VOCAB - 1
    batch = batch._replace(
        targets=np.where(batch.weights == 0, last, np.minimum(batch.targets, last - 1)),
        state=np.zeros((BATCH, LENGTH), np.int32),
    )

    def loss(params):
        allowed = jnp.arange(VOCAB)[None, None] < last

        def mask(state):
            return jnp.broadcast_to(allowed, (*state.shape, VOCAB))

        return fit.token_loss(CONFIG, params, batch, allowed=mask).total

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value) and value > 0
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def largest_over_vocabulary(program):
    """Most numbers in an array of float32 of which one dimension is the vocabulary."""
    sizes = [0]
    for found in re.findall(r"f32\[([\d,]+)\]", program):
        shape = [int(size) for size in found.split(",")]
        if VOCAB in shape and len(shape) > 2:
            sizes.append(np.prod(shape))
    return max(sizes)


def test_logits_of_a_whole_batch_are_never_held(step, params, batch):
    def program(step):
        return step.update.lower(step.init(params), batch).compile().as_text()

    assert largest_over_vocabulary(program(step)) == BATCH * CHUNK * VOCAB
    whole = fit.make_step(CONFIG, optax.sgd(0.1))
    assert largest_over_vocabulary(program(whole)) == BATCH * LENGTH * VOCAB


def test_what_does_not_fit_is_refused(step, params, batch, tuned):
    with pytest.raises(ValueError, match="num_microbatches is 0"):
        fit.make_step(CONFIG, optax.sgd(0.1), num_microbatches=0)
    parts = fit.make_step(CONFIG, optax.sgd(0.1), num_microbatches=3)
    with pytest.raises(ValueError, match="batch is 4 sequences: a multiple of the 3"):
        parts.update(parts.init(params), batch)
    with pytest.raises(ValueError, match="params is given: None is needed"):
        step.update(step.init(params), batch, params, tuned.scale)
    adapters = fit.make_step(CONFIG, optax.sgd(0.1), adapters=True)
    with pytest.raises(ValueError, match="params is None: a base with scale"):
        adapters.update(adapters.init(tuned.weights), batch)
