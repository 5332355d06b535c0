"""An OpenAI-compatible endpoint as a value: where, how, and at what most cost."""

import dataclasses
import math
import urllib.parse

from aajax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ApiConfig:
    """An endpoint, how it is asked, and what that may cost.

    Attributes:
      url: up to and without /chat/completions, such as https://api.openai.com/v1.
      model: its name there.
      key_variable: environment variable that holds the key; None for no key.
      concurrency: most requests at once.
      timeout: seconds of silence, and about those for a whole answer, after which
        it is given up.
      retries: further requests after one that failed in a way that may pass.
      backoff: seconds before the first of them; doubled for each of the next, and a
        random half more or less.
      longest_wait: seconds before any of them.
      temperature: of sampling; the endpoint's own if None.
      max_tokens: of an answer, reasoning included; the endpoint's own if None. It is
        sent as max_completion_tokens along with a reasoning_effort.
      reasoning_effort: such as "low", for models that reason; not sent if None.
      tries: most answers to one question, until one is of the form that is asked for.
      max_requests: that may be sent in all; None for any number.
      max_total_tokens: that may be read and written in all; None for any number.
    """

    url: str
    model: str
    key_variable: str | None = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 120.0
    retries: int = 5
    backoff: float = 1.0
    longest_wait: float = 120.0
    temperature: float | None = None
    max_tokens: int | None = 1024
    reasoning_effort: str | None = None
    tries: int = 3
    max_requests: int | None = None
    max_total_tokens: int | None = None

    def __post_init__(self):
        parts = urllib.parse.urlsplit(self.url)
        if parts.username or parts.password or parts.query or parts.fragment:
            # Not shown, since it may hold a secret.
            raise InputError("url has more than an address: key_variable is for keys")
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise InputError(
                f"url is {self.url!r}: one like https://api.openai.com/v1 is needed"
            )
        for name, least in [
            ("concurrency", 1), ("retries", 0), ("tries", 1), ("max_tokens", 1),
            ("temperature", 0), ("max_requests", 0), ("max_total_tokens", 0),
            ("backoff", 0), ("longest_wait", 0),
        ]:  # fmt: skip
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise InputError(f"{name} is {value}: at least {least} is needed")
        if not 0 < self.timeout < math.inf:
            raise InputError(f"timeout is {self.timeout}: seconds above 0 are needed")
        if self.max_total_tokens is not None and self.max_tokens is None:
            raise InputError(
                "max_tokens is None: a number is needed with max_total_tokens"
            )
