"""Requests to an OpenAI-compatible endpoint, with retries and exponential backoff.

    POST {url}/chat/completions  {"model": ..., "messages": [...], ...}

Retried are the statuses 408, 409, 429 and 5xx, failed connections, timeouts, and
responses without an answer.
"""

import contextlib
import email.utils
import errno
import json
import math
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aajax.dialogue.endpoints.api_config import ApiConfig
from aajax.dialogue.endpoints.budget import Budget, HaltedError
from aajax.dialogue.endpoints.completions import (
    MOST_OF_ANSWER,
    Completion,
    decoded,
    error_message,
    most_tokens,
    one_line,
    payload,
    read_completion,
)
from aajax.dialogue.endpoints.redaction import redactor
from aajax.errors import InputError

if TYPE_CHECKING:
    from aajax.dialogue.endpoints.exchange import Response

_RETRIABLE = {408, 409, 429}

Ask = Callable[[Sequence[dict], threading.Event], Completion]


class EndpointError(OSError):
    """An endpoint gives no answer; says why, and its address."""

    def __init__(self, reason: str, url: str):
        super().__init__(errno.EIO, reason, url)


class _RequestError(Exception):
    """A request that failed.

    Attributes:
      reason: in words, without the key.
      passes: whether the next one may not.
      charged: whether an answer may have been written all the same.
      wait: seconds that the server asks for.
    """

    def __init__(self, reason: str, passes: bool, charged: bool, wait: float = 0.0):
        super().__init__(reason)
        self.reason, self.passes, self.charged = reason, passes, charged
        self.wait = wait


def connect(config: ApiConfig, budget: Budget) -> Ask:
    """A function that asks the endpoint: `(messages, halt) -> Completion`.

    It may be called from several threads. It raises EndpointError where there is no
    answer to be had, InputError where it does not fit the budget, and HaltedError soon
    after `halt` is set, though not before a request that is under way has ended. The
    key is in nothing that it raises; an answer is returned as the model wrote it.

    Args:
      config: of the endpoint.
      budget: on which it draws.

    Raises:
      InputError: if the environment variable of the key is not set.
    """
    # Needs httpx, which `config` has found.
    from aajax.dialogue.endpoints.exchange import Client, ExchangeError

    key = _read_key(config.key_variable)
    hide = redactor(key)
    url = config.url.rstrip("/") + "/chat/completions"
    headers = {"Content-Type": "application/json", "User-Agent": "aajax"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    client = Client(url, headers, config.concurrency)

    def send(body: bytes) -> Completion:
        try:
            response = client.post(body, config.timeout)
        except ExchangeError as error:
            reason = one_line(hide(error.reason))
            failure = _RequestError(reason, error.passes, error.was_sent)
        else:
            return _completion(response, hide)
        raise failure

    def ask(messages: Sequence[dict], halt: threading.Event) -> Completion:
        body = json.dumps(payload(config, messages)).encode()
        most, reason = most_tokens(config, messages), ""
        for attempt in range(1 + config.retries):
            if halt.is_set():
                raise HaltedError
            with budget.request(most, halt, reason) as paid:
                try:
                    completion = send(body)
                    if completion.tokens is not None:
                        paid.tokens = completion.tokens
                    return completion
                except _RequestError as error:
                    failure, reason = error, error.reason
                    paid.tokens = most if error.charged else 0
            if not failure.passes:
                raise EndpointError(reason, url)
            wait = max(_pause(config, attempt), failure.wait)
            if wait > config.longest_wait:
                raise EndpointError(f"{reason}; it asks to wait {wait:.12g} s", url)
            if attempt < config.retries:
                halt.wait(wait)
        raise EndpointError(f"{reason}; {1 + config.retries} requests failed", url)

    return ask


def _completion(response: "Response", hide: Callable[..., str]) -> Completion:
    """The answer in a response; raises _RequestError where there is none."""
    if not response.succeeded:
        passes = response.status in _RETRIABLE or response.status >= 500
        said = _said(response.body, response.is_whole, hide)
        reason = f"it answers {response.status}{said}"
        wait = _retry_after(response.retry_after)
        raise _RequestError(reason, passes, False, wait)
    if not response.is_whole:
        most = f"{MOST_OF_ANSWER >> 20} MiB"
        raise _RequestError(f"its answer is longer than {most}", False, True)
    try:
        return read_completion(decoded(response.body), hide)
    except InputError as error:
        failure = _RequestError(str(error), True, True)
    raise failure


def _read_key(variable: str | None) -> str:
    """The key in an environment variable; empty where none is wanted."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    # What cannot be sent must be found here: the error of the library would show it.
    if not key or not key.isascii() or not key.isprintable():
        raise InputError(
            f"key_variable is {variable!r}: an environment variable with the "
            "endpoint's key is needed, or None where it takes none"
        )
    return key


def _said(body: bytes, is_whole: bool, hide: Callable[..., str]) -> str:
    """What the server says of an error, in a line that begins with a colon."""
    text, is_cut = decoded(body), not is_whole
    with contextlib.suppress(ValueError, RecursionError):
        data = json.loads(text)
        text = error_message(data) or json.dumps(data, ensure_ascii=False)
    text = one_line(hide(text, is_cut))
    return f": {text}" if text else ""


def _pause(config: ApiConfig, attempt: int) -> float:
    """Seconds before the next attempt; never two clients in step."""
    wait = config.backoff * 2.0 ** min(attempt, 60) * random.uniform(0.5, 1.5)
    return min(wait, config.longest_wait)


def _retry_after(header: str | None) -> float:
    """Seconds that a server asks to wait, told as a number or as a date; may be inf."""
    try:
        seconds = float(header or 0)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header or "").timestamp()
        except (ValueError, TypeError, OverflowError):
            return 0.0
        seconds = math.ceil(seconds - time.time())
    return seconds if seconds > 0 else 0.0  # which NaN is not
