"""Objectives that stay right however often they are differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import dice as reference
from reference import short_games

from aajax.ops import dice

LAST = {
    "one_episode": None,
    "three_episodes": np.array([0, 0, 1, 1, 0, 0], bool),
}
# Cooperate is action 0.
DILEMMA = np.array([[[-1.0, -3.0], [0.0, -2.0]], [[-1.0, 0.0], [-3.0, -2.0]]])
NUM_STEPS = 3
GAMES = short_games.all_games(DILEMMA, NUM_STEPS)
LOGITS = np.random.default_rng(0).normal(size=(2, NUM_STEPS, 5, 2))
GAMMA = 0.7


def steps_of(last):
    return np.zeros(6, bool) if last is None else last


def test_the_box_is_one_and_its_slope_the_score(maybe_jit, dtype, assert_close):
    x = jnp.asarray([-3.0, 0.0, 2.0], dtype)
    square = jnp.square
    box = maybe_jit(jax.vmap(lambda x: dice.magic_box(square(x))))
    slope = maybe_jit(jax.vmap(jax.grad(lambda x: dice.magic_box(square(x)))))
    curvature = maybe_jit(
        jax.vmap(jax.grad(jax.grad(lambda x: dice.magic_box(square(x)))))
    )
    assert_close(box(x), np.ones(3))
    assert_close(slope(x), np.array([-6.0, 0.0, 4.0]))
    # (x²)'² + (x²)''
    assert_close(curvature(x), np.array([38.0, 2.0, 18.0]))


@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
@pytest.mark.parametrize(("gamma", "lambda_"), [(0.9, 0.8), (1.0, 1.0), (0.9, 0.0)])
def test_returns_know_what_shapes_them(
    maybe_jit, dtype, assert_close, normal, gamma, lambda_, last
):
    numbers = normal(3, 6)
    log_prob, return_, value = (jnp.asarray(x, dtype) for x in numbers)

    def loaded(log_prob, return_, value):
        return dice.loaded_dice_returns(log_prob, return_, value, gamma, lambda_, last)

    assert_close(maybe_jit(loaded)(log_prob, return_, value), numbers[1])
    slopes = maybe_jit(jax.jacobian(loaded, argnums=(0, 1, 2)))(
        log_prob, return_, value
    )
    expected = reference.loaded_slopes(
        numbers[1], numbers[2], gamma, lambda_, steps_of(last)
    )
    assert_close(slopes[0], expected)
    assert_close(slopes[1], np.zeros((6, 6)))
    assert_close(slopes[2], np.zeros((6, 6)))


@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
@pytest.mark.parametrize(("gamma", "lambda_"), [(0.9, 0.8), (1.0, 1.0), (0.9, 0.0)])
def test_objectives_match_the_loops(dtype, assert_close, normal, gamma, lambda_, last):
    numbers = normal(2, 6)
    log_prob, advantage = (jnp.asarray(x, dtype) for x in numbers)

    def objective(log_prob, advantage):
        return dice.dice_objective(log_prob, advantage, gamma, lambda_, last)

    assert_close(jax.jit(objective)(log_prob, advantage), 0.0)
    slopes = jax.jit(jax.grad(objective, argnums=(0, 1)))(log_prob, advantage)
    expected = reference.objective_slopes(numbers[1], gamma, steps_of(last))
    assert_close(slopes[0], expected)
    assert_close(slopes[1], np.zeros(6))
    curvature = jax.jit(jax.hessian(objective))(log_prob, advantage)
    expected = reference.objective_curvature(numbers[1], gamma, lambda_, steps_of(last))
    assert_close(curvature, expected)


def expected_derivatives(lambda_=1.0, joint=True):
    """First and second derivatives of agent 0's objective, over all 64 games.

    f[2, T, S, A] and f[2, T, S, A, 2, T, S, A]; the baseline is any number at all,
    one for each step and state.
    """
    baseline = np.random.default_rng(1).normal(size=(NUM_STEPS, 5))
    advantage = short_games.returns(GAMES, GAMMA)[..., 0]
    advantage = advantage - baseline[np.arange(NUM_STEPS), GAMES.state]
    chance = short_games.chances(GAMES, jnp.asarray(LOGITS))

    def objective(logits):
        log_prob = short_games.log_probs(GAMES, logits)
        log_prob = log_prob.sum(-1) if joint else log_prob[..., 0]
        of_games = jax.vmap(dice.dice_objective, (0, 0, None, None))
        return chance @ of_games(log_prob, jnp.asarray(advantage), GAMMA, lambda_)

    logits = jnp.asarray(LOGITS)
    return jax.jit(jax.grad(objective))(logits), jax.jit(jax.hessian(objective))(logits)


@pytest.fixture(scope="module")
def exact_derivatives():
    """Those of agent 0's expected return, by the policies of both."""

    def value(logits):
        return short_games.start_values(DILEMMA, logits, GAMMA)[0]

    with jax.enable_x64(True):
        logits = jnp.asarray(LOGITS)
        return jax.jit(jax.grad(value))(logits), jax.jit(jax.hessian(value))(logits)


def test_over_all_games_derivatives_are_those_of_the_value(exact_derivatives):
    with jax.enable_x64(True):
        slope, curvature = expected_derivatives()
    np.testing.assert_allclose(slope, exact_derivatives[0], atol=1e-12)
    np.testing.assert_allclose(curvature, exact_derivatives[1], atol=1e-12)
    # The cross term, through which LOLA shapes, is not nothing.
    assert np.abs(curvature[0, ..., 1, :, :, :]).max() > 0.01


def test_less_memory_bends_the_second_derivative_alone(exact_derivatives):
    with jax.enable_x64(True):
        slope, curvature = expected_derivatives(lambda_=0.5)
    np.testing.assert_allclose(slope, exact_derivatives[0], atol=1e-12)
    assert np.abs(curvature - exact_derivatives[1]).max() > 0.01


def test_without_the_other_agent_there_is_no_cross_term(exact_derivatives):
    with jax.enable_x64(True):
        slope, curvature = expected_derivatives(joint=False)
    own = np.s_[0, ..., 0, :, :, :]
    np.testing.assert_allclose(slope[0], exact_derivatives[0][0], atol=1e-12)
    np.testing.assert_allclose(curvature[own], exact_derivatives[1][own], atol=1e-12)
    assert not np.any(curvature[0, ..., 1, :, :, :])
