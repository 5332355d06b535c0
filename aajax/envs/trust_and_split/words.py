"""Trust-and-Split as text: messages about hidden hands, then proposals."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np

from aajax.envs import trust_and_split as trust_env
from aajax.envs.base import check_whole
from aajax.envs.messages import (
    MESSAGE_END,
    MESSAGE_FORM,
    MESSAGE_START,
    check_message_chars,
    heard,
    inside_tags,
    message_pattern,
    message_text,
    write_message,
)
from aajax.envs.spec import Players
from aajax.envs.split import NUM_AGENTS, STOCK
from aajax.envs.split.words import PAPER_NAMES, took
from aajax.envs.tallies import (
    actions_of,
    efficiency,
    facts_of,
    of_proposals,
)
from aajax.envs.text import Ask, Parsed, Table, Tally, TextGame, quoted, trimmed
from aajax.envs.trust_and_split import (
    HANDS,
    NEVER,
    TrustAndSplit,
    TrustAndSplitState,
    wins,
)
from aajax.envs.trust_and_split.players import players
from aajax.envs.wording import (
    Placeholders,
    Wording,
    joined,
    load_wording,
    number,
)
from aajax.errors import InputError
from aajax.schema import Choice

NO_HAND = len(HANDS)  # the symbol of a message that names none
MESSAGES = ("free", "hands")
PROPOSAL_START, PROPOSAL_END = "<<proposal_start>>", "<<proposal_end>>"
# What they did with what is yours when there was last something: never, or one of two.
DEALT = ("saw none of", "took", "left")

_WORDINGS = Path(__file__).parent / "wordings"
_FILES = {
    "opening": Placeholders(
        (("proposal_form",),), ("coins", "upper_value", "lower_value")
    ),
    "talk": Placeholders(allowed=("message_form", "num_messages", "message_chars")),
    "talk_hands": Placeholders(allowed=("message_form", "num_messages")),
    "last_round": Placeholders(
        allowed=(
            *("own_hand", "own_class", "own_value", "own_coins", "own_points"),
            *("other_hand", "other_class", "other_value"),
            *("other_coins", "other_points"),
        )
    ),
    "round": Placeholders((("own_hand",),)),
    "heard": Placeholders((("message",),)),
    "listen": Placeholders(),
    "message": Placeholders(allowed=("message_form", "own_hand")),
    "proposal": Placeholders(
        allowed=(
            *("proposal_form", "coins"),
            *("own_hand", "other_message", "winner", "other_dealt"),
        )
    ),
}
_HAND = re.compile(r"\b(?:rock|paper|scissors?)\b", re.IGNORECASE | re.ASCII)
_PROPOSAL_FORM = f"{PROPOSAL_START} x {PROPOSAL_END}"
_PROPOSAL_PATTERN = f"{PROPOSAL_START} ?(?:10|[0-9]) ?{PROPOSAL_END}"


@dataclasses.dataclass(frozen=True, eq=False)
class TrustAndSplitWords(TextGame[TrustAndSplit]):
    """Build it with `trust_and_split_words`, which checks its arguments."""

    env: TrustAndSplit
    num_rounds: int
    wording: Wording
    messages: str
    message_chars: int

    name = "trust-and-split"
    invalid_rule = "a message says nothing, a proposal asks for nothing"

    @property
    def silent(self) -> np.ndarray:
        return np.zeros((), np.int32)

    @property
    def steps(self) -> tuple[bool, ...]:
        return (True,) * self.env.num_turns

    @property
    def patterns(self) -> dict[str, str]:
        proposal = {"proposal": _PROPOSAL_PATTERN}
        if self.env.num_messages == 0:
            return proposal
        if self.messages == "hands":
            message = f"{MESSAGE_START}(?:{'|'.join(HANDS)}){MESSAGE_END}"
        else:
            message = message_pattern(self.message_chars)
        return {"message": message, **proposal}

    def ask(self, table: Table, seat: int) -> Ask:
        state, talks = table.state, 2 * self.env.num_messages
        turn, own_hand = int(state.turn), HANDS[int(state.hands[seat])]
        if turn == 0:
            news = joined(
                self._rules() if table.step == 0 else self._last_round(state, seat),
                self.wording.write("round", own_hand=own_hand),
            )
        else:
            news = heard(self.wording, self.patterns["message"], table, seat)
        if turn == talks:
            kind = "proposal"
        elif seat == (int(state.starter) + turn) % NUM_AGENTS:
            kind = "message"
        else:
            kind = None
        other_message = self._told(table, seat)
        request = self.wording.write(
            kind or "listen",
            message_form=self._message_form,
            proposal_form=_PROPOSAL_FORM,
            coins=STOCK,
            own_hand=own_hand,
            other_message=quoted(other_message),
            winner=_winner(int(state.hands[seat]), hand_named(other_message)),
            other_dealt=_dealt(int(state.dealt[seat])),
        )
        return Ask(joined(news, request), kind)

    def facts(self, state: TrustAndSplitState) -> dict[str, list]:
        hands, values = np.asarray(state.hands), self._values
        return {
            "hands": [HANDS[hand] for hand in hands],
            "values": [values["upper" if won else "lower"] for won in wins(hands)],
            "speaks_first": [seat == int(state.starter) for seat in range(NUM_AGENTS)],
        }

    def parse(self, kind: str, text: str) -> Parsed:
        text = trimmed(text)
        valid = re.fullmatch(self.patterns[kind], text) is not None
        if kind == "message":
            action = hand_named(inside_tags(text)) if valid else NO_HAND
        else:
            found = re.search(r"[0-9]+", text) if valid else None
            action = int(found[0]) if found is not None else 0
        return Parsed(np.asarray(action, np.int32), valid)

    def say(self, kind: str, action: np.ndarray) -> str:
        if kind == "proposal":
            return f"{PROPOSAL_START} {int(action) % (1 + STOCK)} {PROPOSAL_END}"
        symbol = int(action) % self.env.num_symbols
        if symbol == NO_HAND:
            told = ""
        elif self.messages == "hands":
            told = HANDS[symbol]
        else:
            told = f"My hand is {HANDS[symbol]}."
        return write_message(told)

    @property
    def _values(self) -> dict[str, float]:
        """What a coin is worth to who has the upper value, and to the other."""
        env = self.env
        return {"upper": float(env.upper_value), "lower": float(env.lower_value)}

    @property
    def _message_form(self) -> str:
        if self.messages == "hands":
            return " or ".join(f"{MESSAGE_START}{hand}{MESSAGE_END}" for hand in HANDS)
        return MESSAGE_FORM

    def _told(self, table: Table, seat: int) -> str:
        """The other's last message in this round, or ""."""
        turn = int(table.state.turn)
        said = [words[1 - seat] for words in table.words[len(table.words) - turn :]]
        texts = [text for text in said if text is not None]
        return message_text(self.patterns["message"], texts[-1]) if texts else ""

    def _rules(self) -> str:
        env, write = self.env, self.wording.write
        opening = write(
            "opening",
            proposal_form=_PROPOSAL_FORM,
            coins=STOCK,
            upper_value=f"{self._values['upper']:g}",
            lower_value=f"{self._values['lower']:g}",
        )
        if env.num_messages == 0:
            return opening
        talk = write(
            "talk_hands" if self.messages == "hands" else "talk",
            message_form=self._message_form,
            num_messages=env.num_messages,
            message_chars=self.message_chars,
        )
        return joined(opening, talk)

    def _last_round(self, state: TrustAndSplitState, seat: int) -> str:
        previous, other = state.previous, 1 - seat
        classes = ["upper" if won else "lower" for won in wins(previous.hands)]
        hands = [HANDS[int(hand)] for hand in previous.hands]
        values = {name: f"{x:g}" for name, x in self._values.items()}
        return self.wording.write(
            "last_round",
            own_hand=hands[seat],
            other_hand=hands[other],
            own_class=classes[seat],
            other_class=classes[other],
            own_value=values[classes[seat]],
            other_value=values[classes[other]],
            own_coins=int(previous.proposals[seat]),
            other_coins=int(previous.proposals[other]),
            own_points=number(previous.points[seat]),
            other_points=number(previous.points[other]),
        )

    def templates(self) -> Mapping[str, str]:
        return self.wording.templates

    def scripted(self) -> Players:
        return players(self.env)

    def aliases(self) -> Mapping[str, str]:
        return PAPER_NAMES

    def tallies(self, matches, reward: np.ndarray) -> dict[str, Tally]:
        values = facts_of(matches, "values")[..., None]  # [M, T, N, 1]
        actions = actions_of(self, matches)  # [M, T, R, N]
        best = STOCK * values[..., 0].max(-1) / float(self.env.unit)
        measures = of_proposals(actions[:, :, -1, :, None], values)
        measures |= efficiency(reward, best)
        if self.env.num_messages:
            measures |= _of_messages(matches, actions)
        return measures


def trust_and_split_words(
    *,
    num_messages: int = 1,
    messages: Annotated[str, Choice(tuple(MESSAGES))] = "free",
    message_chars: int = 500,
    upper_value: float = 10.0,
    lower_value: float = 1.0,
    alternating: float = 0.0,
    num_rounds: int = 10,
    wording: str | Path = "full",
) -> TrustAndSplitWords:
    """Trust-and-Split as text: tagged messages, then tagged proposals.

    A message's text is shown to the other, quoted; its symbol in the environment is
    the first hand that it names, or `NO_HAND`. A malformed message is shown as empty, a
    malformed proposal asks for no coins. Rewards are points.

    Args:
      num_messages: messages of each seat per round.
      messages: "free", text without `<`, or "hands", one of three words.
      message_chars: maximal length of a free message in characters.
      upper_value, lower_value, alternating: as in `envs.trust_and_split`.
      num_rounds: rounds after which an episode is truncated.
      wording: one of WORDINGS or a folder; see `load_wording`.

    Raises:
      InputError: for an invalid argument.
    """
    if messages not in MESSAGES:
        names = ", ".join(MESSAGES)
        raise InputError(f"messages is {messages!r}: one of {names} is needed")
    check_message_chars(message_chars)
    check_whole("num_messages", num_messages, 0)
    check_whole("num_rounds", num_rounds)
    env = trust_env.trust_and_split(
        num_symbols=NO_HAND + 1,
        num_messages=num_messages,
        upper_value=upper_value,
        lower_value=lower_value,
        alternating=alternating,
        num_steps=num_rounds * (NUM_AGENTS * num_messages + 1),
    )
    templates = load_wording(wording, _WORDINGS, _FILES)
    _check_dealing_is_told(templates, wording)
    return TrustAndSplitWords(env, num_rounds, templates, messages, message_chars)


def _check_dealing_is_told(templates: Wording, wording: str | Path) -> None:
    """Raises InputError unless players are told what the other did last time."""
    last_round, proposal = (templates.templates[x] for x in ("last_round", "proposal"))
    values = "{other_class", "{other_value", "{other_hand"
    in_last_round = "{other_coins" in last_round and any(
        x in last_round for x in values
    )
    if not in_last_round and "{other_dealt" not in proposal:
        raise InputError(
            f"wording is {str(wording)!r}: {{other_value}} and {{other_coins}} in "
            "last_round.txt, or {other_dealt} in proposal.txt, are needed"
        )


def _winner(own: int, other: int) -> str:
    """The winner if the other's claim is true; "nobody" for equal hands."""
    if other == NO_HAND or own == other:
        return "nobody"
    return "you" if wins(np.array([own, other]))[0] else "they"


def _dealt(asked: int) -> str:
    """What the other did when coins were last worth more to the reader; of DEALT."""
    return DEALT[0] if asked == NEVER else took(asked)


def hand_named(text: str) -> int:
    """The first of HANDS that is a word in the text, or `NO_HAND`."""
    found = _HAND.search(text)
    if found is None:
        return NO_HAND
    word = found[0].lower()
    return next(n for n, hand in enumerate(HANDS) if hand.startswith(word))


def _of_messages(matches, actions: np.ndarray) -> dict[str, Tally]:
    kinds = [
        [[turn.kind == "message" for turn in seat] for seat in match.turns]
        for match in matches
    ]
    spoke = np.moveaxis(np.array(kinds), 1, 2).reshape(actions.shape)
    hands = [
        [[HANDS.index(hand) for hand in facts["hands"]] for facts in match.facts]
        for match in matches
    ]
    named = spoke & (actions != NO_HAND)
    honest = named & (actions == np.array(hands)[:, :, None])
    messages, naming, true = (
        x.sum((1, 2), dtype=float) for x in (spoke, named, honest)
    )
    return {
        "messages_naming_a_hand": Tally(naming, messages),
        "honest_messages": Tally(true, naming),
    }
