"""Adapter from our environments to PettingZoo's parallel API.

https://pettingzoo.farama.org/api/parallel/. Like ours it distinguishes termination from
truncation. There is no auto-reset: the last step returns the final observations.
"""

import secrets
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.adapters import common
from aajax.envs.base import ActionSpace, Box, Discrete, Environment
from aajax.envs.view import View
from aajax.errors import InputError

with common.needs("pettingzoo"):
    from gymnasium import spaces
    from pettingzoo import ParallelEnv


class ToPettingZoo(ParallelEnv):
    """An environment of ours as a `ParallelEnv`, whose agents are agent_0, agent_1, …

    It holds the state of one game, as PettingZoo wants it. Every agent's info has
    `discount`, 0 after the step that ended the episode and else 1.
    """

    def __init__(
        self,
        env: Environment,
        view: View | None = None,
        render_mode: str | None = None,
    ) -> None:
        common.check_resets(env)
        modes = [] if view is None else ["ansi"]
        if render_mode is not None and render_mode not in modes:
            accepted = " or ".join(["None", *map(repr, modes)])
            raise InputError(f"render_mode is {render_mode!r}: {accepted} is needed")
        self.env, self.view, self.render_mode = env, view, render_mode
        self.metadata = {"name": type(env).__name__, "render_modes": modes}
        self.possible_agents = [f"agent_{i}" for i in range(env.num_agents)]
        self.agents: list[str] = []
        self.observation_spaces = {
            name: spaces.Box(-np.inf, np.inf, env.observation_shape, np.float32)
            for name in self.possible_agents
        }
        self.action_spaces = {
            name: _their_space(space)
            for name, space in zip(self.possible_agents, env.action_spaces, strict=True)
        }
        self._reset, self._step = jax.jit(env.reset), jax.jit(env.step)
        self._key = None
        self._state = None

    def observation_space(self, agent: str) -> spaces.Space:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
        """Starts an episode.

        Args:
          seed: random seed of this and all later episodes; None continues the current
            random stream, or starts one with an arbitrary seed.
          options: ignored.
        """
        if seed is not None:
            self._key = jax.random.key(seed)
        elif self._key is None:
            self._key = jax.random.key(secrets.randbits(31))
        self._key, key = jax.random.split(self._key)
        self._state, timestep = self._reset(key)
        self.agents = list(self.possible_agents)
        return self._by_agent(np.asarray(timestep.observation)), self._infos(1.0)

    def step(self, actions: Mapping[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays a joint action.

        Returns:
          Observations f32[...], rewards, terminations, truncations and infos of all
          agents, by name.

        Raises:
          InputError: if there is no episode, or an agent's action is missing or none.
        """
        if not self.agents:
            raise InputError("there is no episode: reset() is needed before step()")
        joint = np.stack([self._action(name, actions) for name in self.agents])
        assert self._key is not None  # `reset` has made it
        self._key, key = jax.random.split(self._key)
        self._state, timestep = self._step(key, self._state, jnp.asarray(joint))
        last, discount = bool(timestep.last), float(timestep.discount)
        rewards = map(float, np.asarray(timestep.reward))
        result = (
            self._by_agent(np.asarray(timestep.observation)),
            dict(zip(self.agents, rewards, strict=True)),
            dict.fromkeys(self.agents, last and discount == 0),
            dict.fromkeys(self.agents, last and discount != 0),
            self._infos(discount),
        )
        if last:
            self.agents = []
        return result

    def render(self) -> str | None:
        """The state as text in the render mode "ansi", as for spectators; else None.

        Raises:
          InputError: if there is no episode yet.
        """
        if self.render_mode is None:
            return None
        if self._state is None:
            raise InputError("there is no episode: reset() is needed before render()")
        assert self.view is not None  # there is one with a render mode
        return self.view.show(jax.device_get(self._state))

    def _by_agent(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.agents, rows, strict=True))

    def _infos(self, discount: float) -> dict[str, dict]:
        return {name: {"discount": discount} for name in self.agents}

    def _action(self, name: str, actions: Mapping[str, Any]) -> np.ndarray:
        space = self.action_spaces[name]
        if name not in actions:
            raise InputError(f"actions has no {name}: one of {space} is needed")
        given = np.asarray(actions[name])
        kinds = "biuf" if isinstance(space, spaces.Box) else "iu"
        action = given.astype(space.dtype) if given.dtype.kind in kinds else given
        if given.dtype.kind not in kinds or not space.contains(_bare(action)):
            raise InputError(
                f"action of {name} is {actions[name]!r}: one of {space} is needed"
            )
        return action


def to_pettingzoo(
    env: Environment, view: View | None = None, render_mode: str | None = None
) -> ToPettingZoo:
    """An environment of ours as a `ParallelEnv` of PettingZoo.

    Args:
      env: ours, one that does not reset itself.
      view: how it is rendered, as of `EnvSpec.view`; None: it is not.
      render_mode: "ansi" for text, which needs a view; None for nothing.

    Raises:
      InputError: if it resets itself, or cannot be rendered so.
    """
    return ToPettingZoo(env, view, render_mode)


def _bare(action: np.ndarray) -> Any:
    """A scalar as such, as a discrete space contains no array without axes."""
    return action[()] if action.ndim == 0 else action


def _their_space(space: ActionSpace) -> spaces.Space:
    if isinstance(space, Discrete):
        return spaces.Discrete(space.num_actions)
    if isinstance(space, Box):
        return spaces.Box(space.low, space.high, space.shape, np.float32)
    return spaces.MultiDiscrete([space.num_actions] * space.size)
