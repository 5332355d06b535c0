"""All games of a few steps of a two-player matrix game, for exact expectations.

Tables are of logits f[2, T, S, A], one for each step, agent and environment state:
START, then the joint actions in the order of (a_1, a_2), for both agents alike.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Games(NamedTuple):
    """All G = A^(2T) of them."""

    state: np.ndarray  # i[G, T]
    action: np.ndarray  # i[G, T, 2]
    reward: np.ndarray  # f[G, T, 2]


def all_games(payoff, num_steps):
    num_actions = payoff.shape[1]
    joints = list(itertools.product(range(num_actions), repeat=2))
    state, action = [], []
    for numbers in itertools.product(range(len(joints)), repeat=num_steps):
        state.append([0, *(1 + number for number in numbers[:-1])])
        action.append([joints[number] for number in numbers])
    action = np.array(action)
    reward = payoff[:, action[..., 0], action[..., 1]]
    return Games(np.array(state), action, np.moveaxis(reward, 0, -1))


def log_probs(games, logits):
    """log π_i(a_i,t), f[G, T, 2]; differentiable."""
    log_policy = jax.nn.log_softmax(logits)
    step = np.arange(games.state.shape[1])
    return jnp.stack(
        [log_policy[i, step, games.state, games.action[..., i]] for i in range(2)], -1
    )


def chances(games, logits):
    """How likely each game is, f[G]; differentiable."""
    return jnp.exp(log_probs(games, logits).sum((1, 2)))


def scores(games, logits):
    """∇ log π_i(a_i,t) by the agent's own logits, f[G, T, 2, T, S, A]."""
    every = jax.jacobian(lambda x: log_probs(games, x))(logits)
    return jnp.stack([every[:, :, i, i] for i in range(2)], axis=2)


def action_values(payoff, logits, gamma):
    """Q f[T, S, 2, A, A] of joint actions, and V f[T + 1, S, 2]; differentiable."""
    _, num_steps, num_states, num_actions = logits.shape
    policy = jax.nn.softmax(logits)
    value = [jnp.zeros((num_states, 2), logits.dtype)]
    action_value = []
    for t in reversed(range(num_steps)):
        after = value[0][1:].reshape(num_actions, num_actions, 2)
        one = payoff + gamma * jnp.moveaxis(after, -1, 0)
        action_value.insert(0, jnp.broadcast_to(one, (num_states, *one.shape)))
        mean = jnp.einsum("iab,sa,sb->si", one, policy[0, t], policy[1, t])
        value.insert(0, mean)
    return jnp.stack(action_value), jnp.stack(value)


def start_values(payoff, logits, gamma):
    """Both agents' expected discounted returns, f[2]; differentiable."""
    return action_values(payoff, logits, gamma)[1][0, 0]


def advantages(games, payoff, logits, gamma):
    """A_i,t = Q_i(s_t, a_t, b_t) − V_i(s_t), of the joint action: f[G, T, 2]."""
    action_value, value = action_values(payoff, logits, gamma)
    step = np.arange(games.state.shape[1])
    first, second = games.action[..., 0], games.action[..., 1]
    taken = action_value[step, games.state, :, first, second]
    return taken - value[step, games.state]


def returns(games, gamma):
    """R_i,t = Σ_{k≥t} γ^(k−t) r_i,k, f[G, T, 2]."""
    result = np.zeros_like(games.reward)
    later = np.zeros_like(games.reward[:, 0])
    for t in reversed(range(games.reward.shape[1])):
        later = games.reward[:, t] + gamma * later
        result[:, t] = later
    return result


class Play(NamedTuple):
    """All games under given policies, f[G, T, ...]; i is agent 0, j agent 1."""

    games: Games
    chance: Any  # [G]
    score: Any  # [G, T, 2, T, S, A]
    advantage: Any  # [G, T, 2], of the joint action
    value: Any  # [G, T, 2]
    co_player_q: Any  # [G, T, A], Q_j(s, b), agent i's action averaged out
    of_co_players_action: Any  # [G, T], A_i(s, b), likewise
    of_own_action: Any  # [G, T], A_i(s, a), agent j's action averaged out

    def expected(self, weight, agent=0):
        """E[Σ_t weight_t ∇ log π(a_t)] of an agent, f[T, S, A]."""
        score = self.score[:, :, agent]
        return np.einsum("g,gt,gtxsa->xsa", self.chance, weight, score)


def play(payoff, logits, gamma):
    games = all_games(payoff, logits.shape[1])
    return Play(games, *map(np.asarray, _under(payoff, logits, gamma)))


@jax.jit
def _under(payoff, logits, gamma):
    games = all_games(np.zeros(payoff.shape), logits.shape[1])
    step, (first, second) = np.arange(logits.shape[1]), np.moveaxis(games.action, -1, 0)
    policy = jax.nn.softmax(logits)
    action_value, value = action_values(payoff, logits, gamma)
    value = value[step, games.state]
    of_second = jnp.einsum("tsiab,tsa->tsib", action_value, policy[0])
    of_first = jnp.einsum("tsiab,tsb->tsia", action_value, policy[1])
    return (
        chances(games, logits),
        scores(games, logits),
        advantages(games, payoff, logits, gamma),
        value,
        of_second[step, games.state, 1],
        of_second[step, games.state, 0, second] - value[..., 0],
        of_first[step, games.state, 0, first] - value[..., 0],
    )
