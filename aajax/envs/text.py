"""The text game protocol: an array environment played by messages.

The environment alone holds the rules. A text game turns its state into a prompt for
each seat, parses answers as actions, and writes actions as answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from aajax.envs.base import Environment
from aajax.types import PyTree

E = TypeVar("E", bound=Environment)


class Table(NamedTuple):
    """A text game in progress.

    Attributes:
      state: of the environment, NumPy arrays.
      step: steps played, steps of talk included.
      words: each seat's answer in each step, verbatim; None where the seat was not
        asked.
    """

    state: PyTree
    step: int
    words: tuple[tuple[str | None, ...], ...] = ()


class Ask(NamedTuple):
    """The prompt of a seat before a step.

    Attributes:
      text: of the prompt.
      kind: kind of answer that is asked for, a key of `TextGame.patterns`; None if no
        answer is asked for.
    """

    text: str
    kind: str | None


class Parsed(NamedTuple):
    """An answer parsed as an action of the environment.

    Attributes:
      action: i32[...], in the seat's action space; the game's default if not valid.
      valid: whether the answer was well-formed.
    """

    action: np.ndarray
    valid: bool


class Tally(NamedTuple):
    """A mean kept as sum and count for M matches, so that any subset can be averaged.

    Attributes:
      total: f64[M, N], sums.
      count: f64[M, N], number of terms of each sum, or their weight.
    """

    total: np.ndarray
    count: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]

    def mean(self, seats: np.ndarray | None = None) -> float | None:
        """Σ total / Σ count over `seats`, bool[M, N], None for all; None for 0 / 0."""
        total, count = (
            float((x if seats is None else x[seats]).sum())
            for x in (self.total, self.count)
        )
        return total / count if count else None


def trimmed(answer: str) -> str:
    """What is judged of an answer: all but the white space around it.

    The rule of all games, for whoever judges: `TextGame.parse`, and players that sample
    or ask again until an answer is well-formed.
    """
    return answer.strip()


def quoted(text: str) -> str:
    """What one player said, to be shown to another between quotes in a prompt.

    `"` and the backslash have a backslash before them, and whatever is not printable,
    such as a line break, is written as an escape of Python's (`\\n`, `\\x1b`,
    `\\u2028`). So a text stays on its line and between its quotes, and cannot pass for
    the game's own words.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped
    )


class TextGame(Protocol[E]):
    """The text game protocol: an array environment with prompts and answers.

    Attributes:
      name: of the game.
      env: the environment, whose rewards are unscaled points.
      num_rounds: T, rounds in an episode; a round is one time step for the learner.
      steps: for each step of a round, whether it is a step of the environment (else it
        is talk only). The reward of a round is the sum over its steps.
      patterns: kind of answer → regular expression, in the syntax of
        `lm.sampling.grammar`.
      invalid_rule: a sentence on what a malformed answer counts as.
      silent: i32[...], the action of a seat that was not asked.
    """

    name: str
    env: E
    num_rounds: int
    invalid_rule: str

    @property
    def steps(self) -> tuple[bool, ...]: ...

    @property
    def patterns(self) -> Mapping[str, str]: ...

    @property
    def silent(self) -> np.ndarray: ...

    def ask(self, table: Table, seat: int) -> Ask:
        """The prompt of `seat` for the next step."""
        ...

    def facts(self, state: PyTree) -> dict[str, list]:
        """Values that the environment drew for this round, by name, [N, ...] each."""
        return {}

    def parse(self, kind: str, text: str) -> Parsed:
        """Parses any text; malformed answers are marked as not valid, never raised.

        An answer is judged without the white space around it; see `trimmed`.
        """
        ...

    def say(self, kind: str, action: np.ndarray) -> str:
        """Inverse of `parse`: an answer that means `action`, for scripted players."""
        ...

    def templates(self) -> Mapping[str, str]:
        """What it says, by names of the files of a wording; empty without files."""
        return {}

    def scripted(self) -> Any:
        """The scripted players of the environment, `spec.Players`; None without."""
        return None

    def aliases(self) -> Mapping[str, str]:
        """Further names of scripted players."""
        return {}

    def tallies(self, matches: Sequence[Any], reward: np.ndarray) -> dict[str, Tally]:
        """The game's own measures of matches.

        Args:
          matches: M `dialogue.matches.Match`.
          reward: f64[M, T, N].
        """
        return {}
