"""Public goods with amounts: N agents contribute parts of what they have to a pot.

In every step each agent has E coins and contributes one of L evenly spaced amounts from
0 to E, all at the same time. The pot is multiplied by m and shared equally:

    points_i = E − c_i + m / N · Σ_j c_j

It is a dilemma for 1 < m < N: whatever the others do, a coin that is kept is worth more
to its owner than one that is given, and yet all earn most if everybody gives all. The
game does not terminate; an episode is truncated after `num_steps` steps. The game
"public_goods" is that with L = 2 and E = 1, without the coins that all have.

Source: the voluntary contributions mechanism, Isaac and Walker 1988,
https://doi.org/10.2307/1882648.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aajax.envs import centred
from aajax.envs.base import (
    Discrete,
    check_whole,
    environment,
    in_window,
    positive,
    static,
)
from aajax.types import AnyArray, Array, PRNGKey, TimeStep

MOST_AGENTS = 12
MOST_LEVELS = 101


class PublicGoodsState(NamedTuple):
    """The last step, zeros before the first.

    Attributes:
      levels: i32[N], what each agent contributed, 0 to L − 1.
      points: f32[N], what that earned.
      time: i32[], steps played in this episode.
    """

    levels: Array
    points: Array
    time: Array


@environment
class PublicGoods:
    """Build it with `public_goods_amounts`, which checks its arguments."""

    multiplier: Array
    endowment: Array
    unit: Array
    num_agents: int = static(default=3)
    num_levels: int = static(default=11)
    num_steps: int = static(default=10)

    is_symmetric = True

    @property
    def action_spaces(self) -> tuple[Discrete, ...]:
        """The level of a contribution: action a is a / (L − 1) of the endowment."""
        return (Discrete(self.num_levels),) * self.num_agents

    @property
    def observation_shape(self) -> tuple[int]:
        return (centred.width(self.parts),)

    @property
    def episode_length(self) -> int:
        return self.num_steps

    @property
    def parts(self) -> dict[str, centred.Part]:
        """The parts of an observation, in order, all of the last step.

        "own" is the observer, "others" are the next seats in turn, so that one policy
        can play any seat; "contribution" is in coins. "played" is 0 at the start.
        """
        num_others, m = self.num_agents - 1, self.multiplier
        most = jnp.maximum(1 + m * num_others / self.num_agents, m)
        return {
            "played": centred.Part(1),
            "own_contribution": centred.Part(1, self.endowment),
            "others_contribution": centred.Part(num_others, self.endowment),
            "own_points": centred.Part(1, self.endowment * most),
        }

    def reset(self, key: PRNGKey) -> tuple[PublicGoodsState, TimeStep]:
        del key
        state = PublicGoodsState(
            levels=jnp.zeros(self.num_agents, jnp.int32),
            points=jnp.zeros(self.num_agents),
            time=jnp.zeros((), jnp.int32),
        )
        return state, self._time_step(state, state.points)

    def step(
        self, key: PRNGKey, state: PublicGoodsState, action: Array
    ) -> tuple[PublicGoodsState, TimeStep]:
        del key
        coins = self.coins(action)
        # Slice by slice: a CPU is slow to reduce a short axis.
        pot = self.multiplier * functools.reduce(jnp.add, coins)
        points = self.endowment - coins + pot / self.num_agents
        state = PublicGoodsState(action, points, state.time + 1)
        return state, self._time_step(state, points / self.unit)

    def _time_step(self, state: PublicGoodsState, reward: Array) -> TimeStep:
        return in_window(self._observe(state), reward, state.time, self.num_steps)

    def coins(self, level: AnyArray) -> Array:
        """The coins that are contributed at a level, f32[...] of i32[...]."""
        share = jnp.asarray(level, jnp.float32) / (self.num_levels - 1)
        return self.endowment * share

    def layout(self) -> dict[str, slice]:
        """The slice of each part in an observation, by name."""
        return centred.layout(self.parts)

    def read(self, observation: Array) -> dict[str, Array]:
        """The parts of observations f32[..., O] in the game's own units, by name."""
        return centred.read(self.parts, observation)

    def _observe(self, state: PublicGoodsState) -> Array:
        coins = self.coins(state.levels)
        numbers = {
            "played": jnp.full((self.num_agents, 1), state.time > 0),
            "own_contribution": coins[:, None],
            "others_contribution": coins[others_of(self.num_agents)],
            "own_points": state.points[:, None],
        }
        return centred.write(self.parts, numbers)


def public_goods_amounts(
    num_agents: int = 3,
    multiplier: Array | float = 1.5,
    *,
    num_levels: int = 11,
    endowment: Array | float = 10.0,
    unit: Array | float = 1.0,
    num_steps: int = 10,
) -> PublicGoods:
    """N agents each contribute part of ten coins; the pot is multiplied and shared.

    An agent observes what everybody contributed in the last step, see
    `PublicGoods.parts`; a part x is scaled to x / (X / 2) − 1, where X is its upper
    bound.

    Args:
      num_agents: N, 2 to 12.
      multiplier: m, a dilemma for 1 < m < N.
      num_levels: L, amounts that can be contributed, 0 and everything among them.
      endowment: E, coins that each agent has in every step.
      unit: points that correspond to a reward of 1.
      num_steps: steps after which an episode is truncated.

    Raises:
      InputError: for an invalid argument.
    """
    check_whole("num_agents", num_agents, 2, MOST_AGENTS)
    check_whole("num_levels", num_levels, 2, MOST_LEVELS)
    check_whole("num_steps", num_steps)
    return PublicGoods(
        positive("multiplier", multiplier),
        positive("endowment", endowment),
        positive("unit", unit),
        num_agents=num_agents,
        num_levels=num_levels,
        num_steps=num_steps,
    )


def others_of(num_agents: int) -> np.ndarray:
    """Each seat's co-players, the next seats in turn, i64[N, N − 1]."""
    seats = np.arange(num_agents)
    return (seats[:, None] + np.arange(1, num_agents)) % num_agents


def best_total(env: PublicGoods) -> Array:
    """The largest possible sum of all rewards in a step, f32[]: all is given, or kept.

    N E max(m, 1) / unit.
    """
    return env.num_agents * env.endowment * jnp.maximum(env.multiplier, 1.0) / env.unit
