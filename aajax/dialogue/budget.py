"""What may be spent at an endpoint, counted before it is spent."""

import threading

from aajax.errors import InputError


class HaltedError(Exception):
    """Somebody else failed, and nothing more is to be asked."""


class Budget:
    """Requests and tokens that are left; any number of threads may draw on it.

    A request takes the most tokens that it may cost before it is sent, and gives back
    what it did not cost, so that the limit holds whatever is under way.
    """

    def __init__(
        self,
        max_requests: int | None = None,
        max_total_tokens: int | None = None,
        requests: int = 0,
        tokens: int = 0,
    ):
        """A budget of which `requests` and `tokens` were spent already.

        Args:
          max_requests: that may be sent; None for any number.
          max_total_tokens: read and written; None for any number.
          requests: sent before.
          tokens: spent before.
        """
        self.max_requests, self.max_total_tokens = max_requests, max_total_tokens
        self.requests, self.tokens = requests, tokens
        self._reserved = 0
        self._changed = threading.Condition()

    def take(self, tokens: int, halt: threading.Event) -> None:
        """Counts a request that may cost `tokens`, and waits where others hold them.

        Raises:
          InputError: if it does not fit, whatever requests under way give back.
          HaltedError: if `halt` was set.
        """
        with self._changed:
            while not self._fits(tokens):
                self._changed.wait(0.1)
                if halt.is_set():
                    raise HaltedError
            self.requests += 1
            self._reserved += tokens

    def settle(self, taken: int, tokens: int) -> None:
        """Ends a request that took `taken` tokens and cost `tokens`."""
        with self._changed:
            self._reserved -= taken
            self.tokens += tokens
            self._changed.notify_all()

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
