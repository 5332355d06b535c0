"""Categorical distributions given by logits."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import categorical as reference

from aajax.ops import categorical

NUM_ACTIONS = 4

examples = hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
numbers = st.floats(-20, 20, width=32, allow_subnormal=False)
logit_vectors = hnp.arrays(np.float32, NUM_ACTIONS, elements=numbers)
jitted_entropy = jax.jit(categorical.entropy)
jitted_sample = jax.jit(categorical.sample)
jitted_epsilon_soft = jax.jit(categorical.epsilon_soft)
entropy_slope = jax.jit(jax.grad(categorical.entropy))


@pytest.fixture
def logits(normal):
    """f[6, 4]; some actions of the first rows are never taken."""
    result = 2 * normal(6, NUM_ACTIONS)
    result[0, 1] = result[1, 0] = result[2, 3] = -np.inf
    result[3, :3] = -np.inf
    return result


def test_log_prob_matches_the_loop(maybe_jit, dtype, assert_close, logits):
    for action in (np.zeros(6, np.int32), np.array([0, 1, 2, 3, 0, 1], np.int32)):
        actual = maybe_jit(categorical.log_prob)(
            jnp.asarray(logits, dtype), jnp.asarray(action)
        )
        assert_close(actual, reference.log_prob(logits, action))


def test_log_prob_refuses_actions_that_are_not_integers():
    with pytest.raises(AssertionError):
        categorical.log_prob(jnp.zeros(3), jnp.float32(1))


def test_the_gradient_of_log_prob_is_the_score(logits):
    x = jnp.asarray(logits, jnp.float32)
    action = jnp.array([0, 1, 2, 3, 0, 1])
    score = jax.grad(lambda x: categorical.log_prob(x, action).sum())(x)
    expected = np.eye(NUM_ACTIONS)[np.asarray(action)]
    expected -= reference.probabilities(logits)
    np.testing.assert_allclose(score, expected, rtol=1e-5, atol=1e-6)


def test_entropy_matches_the_loop(maybe_jit, dtype, assert_close, logits):
    actual = maybe_jit(categorical.entropy)(jnp.asarray(logits, dtype))
    assert_close(actual, reference.entropy(logits))


def test_the_gradient_of_entropy_is_finite_where_an_action_is_never_taken():
    chance = np.array([0.5, 0.0, 0.3, 0.2])
    logits = jnp.array([np.log(0.5), -np.inf, np.log(0.3), np.log(0.2)])
    # −π(a) (log π(a) + H), and 0 for what is never taken.
    taken = chance > 0
    log_chance = np.log(np.where(taken, chance, 1.0))
    expected = -chance * (log_chance - (chance * log_chance).sum())
    np.testing.assert_allclose(entropy_slope(logits), expected, atol=1e-6)
    certain = jnp.array([-np.inf, 0.0, -np.inf, -np.inf])
    np.testing.assert_array_equal(entropy_slope(certain), np.zeros(NUM_ACTIONS))


@examples
@hypothesis.given(logit_vectors, st.floats(-50, 50, width=32, allow_subnormal=False))
def test_entropy_is_bounded_and_blind_to_a_shift_of_the_logits(logits, shift):
    result = float(jitted_entropy(logits))
    assert -1e-6 <= result <= np.log(NUM_ACTIONS) + 1e-5
    np.testing.assert_allclose(
        jitted_entropy(logits + np.float32(shift)), result, atol=1e-3
    )


def test_entropy_of_equal_chances_is_the_logarithm_of_their_number():
    logits = jnp.array([3.0, -np.inf, 3.0, 3.0])
    np.testing.assert_allclose(jitted_entropy(logits), np.log(3), rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.2, 1.0])
def test_epsilon_soft_is_the_mixture(maybe_jit, dtype, assert_close, logits, epsilon):
    mixed = maybe_jit(categorical.epsilon_soft)(jnp.asarray(logits, dtype), epsilon)
    assert_close(jnp.exp(mixed), reference.mixture(logits, epsilon))


@examples
@hypothesis.given(logit_vectors)
def test_epsilon_zero_is_the_policy_and_one_is_uniform(logits):
    np.testing.assert_allclose(
        jitted_epsilon_soft(logits, 0.0), jax.nn.log_softmax(logits), rtol=1e-6
    )
    np.testing.assert_allclose(
        jitted_epsilon_soft(logits, 1.0), np.full(4, -np.log(4)), rtol=1e-6
    )


@pytest.mark.parametrize("epsilon", [0.2, 1.0])
def test_the_gradient_of_epsilon_soft_is_that_of_the_mixture(epsilon):
    logits = jnp.array([0.5, -np.inf, 1.0, -1.0])
    jacobian = jax.jacobian(lambda x: categorical.epsilon_soft(x, epsilon))(logits)
    policy = reference.probabilities(np.asarray(logits, float))
    # (1 − ε) ∂π_a/∂l_b / mixture_a, with ∂π_a/∂l_b = π_a (1_ab − π_b).
    slopes = np.diag(policy) - np.outer(policy, policy)
    mixture = (1 - epsilon) * policy + epsilon / NUM_ACTIONS
    expected = (1 - epsilon) * slopes / mixture[:, None]
    np.testing.assert_allclose(jacobian, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_epsilon_zero_leaves_the_gradient_as_it_is(masked):
    logits = jnp.array([0.5, -np.inf if masked else 0.0, 1.0, -1.0])

    def loss(logits):
        return categorical.log_prob(logits, jnp.int32(2))

    softened = jax.grad(lambda x: loss(categorical.epsilon_soft(x, 0.0)))(logits)
    np.testing.assert_allclose(softened, jax.grad(loss)(logits), rtol=1e-5, atol=1e-7)


def test_samples_have_their_shape_and_type(dtype, logits):
    drawn = jitted_sample(jax.random.key(0), jnp.asarray(logits, dtype))
    assert drawn.shape == (6,)
    assert drawn.dtype == jnp.int32
    again = jitted_sample(jax.random.key(0), jnp.asarray(logits, dtype))
    np.testing.assert_array_equal(drawn, again)
    assert jitted_sample(jax.random.key(0), jnp.zeros(3, dtype)).shape == ()


def test_samples_come_as_often_as_their_probabilities(logits):
    num_samples = 20_000
    x = jnp.broadcast_to(jnp.asarray(logits, jnp.float32), (num_samples, 6, 4))
    drawn = np.asarray(jitted_sample(jax.random.key(1), x))
    chance = reference.probabilities(logits)
    for row in range(6):
        frequency = np.bincount(drawn[:, row], minlength=4) / num_samples
        assert len(frequency) == NUM_ACTIONS
        never = chance[row] == 0
        assert not frequency[never].any()
        error = np.sqrt(chance[row] * (1 - chance[row]) / num_samples)
        assert (np.abs(frequency - chance[row]) <= 4 * error).all()


def test_the_samples_of_a_batch_are_independent():
    num_samples = 20_000
    drawn = jitted_sample(jax.random.key(2), jnp.zeros((num_samples, 2, 2)))
    both = float(jnp.mean(drawn[:, 0] * drawn[:, 1], dtype=jnp.float32))
    assert abs(both - 0.25) <= 4 * np.sqrt(0.25 * 0.75 / num_samples)


@pytest.fixture
def set_uniform(monkeypatch):
    """`set_uniform(draws)`: what every uniform draw gives from now on."""
    return lambda draws: monkeypatch.setattr(
        jax.random,
        "uniform",
        lambda key, shape, dtype: jnp.broadcast_to(jnp.asarray(draws, dtype), shape),
    )


@pytest.mark.parametrize("draw", [0.0, 1 - 2.0**-23], ids=["least", "greatest"])
def test_the_extremes_of_the_uniform_draw_are_actions_that_may_be_taken(
    set_uniform, logits, draw
):
    set_uniform(draw)
    drawn = categorical.sample(jax.random.key(0), jnp.asarray(logits, jnp.float32))
    end = 0 if draw == 0 else -1
    expected = [np.flatnonzero(np.isfinite(row))[end] for row in logits]
    np.testing.assert_array_equal(drawn, expected)


def test_rounding_among_many_actions_opens_no_gap_for_those_never_taken(set_uniform):
    num_actions = 1024
    rng = np.random.default_rng(0)
    logits = rng.normal(size=num_actions).astype(np.float32)
    logits[rng.random(num_actions) < 0.5] = -np.inf
    # Draws at, and one rounding to either side of, every step of the cumulative
    # chances: there a parallel sum, which rounds unevenly, is at its worst.
    steps = np.asarray(jnp.cumsum(jax.nn.softmax(jnp.asarray(logits))))
    steps = steps[steps < 1 - 2.0**-22]
    draws = np.stack([np.nextafter(steps, 0), steps, np.nextafter(steps, 1)])
    set_uniform(draws)
    drawn = categorical.sample(
        jax.random.key(0), jnp.broadcast_to(logits, (*draws.shape, num_actions))
    )
    assert np.isfinite(logits[drawn]).all()
    assert len(np.unique(drawn)) > num_actions / 4


def test_among_many_actions_a_draw_falls_where_it_would_in_one_sum(set_uniform):
    num_actions, num_draws = 1000, 20_000
    logits = np.random.default_rng(1).normal(size=num_actions).astype(np.float32)
    draws = (np.arange(num_draws) + 0.5) / num_draws
    set_uniform(draws)
    drawn = categorical.sample(
        jax.random.key(0), jnp.broadcast_to(logits, (num_draws, num_actions))
    )
    chances = np.exp(logits.astype(np.float64))
    ends = np.cumsum(chances / chances.sum())
    # Rounding may move a draw at an end to one side or the other.
    low, high = (np.searchsorted(ends, draws + x, side="right") for x in (-1e-6, 1e-6))
    assert ((low <= drawn) & (drawn <= high)).all()
    assert (low == high).mean() > 0.9
