"""The Negotiation Game: two agents divide a pool of items that they value differently.

In every round both agents propose simultaneously how much of each item they want, and a
rule divides the pool accordingly. A round is one turn, or several of which only the
last pays. Then a new pool and new values are drawn. The game does not terminate; an
episode is truncated after `num_steps` turns. With the default utilities it is a
prisoner's dilemma in expectation: if both ask for what they value more, each earns .5
per round; if both ask for everything, .3; if only one does, it earns .55 and the other
.25.

Source: Advantage Alignment, https://arxiv.org/abs/2406.14662.
"""

import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.base import Box, MultiDiscrete, environment, in_window, static
from aajax.envs.negotiation.rules import RULES
from aajax.envs.negotiation.utilities import (
    MOST,
    NUM_AGENTS,
    NUM_ITEMS,
    SAMPLERS,
    Sampler,
    Stakes,
)
from aajax.errors import InputError
from aajax.schema import Choice
from aajax.types import Array, PRNGKey, TimeStep


class Turn(NamedTuple):
    """The previous turn, zeros before the first.

    Attributes:
      utility: f32[N, 3], what the items were worth to each agent.
      proposal: f32[N, 3], what each agent asked for.
      reward: f32[N], what that earned.
    """

    utility: Array
    proposal: Array
    reward: Array


class NegotiationState(NamedTuple):
    """State of the game.

    Attributes:
      stakes: pool and utilities of this round.
      previous: the previous turn, possibly of the round before.
      turn: i32[], turns played in this round.
      num_turns: i32[], turns in every round of this episode.
      time: i32[], turns played in this episode.
    """

    stakes: Stakes
    previous: Turn
    turn: Array
    num_turns: Array
    time: Array


# What an agent sees: names and sizes, in order. "own" is itself, "other" the co-player,
# so that one policy can play both seats; proposals, "last" and "played" are of the turn
# before, and 0 at the start of an episode.
PROPOSALS = ("continuous", "discrete")
OBSERVATIONS = {
    "raw": {
        "pool": NUM_ITEMS,
        "own_utility": NUM_ITEMS,
        "own_proposal": NUM_ITEMS,
        "other_utility": NUM_ITEMS,
        "other_proposal": NUM_ITEMS,
    },
    "utility_difference": {"utility_difference": NUM_ITEMS},
    "private": {
        "pool": NUM_ITEMS,
        "own_utility": NUM_ITEMS,
        "own_proposal": NUM_ITEMS,
        "other_proposal": NUM_ITEMS,
    },
    "history": {
        "pool": NUM_ITEMS,
        "own_utility": NUM_ITEMS,
        "other_utility": NUM_ITEMS,
        "played": 1,
        "own_last_utility": NUM_ITEMS,
        "other_last_utility": NUM_ITEMS,
        "own_proposal": NUM_ITEMS,
        "other_proposal": NUM_ITEMS,
        "own_reward": 1,
        "other_reward": 1,
    },
}


@environment
class NegotiationGame:
    """The Negotiation Game; build it with `negotiation`, which checks its arguments."""

    utilities: str = static(default="high_contrast")
    rule: str = static(default="divide_when_above")
    proposals: str = static(default="continuous")
    observation: str = static(default="raw")
    turn_limits: tuple[int, int] = static(default=(1, 1))
    mean_turns: float = static(default=1.0)
    num_steps: int = static(default=50)
    unit: float = static(default=float(MOST * NUM_ITEMS))

    num_agents = NUM_AGENTS
    is_symmetric = True

    @property
    def action_spaces(self) -> tuple[Box | MultiDiscrete, ...]:
        if self.proposals == "continuous":
            return (Box(NUM_ITEMS, 0.0, float(MOST)),) * NUM_AGENTS
        return (MultiDiscrete(NUM_ITEMS, 1 + MOST),) * NUM_AGENTS

    @property
    def observation_shape(self) -> tuple[int]:
        return (sum(OBSERVATIONS[self.observation].values()),)

    @property
    def episode_length(self) -> int:
        return self.num_steps

    @property
    def sampler(self) -> Sampler:
        """The sampler of pools and utilities."""
        return SAMPLERS[self.utilities]

    def reset(self, key: PRNGKey) -> tuple[NegotiationState, TimeStep]:
        num_words = self.sampler.num_words
        words = jax.random.bits(key, (num_words + 1,), jnp.uint32)
        zero = jnp.zeros((), jnp.int32)
        nothing = jnp.zeros((NUM_AGENTS, NUM_ITEMS))
        state = NegotiationState(
            stakes=self.sampler.draw(words[:num_words]),
            previous=Turn(nothing, nothing, jnp.zeros(NUM_AGENTS)),
            turn=zero,
            num_turns=self._draw_turns(words[num_words]),
            time=zero,
        )
        return state, self._time_step(state, state.previous.reward)

    def step(
        self, key: PRNGKey, state: NegotiationState, action: Array
    ) -> tuple[NegotiationState, TimeStep]:
        proposal = action.astype(jnp.float32)
        earned = RULES[self.rule](state.stakes, proposal) / self.unit
        turn, time = state.turn + 1, state.time + 1
        if self.turn_limits == (1, 1):
            over = jnp.ones((), bool)
        else:
            over = turn >= state.num_turns
        words = jax.random.bits(key, (self.sampler.num_words,), jnp.uint32)
        fresh = self.sampler.draw(words)
        reward = jnp.where(over, earned, 0.0)
        state = NegotiationState(
            stakes=jax.tree.map(
                lambda new, old: jnp.where(over, new, old), fresh, state.stakes
            ),
            previous=Turn(state.stakes.utility, proposal, reward),
            turn=jnp.where(over, 0, turn),
            num_turns=state.num_turns,
            time=time,
        )
        return state, self._time_step(state, reward)

    def _time_step(self, state: NegotiationState, reward: Array) -> TimeStep:
        return in_window(self._observe(state), reward, state.time, self.num_steps)

    def layout(self) -> dict[str, slice]:
        """The slice of each part in an observation, by name (see OBSERVATIONS)."""
        places, start = {}, 0
        for name, size in OBSERVATIONS[self.observation].items():
            places[name] = slice(start, start + size)
            start += size
        return places

    def read(self, observation: Array) -> dict[str, Array]:
        """The parts of observations f32[..., O] in the game's own units, by name."""
        parts = {}
        for name, place in self.layout().items():
            middle, half = self._units(name)
            parts[name] = middle + half * observation[..., place]
        return parts

    def _units(self, part: str) -> tuple[float, float]:
        """Offset and divisor by which a part is scaled in the observation."""
        if self.observation in ("raw", "private"):
            return 0.0, 10.0
        if self.observation == "utility_difference":
            return 0.0, 1.0
        if part.endswith("utility"):
            largest = float(self.sampler.largest)
        elif part.endswith(("pool", "proposal")):
            largest = float(MOST)
        elif part.endswith("reward"):
            largest = self.sampler.worth / self.unit
        else:
            largest = 1.0
        # Around 0, so that a network's first layer is not driven by their mean.
        return largest / 2, largest / 2

    def _observe(self, state: NegotiationState) -> Array:
        utility, previous = state.stakes.utility, state.previous
        parts = {
            "pool": jnp.broadcast_to(state.stakes.pool[None], utility.shape),
            "own_utility": utility,
            "other_utility": utility[::-1],
            "utility_difference": utility - utility[::-1],
            "played": jnp.full((NUM_AGENTS, 1), (state.time > 0).astype(jnp.float32)),
            "own_last_utility": previous.utility,
            "other_last_utility": previous.utility[::-1],
            "own_proposal": previous.proposal,
            "other_proposal": previous.proposal[::-1],
            "own_reward": previous.reward[:, None],
            "other_reward": previous.reward[::-1, None],
        }
        seen = []
        for name in self.layout():
            middle, half = self._units(name)
            seen.append((parts[name] - middle) / half)
        return jnp.concatenate(seen, axis=1)

    def _draw_turns(self, word: Array) -> Array:
        """clip(Poisson(mean_turns), *turn_limits), i32[], by inverse CDF."""
        low, high = self.turn_limits
        below = np.cumsum([_poisson(k, self.mean_turns) for k in range(high)])[low:]
        uniform = (word >> 8).astype(jnp.float32) * 2.0**-24
        more = jnp.sum(jnp.asarray(below, jnp.float32) <= uniform, dtype=jnp.int32)
        return low + more


def negotiation(
    *,
    utilities: Annotated[str, Choice(tuple(SAMPLERS))] = "high_contrast",
    rule: Annotated[str, Choice(tuple(RULES))] = "divide_when_above",
    proposals: Annotated[str, Choice(PROPOSALS)] = "continuous",
    observation: Annotated[str, Choice(tuple(OBSERVATIONS))] = "raw",
    min_turns: int = 1,
    mean_turns: float = 1.0,
    max_turns: int = 1,
    num_steps: int = 50,
    unit: float | None = None,
) -> NegotiationGame:
    """Two agents divide items that they value differently, round after round.

    Args:
      utilities: how pool and utilities are drawn, a key of SAMPLERS.
      rule: how the pool is divided given the proposals, a key of RULES.
      proposals: "continuous", f32[N, 3] in [0, 5], or "discrete", i32[N, 3] in
        0, ..., 5.
      observation: what an agent sees, a key of OBSERVATIONS, which gives the layout.
        "raw" and "private" are divided by 10, "utility_difference" is not scaled; in
        "history" each part x is scaled to [-1, 1] as x / (X / 2) - 1, where X is the
        largest utility, 5 for pool and proposals, 1 for "played", and the sampler's
        `worth` for rewards.
      min_turns: lower bound of the number of turns in a round.
      mean_turns: mean of the Poisson distribution from which the number of turns per
        round is drawn, once per episode, before it is clipped to the bounds.
      max_turns: upper bound of the number of turns in a round.
      num_steps: turns after which an episode is truncated.
      unit: utility that corresponds to a reward of 1; by default 15, three items worth
        5 each, and in "deal_or_no_deal" 10, the value of the whole pool.

    Raises:
      InputError: for an invalid argument, or an unsupported combination of them.
    """
    for argument, value, accepted in [
        ("utilities", utilities, SAMPLERS),
        ("rule", rule, RULES),
        ("proposals", proposals, PROPOSALS),
        ("observation", observation, OBSERVATIONS),
    ]:
        if value not in accepted:
            names = ", ".join(accepted)
            raise InputError(f"{argument} is {value!r}: one of {names} is needed")
    if SAMPLERS[utilities].can_be_negative and rule != "exact_split":
        raise InputError(
            f"rule is {rule!r}: 'exact_split' is needed with utilities {utilities!r}, "
            "some of which are negative"
        )
    if not 1 <= min_turns <= max_turns:
        raise InputError(
            f"min_turns is {min_turns} and max_turns is {max_turns}: 1 <= min_turns <= "
            "max_turns is needed"
        )
    if not 0 < mean_turns < math.inf:
        raise InputError(f"mean_turns is {mean_turns}: a finite mean > 0 is needed")
    if num_steps < 1:
        raise InputError(f"num_steps is {num_steps}: at least 1 is needed")
    unit = float(SAMPLERS[utilities].worth if unit is None else unit)
    if not 0 < unit < math.inf:
        raise InputError(f"unit is {unit}: a finite number > 0 is needed")
    return NegotiationGame(
        utilities=utilities,
        rule=rule,
        proposals=proposals,
        observation=observation,
        turn_limits=(min_turns, max_turns),
        mean_turns=float(mean_turns),
        num_steps=num_steps,
        unit=unit,
    )


def best_total(env: NegotiationGame, stakes: Stakes) -> Array:
    """The largest possible sum of both rewards in a round, f32[...].

    Σ_j pool_j max_i u_ij / unit: each item goes to the agent that values it most. The
    efficiency of a round is the sum of its rewards over this.

    Args:
      env: the environment, for its `unit`.
      stakes: pool f32[..., 3] and utility f32[..., N, 3].
    """
    return jnp.sum(stakes.pool * stakes.utility.max(-2), -1) / env.unit


def stakes_seen(env: NegotiationGame, observation: Array) -> Stakes:
    """Pool and utilities decoded from an agent's observation f32[..., O], own first.

    Raises:
      InputError: if the environment's observation does not contain them.
    """
    parts = env.read(observation)
    needed = "pool", "own_utility", "other_utility"
    if not set(needed) <= set(parts):
        raise InputError(
            f"observation is {env.observation!r}: one with both utilities is needed"
        )
    # Scaling may have left whole numbers a little off.
    pool, own, other = (jnp.round(parts[name]) for name in needed)
    return Stakes(pool, jnp.stack([own, other], -2))


def _poisson(count: int, mean: float) -> float:
    """e^(−m) m^k / k!."""
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
