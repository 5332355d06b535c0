"""Tabular parameters in place of a network: memory-one policies of matrix games."""

import jax
import jax.numpy as jnp

from aajax.policies.base import Network
from aajax.types import Array


def tabular(
    num_states: int,
    num_actions: int,
    *,
    initial_scale: float = 0.1,
    num_values: int | None = None,
    value_scale: float = 1.0,
) -> Network:
    """A table of logits, and one of values, indexed by a one-hot observation.

    Args:
      num_states: length of the observation.
      num_actions: A.
      initial_scale: standard deviation of the initial logits.
      num_values: outputs of the critic per state, as in `nets.actor_critic`.
      value_scale: factor of the critic's parameters. About the number of steps that a
        return sums up, 1 / (1 − γ), gives parameters of the size of rewards.
    """
    value_shape = (num_states,) if num_values is None else (num_states, num_values)

    def init(key):
        logits = initial_scale * jax.random.normal(key, (num_states, num_actions))
        return {"actor": logits, "critic": jnp.zeros(value_shape)}

    def read(params, observation):
        value = value_scale * observation @ params["critic"]
        return observation @ params["actor"], value

    def step(params, observation, memory):
        return *read(params, observation), memory

    def unroll(params, observation, last: Array, memory):
        return read(params, observation)

    return Network(
        init, lambda batch_shape: (), step, unroll, lambda params: params["critic"]
    )
