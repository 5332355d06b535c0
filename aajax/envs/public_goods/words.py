"""Public goods as text: N players contribute to a pot, and may talk before.

Messages are said by all players at once, and read by all others.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, SupportsFloat

import numpy as np

from aajax.envs import public_goods as public_goods_env
from aajax.envs.base import check_whole
from aajax.envs.messages import (
    MESSAGE_FORM,
    check_message_chars,
    message_pattern,
    message_text,
    write_message,
)
from aajax.envs.public_goods import PublicGoods, PublicGoodsState, best_total
from aajax.envs.public_goods.players import players
from aajax.envs.spec import Players
from aajax.envs.tallies import actions_of, over_rounds, share_of
from aajax.envs.text import Ask, Parsed, Table, Tally, TextGame, quoted, trimmed
from aajax.envs.wording import (
    Placeholders,
    Wording,
    joined,
    load_wording,
)
from aajax.errors import InputError
from aajax.schema import Choice

ENDOWMENT = 10  # coins of each player in a round
LETTERS = "ABCDEFGHIJKL"  # how players are called, by seat
# What is answered, by level of a contribution: "amounts" is a number of coins.
ANSWERS = {
    "amounts": tuple(f"<{coins}>" for coins in range(ENDOWMENT + 1)),
    "all_or_nothing": ("<keep>", "<contribute>"),
}
# What the others gave: nothing; on average less than half; half or more; all.
LEVELS = ("nothing", "little", "much", "all")
PLAYER_NAMES = {
    "always_contribute": "always_cooperate",
    "always_keep": "always_defect",
    "conditional_cooperator": "tit_for_tat",
}

_WORDINGS = Path(__file__).parent / "wordings"
_FILES = {
    "opening": Placeholders(
        (("contribution_form",),),
        (
            *("you", "other_names", "num_players", "num_others"),
            *("endowment", "choices", "multiplier", "coin_pays"),
            *("all_give", "none_give", "one_gives", "one_keeps"),
        ),
    ),
    "talk": Placeholders(allowed=("message_form", "num_messages", "message_chars")),
    "last_round": Placeholders(
        (("others", "others_numbers", "others_total", "others_level"),),
        ("own_contribution", "own_points"),
    ),
    "heard": Placeholders((("message",),), ("player",)),
    "message": Placeholders(allowed=("message_form",)),
    "contribution": Placeholders(allowed=("contribution_form", "endowment")),
}
_PATTERNS = {
    "amounts": "<(?:10|[0-9])>",
    "all_or_nothing": "|".join(ANSWERS["all_or_nothing"]),
}
_FORMS = {
    "amounts": "<x> for x coins",
    "all_or_nothing": "<contribute> or <keep>",
}
_CHOICES = {
    "amounts": f"a whole number of coins from 0 to {ENDOWMENT}",
    "all_or_nothing": "all of it or nothing",
}


@dataclasses.dataclass(frozen=True, eq=False)
class PublicGoodsWords(TextGame[PublicGoods]):
    """Build it with `public_goods_words`, which checks its arguments."""

    env: PublicGoods
    num_rounds: int
    wording: Wording
    answers: str
    num_messages: int
    message_chars: int

    name = "public-goods"
    invalid_rule = "a message says nothing, a contribution is nothing"

    @property
    def silent(self) -> np.ndarray:
        return np.zeros((), np.int32)

    @property
    def steps(self) -> tuple[bool, ...]:
        return (False,) * self.num_messages + (True,)

    @property
    def patterns(self) -> dict[str, str]:
        contribution = {"contribution": _PATTERNS[self.answers]}
        if self.num_messages == 0:
            return contribution
        return {"message": message_pattern(self.message_chars), **contribution}

    def ask(self, table: Table, seat: int) -> Ask:
        round_, turn = divmod(table.step, len(self.steps))
        if turn > 0:
            news = self._heard(table, seat)
        elif round_ == 0:
            news = self._rules(seat)
        else:
            news = self._last_round(table.state, seat)
        kind = "contribution" if self.steps[turn] else "message"
        request = self.wording.write(
            kind,
            message_form=MESSAGE_FORM,
            contribution_form=_FORMS[self.answers],
            endowment=ENDOWMENT,
        )
        return Ask(joined(news, request), kind)

    def facts(self, state: PublicGoodsState) -> dict[str, list]:
        del state
        return {}

    def parse(self, kind: str, text: str) -> Parsed:
        """As `TextGame.parse`; messages have no effect in the environment."""
        text = trimmed(text)
        if kind == "message":
            valid = re.fullmatch(self.patterns[kind], text) is not None
            return Parsed(self.silent.copy(), valid)
        answers = ANSWERS[self.answers]
        valid = text in answers
        return Parsed(np.asarray(answers.index(text) if valid else 0, np.int32), valid)

    def say(self, kind: str, action: np.ndarray) -> str:
        """A contribution, or a message that announces it."""
        if kind == "message":
            return write_message(f"I give {self._given(action)}.")
        return ANSWERS[self.answers][int(action)]

    def templates(self) -> Mapping[str, str]:
        return self.wording.templates

    def scripted(self) -> Players:
        return players(self.env)

    def aliases(self) -> Mapping[str, str]:
        return PLAYER_NAMES

    def tallies(self, matches, reward: np.ndarray) -> dict[str, Tally]:
        levels = actions_of(self, matches)[:, :, -1]  # [M, T, N]
        most, num_others = self.env.num_levels - 1, self.env.num_agents - 1
        given = levels / most
        others = levels.sum(-1, keepdims=True) - levels
        level = _level(others[:, :-1], most * num_others)
        start = given[:, :1]
        best = float(best_total(self.env))
        total = reward.sum(-1, keepdims=True) / best
        return {
            "contribution": over_rounds(given),
            "contribution_after_start": over_rounds(start),
            **{
                f"contribution_after_{name}": share_of(given[:, 1:], level == i)
                for i, name in enumerate(LEVELS)
            },
            "efficiency": over_rounds(np.repeat(total, given.shape[-1], -1)),
        }

    def _rules(self, seat: int) -> str:
        multiplier, num_players = float(self.env.multiplier), self.env.num_agents
        pays = multiplier / num_players
        num_others = num_players - 1
        opening = self.wording.write(
            "opening",
            you=LETTERS[seat],
            other_names=", ".join(LETTERS[other] for other in self._others(seat)),
            num_players=num_players,
            num_others=num_others,
            endowment=ENDOWMENT,
            choices=_CHOICES[self.answers],
            contribution_form=_FORMS[self.answers],
            multiplier=f"{multiplier:.3g}",
            coin_pays=f"{pays:.3g}",
            all_give=_points(multiplier * ENDOWMENT),
            none_give=_points(ENDOWMENT),
            one_gives=_points(pays * ENDOWMENT),
            one_keeps=_points((1 + pays * num_others) * ENDOWMENT),
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

    def _last_round(self, state: PublicGoodsState, seat: int) -> str:
        others = self._others(seat)
        levels = np.asarray(state.levels)[others]
        most = (self.env.num_levels - 1) * len(others)
        total = levels.sum()
        return self.wording.write(
            "last_round",
            own_contribution=self._given(state.levels[seat]),
            own_points=_points(state.points[seat]),
            others=", ".join(
                f"{LETTERS[other]} {self._given(level)}"
                for other, level in zip(others, levels, strict=True)
            ),
            others_numbers=" ".join(map(self._given, levels)),
            others_total=self._given(total),
            others_level=LEVELS[int(_level(total, most))],
        )

    def _heard(self, table: Table, seat: int) -> str:
        """What the others said in the step before."""
        said = table.words[-1]
        pattern = self.patterns["message"]
        return joined(
            *(
                self.wording.write(
                    "heard",
                    player=LETTERS[other],
                    message=quoted(message_text(pattern, said[other] or "")),
                )
                for other in self._others(seat)
            )
        )

    def _others(self, seat: int) -> list[int]:
        """All other seats, in order."""
        return [other for other in range(self.env.num_agents) if other != seat]

    def _given(self, level) -> str:
        """The coins of a contribution, or of several together."""
        return _points(int(level) * ENDOWMENT / (self.env.num_levels - 1))


def public_goods_words(
    *,
    num_agents: int = 3,
    multiplier: float = 1.5,
    answers: Annotated[str, Choice(tuple(ANSWERS))] = "amounts",
    num_messages: int = 0,
    message_chars: int = 400,
    num_rounds: int = 10,
    wording: str | Path = "full",
) -> PublicGoodsWords:
    """Public goods as text: players contribute `<0>` to `<10>` of ten coins.

    After each round everybody is shown what each of the others contributed. A malformed
    message is shown as empty, a malformed contribution is nothing. Players are not told
    the number of rounds. Rewards are points.

    Args:
      num_agents: N, number of players.
      multiplier: what the pot is multiplied by; a dilemma between 1 and N.
      answers: "amounts" of coins, or "all_or_nothing", `<contribute>` or `<keep>`.
      num_messages: messages of each player per round, which all others read.
      message_chars: maximal length of a message in characters; `<` is not allowed.
      num_rounds: rounds after which an episode is truncated.
      wording: one of WORDINGS or a folder; see `load_wording`.

    Raises:
      InputError: for an invalid argument.
    """
    if answers not in ANSWERS:
        names = ", ".join(ANSWERS)
        raise InputError(f"answers is {answers!r}: one of {names} is needed")
    check_message_chars(message_chars)
    check_whole("num_messages", num_messages, 0)
    check_whole("num_rounds", num_rounds)
    env = public_goods_env.public_goods_amounts(
        num_agents,
        multiplier,
        num_levels=len(ANSWERS[answers]),
        endowment=float(ENDOWMENT),
        num_steps=num_rounds,
    )
    templates = load_wording(wording, _WORDINGS, _FILES)
    return PublicGoodsWords(
        env, num_rounds, templates, answers, num_messages, message_chars
    )


def _points(x: SupportsFloat) -> str:
    """Points or coins with at most two decimals."""
    return f"{round(float(x), 2) + 0.0:g}"


def _level(given, most: int) -> np.ndarray:
    """Index into LEVELS of what the others gave, of `most` in all."""
    given = np.asarray(given)
    return (given > 0).astype(int) + (2 * given >= most) + (given == most)
