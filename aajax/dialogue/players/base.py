"""Who sits at a table: somebody who is told things and answers in words.

A player holds any number of rows, seats at tables, at once. What it remembers of them
is a value that `start` makes and `reply` returns anew.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from aajax.types import PRNGKey, PyTree


class Row(NamedTuple):
    """A seat that a player holds.

    Attributes:
      match: number of the match, unique within a call of `play`.
      seat: 0 to N − 1.
      adapter: which of the player's adapters speaks, −1 for none; only language models
        have them.
    """

    match: int
    seat: int
    adapter: int = -1


class Request(NamedTuple):
    """What a row is told at one step.

    Attributes:
      text: in words.
      kind: of the answer that is asked for; None where the row only listens.
      pattern: regular expression of that answer; None where the row only listens.
      observation: f32[...], what the seat sees in the array environment.
      of_world: whether the environment takes a step on the answers, or it is words
        alone.
    """

    text: str
    kind: str | None
    pattern: str | None
    observation: np.ndarray
    is_action: bool = True

    @property
    def answers(self) -> str:
        """The pattern, of a row that answers."""
        if self.pattern is None:
            raise ValueError("the row only listens")
        return self.pattern


class Tokens(NamedTuple):
    """An answer as a language model sampled it.

    Attributes:
      prompt: ids that were read since the answer before, or from the beginning.
      ids: sampled, the stop token included.
      log_prob: f32 of each, under the distribution that it was drawn from.
      state: grammar state that each was drawn in; 0 where all is allowed.
      remaining: budget that was left at each, it included.
    """

    prompt: list[int]
    ids: list[int]
    log_prob: list[float]
    state: list[int]
    remaining: list[int]


class Reply(NamedTuple):
    """An answer.

    Attributes:
      text: as it was written, without tokens that are no text.
      tries: answers that were thrown away before, plus 1.
      tokens: of a language model whose tokens are known, else None.
    """

    text: str
    tries: int = 1
    tokens: Tokens | None = None


class Player(Protocol):
    """Holds rows of one call of `play`."""

    def start(self, rows: Sequence[Row]) -> PyTree:
        """What the player remembers before anything was said."""
        ...

    def reply(
        self, memory: PyTree, requests: Sequence[Request], keys: PRNGKey
    ) -> tuple[PyTree, list[Reply | None]]:
        """Tells every row its text, and answers for those of which it is asked.

        Args:
          memory: of `start`, or as returned before.
          requests: one for each row, in the order of `start`.
          keys: key[R], one for each row.

        Returns:
          The new memory, and a reply for each row, None where it only listened.
        """
        ...
