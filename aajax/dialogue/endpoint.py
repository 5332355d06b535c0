"""Asks an OpenAI-compatible endpoint over HTTP, again and again where that helps.

    POST {url}/chat/completions  {"model": ..., "messages": [...], ...}

What may pass is tried again, with more and more time in between: the statuses 408, 409,
429 and 5xx, connections that fail, time that runs out, and answers that are none.
"""

import contextlib
import email.utils
import errno
import http.client
import json
import math
import os
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aajax.dialogue.api_config import ApiConfig
from aajax.dialogue.budget import Budget, HaltedError
from aajax.dialogue.completions import (
    Completion,
    error_message,
    most_tokens,
    one_line,
    payload,
    read_completion,
)
from aajax.errors import InputError

_RETRIABLE = {408, 409, 429}


class Answer(NamedTuple):
    """What an endpoint answered, and what that took.

    Attributes:
      completion: the answer.
      requests: that were sent for it.
      tokens: that they cost, or may have cost where nobody says.
    """

    completion: Completion
    requests: int
    tokens: int


class EndpointError(OSError):
    """An endpoint gives no answer; says why, and its address."""

    def __init__(self, reason: str, url: str):
        super().__init__(errno.EIO, reason, url)


class _RequestError(Exception):
    """A request that failed.

    Attributes:
      reason: in words.
      passes: whether the next one may not.
      charged: whether an answer may have been written all the same.
      wait: seconds that the server asks for.
    """

    def __init__(self, reason: str, passes: bool, charged: bool, wait: float = 0.0):
        super().__init__(reason)
        self.reason, self.passes, self.charged = reason, passes, charged
        self.wait = wait


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are failures: they would carry the key to another place."""

    def redirect_request(self, *request):
        return None


def connect(
    config: ApiConfig, budget: Budget
) -> Callable[[Sequence[dict], threading.Event], Answer]:
    """A function that asks the endpoint: `(messages, halt) -> Answer`.

    It may be called from several threads. It raises EndpointError where there is no
    answer to be had, InputError where it does not fit the budget, and HaltedError soon
    after `halt` is set, though not before a request that is under way has ended. The
    key is in none of what it returns and raises.

    Args:
      config: of the endpoint.
      budget: on which it draws.

    Raises:
      InputError: if there is no key in the variable that should hold it.
    """
    key = _read_key(config.key_variable)
    url = config.url.rstrip("/") + "/chat/completions"
    headers = {"Content-Type": "application/json", "User-Agent": "aajax"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    opener = urllib.request.build_opener(_NoRedirects)

    def hide(text: str) -> str:
        return text.replace(key, "[key]") if key else text

    def send(body: bytes) -> Completion:
        request = urllib.request.Request(url, body, headers, method="POST")
        data = _exchange(opener, request, config.timeout)
        try:
            return read_completion(hide(data.decode(errors="replace")))
        except ValueError as error:
            raise _RequestError(str(error), True, True) from None

    def ask(messages: Sequence[dict], halt: threading.Event) -> Answer:
        body = json.dumps(payload(config, messages)).encode()
        most, spent = most_tokens(config, messages), 0
        for attempt in range(1 + config.retries):
            if halt.is_set():
                raise HaltedError
            budget.take(most, halt)
            cost = most
            try:
                completion = send(body)
                cost = most if completion.tokens is None else completion.tokens
                return Answer(completion, attempt + 1, spent + cost)
            except _RequestError as error:
                failure, cost = error, most if error.charged else 0
            finally:
                budget.settle(most, cost)
            spent += cost
            reason = hide(failure.reason)
            if not failure.passes:
                raise EndpointError(reason, url)
            wait = max(_pause(config, attempt), failure.wait)
            if wait > config.longest_wait:
                raise EndpointError(f"{reason}; it asks to wait {wait:.0f} s", url)
            if attempt < config.retries:
                halt.wait(wait)
        raise EndpointError(f"{reason}; {1 + config.retries} requests failed", url)

    return ask


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


def _exchange(opener, request: urllib.request.Request, timeout: float) -> bytes:
    """The body of the response; raises `_RequestError` where there is none."""
    end = time.monotonic() + timeout
    try:
        with opener.open(request, timeout=timeout) as response:
            parts = []
            while part := response.read1(1 << 16):
                parts.append(part)
                if time.monotonic() > end:
                    raise TimeoutError
            return b"".join(parts)
    except urllib.error.HTTPError as error:
        passes = error.code in _RETRIABLE or error.code >= 500
        wait = _retry_after(error.headers.get("Retry-After"))
        reason = f"it answers {error.code}{_said(error)}"
        raise _RequestError(reason, passes, False, wait) from None
    except (OSError, http.client.HTTPException) as error:
        # The library wraps what happens before the request is sent.
        sent = not isinstance(error, urllib.error.URLError)
        cause = error if sent else error.reason
        if isinstance(cause, TimeoutError):
            reason = f"no answer within {timeout:g} s"
        else:
            reason = f"{type(cause).__name__}: {one_line(str(cause))}"
        refused = isinstance(cause, ssl.SSLCertVerificationError)
        raise _RequestError(reason, not refused, sent) from None


def _said(error: urllib.error.HTTPError) -> str:
    """What the server says of an error, in a line that begins with a colon."""
    try:
        text = error.read(1 << 16).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        error.close()
    with contextlib.suppress(ValueError, RecursionError):
        text = error_message(json.loads(text)) or text
    return f": {one_line(text)}" if text.strip() else ""


def _pause(config: ApiConfig, attempt: int) -> float:
    """Seconds before the next attempt; never two clients in step."""
    wait = config.backoff * 2.0 ** min(attempt, 60) * random.uniform(0.5, 1.5)
    return min(wait, config.longest_wait)


def _retry_after(header: str | None) -> float:
    """Seconds that a server asks to wait, told as a number or as a date."""
    try:
        seconds = float(header or 0)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp()
        except ValueError:
            return 0.0
        seconds -= time.time()
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
