"""Discounted returns, advantages and λ-returns."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import returns as reference

from aajax.ops import returns

GAMMA = 0.9
NUM_STEPS = 12
# One episode ends for good at step 3, the next is cut off at step 7, and the array
# stops within a third.
LAST = np.isin(np.arange(NUM_STEPS), (3, 7))
DISCOUNT = np.where(np.arange(NUM_STEPS) == 3, 0.0, GAMMA)

examples = hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
numbers = st.floats(-4, 4, width=32, allow_subnormal=False)
steps = hnp.arrays(np.float32, NUM_STEPS, elements=numbers)
steps_and_one = hnp.arrays(np.float32, NUM_STEPS + 1, elements=numbers)
fractions = st.floats(0, 1, width=32, allow_subnormal=False)
jitted_returns = jax.jit(returns.discounted_returns)
jitted_gae = jax.jit(returns.gae)


@pytest.mark.parametrize("bootstrap_value", [0.0, 2.5])
def test_discounted_returns_match_the_loop(
    maybe_jit, dtype, assert_close, normal, bootstrap_value
):
    reward = normal(NUM_STEPS)
    actual = maybe_jit(returns.discounted_returns)(
        jnp.asarray(reward, dtype), jnp.asarray(DISCOUNT, dtype), bootstrap_value
    )
    assert_close(
        actual, reference.discounted_returns(reward, DISCOUNT, bootstrap_value)
    )


@pytest.mark.parametrize("name", ["gae", "lambda_returns"])
@pytest.mark.parametrize(
    "ends", [(), ("last_t",), ("last_t", "final_value_t")], ids=["one", "last", "final"]
)
def test_advantages_and_lambda_returns_match_the_loop(
    maybe_jit, dtype, assert_close, normal, name, ends
):
    reward, value, final_value = normal(NUM_STEPS), normal(NUM_STEPS + 1), normal(12)
    options = {"last_t": LAST, "final_value_t": final_value}
    options = {key: options[key] for key in ends}
    arrays = [jnp.asarray(x, dtype) for x in (reward, DISCOUNT, value)]
    ours = {
        key: jnp.asarray(x, bool if key == "last_t" else dtype)
        for key, x in options.items()
    }
    expected = getattr(reference, name)(
        reward, DISCOUNT, value, 0.7, *(options[key] for key in ends)
    )
    assert_close(maybe_jit(getattr(returns, name))(*arrays, 0.7, **ours), expected)


def test_a_batch_is_its_games_side_by_side(dtype, assert_close, normal):
    reward, value = normal(NUM_STEPS, 3), normal(NUM_STEPS + 1, 3)
    discount = np.stack([DISCOUNT, DISCOUNT * 0.5, np.full(NUM_STEPS, 0.9)], axis=1)
    batched = jax.vmap(returns.gae, in_axes=(1, 1, 1, None), out_axes=1)
    actual = batched(
        *(jnp.asarray(x, dtype) for x in (reward, discount, value)),
        jnp.asarray(0.7, dtype),
    )
    games = [
        reference.gae(reward[:, b], discount[:, b], value[:, b], 0.7) for b in range(3)
    ]
    assert_close(actual, np.stack(games, axis=1))


@pytest.mark.parametrize(
    ("discount", "last", "advantage"),
    [
        # Played on: 1 + ½ (2 + ½ · 8) − 3, through the rewards up to the last value.
        (0.5, False, 1.0),
        # Ended: 1 − 3, nothing comes after.
        (0.0, True, -2.0),
        # Cut off: 1 + ½ · 10 − 3, the value of the final observation stands in.
        (0.5, True, 3.0),
    ],
    ids=["goes on", "terminated", "truncated"],
)
def test_an_end_is_not_a_cut(discount, last, advantage):
    actual = jitted_gae(
        jnp.array([1.0, 2.0]),
        jnp.array([discount, 0.5]),
        jnp.array([3.0, -7.0, 8.0]),
        1.0,
        last_t=jnp.array([last, False]),
        final_value_t=jnp.array([10.0, 0.0]),
    )
    np.testing.assert_allclose(actual, [advantage, 2 + 4 + 7], rtol=1e-6)


def test_final_values_are_read_only_at_last_steps(normal):
    reward, value = normal(NUM_STEPS), normal(NUM_STEPS + 1)
    arrays = [jnp.asarray(x, jnp.float32) for x in (reward, DISCOUNT, value)]
    last = jnp.asarray(LAST)
    zeros = jitted_gae(*arrays, 0.7, last_t=last, final_value_t=jnp.zeros(NUM_STEPS))
    nans = jnp.where(last, 0.0, jnp.nan)
    np.testing.assert_array_equal(
        jitted_gae(*arrays, 0.7, last_t=last, final_value_t=nans), zeros
    )


@examples
@hypothesis.given(steps, hnp.arrays(np.float32, NUM_STEPS, elements=fractions), numbers)
def test_returns_obey_their_recurrence(reward, discount, bootstrap_value):
    result = jitted_returns(reward, discount, np.float32(bootstrap_value))
    ahead = np.append(result[1:], np.float32(bootstrap_value))
    np.testing.assert_allclose(result, reward + discount * ahead, rtol=1e-5, atol=1e-5)


@examples
@hypothesis.given(
    steps, hnp.arrays(np.float32, NUM_STEPS, elements=fractions), steps_and_one
)
def test_with_lambda_one_the_advantage_is_return_minus_value(reward, discount, value):
    advantage = jitted_gae(reward, discount, value, 1.0)
    result = jitted_returns(reward, discount, value[-1])
    np.testing.assert_allclose(advantage, result - value[:-1], rtol=1e-5, atol=1e-4)


@examples
@hypothesis.given(steps, steps_and_one)
def test_with_lambda_zero_the_advantage_is_one_step_ahead(reward, value):
    discount = DISCOUNT.astype(np.float32)
    advantage = jitted_gae(reward, discount, value, 0.0)
    np.testing.assert_allclose(
        advantage, reward + discount * value[1:] - value[:-1], rtol=1e-5, atol=1e-5
    )


@examples
@hypothesis.given(steps, steps, steps_and_one, steps_and_one, steps)
def test_nothing_after_the_last_step_counts(reward, other, value, later, final_value):
    discount = np.full(NUM_STEPS, GAMMA, np.float32)
    after = np.arange(NUM_STEPS) > 7
    padded_reward = np.where(after, other, reward)
    padded_value = np.where(np.append(False, np.arange(NUM_STEPS) >= 7), later, value)
    ends = {"last_t": LAST, "final_value_t": final_value}
    np.testing.assert_array_equal(
        jitted_gae(padded_reward, discount, padded_value, 0.7, **ends)[:8],
        jitted_gae(reward, discount, value, 0.7, **ends)[:8],
    )
    ended = np.where(np.arange(NUM_STEPS) == 7, np.float32(0), discount)
    np.testing.assert_array_equal(
        jitted_returns(padded_reward, ended, 1.0)[:8],
        jitted_returns(reward, ended, 1.0)[:8],
    )


def test_one_step():
    reward, discount = jnp.array([2.0]), jnp.array([0.5])
    np.testing.assert_array_equal(
        returns.discounted_returns(reward, discount, 3.0), [3.5]
    )
    value = jnp.array([1.0, 3.0])
    np.testing.assert_array_equal(returns.gae(reward, discount, value, 0.9), [2.5])
    np.testing.assert_array_equal(
        returns.lambda_returns(reward, discount, value, 0.9), [3.5]
    )


@pytest.mark.parametrize("gamma", [0.1, 0.999])
def test_a_thousand_steps_of_equal_reward_sum_to_the_geometric_series(gamma):
    remaining = np.arange(1000, 0, -1)
    expected = (1 - gamma**remaining) / (1 - gamma)
    reward = jnp.ones(1000)
    discount = jnp.full(1000, gamma)
    np.testing.assert_allclose(
        jitted_returns(reward, discount), expected, rtol=1e-4, atol=0
    )
    advantage = jitted_gae(reward, discount, jnp.zeros(1001), 1.0)
    np.testing.assert_allclose(advantage, expected, rtol=1e-4, atol=0)


def test_shapes_and_types_that_do_not_fit_are_refused():
    three, four = jnp.ones(3), jnp.ones(4)
    with pytest.raises(AssertionError):
        returns.gae(three, three, three, 0.9)
    with pytest.raises(AssertionError):
        returns.discounted_returns(three, four)
    with pytest.raises(AssertionError):
        returns.discounted_returns(jnp.ones((3, 2)), jnp.ones((3, 2)))
    with pytest.raises(AssertionError):
        returns.discounted_returns(jnp.ones(3, jnp.int32), three)
