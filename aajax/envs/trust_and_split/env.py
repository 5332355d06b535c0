"""Trust-and-Split: two agents talk, and then divide ten coins of hidden worth.

In every round they draw different hands of rock, paper and scissors, and each sees its
own alone. Coins are worth 10 to whom has the hand that beats the other, and 1 to the
other: who tells its hand and is believed can agree who takes them all. First they speak
in turn, one symbol at a time, then both say at once how many coins they ask for; where
that is more than ten, they are divided by proportion. With the truth both earn 50
points a round, where both ask for everything 27.5, and one against the other 52.5 to
25. Then hands are drawn anew, and the episode, a window of `num_steps` steps on an
infinite game, goes on.

Source: AdAlign for language models, https://arxiv.org/abs/2511.19405.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from aajax.envs import centred
from aajax.envs.base import Discrete, environment, in_window, static
from aajax.envs.split import NUM_AGENTS, STOCK, check_whole, divide, positive
from aajax.errors import InputError
from aajax.types import AnyArray, Array, PRNGKey, TimeStep

HANDS = ("rock", "paper", "scissors")  # each beats the one before
SILENT = NEVER = -1


class Round(NamedTuple):
    """A round that was played; before the first, both hands are rock.

    Attributes:
      hands: i32[N], of HANDS.
      proposals: i32[N], coins that each agent asked for.
      points: f32[N], what that earned.
    """

    hands: Array
    proposals: Array
    points: Array


class TrustAndSplitState(NamedTuple):
    """One table.

    Attributes:
      hands: i32[N], of HANDS, in this round.
      starter: i32[], the seat that speaks first in this round.
      said: i32[N, num_messages], the symbols of this round in order, SILENT where
        nothing has been said yet.
      turn: i32[], steps played in this round.
      previous: the round before.
      dealt: i32[N], coins that the other asked for in the last round that was over and
        in which they were worth more to the agent; NEVER before one.
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
    """Build it with `trust_and_split`, which checks its arguments."""

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
        """Symbols or coins, whichever are more; see `step`."""
        return (Discrete(max(self.num_symbols, 1 + STOCK)),) * NUM_AGENTS

    @property
    def observation_shape(self) -> tuple[int]:
        return (centred.width(self.parts),)

    @property
    def episode_length(self) -> int:
        return self.num_steps

    @property
    def num_turns(self) -> int:
        """Steps in a round, of which only the last is no talk."""
        return NUM_AGENTS * self.num_messages + 1

    @property
    def parts(self) -> dict[str, centred.Part]:
        """What an agent sees, in order.

        "own" is itself, "other" the co-player, so that one policy can play both seats.
        "splits" is 1 on the step when both ask for coins, and "my_turn" on those when
        the agent is to speak. Each message of the round is a one-hot, or zeros until it
        is said. The rest is of the round before, and 0 in the first: "own_upper" is 1
        for who valued the coins more.
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
        """One message, or the proposals of both.

        Every action means something in every phase. While there is talk, who is to
        speak says the symbol `action % num_symbols`, and the other's action is ignored;
        then `action % 11` is how many coins each asks for.
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
        """Whether the coins are divided on this step, bool[]."""
        return state.turn == self.num_turns - 1

    def speaker(self, state: TrustAndSplitState) -> Array:
        """The seat that is to speak, i32[]; where coins are divided, nobody is."""
        return (state.starter + state.turn) % NUM_AGENTS

    def values(self, hands: Array) -> Array:
        """What a coin is worth to each agent, f32[N], by their hands, i32[N]."""
        return jnp.where(wins(hands), self.upper_value, self.lower_value)

    def layout(self) -> dict[str, slice]:
        """Where in an observation each of its parts is, by name."""
        return centred.layout(self.parts)

    def read(self, observation: Array) -> dict[str, Array]:
        """The parts of observations f32[..., O] in the game's own units, by name."""
        return centred.read(self.parts, observation)

    def _next_hands(self, key: PRNGKey, state: TrustAndSplitState) -> Array:
        """Hands of the next round; to trade them is to trade who wins."""
        hands = _draw_hands(jax.random.bits(key, (), jnp.uint32))
        same = wins(hands)[0] == wins(state.hands)[0]
        return jnp.where(state.alternating & same, hands[::-1], hands)

    def _due(self, state: TrustAndSplitState) -> Array:
        """The message that is to be said on this step, bool[N, num_messages]."""
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

    A round is 2 · num_messages + 1 steps, of which the last alone pays. Who speaks
    first is drawn for the first round, and alternates. Observations are those of
    `TrustAndSplit.parts`; a part x is shown as x / (X / 2) − 1, X being the most that
    it can be.

    Args:
      num_symbols: that a message can be.
      num_messages: of each agent in every round; 0 for no talk.
      upper_value: points for a coin to whom has the hand that beats the other's.
      lower_value: points for a coin to the other.
      alternating: the probability that in an episode the winner of each round loses
        the next, all hands being equally likely else.
      unit: points that make a reward of 1.
      num_steps: steps after which an episode is cut off, perhaps within a round.

    Raises:
      InputError: if an argument is none of these.
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
    """The most that both together can earn in a round, f32[]: the winner takes all."""
    return STOCK * env.upper_value / env.unit


def _draw_hands(word: Array) -> Array:
    """Two different hands, i32[N], all six pairs being equally likely."""
    hand, ahead = word % 3, 1 + word // 3 % 2
    return jnp.stack([hand, (hand + ahead) % 3]).astype(jnp.int32)
