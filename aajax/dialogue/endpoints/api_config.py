"""Configuration of OpenAI-compatible endpoints: address, sampling, limits."""

import dataclasses
import importlib.util
import ipaddress
import re
from typing import Annotated

from aajax.errors import InputError
from aajax.schema import Count, Natural, Range, check

_DAY = 86_400  # seconds
_MANY = Range(0, 2**53)
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")  # between the dots of a host's name
# Of endpoints, what may be another where a league or run goes on: no answer depends on
# it. With another temperature half of the answers would be somebody else's.
MAY_DIFFER = frozenset(
    ("key_variable", "concurrency", "timeout", "max_requests", "max_total_tokens")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Requests to players at HTTP endpoints (api:URL#MODEL).

    Limits hold for each endpoint over a whole league or run, resumed ones included. On
    resuming, limits, timeout, concurrency and key_variable may change; temperature,
    max_tokens, reasoning_effort and tries may not. Answers are stored, and shown to
    other players, as they come; the key is hidden in error messages, but not in an
    answer that repeats it.
    """

    # environment variable with the API key; None: no key
    key_variable: str | None = "OPENAI_API_KEY"
    concurrency: Count = 8  # most requests at the same time
    # seconds until a request is given up
    timeout: Annotated[float, Range(0, _DAY, above=True)] = 120.0
    # sampling temperature; None: the endpoint's default
    temperature: Annotated[float | None, Range(0)] = None
    # most tokens of an answer, reasoning included; None: the endpoint's default
    max_tokens: Count | None = 1024
    # low, medium, ..., for models that reason; None: the endpoint's default
    reasoning_effort: str | None = None
    tries: Count = 3  # most answers to one question, until one is in the form asked for
    # most requests in all, failed ones included; None: no limit
    max_requests: Annotated[int | None, _MANY] = None
    # most tokens read and written in all; None: no limit
    max_total_tokens: Annotated[int | None, _MANY] = None

    __post_init__ = check

    def check_relations(self) -> None:
        if not (self.key_variable is None or _is_variable(self.key_variable)):
            raise InputError(
                "key_variable is no name of an environment variable (it is not shown, "
                "since it may be a key): one such as OPENAI_API_KEY is needed"
            )
        if self.max_total_tokens is not None and self.max_tokens is None:
            raise InputError(
                "max_tokens is None: a number is needed with max_total_tokens"
            )


@dataclasses.dataclass(frozen=True)
class ApiConfig(Endpoints):
    """An endpoint: address, sampling parameters and limits.

    Attributes:
      url: base URL, without /chat/completions, such as https://api.openai.com/v1.
      model: name of the model at the endpoint.
      retries: maximal number of retries after a transient failure.
      backoff: seconds before the first retry; doubled for each further one, with ±50 %
        random jitter.
      longest_wait: upper bound of the seconds before a retry.
      key_variable: environment variable that holds the API key; None for no key.
      concurrency: maximal number of requests in flight.
      timeout: seconds for a whole request, to the last byte of the answer.
      temperature: of sampling; None for the endpoint's default.
      max_tokens: of an answer, reasoning included; None for the endpoint's default. It
        is sent as max_completion_tokens if `reasoning_effort` is given.
      reasoning_effort: such as "low", for reasoning models; not sent if None.
      tries: maximal number of answers to one question, until one is well-formed.
      max_requests: maximal number of requests in all; None for no limit.
      max_total_tokens: maximal number of prompt and completion tokens in all; None for
        no limit.
    """

    url: str
    model: str
    retries: Natural = 5
    backoff: Annotated[float, Range(0, _DAY)] = 1.0
    longest_wait: Annotated[float, Range(0, _DAY)] = 120.0

    def check_relations(self) -> None:
        super().check_relations()
        _check_url(self.url)


def _is_variable(name: str) -> bool:
    return re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) is not None


def _check_url(url: str) -> None:
    """Raises InputError for an address that no request can be sent to."""
    if importlib.util.find_spec("httpx") is None:
        raise InputError("httpx is not installed: pip install 'aajax[lm]'")
    import httpx

    try:
        parts = httpx.URL(url)
        host, port = parts.raw_host.decode(), parts.port
        fits = (
            parts.scheme in ("https", "http")
            and bool(parts.host and parts.raw_path)
            and not any(c.isspace() for c in url)
            and (port is None or 0 < port < 2**16)
            and (_is_ip(host) or _is_name(host))
        )
    except (httpx.InvalidURL, UnicodeError):
        fits = False
    if re.search("[?#]|//[^/]*@", url) or (not fits and "@" in url):
        # Not shown, since it may hold a secret.
        raise InputError("url has more than an address: key_variable is for keys")
    if not fits:
        raise InputError(
            f"url is {url!r}: one like https://api.openai.com/v1 is needed"
        )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(map(_LABEL.fullmatch, labels))
