"""What losses that estimate a quantity descend, exactly: sums over all actions.

A loss of a sampled action is averaged over the distribution that the action is drawn
from, held fixed, and differentiated: no sampling noise is left.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.ops import categorical, surrogate, values

LOGITS = jnp.array([1.0, -0.5, 0.0])
REFERENCE = jax.nn.log_softmax(jnp.array([0.0, 0.0, 2.0]))
BEHAVIOUR = jax.nn.log_softmax(jnp.array([0.3, 0.2, -0.4]))
CREDIT = jnp.array([0.7, -1.1, 0.4])


def expected_gradient(loss, behaviour=None):
    """∇ Σ_a μ(a) loss(log π(a))_a at LOGITS; on policy without a behaviour."""

    def average(logits):
        log_prob = jax.nn.log_softmax(logits)
        log_mu = log_prob if behaviour is None else behaviour
        chance = jax.lax.stop_gradient(jnp.exp(log_mu))
        return jnp.sum(chance * loss(log_prob))

    return jax.grad(average)(LOGITS)


def divergence(log_p, log_q):
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q))


def reverse(logits):
    """KL(π ‖ π_ref)."""
    return divergence(jax.nn.log_softmax(logits), REFERENCE)


def forward(logits):
    """KL(π_ref ‖ π)."""
    return divergence(REFERENCE, jax.nn.log_softmax(logits))


@pytest.mark.parametrize("estimate", [surrogate.kl_k3, surrogate.kl_k3_reverse])
def test_both_penalties_are_worth_the_divergence_from_the_reference(estimate):
    log_prob = jax.nn.log_softmax(LOGITS)
    value = jnp.sum(jnp.exp(log_prob) * estimate(log_prob, REFERENCE))
    np.testing.assert_allclose(value, reverse(LOGITS), rtol=1e-5)


def test_the_published_penalty_descends_the_opposite_divergence():
    found = expected_gradient(lambda x: surrogate.kl_k3(x, REFERENCE))
    np.testing.assert_allclose(found, jax.grad(forward)(LOGITS), atol=1e-6)
    np.testing.assert_allclose(found, [0.522, 0.034, -0.556], atol=1e-3)
    assert np.abs(found - jax.grad(reverse)(LOGITS)).max() > 0.05


@pytest.mark.parametrize("behaviour", [None, BEHAVIOUR], ids=["on", "off"])
def test_the_other_penalty_descends_what_it_is_worth(behaviour):
    """Off policy it is weighted by π / μ, held constant."""

    def loss(log_prob):
        penalty = surrogate.kl_k3_reverse(log_prob, REFERENCE)
        if behaviour is None:
            return penalty
        return jax.lax.stop_gradient(jnp.exp(log_prob - behaviour)) * penalty

    found = expected_gradient(loss, behaviour)
    np.testing.assert_allclose(found, jax.grad(reverse)(LOGITS), atol=1e-6)
    np.testing.assert_allclose(found, [0.568, -0.084, -0.485], atol=1e-3)


def objective(logits):
    """−Σ π(a) c(a): what every surrogate is to descend."""
    return -jnp.sum(jnp.exp(jax.nn.log_softmax(logits)) * CREDIT)


@pytest.mark.parametrize(
    ("loss", "behaviour"),
    [
        (surrogate.reinforce, None),
        (surrogate.clipped(0.2), None),
        (surrogate.truncated_importance(2.0), None),
        # Where no ratio is cut off they are unbiased off policy too.
        (surrogate.truncated_importance(50.0), BEHAVIOUR),
        (surrogate.clipped(50.0), BEHAVIOUR),
    ],
)
def test_surrogates_descend_the_expected_credit(loss, behaviour):
    def of_action(log_prob):
        known = log_prob if behaviour is None else behaviour
        return loss(log_prob, jax.lax.stop_gradient(known), CREDIT)

    found = expected_gradient(of_action, behaviour)
    np.testing.assert_allclose(found, jax.grad(objective)(LOGITS), atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_the_entropy_bonus_climbs_the_entropy_of_what_acts(epsilon):
    """∇ −Σ p log p = −Σ (log p + 1) ∇ p, p being the ε-soft policy."""

    def soft(logits):
        return categorical.epsilon_soft(logits, epsilon)

    found = jax.grad(lambda x: categorical.entropy(soft(x)))(LOGITS)
    probs = jnp.exp(jax.nn.log_softmax(soft(LOGITS)))
    slope = jax.jacobian(lambda x: jnp.exp(jax.nn.log_softmax(soft(x))))(LOGITS)
    expected = -(jnp.log(probs) + 1) @ slope
    np.testing.assert_allclose(found, expected, atol=1e-6)


TARGETS = jnp.array([0.4, 1.2, -2.0, 3.0])


def pull(loss, value):
    """Gradient of the mean loss over equally likely targets by one value."""
    targets = TARGETS

    def mean(v):
        return jnp.mean(loss(jnp.broadcast_to(v, targets.shape), targets))

    return jax.grad(mean)(jnp.asarray(value))


@pytest.mark.parametrize("value", [-0.3, 0.65, 2.0])
def test_squared_errors_pull_a_value_to_the_mean_target(value):
    expected = value - TARGETS.mean()
    np.testing.assert_allclose(pull(values.squared, value), expected, rtol=1e-5)
    # Huber's pulls to it as long as no error is cut off.
    wide = pull(lambda v, t: values.huber(v, t, delta=9.0), value)
    np.testing.assert_allclose(wide, expected, rtol=1e-5)


@pytest.mark.parametrize("old", [0.0, 0.6])
@pytest.mark.parametrize("value", [0.5, 0.62, 0.9, -0.5])
def test_the_clipped_value_loss_stops_short_where_a_value_has_moved(old, value):
    """Beyond the clip it estimates no mean: only targets that lie back still pull."""
    clip = 0.2

    def loss(v, target):
        return values.clipped(v, jnp.full_like(v, old), target, clip)

    bounded = np.clip(value, old - clip, old + clip)
    inside = abs(value - old) <= clip
    slopes = [
        value - float(t)
        if inside or abs(value - float(t)) > abs(bounded - float(t))
        else 0.0
        for t in TARGETS
    ]
    np.testing.assert_allclose(pull(loss, value), np.mean(slopes), rtol=1e-4)
    if inside:
        np.testing.assert_allclose(
            pull(loss, value), value - TARGETS.mean(), rtol=1e-4, atol=1e-6
        )
