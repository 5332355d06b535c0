"""The learners' gradient in a dilemma of two steps, against all of its 16 games.

Both seats play random memory-one policies, each its own. What is expected is computed
here in double precision from the definitions: exact advantages A = Q − V under the
joint policy, and the gradient of https://arxiv.org/abs/2406.14662,

    E[Σ_t A_i,t ∇ log π_i(a_i,t)]
      + β γ E[Σ_t Σ_{k<t} γ^(t−k) A_i,k A_j,t ∇ log π_i(a_i,t)].
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aajax import envs, nets
from aajax.learners import LearnerState, advantages, policy_gradient, presets
from aajax.learners.objective import loss, prepare
from aajax.policies import categorical_policy, seated
from aajax.rollout import begin, rollout
from aajax.types import Trajectory

PAYOFF = np.array([[[-1.0, -3.0], [0.0, -2.0]], [[-1.0, 0.0], [-3.0, -2.0]]])
JOINTS = list(itertools.product(range(2), repeat=2))
# Environment state s (START, CC, CD, DC, DD) is row VIEW[i][s] of seat i's table.
VIEW = np.array([[0, 1, 2, 3, 4], [0, 1, 3, 2, 4]])
LOGITS = np.random.default_rng(0).normal(size=(2, 5, 2))
POLICY = categorical_policy(nets.tabular(5, 2))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


PI = softmax(LOGITS)


def values(gamma):
    """V[i, s] with one step to go, and with two in row START."""
    value = np.zeros((2, 5))
    for state in (1, 2, 3, 4, 0):
        for number, (a, b) in enumerate(JOINTS):
            chance = PI[0, VIEW[0, state], a] * PI[1, VIEW[1, state], b]
            later = gamma * value[:, 1 + number] if state == 0 else 0.0
            value[:, state] += chance * (PAYOFF[:, a, b] + later)
    return value


class Game(NamedTuple):
    chance: float
    states: np.ndarray  # [T], the environment's
    action: np.ndarray  # [T, N]
    reward: np.ndarray  # [T, N]
    advantage: np.ndarray  # [T, N]
    score: np.ndarray  # [T, N, 5, 2], ∇ log π_i(a_i,t) by the logits


def all_games(gamma):
    value = values(gamma)
    games = []
    for first, second in itertools.product(range(4), repeat=2):
        states = np.array([0, 1 + first])
        action = np.array([JOINTS[first], JOINTS[second]])
        chance, score = 1.0, np.zeros((2, 2, 5, 2))
        for t, i in itertools.product(range(2), repeat=2):
            row = VIEW[i, states[t]]
            chance *= PI[i, row, action[t, i]]
            score[t, i, row] = np.eye(2)[action[t, i]] - PI[i, row]
        reward = np.array([PAYOFF[:, *joint] for joint in action])
        advantage = np.stack(
            [
                reward[0] + gamma * value[:, 1 + first] - value[:, 0],
                reward[1] - value[:, 1 + first],
            ]
        )
        games.append(Game(chance, states, action, reward, advantage, score))
    return games


def papers_gradient(game, gamma, beta):
    """What is under the expectation, [N, 5, 2], for one game."""
    result = np.zeros((2, 5, 2))
    for i, j in ((0, 1), (1, 0)):
        for t in range(2):
            result[i] += game.advantage[t, i] * game.score[t, i]
            for k in range(t):
                past = gamma ** (t - k) * game.advantage[k, i]
                aligned = beta * gamma * past * game.advantage[t, j]
                result[i] += aligned * game.score[t, i]
    return result


def expectation(games, of_game):
    return sum(game.chance * of_game(game) for game in games)


def test_the_chances_are_those_of_a_game():
    games = all_games(0.7)
    assert len(games) == 16
    np.testing.assert_allclose(sum(game.chance for game in games), 1)
    advantage = expectation(games, lambda game: game.advantage)
    np.testing.assert_allclose(advantage, np.zeros((2, 2)), atol=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_without_alignment_it_is_the_policy_gradient(gamma):
    """The first term, its steps weighted by γ^t, is the slope of the return."""

    def expected_return(logits, agent):
        pi = jax.nn.softmax(logits)
        payoff = jnp.asarray(PAYOFF[agent])
        first = pi[0, 0][:, None] * pi[1, 0][None]
        later = 0.0
        for state, (a, b) in enumerate(JOINTS, start=1):
            rows = pi[0, VIEW[0, state]], pi[1, VIEW[1, state]]
            then = jnp.sum(rows[0][:, None] * rows[1][None] * payoff)
            later += first[a, b] * then
        return jnp.sum(first * payoff) + gamma * later

    with jax.enable_x64(True):
        slopes = jax.jit(jax.grad(expected_return), static_argnums=1)
        own_slope = np.stack([slopes(jnp.asarray(LOGITS), i)[i] for i in range(2)])
    games = all_games(gamma)

    def weighted(game):
        weight = gamma ** np.arange(2)[:, None]
        return np.einsum("tn,tnsa->nsa", weight * game.advantage, game.score)

    np.testing.assert_allclose(expectation(games, weighted), own_slope, atol=1e-12)
    if gamma == 1:
        plain = expectation(games, lambda game: papers_gradient(game, gamma, 0.0))
        np.testing.assert_allclose(plain, own_slope, atol=1e-12)


@jax.jit
def gradient_of_games(gamma, beta, games, logits):
    """The objective's gradient in each of 16 games [16, N, 5, 2], A being given."""
    objective = presets.advantage_alignment(
        lambda trajectory: (games["advantage"], None), gamma=gamma, beta=beta
    )
    nothing = jnp.zeros((2, 16, 2))
    trajectory = Trajectory(
        observation=jax.nn.one_hot(games["rows"], 5),
        action=games["action"],
        reward=games["reward"],
        discount=jnp.array([[1.0] * 16, [0.0] * 16]),
        last=jnp.array([[False] * 16, [True] * 16]),
        log_prob=nothing,
        value=nothing,
        next_value=nothing,
        memory=(),
    )

    def of_agent(agent):
        batch = prepare(objective, trajectory, [agent])

        def loss_of(params, game):
            only = jax.tree.map(lambda x: x[:, game][:, None], batch)
            return loss(objective, POLICY, params, only)[0]

        params = {"actor": logits[agent], "critic": jnp.zeros(5)}
        return jax.vmap(jax.grad(loss_of), (None, 0))(params, jnp.arange(16))["actor"]

    # The loss is a mean over the two steps, and descends.
    return -2 * jnp.stack([of_agent(0), of_agent(1)], axis=1)


@pytest.mark.parametrize(("gamma", "beta"), [(1.0, 0.0), (1.0, 1.0), (0.7, -2.0)])
def test_every_game_weighted_by_its_chance(gamma, beta):
    """In double precision, from the exact advantages to the loss's gradient."""
    games = all_games(gamma)
    arrays = {
        name: np.stack([getattr(game, name) for game in games], axis=1)
        for name in ("advantage", "states", "action", "reward")
    }
    arrays["rows"] = np.stack([VIEW[i, arrays["states"]] for i in range(2)], axis=-1)
    with jax.enable_x64(True):
        actual = np.asarray(gradient_of_games(gamma, beta, arrays, LOGITS))
    assert actual.dtype == "float64"
    expected = [papers_gradient(game, gamma, beta) for game in games]
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
    weighted = sum(game.chance * x for game, x in zip(games, actual, strict=True))
    exact = expectation(games, lambda game: papers_gradient(game, gamma, beta))
    np.testing.assert_allclose(weighted, exact, rtol=1e-12, atol=1e-12)


def test_sampled_games_give_the_same_gradient():
    """From play to update: the critic is exact, and λ = 0, so that advantages are."""
    gamma, beta, num_games = 0.7, 2.0, 2**15
    env = envs.make("ipd", num_steps=2, ends=True)
    objective = presets.advantage_alignment(
        advantages.critic(gamma, 0.0), gamma=gamma, beta=beta
    )
    optimizer = optax.sgd(1.0)
    learners = [policy_gradient(POLICY, objective, optimizer, [i]) for i in (0, 1)]
    value = values(gamma)
    params = tuple(
        {
            "actor": jnp.asarray(LOGITS[i], jnp.float32),
            "critic": jnp.asarray(value[i][np.argsort(VIEW[i])], jnp.float32),
        }
        for i in (0, 1)
    )

    @jax.jit
    def play_and_update(key):
        begin_key, play_key = jax.random.split(key)
        table = seated([POLICY, POLICY], [[0], [1]])
        tables = begin(begin_key, env, table, num_games)
        _, trajectory = rollout(play_key, env, table, params, tables, 2)
        moved = []
        for i, learner in enumerate(learners):
            state = LearnerState(params[i], optimizer.init(params[i]))
            own = trajectory._replace(memory=trajectory.memory[i])
            state, _ = learner.update(key, state, own)
            moved.append(state.params["actor"] - params[i]["actor"])
        return trajectory.action, 2 * jnp.stack(moved)

    action, sampled = jax.device_get(play_and_update(jax.random.key(0)))
    games = all_games(gamma)
    per_game = np.stack([papers_gradient(game, gamma, beta) for game in games])
    # Weighted by how often each game was in fact played, there is no sampling error.
    joint = 2 * action[..., 0] + action[..., 1]
    counts = np.bincount(4 * joint[0] + joint[1], minlength=16)
    shares = counts / num_games
    np.testing.assert_allclose(
        sampled, np.einsum("g,gnsa->nsa", shares, per_game), rtol=1e-4, atol=1e-5
    )
    exact = expectation(games, lambda game: papers_gradient(game, gamma, beta))
    chances = np.array([game.chance for game in games])
    variance = np.einsum("g,gnsa->nsa", chances, (per_game - exact) ** 2)
    error = np.sqrt(variance / num_games)
    assert (np.abs(sampled - exact) < 4 * error + 1e-6).all()
    # The alignment term is large beside the error, so that it was indeed seen.
    plain = expectation(games, lambda game: papers_gradient(game, gamma, 0.0))
    assert (np.abs(exact - plain)[:, 1:] > 20 * error[:, 1:]).any(axis=(1, 2)).all()
