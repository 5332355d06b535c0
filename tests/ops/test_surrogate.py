"""Policy surrogates: their values and, above all, their gradients."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import surrogate as reference

from aajax.ops import categorical, surrogate

CLIP = 0.2
CAP = 1.5
CASES = {
    "reinforce": (surrogate.reinforce, reference.reinforce),
    "clipped": (
        surrogate.clipped(CLIP),
        lambda *arrays: reference.clipped(*arrays, CLIP),
    ),
    "truncated_importance": (
        surrogate.truncated_importance(CAP),
        lambda *arrays: reference.truncated_importance(*arrays, CAP),
    ),
}
SLOPES = {
    "reinforce": lambda log_prob, behaviour, credit: -credit,
    "clipped": lambda *arrays: reference.clipped_slope(*arrays, CLIP),
    "truncated_importance": lambda *arrays: reference.truncated_importance_slope(
        *arrays, CAP
    ),
}

examples = hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
log_probs = hnp.arrays(
    np.float32, 6, elements=st.floats(-5, 0, width=32, allow_subnormal=False)
)
parametrize_surrogates = pytest.mark.parametrize("name", list(CASES))
jitted_kl = jax.jit(surrogate.kl_k3)


def slopes(function):
    """Derivatives of the summed loss by each of its three arguments."""
    return jax.jit(jax.grad(lambda *arrays: function(*arrays).sum(), argnums=(0, 1, 2)))


@pytest.fixture
def arrays(normal):
    """Log-probabilities, those of the behaviour, and credits; the ratios lie on both
    sides of every bound, for credits of both signs."""
    log_prob = -np.abs(normal(8, 5)) - 0.5
    behaviour_log_prob = log_prob - normal(8, 5) / 2
    credit = normal(8, 5)
    ratio = np.exp(log_prob - behaviour_log_prob)
    for side in (ratio < 1 - CLIP, np.abs(ratio - 1) < CLIP, ratio > CAP):
        assert (credit[side] > 0).any() and (credit[side] < 0).any()
    return log_prob, behaviour_log_prob, credit


@parametrize_surrogates
def test_losses_match_the_loop(maybe_jit, dtype, assert_close, arrays, name):
    ours, loop = CASES[name]
    actual = maybe_jit(ours)(*(jnp.asarray(x, dtype) for x in arrays))
    assert_close(actual, loop(*arrays))


@parametrize_surrogates
def test_gradients_match_the_formula_and_reach_the_policy_alone(
    dtype, assert_close, arrays, name
):
    ours, _ = CASES[name]
    policy, behaviour, credit = slopes(ours)(*(jnp.asarray(x, dtype) for x in arrays))
    assert_close(policy, SLOPES[name](*arrays))
    assert not behaviour.any()
    assert not credit.any()


def test_the_clipped_gradient_vanishes_only_where_the_ratio_has_gone_far_enough():
    ratio = jnp.array([1.5, 1.5, 0.5, 0.5, 1.1, 0.9])
    credit = jnp.array([2.0, -2.0, 2.0, -2.0, 2.0, -2.0])
    policy, _, _ = slopes(surrogate.clipped(CLIP))(jnp.log(ratio), ratio * 0, credit)
    np.testing.assert_allclose(policy, [0.0, 3.0, -1.0, 0.0, -2.2, 1.8], rtol=1e-6)


def test_the_truncated_ratio_is_a_weight_and_no_path_for_the_gradient():
    log_prob = jnp.log(jnp.array([0.9, 0.3, 0.5]))
    behaviour_log_prob = jnp.log(jnp.array([0.3, 0.6, 0.5]))
    policy, _, _ = slopes(surrogate.truncated_importance(2.0))(
        log_prob, behaviour_log_prob, jnp.array([1.0, 1.0, -3.0])
    )
    # Ratios 3 (let through as 2), ½ and 1. Through the ratio there would be another
    # term, ρ c log π.
    np.testing.assert_allclose(policy, [-2.0, -0.5, 3.0], rtol=1e-6)


def test_a_ratio_that_overflows_is_truncated():
    loss = surrogate.truncated_importance(2.0)
    log_prob, behaviour_log_prob = jnp.array([-1.0]), jnp.array([-200.0])
    np.testing.assert_allclose(
        loss(log_prob, behaviour_log_prob, jnp.array([3.0])), [6.0], rtol=1e-6
    )


@parametrize_surrogates
def test_on_policy_every_surrogate_climbs_the_credit(name):
    logits = jnp.array([[0.2, -0.4, 1.0], [0.0, 3.0, -1.0]])
    action = jnp.array([2, 0])
    credit = jnp.array([1.5, -0.5])
    behaviour_log_prob = categorical.log_prob(logits, action)

    def loss(logits):
        log_prob = categorical.log_prob(logits, action)
        return CASES[name][0](log_prob, behaviour_log_prob, credit).sum()

    # −c ∇ log π(a) = −c (1_a − π).
    expected = -credit[:, None] * (jax.nn.one_hot(action, 3) - jax.nn.softmax(logits))
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(logits), expected, rtol=1e-5)


@parametrize_surrogates
def test_arrays_of_different_shapes_are_refused(name):
    with pytest.raises(AssertionError):
        CASES[name][0](jnp.zeros(3), jnp.zeros(3), jnp.zeros((1, 3)))
    with pytest.raises(AssertionError):
        CASES[name][0](jnp.zeros(3), jnp.zeros(1), jnp.zeros(3))


def test_kl_matches_the_loop(maybe_jit, dtype, assert_close, arrays):
    log_prob, reference_log_prob, _ = arrays
    actual = maybe_jit(surrogate.kl_k3)(
        jnp.asarray(log_prob, dtype), jnp.asarray(reference_log_prob, dtype)
    )
    assert_close(actual, reference.kl_k3(log_prob, reference_log_prob))


def test_kl_keeps_its_digits_between_close_policies():
    # d²/2 + d³/6; exp(d) − 1 in single precision would err by a tenth of it.
    d = 1e-3
    actual = jitted_kl(jnp.array([0.0]), jnp.array([d]))
    np.testing.assert_allclose(actual, [d**2 / 2 + d**3 / 6], rtol=2e-3)


@examples
@hypothesis.given(log_probs, log_probs)
def test_kl_is_never_negative(log_prob, reference_log_prob):
    hypothesis.assume(np.abs(log_prob - reference_log_prob).max() > 0.1)
    estimate = np.asarray(jitted_kl(log_prob, reference_log_prob))
    assert (estimate >= 0).all()
    assert estimate.max() > 0
    assert not jitted_kl(log_prob, log_prob).any()


def test_kl_is_unbiased():
    policy = jnp.array([0.5, 0.3, 0.2])
    other = jnp.array([0.1, 0.3, 0.6])
    expected = (policy * jnp.log(policy / other)).sum()
    actual = (policy * jitted_kl(jnp.log(policy), jnp.log(other))).sum()
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_kl_pulls_the_policy_towards_the_reference():
    log_prob, reference_log_prob = jnp.array([-1.0, -2.0, -1.5]), jnp.full(3, -1.5)
    slope = jax.grad(lambda x: jitted_kl(x, reference_log_prob).sum())(log_prob)
    # d/d log π (exp(d) − 1 − d) = 1 − exp(d).
    np.testing.assert_allclose(
        slope, 1 - np.exp(reference_log_prob - log_prob), rtol=1e-5
    )
