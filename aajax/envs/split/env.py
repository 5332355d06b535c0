"""Split: two agents divide ten of each item; both see all values, and do not talk.

In every round both propose simultaneously how many of each item they want; an item of
which they want more than there are is divided in proportion. Then new values are drawn.
The game does not terminate; an episode is truncated after `num_steps` rounds. With the
default values it is a prisoner's dilemma in expectation. If both cooperate (ask for
what they value more, and half of what is worth the same to both), each earns 127.5
points a round; if both ask for everything, 82.5; if only one does, it earns 141.67 and
the other 68.33.

Source: AdAlign for language models, https://arxiv.org/abs/2511.19405.
"""

import functools
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs import centred
from aajax.envs.base import (
    MultiDiscrete,
    check_whole,
    environment,
    in_window,
    positive,
    static,
)
from aajax.envs.split.values import MOST_ITEMS, SAMPLERS, Sampler
from aajax.errors import InputError
from aajax.schema import Choice
from aajax.types import Array, PRNGKey, TimeStep

NUM_AGENTS = 2
STOCK = 10  # items of one kind


class Round(NamedTuple):
    """The previous round, zeros before the first.

    Attributes:
      values: i32[N, num_items], what one item was worth to each agent.
      proposals: i32[N, num_items], what each agent asked for.
      points: f32[N], what that earned.
    """

    values: Array
    proposals: Array
    points: Array


class SplitState(NamedTuple):
    """State of the game.

    Attributes:
      values: i32[N, num_items], what one item is worth to each agent in this round.
      previous: the round before.
      time: i32[], rounds played in this episode.
    """

    values: Array
    previous: Round
    time: Array


@environment
class Split:
    """Split as an environment; build it with `split`, which checks its arguments."""

    unit: Array
    values: str = static(default="ties")
    num_items: int = static(default=3)
    num_steps: int = static(default=10)

    num_agents = NUM_AGENTS
    is_symmetric = True

    @property
    def action_spaces(self) -> tuple[MultiDiscrete, ...]:
        return (MultiDiscrete(self.num_items, 1 + STOCK),) * NUM_AGENTS

    @property
    def observation_shape(self) -> tuple[int]:
        return (centred.width(self.parts),)

    @property
    def episode_length(self) -> int:
        return self.num_steps

    @property
    def sampler(self) -> Sampler:
        """The sampler of values."""
        return SAMPLERS[self.values](self.num_items)

    @property
    def parts(self) -> dict[str, centred.Part]:
        """The parts of an observation, in order.

        "own" is the observer, "other" the co-player, so that one policy can play both
        seats. All but the first two are of the previous round, and 0 at the start.
        """
        values = centred.Part(self.num_items, float(self.sampler.largest))
        proposal = centred.Part(self.num_items, float(STOCK))
        points = centred.Part(1, float(STOCK * self.num_items * self.sampler.largest))
        return {
            "own_values": values,
            "other_values": values,
            "played": centred.Part(1),
            "own_last_values": values,
            "other_last_values": values,
            "own_proposal": proposal,
            "other_proposal": proposal,
            "own_points": points,
            "other_points": points,
        }

    def reset(self, key: PRNGKey) -> tuple[SplitState, TimeStep]:
        nothing = jnp.zeros((NUM_AGENTS, self.num_items), jnp.int32)
        state = SplitState(
            values=self._draw(key),
            previous=Round(nothing, nothing, jnp.zeros(NUM_AGENTS)),
            time=jnp.zeros((), jnp.int32),
        )
        return state, self._time_step(state, state.previous.points)

    def step(
        self, key: PRNGKey, state: SplitState, action: Array
    ) -> tuple[SplitState, TimeStep]:
        points = _over_items(divide(action) * state.values.astype(jnp.float32))
        time = state.time + 1
        state = SplitState(
            values=self._draw(key),
            previous=Round(state.values, action, points),
            time=time,
        )
        return state, self._time_step(state, points / self.unit)

    def _time_step(self, state: SplitState, reward: Array) -> TimeStep:
        return in_window(self._observe(state), reward, state.time, self.num_steps)

    def layout(self) -> dict[str, slice]:
        """The slice of each part in an observation, by name."""
        return centred.layout(self.parts)

    def read(self, observation: Array) -> dict[str, Array]:
        """The parts of observations f32[..., O] in the game's own units, by name."""
        return centred.read(self.parts, observation)

    def _draw(self, key: PRNGKey) -> Array:
        words = jax.random.bits(key, (self.sampler.num_words,), jnp.uint32)
        return self.sampler.draw(words)

    def _observe(self, state: SplitState) -> Array:
        values, previous = state.values, state.previous
        numbers = {
            "own_values": values,
            "other_values": values[::-1],
            "played": jnp.full((NUM_AGENTS, 1), state.time > 0),
            "own_last_values": previous.values,
            "other_last_values": previous.values[::-1],
            "own_proposal": previous.proposals,
            "other_proposal": previous.proposals[::-1],
            "own_points": previous.points[:, None],
            "other_points": previous.points[::-1, None],
        }
        return centred.write(self.parts, numbers)


def split(
    *,
    values: Annotated[str, Choice(tuple(SAMPLERS))] = "ties",
    num_items: int = 3,
    unit: Array | float = 1.0,
    num_steps: int = 10,
) -> Split:
    """Two agents divide ten of each item by simultaneous proposals, all in view.

    An agent observes both agents' values and the whole previous round, see
    `Split.parts`; a part x is scaled to x / (X / 2) − 1, where X is its upper bound.

    Args:
      values: how values are drawn, a key of `envs.split.values.SAMPLERS`.
      num_items: kinds of item, 2 to 4; even with values "exclusive".
      unit: points that correspond to a reward of 1.
      num_steps: rounds after which an episode is truncated.

    Raises:
      InputError: for an invalid argument, or an unsupported combination of them.
    """
    if values not in SAMPLERS:
        names = ", ".join(SAMPLERS)
        raise InputError(f"values is {values!r}: one of {names} is needed")
    check_whole("num_items", num_items, 2, MOST_ITEMS)
    if values == "exclusive" and num_items % 2:
        raise InputError(
            f"num_items is {num_items}: an even number is needed with values "
            "'exclusive', for sums that are equal"
        )
    check_whole("num_steps", num_steps)
    unit = positive("unit", unit)
    return Split(unit, values=values, num_items=num_items, num_steps=num_steps)


def divide(proposal: Array) -> Array:
    """Each agent's share of ten items: 10 p_i / max(10, Σ_k p_k).

    Items that nobody asks for are lost.

    Args:
      proposal: i32[N, ...], each 0 to 10.

    Returns:
      f32[N, ...].
    """
    proposal = proposal.astype(jnp.float32)
    total = functools.reduce(jnp.add, proposal)
    return STOCK * proposal / jnp.maximum(total, float(STOCK))[None]


def best_total(env: Split, values: Array) -> Array:
    """The largest possible sum of both rewards in a round, f32[...].

    Σ_j 10 max_i v_ij / unit: each item goes to the agent that values it most.

    Args:
      env: the environment, for its `unit`.
      values: [..., N, num_items].
    """
    best = jnp.sum(values.max(-2), -1, dtype=jnp.float32)
    return STOCK * best / env.unit


def values_seen(env: Split, observation: Array) -> Array:
    """Both agents' values, decoded from an agent's observation f32[..., O], own first.

    Returns:
      i32[..., N, num_items].
    """
    parts = env.read(observation)
    # Scaling may have left whole numbers a little off.
    values = jnp.stack([parts["own_values"], parts["other_values"]], -2)
    return jnp.round(values).astype(jnp.int32)


def _over_items(x: Array) -> Array:
    """Σ_j x_ij, f32[N]. Slice by slice: a CPU is slow to reduce a short axis."""
    return functools.reduce(jnp.add, x.T)
