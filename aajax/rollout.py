"""Play: scan a world and a policy into a trajectory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs.base import Environment
from aajax.policies.base import Policy, reset_memory
from aajax.types import PRNGKey, PyTree, TimeStep, Trajectory


class Tables(NamedTuple):
    """Games under way, [B, ...]: states, last time steps and memories of all seats."""

    state: PyTree
    timestep: TimeStep
    memory: PyTree


def begin(
    key: PRNGKey, env: Environment, policy: Policy, num_games: int, copies: int = 1
) -> Tables:
    """Seats the policy at `num_games` fresh games; `copies` as for `rollout`."""
    keys = _world_keys(key, num_games, copies)
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
    copies: int = 1,
) -> tuple[Tables, Trajectory]:
    """Plays on for `num_steps` steps.

    A policy for every seat: it gets observations [B, N, ...]; seat different ones with
    `policies.seated`. In a world with auto-reset, memory starts afresh with each
    episode. In one without, steps after `last` are padding.

    Args:
      key: consumed.
      env: one game.
      policy: for the whole table.
      params: of the policy.
      tables: as `begin` or the last call left them.
      num_steps: T.
      copies: consecutive games, of which `copies` at a time share the world's chance
        (never the policies'): common random numbers, for baselines that compare them.

    Returns:
      The tables as they now stand, and the trajectory [T, B, N, ...].
    """
    resets = tables.timestep.final_observation is not None
    num_games = tables.timestep.last.shape[0]
    initial_memory = policy.initial_memory((num_games, env.num_agents))

    def body(tables: Tables, key: PRNGKey):
        act_key, step_key = jax.random.split(key)
        observation = tables.timestep.observation
        output = policy.act(params, act_key, observation, tables.memory)
        state, timestep = jax.vmap(env.step)(
            _world_keys(step_key, num_games, copies), tables.state, output.action
        )
        memory, final_value = output.memory, None
        if resets:
            # Read only where an episode stops: in most steps, none does.
            final_value = jax.lax.cond(
                timestep.last.any(),
                lambda: policy.value(params, timestep.final_observation, memory),
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
        return Tables(state, timestep, memory), step

    keys = jax.random.split(key, num_steps)
    end, (*fields, value, final_value, action_value) = jax.lax.scan(body, tables, keys)
    last_value = policy.value(params, end.timestep.observation, end.memory)
    next_value = jnp.concatenate([value[1:], last_value[None]])
    if resets:
        next_value = jnp.where(fields[4][..., None], final_value, next_value)
    return end, Trajectory(*fields, value, next_value, tables.memory, action_value)


def _world_keys(key: PRNGKey, num_games: int, copies: int) -> PRNGKey:
    keys = jax.random.split(key, num_games // copies)
    return keys if copies == 1 else jnp.repeat(keys, copies, axis=0)
