"""Trust-and-Split: two agents with hidden information talk, then divide ten coins.

In every round the agents draw different hands of rock, paper and scissors; each sees
only its own. A coin is worth 10 to the agent whose hand wins, and 1 to the other, so
that agents who tell and believe the truth can agree who takes all. First they talk in
turn, one symbol at a time; then both propose simultaneously how many coins they want,
which are divided in proportion if that is more than ten. If both are honest and leave
the coins to the winner, each earns 50 points a round; if both ask for everything, 27.5;
if only one does, it earns 52.5 and the other 25. Then new hands are drawn. The game
does not terminate; an episode is truncated after `num_steps` steps.

Source: AdAlign for language models, https://arxiv.org/abs/2511.19405.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from aajax.envs import centred
from aajax.envs.base import (
    Discrete,
    check_whole,
    environment,
    in_window,
    positive,
    static,
)
from aajax.envs.split import NUM_AGENTS, STOCK, divide
from aajax.errors import InputError
from aajax.types import AnyArray, Array, PRNGKey, TimeStep

HANDS = ("rock", "paper", "scissors")  # each beats the one before
SILENT = NEVER = -1


class Round(NamedTuple):
    """The previous round; before the first, both hands are rock.

    Attributes:
      hands: i32[N], of HANDS.
      proposals: i32[N], coins that each agent asked for.
      points: f32[N], what that earned.
    """

    hands: Array
    proposals: Array
    points: Array


class TrustAndSplitState(NamedTuple):
    """State of the game.

    Attributes:
      hands: i32[N], indices into HANDS, in this round.
      starter: i32[], the seat that speaks first in this round.
      said: i32[N, num_messages], the symbols said in this round, in order; SILENT for
        those to come.
      turn: i32[], steps played in this round.
      previous: the previous round.
      dealt: i32[N], coins that the other asked for in the last completed round in which
        coins were worth more to the agent; NEVER if there was none.
      alternating: bool[], whether the winner of a round loses the next.
      time: i32[], steps played in this episode.
    """

    hands: Array
    starter: Array
    said: Array
    turn: Array
    previous: Round
    dealt: Array
    alternating: Array
    time: Array


@environment
class TrustAndSplit:
    """Trust-and-Split; build it with `trust_and_split`, which checks its arguments."""

    upper_value: Array
    lower_value: Array
    alternating: Array
    unit: Array
    num_symbols: int = static(default=3)
    num_messages: int = static(default=1)
    num_steps: int = static(default=30)

    num_agents = NUM_AGENTS
    is_symmetric = True

    @property
    def action_spaces(self) -> tuple[Discrete, ...]:
        """The larger of the numbers of symbols and of proposals; see `step`."""
        return (Discrete(max(self.num_symbols, 1 + STOCK)),) * NUM_AGENTS

    @property
    def observation_shape(self) -> tuple[int]:
        return (centred.width(self.parts),)

    @property
    def episode_length(self) -> int:
        return self.num_steps

    @property
    def num_turns(self) -> int:
        """Steps in a round: messages, then one proposal."""
        return NUM_AGENTS * self.num_messages + 1

    @property
    def parts(self) -> dict[str, centred.Part]:
        """The parts of an observation, in order.

        "own" is the observer, "other" the co-player, so that one policy can play both
        seats. "splits" is 1 in the step of proposals, "my_turn" in steps in which the
        observer speaks. Each message of the round is one-hot, or zeros before it is
        said. The rest is of the previous round, and 0 in the first; "own_upper" is 1 if
        the coins were worth more to the observer.
        """
        said = centred.Part(self.num_messages * self.num_symbols)
        proposal = centred.Part(1, float(STOCK))
        points = centred.Part(1, STOCK * self.upper_value)
        return {
            "splits": centred.Part(1),
            "my_turn": centred.Part(1),
            "own_hand": centred.Part(len(HANDS)),
            "own_said": said,
            "other_said": said,
            "played": centred.Part(1),
            "own_upper": centred.Part(1),
            "other_upper": centred.Part(1),
            "own_proposal": proposal,
            "other_proposal": proposal,
            "own_points": points,
            "other_points": points,
        }

    def reset(self, key: PRNGKey) -> tuple[TrustAndSplitState, TimeStep]:
        words = jax.random.bits(key, (2,), jnp.uint32)
        zero = jnp.zeros((), jnp.int32)
        nothing = jnp.zeros(NUM_AGENTS, jnp.int32)
        uniform = (words[1] >> 8).astype(jnp.float32) * 2.0**-24
        state = TrustAndSplitState(
            hands=_draw_hands(words[0] // 2),
            starter=(words[0] % 2).astype(jnp.int32),
            said=jnp.full((NUM_AGENTS, self.num_messages), SILENT, jnp.int32),
            turn=zero,
            previous=Round(nothing, nothing, jnp.zeros(NUM_AGENTS)),
            dealt=nothing + NEVER,
            alternating=uniform < self.alternating,
            time=zero,
        )
        return state, self._time_step(state, state.previous.points)

    def step(
        self, key: PRNGKey, state: TrustAndSplitState, action: Array
    ) -> tuple[TrustAndSplitState, TimeStep]:
        """Plays one message, or both proposals.

        All actions are legal in both phases. In a step of talk the speaker says the
        symbol `action % num_symbols`, and the other's action is ignored; in the last
        step of a round each asks for `action % 11` coins.
        """
        splits = self.splits(state)
        proposals = action % (1 + STOCK)
        points = divide(proposals) * self.values(state.hands)
        played = Round(state.hands, proposals, points)
        redrawn = self._next_hands(key, state)
        said = jnp.where(
            self._due(state), (action % self.num_symbols)[:, None], state.said
        )
        time = state.time + 1
        reward = jnp.where(splits, points / self.unit, 0.0)
        state = TrustAndSplitState(
            hands=jnp.where(splits, redrawn, state.hands),
            starter=jnp.where(splits, 1 - state.starter, state.starter),
            said=jnp.where(splits, SILENT, said),
            turn=jnp.where(splits, 0, state.turn + 1),
            previous=jax.tree.map(
                lambda new, old: jnp.where(splits, new, old), played, state.previous
            ),
            dealt=jnp.where(splits & wins(state.hands), proposals[::-1], state.dealt),
            alternating=state.alternating,
            time=time,
        )
        return state, self._time_step(state, reward)

    def _time_step(self, state: TrustAndSplitState, reward: Array) -> TimeStep:
        return in_window(self._observe(state), reward, state.time, self.num_steps)

    def splits(self, state: TrustAndSplitState) -> Array:
        """Whether this is the step of proposals, bool[]."""
        return state.turn == self.num_turns - 1

    def speaker(self, state: TrustAndSplitState) -> Array:
        """The seat that speaks in this step, i32[]; arbitrary if proposals are made."""
        return (state.starter + state.turn) % NUM_AGENTS

    def values(self, hands: Array) -> Array:
        """Value of a coin to each agent, f32[N], given the hands, i32[N]."""
        return jnp.where(wins(hands), self.upper_value, self.lower_value)

    def layout(self) -> dict[str, slice]:
        """The slice of each part in an observation, by name."""
        return centred.layout(self.parts)

    def read(self, observation: Array) -> dict[str, Array]:
        """The parts of observations f32[..., O] in the game's own units, by name."""
        return centred.read(self.parts, observation)

    def _next_hands(self, key: PRNGKey, state: TrustAndSplitState) -> Array:
        """Hands of the next round: random, or exchanged if `alternating`."""
        hands = _draw_hands(jax.random.bits(key, (), jnp.uint32))
        same = wins(hands)[0] == wins(state.hands)[0]
        return jnp.where(state.alternating & same, hands[::-1], hands)

    def _due(self, state: TrustAndSplitState) -> Array:
        """One-hot of the message that is said in this step, bool[N, num_messages]."""
        speaks = jnp.arange(NUM_AGENTS) == self.speaker(state)
        number = jnp.arange(self.num_messages) == state.turn // NUM_AGENTS
        return speaks[:, None] & number[None]

    def _observe(self, state: TrustAndSplitState) -> Array:
        previous, upper = state.previous, wins(state.previous.hands)
        splits = self.splits(state)
        my_turn = (jnp.arange(NUM_AGENTS) == self.speaker(state)) & ~splits
        hand = state.hands[:, None] == jnp.arange(len(HANDS))[None]
        symbols = jnp.arange(self.num_symbols)[None, None]
        said = (state.said[:, :, None] == symbols).reshape(NUM_AGENTS, -1)
        numbers = {
            "splits": jnp.broadcast_to(splits, (NUM_AGENTS, 1)),
            "my_turn": my_turn[:, None],
            "own_hand": hand,
            "own_said": said,
            "other_said": said[::-1],
            "played": jnp.full((NUM_AGENTS, 1), state.time >= self.num_turns),
            "own_upper": upper[:, None],
            "other_upper": upper[::-1, None],
            "own_proposal": previous.proposals[:, None],
            "other_proposal": previous.proposals[::-1, None],
            "own_points": previous.points[:, None],
            "other_points": previous.points[::-1, None],
        }
        return centred.write(self.parts, numbers)


def trust_and_split(
    *,
    num_symbols: int = 3,
    num_messages: int = 1,
    upper_value: Array | float = 10.0,
    lower_value: Array | float = 1.0,
    alternating: Array | float = 0.0,
    unit: Array | float = 1.0,
    num_steps: int = 30,
) -> TrustAndSplit:
    """Two agents with hidden hands talk, and then divide ten coins.

    A round is 2 · num_messages + 1 steps, of which only the last gives a reward. Who
    speaks first is random in the first round, then alternates. Observations are those
    of `TrustAndSplit.parts`; a part x is scaled to x / (X / 2) − 1, where X is its
    upper bound.

    Args:
      num_symbols: size of the alphabet of messages.
      num_messages: messages of each agent per round; 0 for no talk.
      upper_value: points per coin for the agent whose hand wins.
      lower_value: points per coin for the other.
      alternating: the probability, per episode, that the winner of each round loses the
        next; otherwise hands are drawn independently.
      unit: points that correspond to a reward of 1.
      num_steps: steps after which an episode is truncated, possibly within a round.

    Raises:
      InputError: for an invalid argument.
    """
    check_whole("num_symbols", num_symbols)
    check_whole("num_messages", num_messages, 0)
    check_whole("num_steps", num_steps)
    upper_value = positive("upper_value", upper_value)
    unit = positive("unit", unit)
    lower_value, alternating = (
        jnp.asarray(leaf, jnp.float32) for leaf in (lower_value, alternating)
    )
    for name, leaf, most in [
        ("lower_value", lower_value, upper_value),
        ("alternating", alternating, 1.0),
    ]:
        known = not any(isinstance(x, Tracer) for x in (leaf, most))
        if known and not np.all((np.asarray(leaf) >= 0) & (leaf <= most)):
            raise InputError(f"{name} is {leaf}: a number from 0 to {most} is needed")
    return TrustAndSplit(
        upper_value,
        lower_value,
        alternating,
        unit,
        num_symbols=num_symbols,
        num_messages=num_messages,
        num_steps=num_steps,
    )


def wins(hands: AnyArray) -> AnyArray:
    """Whether each agent's hand beats the other's, bool[N], of hands i32[N]."""
    return (hands - hands[::-1]) % len(HANDS) == 1


def best_total(env: TrustAndSplit) -> Array:
    """Largest possible sum of both rewards in a round, f32[]: the winner takes all."""
    return STOCK * env.upper_value / env.unit


def _draw_hands(word: Array) -> Array:
    """Two different hands, i32[N], uniform over the six pairs."""
    hand, ahead = word % 3, 1 + word // 3 % 2
    return jnp.stack([hand, (hand + ahead) % 3]).astype(jnp.int32)
