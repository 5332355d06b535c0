"""How a policy answers an outcome: P(action 0 | last joint action)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.matrix import IteratedMatrixGame, seat_views
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import begin, rollout
from aajax.types import Array, PRNGKey, PyTree


def outcome_names(env: IteratedMatrixGame) -> list[str]:
    """START and the joint actions, own action first: start, CC, CD, DC, DD."""
    names = env.action_names
    separator = "" if all(len(name) == 1 for name in names) else ","
    joints = itertools.product(names[: env.action_counts[0]], repeat=env.num_agents)
    return ["start", *(separator.join(joint) for joint in joints)]


def cooperation_after(
    key: PRNGKey,
    env: IteratedMatrixGame,
    policy: Policy,
    params: tuple[PyTree, ...],
    num_games: int,
    num_steps: int,
) -> Array:
    """P(action 0) at the start, and right after each joint action is forced once.

    The policy plays itself undisturbed until, at a step that differs from game to
    game, all seats are made to play the given joint action; read is the probability
    with which each seat then cooperates. So a policy that remembers the whole history
    is asked what it does about *one* defection out of its own kind of play. For a
    memory-one policy the answer is its table.

    Args:
      key: consumed.
      env: a symmetric game.
      policy: that plays all seats.
      params: for each seat.
      num_games: per outcome.
      num_steps: per game; at least 2.

    Returns:
      f32[1 + A^N], in the order of `outcome_names`, the mean over games and seats.
    """
    num_agents = env.num_agents
    table = seated([policy] * num_agents, [[seat] for seat in range(num_agents)])
    step = jnp.arange(num_games) % (num_steps - 1)

    def read(joint: Array) -> Array:
        forced = _force_once(table, joint, step)
        begin_key, play_key = jax.random.split(key)
        tables = begin(begin_key, env, forced, num_games)
        _, played = rollout(play_key, env, forced, params, tables, num_steps)
        memory = table.initial_memory((num_games, num_agents))
        per_seat = []
        for seat in range(num_agents):
            own = (slice(None), slice(None), slice(seat, seat + 1))
            zeros = jnp.zeros_like(played.action[own])
            log_prob = policy.evaluate(
                params[seat], played.observation[own], zeros, played.last, memory[seat]
            ).log_prob
            per_seat.append(jnp.exp(log_prob[..., 0]))
        return jnp.stack(per_seat, -1)  # [T, B, N]

    counts = env.action_counts
    joints = jnp.indices(counts, jnp.int32).reshape(num_agents, -1).T
    probability = jax.lax.map(read, joints)  # [A^N, T, B, N]
    after = probability[:, step + 1, jnp.arange(num_games)]  # [A^N, B, N]
    # Forced were joint actions (a_1, ..., a_N); every seat reads its own one first.
    order = np.argsort(seat_views(counts), axis=1)[:, 1:] - 1
    own_first = [after[order[seat], :, seat] for seat in range(num_agents)]
    start = probability[0, 0].mean()
    return jnp.append(start, jnp.stack(own_first).mean((0, 2)))


def _force_once(policy: Policy, joint: Array, step: Array) -> Policy:
    """`policy`, except that game b plays `joint`, i32[N], at its step `step[b]`."""

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
