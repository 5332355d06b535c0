"""A table in place of a network: memory-one policies of matrix games."""

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
    """Free logits, and a free value, for each one-hot observation.

    Args:
      num_states: length of the observation.
      num_actions: A.
      initial_scale: standard deviation of the initial logits.
      num_values: numbers of the critic per state, as in `nets.actor_critic`.
      value_scale: what the critic's numbers are multiplied by: about the number of
        steps that a value sums up, so that the numbers are of the size of rewards.
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
