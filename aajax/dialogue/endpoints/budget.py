"""What may be spent at an endpoint, counted and journalled before it is spent."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from aajax.dialogue.endpoints.journal import Journal
from aajax.errors import InputError


class HaltedError(Exception):
    """Somebody else failed, and nothing more is to be asked."""


@dataclasses.dataclass
class Paid:
    """A request under way.

    Attributes:
      tokens: that it has cost; to begin with, the most that it may.
    """

    tokens: int


class Budget:
    """Requests and tokens that are left; any number of threads may draw on it.

    A request takes the most tokens that it may cost before it is sent, and gives back
    what it did not cost, so that the limit holds whatever is under way. With a journal
    both are written down at once, and what was spent before, by whatever process, is
    spent: a request of which only the beginning was written counts in full.
    """

    def __init__(
        self,
        max_requests: int | None = None,
        max_total_tokens: int | None = None,
        journal: Journal | None = None,
    ):
        """A budget, of which what the journal holds was spent already.

        Args:
          max_requests: that may be sent, those that fail too; None for any number.
          max_total_tokens: read and written; None for any number.
          journal: None for none.
        """
        self.max_requests, self.max_total_tokens = max_requests, max_total_tokens
        self.requests, self.tokens = (0, 0) if journal is None else journal.spent()
        self._journal = journal
        self._reserved = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def request(
        self, most: int, halt: threading.Event, before: str = ""
    ) -> Iterator[Paid]:
        """Counts a request that is sent inside; waits first where others hold tokens.

        Args:
          most: tokens that it may cost.
          halt: ends the waiting.
          before: why the one before failed, told where this one does not fit.

        Raises:
          InputError: if it does not fit, whatever requests under way give back.
          HaltedError: if `halt` was set.
          OSError: if the journal cannot be written; nothing is to be sent then.
        """
        try:
            self._take(most, halt)
        except InputError as error:
            told = f"{error}; the last one failed: {before}" if before else str(error)
            raise InputError(told) from None
        paid = Paid(0)
        try:
            number = None if self._journal is None else self._journal.begin(most)
            paid.tokens = most
            yield paid
        finally:
            with self._changed:
                self._reserved -= most
                self.tokens += paid.tokens
                self._changed.notify_all()
        if number is not None and self._journal is not None:
            self._journal.end(number, paid.tokens)

    def _take(self, most: int, halt: threading.Event) -> None:
        with self._changed:
            while not self._fits(most):
                self._changed.wait(0.1)
                if halt.is_set():
                    raise HaltedError
            self.requests += 1
            self._reserved += most

    def _fits(self, tokens: int) -> bool:
        """Whether it fits now; raises where it never will."""
        if self.max_requests is not None and self.requests >= self.max_requests:
            raise InputError(
                f"max_requests is {self.max_requests}: all were sent, and more are "
                "needed to go on"
            )
        if self.max_total_tokens is None:
            return True
        if self.tokens + tokens > self.max_total_tokens:
            raise InputError(
                f"max_total_tokens is {self.max_total_tokens}: {self.tokens} were "
                f"spent, and the next request may cost {tokens}; more are needed to "
                "go on"
            )
        return self.tokens + self._reserved + tokens <= self.max_total_tokens
