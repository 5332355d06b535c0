"""Rollouts: scan an environment and a policy into a trajectory."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from aajax.envs.base import Environment
from aajax.policies.base import Policy, reset_memory
from aajax.types import (
    Episodes,
    PRNGKey,
    PyTree,
    Tables,
    Trajectory,
)


def begin(
    key: PRNGKey, env: Environment, policy: Policy, num_games: int, group_size: int = 1
) -> Tables:
    """Resets games and the policy's memory; `group_size` as for `rollout`."""
    keys = _env_keys(key, num_games, group_size)
    state, timestep = jax.vmap(env.reset)(keys)
    memory = policy.initial_memory((num_games, env.num_agents))
    return Tables(state, timestep, memory)


def rollout(
    key: PRNGKey,
    env: Environment,
    policy: Policy,
    params: PyTree,
    tables: Tables,
    num_steps: int,
    group_size: int = 1,
) -> tuple[Tables, Trajectory]:
    """Plays all games on for `num_steps` steps.

    One policy acts for all seats, on observations [B, N, ...]; `policies.seated` makes
    one of several. With auto-reset, the policy's memory is reset at the start of each
    episode. Without, steps after `last` are padding.

    Args:
      key: consumed.
      env: unbatched; it is vmapped over games.
      policy: of all seats.
      params: of the policy.
      tables: games in progress, from `begin` or the previous call.
      num_steps: T.
      group_size: number of consecutive games that share the environment's random keys,
        though not the policy's: common random numbers, which reduce the variance of
        baselines that compare the games of a group.

    Returns:
      The games in progress after the last step, and the trajectory [T, B, N, ...].
    """
    tables, trajectory, _ = _play(
        key, env, policy, params, tables, num_steps, group_size
    )
    return tables, trajectory


def play_episodes(
    key: PRNGKey,
    env: Environment,
    policy: Policy,
    params: PyTree,
    num_games: int,
    num_steps: int,
) -> Episodes:
    """Plays one episode of each of `num_games` games, for evaluation.

    Args:
      key: consumed.
      env: unbatched, without auto-reset.
      policy: of all seats.
      params: of the policy.
      num_games: B.
      num_steps: T, upper bound of an episode's length.
    """
    begin_key, play_key = jax.random.split(key)
    tables = begin(begin_key, env, policy, num_games)
    end, trajectory, state = _play(
        play_key, env, policy, params, tables, num_steps, keep_states=True
    )
    state = jax.tree.map(
        lambda before, last: jnp.concatenate([before, last[None]]), state, end.state
    )
    over = jnp.cumsum(trajectory.last.astype(jnp.int32), axis=0) > 0
    inside = jnp.concatenate([jnp.ones_like(over[:1]), ~over[:-1]])
    return Episodes(trajectory, state, inside)


def _play(
    key: PRNGKey,
    env: Environment,
    policy: Policy,
    params: PyTree,
    tables: Tables,
    num_steps: int,
    group_size: int = 1,
    keep_states: bool = False,
) -> tuple[Tables, Trajectory, PyTree]:
    """`rollout`, and the states before each step, [T, B, ...], if `keep_states`."""
    resets = tables.timestep.final_observation is not None
    num_games = tables.timestep.last.shape[0]
    initial_memory = policy.initial_memory((num_games, env.num_agents))

    def body(tables: Tables, key: PRNGKey):
        act_key, step_key = jax.random.split(key)
        observation = tables.timestep.observation
        output = policy.act(params, act_key, observation, tables.memory)
        state, timestep = jax.vmap(env.step)(
            _env_keys(step_key, num_games, group_size), tables.state, output.action
        )
        memory, final_value = output.memory, None
        final = timestep.final_observation
        if final is not None:
            # Read only where an episode stops: in most steps, none does.
            final_value = jax.lax.cond(
                timestep.last.any(),
                lambda: policy.value(params, final, memory),
                lambda: jnp.zeros_like(output.value),
            )
            memory = reset_memory(memory, initial_memory, timestep.last)
        step = (
            observation,
            output.action,
            timestep.reward,
            timestep.discount,
            timestep.last,
            output.log_prob,
            output.value,
            final_value,
            output.action_value,
        )
        kept = tables.state if keep_states else None
        return Tables(state, timestep, memory), (step, kept)

    keys = jax.random.split(key, num_steps)
    end, (steps, states) = jax.lax.scan(body, tables, keys)
    *fields, value, final_value, action_value = cast(tuple[Any, ...], steps)
    last_value = policy.value(params, end.timestep.observation, end.memory)
    next_value = jnp.concatenate([value[1:], last_value[None]])
    if resets:
        next_value = jnp.where(fields[4][..., None], final_value, next_value)
    whole = (*fields, value, next_value, tables.memory, action_value)
    trajectory = Trajectory._make(whole)
    return end, trajectory, states


def _env_keys(key: PRNGKey, num_games: int, group_size: int) -> PRNGKey:
    keys = jax.random.split(key, num_games // group_size)
    return keys if group_size == 1 else jnp.repeat(keys, group_size, axis=0)
