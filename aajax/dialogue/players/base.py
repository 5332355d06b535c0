"""The player protocol of text games: prompts in, answers out.

A player holds a batch of rows, each a seat in a match. Its memory of them is a value:
`start` makes it, and `reply` returns a new one.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from aajax.types import PRNGKey, PyTree


class Row(NamedTuple):
    """A seat in a match that a player holds.

    Attributes:
      match: number of the match, unique within a call of `play`.
      seat: 0 to N − 1.
      adapter: index of the player's LoRA adapter, −1 for none; for language models.
      member: whose match it is, where a population trains; see `Matchup`.
    """

    match: int
    seat: int
    adapter: int = -1
    member: int = 0


class Request(NamedTuple):
    """The prompt of a row at one step.

    Attributes:
      text: of the prompt.
      kind: kind of answer that is asked for; None if no answer is asked for.
      pattern: regular expression of well-formed answers; None likewise.
      observation: f32[...], the seat's observation in the array environment.
      is_action: whether the environment takes a step on the answers, else it is talk.
    """

    text: str
    kind: str | None
    pattern: str | None
    observation: np.ndarray
    is_action: bool = True

    @property
    def answers(self) -> str:
        """The pattern; only for a row that is asked for an answer."""
        if self.pattern is None:
            raise ValueError("the row only listens")
        return self.pattern


class Tokens(NamedTuple):
    """The token ids of an answer that a language model sampled.

    Attributes:
      prompt: ids read since the previous answer, or from the start.
      ids: sampled ids, stop token included.
      log_prob: of each, under the distribution that it was drawn from.
      state: grammar state before each; 0 for no constraint.
      remaining: token budget before each.
    """

    prompt: list[int]
    ids: list[int]
    log_prob: list[float]
    state: list[int]
    remaining: list[int]


class Reply(NamedTuple):
    """An answer.

    Attributes:
      text: verbatim, without special tokens.
      tries: number of answers, rejected ones included.
      tokens: of a local language model; None for other players.
    """

    text: str
    tries: int = 1
    tokens: Tokens | None = None


class Player(Protocol):
    """A player of a batch of rows in one call of `play`."""

    def start(self, rows: Sequence[Row]) -> PyTree:
        """The player's memory at the start of the matches."""
        ...

    def reply(
        self, memory: PyTree, requests: Sequence[Request], keys: PRNGKey
    ) -> tuple[PyTree, list[Reply | None]]:
        """Reads the prompts of all rows, and answers those that ask for an answer.

        Args:
          memory: from `start` or the previous call.
          requests: one per row, in the order of `start`.
          keys: key[R], one per row.

        Returns:
          The new memory, and a reply per row, None if it was not asked.
        """
        ...
