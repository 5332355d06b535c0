"""Whose action an advantage is owed to, by regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.ops import attribution

NUM_SAMPLES = 64


def one_hot(action, num_actions=2):
    return np.eye(num_actions)[action]


@jax.jit
def parts_of(advantage, feature):
    return attribution.least_squares_parts(advantage, feature)


@pytest.fixture(scope="module")
def samples():
    """Three agents with three actions each, of which the second copies the first's in
    three of four samples."""
    rng = np.random.default_rng(0)
    action = rng.integers(0, 3, size=(NUM_SAMPLES, 3))
    copies = rng.random(NUM_SAMPLES) < 0.75
    action[copies, 1] = action[copies, 0]
    return rng, one_hot(action, 3)


def test_parts_are_least_squares(samples):
    rng, feature = samples
    advantage = rng.normal(size=(NUM_SAMPLES, 3))
    centred = (feature - feature.mean(0)).reshape(NUM_SAMPLES, -1)
    # Rows that penalise weights stand for the ridge.
    penalty = np.sqrt(1e-3 * NUM_SAMPLES) * np.eye(9)
    table = np.concatenate([centred, penalty])
    outcome = np.concatenate([advantage - advantage.mean(0), np.zeros((9, 3))])
    weight = np.linalg.lstsq(table, outcome, rcond=None)[0]
    expected = np.stack(
        [centred[:, 3 * j : 3 * j + 3] @ weight[3 * j : 3 * j + 3] for j in range(3)],
        axis=2,
    )
    with jax.enable_x64(True):
        actual = parts_of(jnp.asarray(advantage), jnp.asarray(feature))
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10)


def test_effects_of_actions_that_go_together_are_told_apart(samples):
    rng, feature = samples
    effect = rng.normal(size=(3, 3, 3))  # of i's advantage, by j's action
    parts = np.einsum("mjf,ijf->mij", feature, effect)
    parts = parts - parts.mean(0)
    actual = parts_of(
        jnp.asarray(parts.sum(2), jnp.float32), jnp.asarray(feature, jnp.float32)
    )
    np.testing.assert_allclose(actual, parts, atol=0.02)
    assert np.abs(parts).max() > 1


def test_by_hand():
    """The second agent's defection costs the first 4 of 6, and its own brings it 2."""
    action = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    advantage = jnp.array([[1.0, 0], [-3, 0], [3, 0], [-1, 0]])
    actual = parts_of(advantage, jax.nn.one_hot(action, 2))
    np.testing.assert_allclose(actual[:, 0, 0], [-1, -1, 1, 1], atol=0.01)
    np.testing.assert_allclose(actual[:, 0, 1], [2, -2, 2, -2], atol=0.01)
    np.testing.assert_array_equal(actual[:, 1], np.zeros((4, 2)))


def test_what_all_samples_do_is_owed_nothing(samples):
    rng, feature = samples
    feature = jnp.asarray(feature, jnp.float32).at[:, 1].set(jnp.array([0, 1.0, 0]))
    advantage = jnp.asarray(rng.normal(size=(NUM_SAMPLES, 3)), jnp.float32)
    actual = parts_of(advantage, feature)
    np.testing.assert_array_equal(actual[:, :, 1], np.zeros((NUM_SAMPLES, 3)))
    assert np.abs(actual[:, :, 0]).max() > 0.1


def test_equal_advantages_are_owed_to_nobody(samples):
    feature = jnp.asarray(samples[1], jnp.float32)
    actual = parts_of(jnp.full((NUM_SAMPLES, 3), 0.1), feature)
    np.testing.assert_allclose(actual, np.zeros((NUM_SAMPLES, 3, 3)), atol=1e-6)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(AssertionError):
        attribution.least_squares_parts(jnp.ones((4, 2)), jnp.ones((4, 3, 2)))
    with pytest.raises(AssertionError):
        attribution.least_squares_parts(jnp.ones(4), jnp.ones((4, 3, 2)))
