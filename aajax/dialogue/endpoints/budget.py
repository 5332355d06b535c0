"""A budget of requests and tokens, reserved before each request is sent."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from aajax.dialogue.endpoints.journal import Journal
from aajax.errors import InputError


class HaltedError(Exception):
    """Raised in a thread that is to stop because another one has failed."""


@dataclasses.dataclass
class Paid:
    """The cost of a request in flight.

    Attributes:
      tokens: upper bound while in flight; to be set to what the request has cost.
    """

    tokens: int


class Budget:
    """A thread-safe budget of requests and tokens.

    Before a request is sent, the most tokens that it can cost are reserved; afterwards
    the unused rest is returned, so that the limit holds with any number of requests in
    flight. With a journal both are recorded, and what earlier processes spent counts
    too; a request whose end was not recorded counts in full.
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
        """Context of one request; waits while requests in flight hold too many tokens.

        Args:
          most: the most tokens that it can cost.
          halt: event that ends the waiting.
          before: why the previous attempt failed, for the error message.

        Raises:
          InputError: if it exceeds the budget even if requests in flight cost nothing.
          HaltedError: if `halt` was set.
          OSError: if the journal cannot be written; the request must not be sent then.
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
