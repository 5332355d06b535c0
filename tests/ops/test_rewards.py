"""Social transforms of rewards."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import rewards as reference

from aajax.ops import rewards

examples = hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
numbers = st.floats(-4, 4, width=32, allow_subnormal=False)
reward_arrays = hnp.arrays(np.float32, (5, 3), elements=numbers)
jitted_total = jax.jit(rewards.total)
jitted_mixed = jax.jit(rewards.mixed)


@pytest.mark.parametrize("shape", [(3,), (5, 4, 3)])
def test_total_matches_the_loop(maybe_jit, dtype, assert_close, normal, shape):
    reward = normal(*shape)
    actual = maybe_jit(rewards.total)(jnp.asarray(reward, dtype))
    assert_close(actual, reference.total(reward))


@pytest.mark.parametrize("shape", [(3,), (5, 3)])
def test_mixed_matches_the_loop(maybe_jit, dtype, assert_close, normal, shape):
    reward, weights = normal(*shape), normal(3, 3)
    actual = maybe_jit(rewards.mixed)(
        jnp.asarray(reward, dtype), jnp.asarray(weights, dtype)
    )
    assert_close(actual, reference.mixed(reward, weights))


def test_the_first_index_of_the_weights_is_who_is_trained():
    # The second agent is trained for the third one's gain, and nobody else for any.
    weights = jnp.zeros((3, 3)).at[1, 2].set(2.0)
    actual = rewards.mixed(jnp.array([1.0, 10.0, 100.0]), weights)
    np.testing.assert_array_equal(actual, [0.0, 200.0, 0.0])


@examples
@hypothesis.given(reward_arrays)
def test_the_identity_is_own_and_ones_are_total(reward):
    np.testing.assert_array_equal(rewards.own(reward), reward)
    np.testing.assert_allclose(
        jitted_mixed(reward, np.eye(3, dtype=np.float32)), reward, rtol=1e-6
    )
    np.testing.assert_allclose(
        jitted_mixed(reward, np.ones((3, 3), np.float32)),
        jitted_total(reward),
        rtol=1e-6,
        atol=1e-5,
    )


@examples
@hypothesis.given(reward_arrays, st.permutations(range(3)))
def test_the_total_does_not_depend_on_who_earned_what(reward, order):
    result = np.asarray(jitted_total(reward))
    np.testing.assert_allclose(
        jitted_total(reward[:, np.asarray(order)]), result, rtol=1e-6, atol=1e-5
    )
    np.testing.assert_array_equal(result[:, :1], result[:, 1:2])
    np.testing.assert_allclose(result[:, 0], reward.sum(1), rtol=1e-6, atol=1e-5)
