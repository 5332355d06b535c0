"""Paying back each co-player for what it did itself, against all games of two steps.

Three agents play random tables, a row for the first step and one for each of its eight
outcomes, in a game of random payoffs. Everything is expected over all 64 games.
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.learners import presets
from aajax.learners.objective import prepare
from aajax.ops import alignment
from aajax.types import Trajectory

RNG = np.random.default_rng(0)
PAYOFF = RNG.normal(size=(3, 2, 2, 2))
FIRST, LATER = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 8, 2))
JOINTS = np.array(list(itertools.product(range(2), repeat=3)))
BEGUN, ENDED = (x.ravel() for x in np.indices((8, 8)))  # joint actions of the 64 games
GAMMA, BETA = 0.7, 3.0


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def joint(policy):
    """Chance of each joint action, f[..., 8], of policies f[3, ..., 2]."""
    return jnp.prod(jnp.stack([policy[i][..., JOINTS[:, i]] for i in range(3)]), 0)


def action_values(first, later):
    """Q f[8, N] of the first joint action, and V f[8, N] of its outcome."""
    reward = jnp.asarray(PAYOFF).reshape(3, 8).T
    value = joint(jax.nn.softmax(later)) @ reward
    return reward + GAMMA * value, value


def start_value(first, later):
    return joint(jax.nn.softmax(first)) @ action_values(first, later)[0]


def without(j, policy, q):
    """Q_j(b) f[2]: the others' actions averaged out."""
    others = joint(policy.at[j].set(1.0))
    return jnp.stack([(others * q)[JOINTS[:, j] == b].sum() for b in range(2)])


def natural_step(j, i, first, later):
    """A_j(b) of the first step f[2]; agent i's present action as though it did not
    move."""
    policy = jax.nn.softmax(first)
    policy = policy.at[i].set(jax.lax.stop_gradient(policy[i]))
    q = without(j, policy, action_values(first, later)[0][:, j])
    return q - policy[j] @ q


@partial(jax.jit, static_argnums=0)
def shaping(i, first, later):
    """What agent i gains to first order by what its co-players' steps owe to it."""
    pull = jax.grad(lambda x: start_value(x, later)[i])(first)

    def gained(own):
        return sum(
            jax.lax.stop_gradient(pull[j])
            @ natural_step(j, i, first, later.at[i].set(own))
            for j in range(3)
            if j != i
        )

    return jax.grad(gained)(later[i])


def all_games():
    """A trajectory of all games [2, 64], their advantages f[2, 64, N], the parts of
    these f[2, 64, N, N] and chances f[64]."""
    first, later = jnp.asarray(FIRST), jnp.asarray(LATER)
    policy, policies = jax.nn.softmax(first), jax.nn.softmax(later)
    q, value = action_values(first, later)
    reward = jnp.asarray(PAYOFF).reshape(3, 8).T
    advantage = jnp.stack(
        [(q - start_value(first, later)[None])[BEGUN], reward[ENDED] - value[BEGUN]]
    )
    parts = np.zeros((2, 64, 3, 3))
    for i, j in itertools.product(range(3), repeat=2):
        of_first = without(j, policy, q[:, i]) - policy[j] @ without(j, policy, q[:, i])
        parts[0, :, i, j] = of_first[JOINTS[BEGUN, j]]
        parts[1, :, i, j] = 99.0  # the future of the last step, which nothing reads
    action = jnp.stack([JOINTS[BEGUN], JOINTS[ENDED]])
    nothing = jnp.zeros((2, 64, 3))
    trajectory = Trajectory(
        observation=nothing,
        action=action,
        reward=jnp.stack([reward[BEGUN], reward[ENDED]]),
        discount=jnp.ones((2, 64)),
        last=jnp.zeros((2, 64), bool),
        log_prob=nothing,
        value=nothing,
        next_value=nothing,
        memory=(),
    )
    chance = joint(policy)[BEGUN] * joint(policies)[BEGUN, ENDED]
    return trajectory, advantage, jnp.asarray(parts), chance


def test_it_is_lola_against_natural_gradients_for_any_number_of_agents():
    """Exactly; with one past for all co-players it is not."""
    trajectory, advantage, parts, chance = all_games()
    np.testing.assert_allclose(chance.sum(), 1)

    def term(objective):
        credit = prepare(objective, trajectory, None).credit - advantage
        log_prob = jax.nn.log_softmax(jnp.asarray(LATER))

        def weighted(log_prob, i):
            taken = log_prob[i, BEGUN, JOINTS[ENDED, i]]
            return chance @ (credit[1, :, i] * taken)

        slope = jax.jacrev(lambda x: jax.nn.log_softmax(x))(jnp.asarray(LATER))
        by_log_prob = [jax.grad(weighted)(log_prob, i) for i in range(3)]
        assert not np.any(credit[0])
        return [
            np.einsum(
                "nsa,nsantb->ntb", by_log_prob[i], slope.reshape(3, 8, 2, 3, 8, 2)
            )[i]
            for i in range(3)
        ]

    options = {"gamma": GAMMA, "beta": BETA, "past": alignment.strict_past}
    estimate = lambda trajectory: (advantage, None)  # noqa: E731
    pairwise = term(
        presets.pairwise_alignment(estimate, lambda a, games: parts, **options)
    )
    plain = term(presets.advantage_alignment(estimate, **options))
    for i in range(3):
        exact = BETA * np.asarray(shaping(i, jnp.asarray(FIRST), jnp.asarray(LATER)))
        np.testing.assert_allclose(pairwise[i], exact, atol=1e-12)
        assert np.abs(exact).max() > 0.01
        assert np.abs(plain[i] - exact).max() > 0.01
