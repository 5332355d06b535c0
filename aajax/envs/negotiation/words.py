"""Deal or No Deal as text: messages in turn, then simultaneous proposals.

Each player knows the pool and its own values. If the two proposals add up to the pool,
item for item, both earn the value of their share, otherwise nothing.

Source: Lewis et al. 2017, https://arxiv.org/abs/1706.05125, played over many rounds.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, SupportsInt

import numpy as np

from aajax.envs import negotiation as negotiation_env
from aajax.envs.base import check_whole
from aajax.envs.messages import (
    MESSAGE_FORM,
    check_message_chars,
    heard,
    message_pattern,
    write_message,
)
from aajax.envs.negotiation import NegotiationGame, NegotiationState
from aajax.envs.negotiation.env import OBSERVATIONS
from aajax.envs.negotiation.players import players
from aajax.envs.negotiation.utilities import MOST, NUM_AGENTS, NUM_ITEMS
from aajax.envs.spec import Players
from aajax.envs.split.words import (
    ITEMS,
    listed,
    parse_proposal,
    plain,
    proposal_form,
    proposal_pattern,
    valued,
    write_proposal,
)
from aajax.envs.tallies import (
    actions_of,
    efficiency,
    facts_of,
    of_proposals,
    over_rounds,
)
from aajax.envs.text import Ask, Parsed, Table, Tally, TextGame, trimmed
from aajax.envs.wording import (
    Placeholders,
    Wording,
    joined,
    load_wording,
    number,
)
from aajax.schema import Choice

KINDS = ITEMS[:NUM_ITEMS]

_WORDINGS = Path(__file__).parent / "wordings"
_FILES = {
    "opening": Placeholders((("proposal_form",),), ("most",)),
    "talk": Placeholders(allowed=("message_form", "num_messages", "message_chars")),
    "last_round": Placeholders(
        (("other_proposal", "other_asked"), ("own_points",)),
        (
            *("own_proposal", "own_asked", "other_points"),
            *("own_values", "own_numbers", "other_values", "other_numbers"),
        ),
    ),
    "round": Placeholders((("stock", "stock_numbers"), ("own_values", "own_numbers"))),
    "heard": Placeholders((("message",),)),
    "listen": Placeholders(),
    "message": Placeholders(allowed=("message_form",)),
    "proposal": Placeholders(allowed=("proposal_form", "stock")),
}


@dataclasses.dataclass(frozen=True, eq=False)
class DealOrNoDealWords(TextGame[NegotiationGame]):
    """Build it with `deal_or_no_deal`, which checks its arguments."""

    env: NegotiationGame
    num_rounds: int
    wording: Wording
    num_messages: int
    message_chars: int

    name = "deal-or-no-deal"
    invalid_rule = "a message says nothing, a proposal asks for nothing"

    @property
    def silent(self) -> np.ndarray:
        return np.zeros(NUM_ITEMS, np.int32)

    @property
    def steps(self) -> tuple[bool, ...]:
        return (False,) * (NUM_AGENTS * self.num_messages) + (True,)

    @property
    def patterns(self) -> dict[str, str]:
        proposal = {"proposal": proposal_pattern(KINDS, MOST)}
        if self.num_messages == 0:
            return proposal
        return {"message": message_pattern(self.message_chars), **proposal}

    def ask(self, table: Table, seat: int) -> Ask:
        round_, turn = divmod(table.step, len(self.steps))
        if turn == 0:
            news = joined(
                self._rules() if round_ == 0 else self._last_round(table.state, seat),
                self._stakes(table.state, seat),
            )
        else:
            news = heard(self.wording, self.patterns["message"], table, seat)
        if turn == len(self.steps) - 1:
            kind = "proposal"
        elif seat == (round_ + turn) % NUM_AGENTS:
            kind = "message"
        else:
            kind = None
        request = self.wording.write(
            kind or "listen",
            message_form=MESSAGE_FORM,
            proposal_form=proposal_form(KINDS),
            stock=listed(_whole(table.state.stakes.pool), KINDS),
        )
        return Ask(joined(news, request), kind)

    def facts(self, state: NegotiationState) -> dict[str, list]:
        pool = _whole(state.stakes.pool)
        return {
            "stock": [pool] * NUM_AGENTS,
            "values": [_whole(values) for values in state.stakes.utility],
        }

    def parse(self, kind: str, text: str) -> Parsed:
        """As `TextGame.parse`; messages have no effect in the environment."""
        if kind == "message":
            valid = re.fullmatch(self.patterns[kind], trimmed(text)) is not None
            return Parsed(self.silent.copy(), valid)
        return parse_proposal(self.patterns[kind], text, KINDS)

    def say(self, kind: str, action: np.ndarray) -> str:
        """A proposal, or a message that announces it."""
        if kind == "message":
            return write_message(f"I ask for {listed(action, KINDS)}.")
        return write_proposal(action, KINDS)

    def _rules(self) -> str:
        opening = self.wording.write(
            "opening", proposal_form=proposal_form(KINDS), most=MOST
        )
        if self.num_messages == 0:
            return opening
        talk = self.wording.write(
            "talk",
            message_form=MESSAGE_FORM,
            num_messages=self.num_messages,
            message_chars=self.message_chars,
        )
        return joined(opening, talk)

    def _stakes(self, state: NegotiationState, seat: int) -> str:
        pool, values = state.stakes.pool, state.stakes.utility[seat]
        return self.wording.write(
            "round",
            stock=listed(_whole(pool), KINDS),
            stock_numbers=plain(pool),
            own_values=valued(values, KINDS),
            own_numbers=plain(values),
        )

    def _last_round(self, state: NegotiationState, seat: int) -> str:
        previous, other = state.previous, 1 - seat
        points = previous.reward * self.env.unit
        return self.wording.write(
            "last_round",
            own_proposal=listed(_whole(previous.proposal[seat]), KINDS),
            other_proposal=listed(_whole(previous.proposal[other]), KINDS),
            own_asked=plain(previous.proposal[seat]),
            other_asked=plain(previous.proposal[other]),
            own_points=number(points[seat]),
            other_points=number(points[other]),
            own_values=valued(previous.utility[seat], KINDS),
            other_values=valued(previous.utility[other], KINDS),
            own_numbers=plain(previous.utility[seat]),
            other_numbers=plain(previous.utility[other]),
        )

    def templates(self) -> Mapping[str, str]:
        return self.wording.templates

    def scripted(self) -> Players:
        return players(self.env)

    def tallies(self, matches, reward: np.ndarray) -> dict[str, Tally]:
        values = facts_of(matches, "values")
        stock = facts_of(matches, "stock")
        asked = actions_of(self, matches)[:, :, -1]
        best = (stock[..., 0, :] * values.max(-2)).sum(-1) / self.env.sampler.worth
        deal = (asked.sum(-2) == stock[..., 0, :]).all(-1)  # [M, T]
        return {
            **of_proposals(asked, values),
            **efficiency(reward, best),
            "deals": over_rounds(np.repeat(deal[..., None], reward.shape[-1], -1)),
        }


def deal_or_no_deal(
    *,
    num_messages: int = 1,
    message_chars: int = 400,
    observation: Annotated[str, Choice(tuple(OBSERVATIONS))] = "history",
    num_rounds: int = 10,
    wording: str | Path = "full",
) -> DealOrNoDealWords:
    """Deal or No Deal as text: tagged messages, then `Proposal: x hats, y books, ...`.

    Pool and values are drawn anew in every round; the other's values are revealed after
    it. Seat 0 speaks first in the first round, then they alternate. A malformed message
    is shown as empty, a malformed proposal asks for nothing. Rewards are points.

    Args:
      num_messages: messages of each seat per round.
      message_chars: maximal length of a message in characters; `<` is not allowed.
      observation: of the environment, for scripted players, which read no text; to
        cooperate they need "history", which contains the other's values.
      num_rounds: rounds after which an episode is truncated.
      wording: one of WORDINGS or a folder; see `load_wording`.

    Raises:
      InputError: for an invalid argument.
    """
    check_message_chars(message_chars)
    check_whole("num_messages", num_messages, 0)
    check_whole("num_rounds", num_rounds)
    env = negotiation_env.negotiation(
        utilities="deal_or_no_deal",
        rule="exact_match",
        proposals="discrete",
        observation=observation,
        num_steps=num_rounds,
        unit=1.0,
    )
    templates = load_wording(wording, _WORDINGS, _FILES)
    return DealOrNoDealWords(env, num_rounds, templates, num_messages, message_chars)


def _whole(counts: Iterable[SupportsInt]) -> list[int]:
    return [int(count) for count in counts]
