"""Exact values of memory-one policies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import memory_one as reference

from aajax.ops import memory_one

GAMMA = 0.9
# What the reference leaves out is below 0.9^300 / (1 − 0.9) = 2e-13 payoffs.
NUM_ROUNDS = 300
# Cooperate is action 0, so that after START come CC, CD, DC and DD.
DILEMMA = np.array([[[-1.0, -3.0], [0.0, -2.0]], [[-1.0, 0.0], [-3.0, -2.0]]])
# Chance of cooperation after START, CC, CD, DC, DD in the environment's view.
COOPERATE = np.array([1.0, 1.0, 1.0, 1.0, 1.0])
DEFECT = np.array([0.0, 0.0, 0.0, 0.0, 0.0])
FIRST_TIT_FOR_TAT = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
SECOND_TIT_FOR_TAT = np.array([1.0, 1.0, 1.0, 0.0, 0.0])

jitted_values = jax.jit(memory_one.memory_one_values)


def pair(first, second):
    """f[2, 5, 2], from both chances of cooperation."""
    return jnp.array([np.stack([p, 1 - p], axis=1) for p in (first, second)])


def random_game(num_agents, num_actions):
    """A payoff and policies, of few bits."""
    rng = np.random.default_rng(num_agents)
    payoff = np.round(rng.normal(size=(num_agents,) + (num_actions,) * num_agents) * 64)
    weights = rng.integers(1, 9, (num_agents, 1 + num_actions**num_agents, num_actions))
    return payoff / 64, weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize(("num_agents", "num_actions"), [(2, 3), (3, 2)])
def test_transitions_match_the_loop(
    maybe_jit, dtype, assert_close, num_agents, num_actions
):
    _, policies = random_game(num_agents, num_actions)
    actual = maybe_jit(memory_one.joint_transitions)(jnp.asarray(policies, dtype))
    assert_close(actual, reference.joint_transitions(policies))
    np.testing.assert_allclose(actual.sum(1), 1, rtol=1e-6)


def test_values_match_the_chain(maybe_jit, dtype, assert_close):
    payoff, policies = random_game(3, 2)
    actual = maybe_jit(memory_one.memory_one_values)(
        jnp.asarray(payoff, dtype), jnp.asarray(policies, dtype), GAMMA
    )
    expected = reference.memory_one_values(payoff, policies, GAMMA, NUM_ROUNDS)
    assert_close(actual, expected)


@pytest.mark.parametrize(
    ("first", "second", "start"),
    [
        (COOPERATE, COOPERATE, (-10.0, -10.0)),
        (DEFECT, DEFECT, (-20.0, -20.0)),
        (DEFECT, COOPERATE, (0.0, -30.0)),
        (FIRST_TIT_FOR_TAT, SECOND_TIT_FOR_TAT, (-10.0, -10.0)),
        # Exploited once, then mutual defection: −3 − 0.9 · 2 / (1 − 0.9).
        (FIRST_TIT_FOR_TAT, DEFECT, (-21.0, -18.0)),
        (DEFECT, SECOND_TIT_FOR_TAT, (-18.0, -21.0)),
    ],
)
def test_the_dilemma_by_hand(first, second, start):
    values = jitted_values(jnp.array(DILEMMA), pair(first, second), GAMMA)
    np.testing.assert_allclose(values[0], start, rtol=1e-5, atol=1e-4)


def test_the_last_joint_action_is_what_the_policies_remember():
    tit_for_tat = pair(FIRST_TIT_FOR_TAT, SECOND_TIT_FOR_TAT)
    values = jitted_values(jnp.array(DILEMMA), tit_for_tat, GAMMA)
    # After CD each repays the other in turn: DC, CD, DC, ... for 0, −3, 0, −3, ...
    ahead = 1 / (1 - GAMMA**2)
    expected = [
        (-10, -10),
        (-10, -10),
        (-3 * GAMMA * ahead, -3 * ahead),
        (-3 * ahead, -3 * GAMMA * ahead),
        (-20, -20),
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_without_a_future_the_value_is_the_next_payoff():
    payoff, policies = random_game(2, 2)
    values = jitted_values(
        jnp.asarray(payoff, jnp.float32), jnp.asarray(policies, jnp.float32), 0.0
    )
    reward = payoff.reshape(2, 4).T
    expected = reference.joint_transitions(policies)[:, 1:] @ reward
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_exchanging_the_agents_exchanges_their_values():
    payoff, policies = random_game(2, 2)
    # CD becomes DC in the numbering of the states, and a_1, a_2 swap in the payoff.
    states = np.array([0, 1, 3, 2, 4])
    values = jitted_values(
        jnp.asarray(payoff, jnp.float32), jnp.asarray(policies, jnp.float32), GAMMA
    )
    exchanged = jitted_values(
        jnp.asarray(payoff[::-1].transpose(0, 2, 1), jnp.float32),
        jnp.asarray(policies[::-1][:, states], jnp.float32),
        GAMMA,
    )
    np.testing.assert_allclose(exchanged, values[states][:, ::-1], rtol=1e-4, atol=1e-4)


def test_gradients_match_finite_differences():
    payoff, policies = random_game(2, 2)
    with jax.enable_x64(True):
        gradient = jax.grad(lambda p: jitted_values(jnp.array(payoff), p, GAMMA)[0, 1])(
            jnp.array(policies)
        )
    step = 1e-4
    for index in ((0, 0, 0), (0, 3, 1), (1, 2, 0), (1, 4, 1)):
        ends = []
        for shift in (step, -step):
            moved = policies.copy()
            moved[index] += shift
            ends.append(
                reference.memory_one_values(payoff, moved, GAMMA, NUM_ROUNDS)[0, 1]
            )
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(gradient[index], slope, rtol=1e-4, atol=1e-6)
