"""A policy's response to each outcome: P(action 0 | last joint action)."""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.matrix import IteratedMatrixGame
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import Episodes, play_episodes
from aajax.types import Array, PRNGKey, PyTree

# There are A^N joint actions: of more than so many, outcomes are told by an agent's own
# action and how many of its co-players took action 0.
MOST_JOINTS = 32


def outcome_names(env: IteratedMatrixGame) -> list[str]:
    """Names of the last outcomes, own action first: start, CC, CD, DC, DD.

    In games of many agents by the number of co-players that took action 0: "C, 3 of 9
    C".
    """
    names, num_agents = env.action_names, env.num_agents
    if _is_listed(env):
        separator = "" if all(len(name) == 1 for name in names) else ","
        outcomes = [separator.join(names[a] for a in joint) for joint in _joints(env)]
    else:
        outcomes = [
            f"{names[own]}, {count} of {num_agents - 1} {names[0]}"
            for own, count in _counts(env)
        ]
    return ["start", *outcomes]


def cooperation_after(
    key: PRNGKey,
    env: IteratedMatrixGame,
    policy: Policy,
    params: tuple[PyTree, ...],
    num_games: int,
    num_steps: int,
) -> Array:
    """P(action 0) at the start, and right after each outcome is forced once.

    An intervention in self-play: at one step, which varies between games, all seats are
    forced to play a joint action of the outcome; measured is the probability that one
    seat, which varies too, cooperates in the next step. For a policy with a memory this
    is the response to a single deviation from its usual play; for a memory-one policy
    it is its table. Games that terminate at that step are left out.

    Args:
      key: consumed.
      env: a symmetric game.
      policy: of all seats.
      params: for each seat.
      num_games: per outcome; at least one per seat.
      num_steps: upper bound of the steps per game; at least 2.

    Returns:
      f32[outcomes], in the order of `outcome_names`, the mean over seats of the means
      over games; NaN if no game goes on.
    """
    num_agents = env.num_agents
    table = seated([policy] * num_agents, [[seat] for seat in range(num_agents)])
    game = np.arange(num_games)
    seat = game % num_agents
    # Undisturbed, to know how long games are: what is played does not change that.
    undisturbed = play_episodes(key, env, table, params, num_games, num_steps)
    length = undisturbed.inside.sum(0).astype(jnp.int32)
    asked = (length > 1).astype(jnp.float32)
    step = jnp.asarray(game // num_agents) % jnp.maximum(length - 1, 1)

    def cooperates(episodes: Episodes) -> Array:
        """f32[T, B, N]."""
        played = episodes.trajectory
        memory = table.initial_memory((num_games, num_agents))
        per_seat = []
        for seat in range(num_agents):
            own = (slice(None), slice(None), slice(seat, seat + 1))
            zeros = jnp.zeros_like(played.action[own])
            log_prob = policy.read_again(
                params[seat], played.observation[own], zeros, played.last, memory[seat]
            ).log_prob
            per_seat.append(jnp.exp(log_prob[..., 0]))
        return jnp.stack(per_seat, -1)

    def read(joint: Array) -> Array:
        forced = _force_once(table, joint, step)
        episodes = play_episodes(key, env, forced, params, num_games, num_steps)
        answers = cooperates(episodes)[step + 1, game, seat]
        weight = jax.nn.one_hot(seat, num_agents) * asked[:, None]
        of_seats = (answers * asked) @ weight / weight.sum(0)
        return of_seats.mean()

    start = cooperates(undisturbed)[0].mean()
    after = jax.lax.map(read, jnp.asarray(_forced(env, num_games)))
    return jnp.append(start, after)


def _is_listed(env: IteratedMatrixGame) -> bool:
    return np.prod(env.action_counts, dtype=float) <= MOST_JOINTS


def _joints(env: IteratedMatrixGame) -> Iterator[tuple[int, ...]]:
    """All joint actions, own action first, then that of the next seat, and so on."""
    return itertools.product(range(env.action_counts[0]), repeat=env.num_agents)


def _counts(env: IteratedMatrixGame) -> Iterator[tuple[int, int]]:
    """An agent's own action, and how many co-players took action 0."""
    numbers = range(env.num_agents - 1, -1, -1)
    return itertools.product(range(env.action_counts[0]), numbers)


def _forced(env: IteratedMatrixGame, num_games: int) -> np.ndarray:
    """Joint actions i32[outcomes, B, N], seen from seat b mod N of game b."""
    num_agents = env.num_agents
    if _is_listed(env):
        joints = np.array(list(_joints(env)))[:, None]
        own_first = np.broadcast_to(joints, (len(joints), num_games, num_agents))
    else:
        # Who among co-players does what is drawn for each game.
        rng = np.random.default_rng(0)
        drawn = []
        for own, count in _counts(env):
            rest = 1 + np.arange(num_agents - 1 - count) % (env.action_counts[0] - 1)
            others = np.tile(np.append(np.zeros(count, int), rest), (num_games, 1))
            others = rng.permuted(others, axis=1)
            drawn.append(np.insert(others, 0, own, axis=1))
        own_first = np.stack(drawn)
    seats = (np.arange(num_agents) - np.arange(num_games)[:, None]) % num_agents
    joint = np.take_along_axis(own_first, seats[None], axis=2)
    return joint.astype(np.int32)


def _force_once(policy: Policy, joint: Array, step: Array) -> Policy:
    """`policy`, except that game b plays `joint[b]`, i32[N], at its step `step[b]`."""

    def initial_memory(batch_shape):
        return policy.initial_memory(batch_shape), jnp.zeros((), jnp.int32)

    def act(params, key, observation, memory):
        inner, time = memory
        output = policy.act(params, key, observation, inner)
        action = jnp.where((time == step)[:, None], joint, output.action)
        return output._replace(action=action, memory=(output.memory, time + 1))

    def value(params, observation, memory):
        return policy.value(params, observation, memory[0])

    return policy._replace(initial_memory=initial_memory, act=act, value=value)
