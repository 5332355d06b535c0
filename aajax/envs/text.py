"""What a game in words is: an array environment, asked and answered in text.

The rules are the environment's alone. A text game says what a seat is told, reads what
it answers as an action of the environment, and writes actions as answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from aajax.envs.base import Environment
from aajax.types import PyTree

E = TypeVar("E", bound=Environment)


class Table(NamedTuple):
    """One game under way.

    Attributes:
      state: of the environment, NumPy arrays.
      step: steps played; not all of them need to be the environment's.
      words: of each step, what each seat answered, as it was written; None where the
        seat only listened.
    """

    state: PyTree
    step: int
    words: tuple[tuple[str | None, ...], ...] = ()


class Ask(NamedTuple):
    """What a seat is told before a step.

    Attributes:
      text: in words.
      kind: of the answer that is asked for, a key of `TextGame.patterns`; None where
        the seat only listens.
    """

    text: str
    kind: str | None


class Parsed(NamedTuple):
    """An answer as an action of the environment.

    Attributes:
      action: i32[...], of the seat's action space; by the game's rule where not valid.
      valid: whether the answer was of the form that was asked for.
    """

    action: np.ndarray
    valid: bool


class Tally(NamedTuple):
    """A measure of M matches; what it is of some of them is Σ total / Σ count.

    Attributes:
      total: f64[M, N].
      count: f64[M, N], of what the total is over; 0 where nothing was.
    """

    total: np.ndarray
    count: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]

    def mean(self, seats: np.ndarray | None = None) -> float | None:
        """Σ total / Σ count over the seats bool[M, N] (all if None); None over none."""
        total, count = (
            float((x if seats is None else x[seats]).sum())
            for x in (self.total, self.count)
        )
        return total / count if count else None


class TextGame(Protocol[E]):
    """An array environment in words.

    Attributes:
      name: of the game.
      env: the environment, whose rewards are raw points.
      num_rounds: T, time steps of a learner.
      steps: of a round, whether each is one of the environment or words alone; what a
        round earns is the sum over its steps.
      patterns: kind of answer → regular expression, in the syntax of `lm.grammar`.
      invalid_rule: what an answer counts as that is of no such form, in words.
      silent: i32[...], the action of a seat that only listens.
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
        """What `seat` is told now."""
        ...

    def facts(self, state: PyTree) -> dict[str, list]:
        """What the environment dealt to the seats for this round, by name, [N, ...]."""
        ...

    def parse(self, kind: str, text: str) -> Parsed:
        """Reads any text at all; never raises."""
        ...

    def say(self, kind: str, action: np.ndarray) -> str:
        """An answer that `parse` reads as `action`, for scripted players."""
        ...

    def scripted(self) -> Any:
        """The scripted players of the environment, `spec.Players`; None without."""
        return None

    def aliases(self) -> Mapping[str, str]:
        """Further names of scripted players."""
        return {}

    def tallies(self, matches: Sequence[Any], reward: np.ndarray) -> dict[str, Tally]:
        """What the game measures of matches, beside what all games do.

        Args:
          matches: M `dialogue.matches.Match`.
          reward: f64[M, T, N].
        """
        return {}
