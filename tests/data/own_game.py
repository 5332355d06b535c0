"""Somebody else's game: both name a number, and the lower one is paid to who named it.

It has rules and nothing else.
"""

import jax.numpy as jnp

from aajax.envs import Discrete, EnvSpec
from aajax.envs.base import environment, in_window, static


@environment
class LowerNumber:
    num_steps: int = static(default=8)
    highest: int = static(default=3)

    num_agents = 2
    is_symmetric = True

    @property
    def action_spaces(self):
        return (Discrete(self.highest),) * 2

    @property
    def observation_shape(self):
        return (2,)

    @property
    def episode_length(self):
        return self.num_steps

    def reset(self, key):
        return (jnp.zeros(2), jnp.int32(0)), self._emit(jnp.zeros(2), jnp.zeros(2), 0)

    def step(self, key, state, action):
        named, time = action.astype(jnp.float32) + 1, state[1] + 1
        reward = jnp.where(named < named[::-1], named, 0.0)
        return (named, time), self._emit(named, reward, time)

    def _emit(self, named, reward, time):
        seen = jnp.stack([named, named[::-1]])
        return in_window(seen, reward, jnp.int32(time), self.num_steps)


def lower_number(num_steps: int = 8, highest: int = 3) -> LowerNumber:
    return LowerNumber(num_steps=num_steps, highest=highest)


SPEC = EnvSpec("lower_number", "The lower of two numbers pays.", lower_number)
NUMBER = 3
