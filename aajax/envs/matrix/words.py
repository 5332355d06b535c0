"""Iterated matrix games as text: prisoner's dilemma, chicken, stag hunt.

Choices are called by letters, so that only the points tell which game it is.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from aajax.envs import matrix
from aajax.envs.base import check_whole
from aajax.envs.matrix import IteratedMatrixGame, MatrixState
from aajax.envs.matrix.players import players
from aajax.envs.spec import Players
from aajax.envs.tallies import (
    actions_of,
    over_rounds,
    share_of,
)
from aajax.envs.text import Ask, Parsed, Table, Tally, TextGame, quoted, trimmed
from aajax.envs.wording import Placeholders, Wording, load_wording
from aajax.errors import InputError
from aajax.types import Array

MATRIX_GAMES: dict[str, Callable[..., IteratedMatrixGame]] = {
    "ipd": matrix.prisoners_dilemma_points,
    "chicken": matrix.chicken,
    "stag-hunt": matrix.stag_hunt,
}
LONGEST_SHOWN = 80  # characters of an answer that the other is shown

# "ab" is what who chooses action 0 earns where the other chooses action 1, and so on.
_POINTS = ("aa", "ab", "ba", "bb")
_LETTERS = "a", "b"  # how actions 0 and 1 are called
_WORDINGS = Path(__file__).parent / "wordings"
_FILES = {
    "opening": Placeholders(tuple((name,) for name in _POINTS), _LETTERS),
    "round": Placeholders(
        (("other",),), ("own", "own_points", "other_points", *_LETTERS)
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class MatrixWords(TextGame[IteratedMatrixGame]):
    """Build it with `matrix_words`, which checks its arguments."""

    name: str
    env: IteratedMatrixGame
    num_rounds: int
    wording: Wording
    letters: str = "AB"
    invalid_rule: str = "it counts as <B>"

    @property
    def answers(self) -> tuple[str, ...]:
        """Of actions 0 and 1."""
        return tuple(f"<{letter}>" for letter in self.letters)

    @property
    def steps(self) -> tuple[bool, ...]:
        return (True,)

    @property
    def patterns(self) -> dict[str, str]:
        return {"choice": "|".join(self.answers)}

    @property
    def silent(self) -> np.ndarray:
        return np.zeros((), np.int32)

    def ask(self, table: Table, seat: int) -> Ask:
        payoff = np.asarray(self.env.payoff)
        called = dict(zip(_LETTERS, self.letters, strict=True))
        if table.step == 0:
            points = {
                name: f"{payoff[0, own, other]:g}"
                for name, (own, other) in zip(_POINTS, np.ndindex(2, 2), strict=True)
            }
            return Ask(self.wording.write("opening", **points, **called), "choice")
        other = 1 - seat
        joint = np.unravel_index(int(table.state.joint) - 1, (2, 2))
        words = table.words[-1]
        text = self.wording.write(
            "round",
            own=_shown(words[seat]),
            other=_shown(words[other]),
            own_points=f"{payoff[(seat, *joint)]:g}",
            other_points=f"{payoff[(other, *joint)]:g}",
            **called,
        )
        return Ask(text, "choice")

    def facts(self, state: MatrixState) -> dict[str, list]:
        del state
        return {}

    def parse(self, kind: str, text: str) -> Parsed:
        del kind
        answer = trimmed(text)
        valid = answer in self.answers
        action = self.answers.index(answer) if valid else 1
        return Parsed(np.asarray(action, np.int32), valid)

    def say(self, kind: str, action: np.ndarray) -> str:
        del kind
        return self.answers[int(action)]

    def templates(self) -> Mapping[str, str]:
        return self.wording.templates

    def scripted(self) -> Players:
        return players(self.env)

    def tallies(self, matches, reward: np.ndarray) -> dict[str, Tally]:
        cooperates = actions_of(self, matches)[:, :, -1] == 0  # [M, T, N]
        own, now, start = cooperates[:, :-1], cooperates[:, 1:], cooperates[:, :1]
        others = own.sum(-1, keepdims=True) - own  # who cooperated besides
        after = {"start": share_of(start, np.ones_like(start))}
        for outcome in outcomes(cooperates.shape[-1])[1:]:
            where = (own == (outcome[0] == "c")) & (others == outcome[1:].count("c"))
            after[outcome] = share_of(now, where)
        every = np.broadcast_to(cooperates.all(-1, keepdims=True), cooperates.shape)
        return {
            "cooperation": over_rounds(cooperates),
            "mutual_cooperation": over_rounds(every),
            **{
                f"cooperation_after_{outcome}": tally
                for outcome, tally in after.items()
            },
        }


def outcomes(num_agents: int) -> tuple[str, ...]:
    """Names of the previous round's outcomes, own action first: start, cc, cd, ....

    Of the N − 1 others only the number of cooperators counts: 1 + 2 N outcomes in all.
    """
    others = num_agents - 1
    return (
        "start",
        *(
            own + "c" * others_cooperating + "d" * (others - others_cooperating)
            for own in "cd"
            for others_cooperating in range(others, -1, -1)
        ),
    )


def matrix_words(
    name: str = "ipd",
    *,
    payoff: Array | Sequence | None = None,
    num_rounds: int = 10,
    letters: str = "AB",
    wording: str | Path = "full",
) -> MatrixWords:
    """A two-player matrix game as text: players answer `<A>` (action 0) or `<B>` (1).

    Any other answer counts as `<B>`. After each round both players are shown the
    other's answer, quoted. They are not told the number of rounds.

    Args:
      name: a key of MATRIX_GAMES; "ipd" is the prisoner's dilemma with 3, 0, 5 and 1
        points.
      payoff: f32[2, 2], points by own choice and the other's, in place of the game's.
      num_rounds: rounds after which an episode is truncated.
      letters: two letters or digits, by which actions 0 and 1 are called.
      wording: one of WORDINGS or a folder; see `load_wording`.

    Raises:
      InputError: for an invalid argument.
    """
    if name not in MATRIX_GAMES:
        raise InputError(
            f"game is {name!r}: one of {', '.join(MATRIX_GAMES)} is needed"
        )
    check_whole("num_rounds", num_rounds)
    if not (isinstance(letters, str) and len(set(letters)) == len(letters) == 2):
        raise InputError(f"letters is {letters!r}: two different letters are needed")
    if not (letters.isascii() and letters.isalnum()):
        raise InputError(f"letters is {letters!r}: letters or digits are needed")
    env = MATRIX_GAMES[name](num_steps=num_rounds)
    if payoff is not None:
        if np.shape(payoff) != (2, 2):
            raise InputError(
                f"payoff has shape {np.shape(payoff)}: two rows of two numbers, own "
                "choice by the other's, are needed"
            )
        env = matrix.symmetric_game(
            payoff, num_steps=num_rounds, action_names=env.action_names
        )
    words = load_wording(wording, _WORDINGS, _FILES)
    rule = f"it counts as <{letters[1]}>"
    return MatrixWords(name, env, num_rounds, words, letters, rule)


def _shown(text: str | None) -> str:
    if text is None:
        raise ValueError("everybody answers in every round")
    answer = trimmed(text)
    cut = "…" if len(answer) > LONGEST_SHOWN else ""
    return quoted(answer[:LONGEST_SHOWN]) + cut
