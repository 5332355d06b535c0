"""What a device's rates allow: by hand, and against what XLA counts."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import forward, init_params
from aajax.lm.planning import bounds

CONFIG = DecoderConfig(
    family="qwen2",
    vocab_size=320,
    hidden_size=128,
    intermediate_size=256,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
)


def test_operations_are_about_those_that_xla_counts():
    batch, length = 2, 64
    ids = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    # XLA counts a loop's body once: one layer is enough to see.
    one = dataclasses.replace(CONFIG, num_layers=1)
    params = jax.eval_shape(partial(init_params, one), jax.random.key(0))
    run = jax.jit(lambda p, x, y: forward(one, p, x, y)[0])
    counted = run.lower(params, ids, ids).compile().cost_analysis()["flops"]
    # Products with later tokens are made too, and masked; norms and the like besides.
    full = 2 * bounds.layer_size(one) + 2 * bounds.attention_flops(one, length)
    assert counted == pytest.approx(batch * length * full, rel=0.1)


def test_training_is_two_or_three_passes():
    weights = 2 * bounds.layer_size(CONFIG)
    logits, attention = 2 * 320 * 128, bounds.attention_flops(CONFIG, 10)
    whole = bounds.training_flops(CONFIG, 10)
    assert whole == 3 * (weights + logits + attention)
    tuned = bounds.training_flops(CONFIG, 10, frozen=True, remat=True, targets=0.5)
    assert tuned == 3 * weights + logits + 4 * attention


def test_experts_that_no_token_goes_to_are_not_counted():
    config = dataclasses.replace(CONFIG, num_experts=8, experts_per_token=2)
    one = 3 * 128 * 256 * 2
    plain = bounds.layer_size(CONFIG)
    router = 2 * 128 * 8
    assert bounds.layer_size(config) == plain + 7 * one + router
    assert bounds.active_size(config) == plain + one + router
    few, many = (bounds.step_bytes(config, batch, 0, 2) for batch in (3, 4))
    assert many - few == 2 * 2 * one
    assert bounds.step_bytes(config, 100, 0, 2) == many


def test_an_iteration_by_hand():
    rates = bounds.Rates(tflops=1e-3, memory_gbs=1e-2)
    job = bounds.Iteration(batch=4, length=30, sampled=10, itemsize=2)
    found = bounds.iteration_seconds(CONFIG, rates, job)
    forward = bounds.forward_flops(CONFIG, 30)
    assert found.reading == pytest.approx(4 * 20 * forward / 1e9)
    # Of 15 tokens, in the mean, of each of 4 sequences.
    read = bounds.step_bytes(CONFIG, 4, 15, 2)
    assert found.sampling == pytest.approx(10 * read / 1e7)
    tuned = bounds.training_flops(CONFIG, 30, True, True, 1 / 3)
    assert found.training == pytest.approx(4 * 30 * tuned / 1e9)


def test_weights_in_parts_are_gathered_or_multiplied_in_parts():
    slow = bounds.Rates(tflops=1.0, memory_gbs=1e3, link_gbs=1e-2)
    job = bounds.Iteration(batch=4, length=30, sampled=10)
    weights = bounds.step_bytes(CONFIG, 0, 0, 2)
    split = bounds.iteration_seconds(CONFIG, slow, job, fsdp=4)
    assert split.sampling == pytest.approx(10 * weights * 3 / 4 / 1e7)
    both = bounds.iteration_seconds(CONFIG, slow, job, fsdp=2, tensor=2)
    assert both.sampling == pytest.approx(10 * weights / 2 / 2 / 1e7)
    fast = bounds.Rates(tflops=1.0, memory_gbs=1e-2)
    one = bounds.iteration_seconds(CONFIG, fast, job)
    parts = bounds.iteration_seconds(CONFIG, fast, job, tensor=4)
    assert parts.sampling == pytest.approx(one.sampling / 4)
    assert parts.training == pytest.approx(one.training / 4)


@pytest.mark.parametrize("sampled", [0, 30])
def test_what_is_sampled_is_a_part(sampled):
    with pytest.raises(ValueError, match=f"sampled is {sampled}: a number from 1 to"):
        bounds.Iteration(batch=1, length=30, sampled=sampled)


def test_rates_are_above_zero():
    with pytest.raises(ValueError, match="memory_gbs is 0.0: a number above 0"):
        bounds.Rates(1.0, 0.0)
