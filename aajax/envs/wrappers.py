"""Wrappers: environments made from environments."""

import jax
import jax.numpy as jnp

from aajax.envs.base import Environment, environment
from aajax.types import Array, PRNGKey, PyTree, TimeStep


@environment
class AutoReset:
    """Resets the environment within the step that ends an episode.

    That time step has the reward, discount and `last` of the step played; its
    `observation` is the new episode's first, and its `final_observation` the old
    episode's last, for bootstrapping.
    """

    env: Environment

    @property
    def num_agents(self):
        return self.env.num_agents

    @property
    def action_spaces(self):
        return self.env.action_spaces

    @property
    def observation_shape(self):
        return self.env.observation_shape

    @property
    def episode_length(self):
        return self.env.episode_length

    @property
    def is_symmetric(self):
        return self.env.is_symmetric

    def reset(self, key: PRNGKey) -> tuple[PyTree, TimeStep]:
        state, timestep = self.env.reset(key)
        return state, timestep._replace(final_observation=timestep.observation)

    def step(
        self, key: PRNGKey, state: PyTree, action: Array
    ) -> tuple[PyTree, TimeStep]:
        step_key, reset_key = jax.random.split(key)
        state, timestep = self.env.step(step_key, state, action)
        fresh = self.env.reset(reset_key)
        state, observation = jax.tree.map(
            lambda new, old: jnp.where(timestep.last, new, old),
            (fresh[0], fresh[1].observation),
            (state, timestep.observation),
        )
        return state, timestep._replace(
            observation=observation, final_observation=timestep.observation
        )
