"""JSON of the chat completions API: requests, and tolerant parsing of responses."""

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aajax.dialogue.endpoints.api_config import ApiConfig
from aajax.errors import InputError

MOST_OF_ANSWER = 8 << 20  # bytes of a body that are read
_SHOWN = 200  # characters of what a server says
_COUNTS = range(2**53)  # of tokens; what else a server says of them is not believed
# More than a template writes around one message, and around all; in tokens.
_PER_MESSAGE, _PER_REQUEST = 16, 256


class Completion(NamedTuple):
    """A model's answer.

    Attributes:
      text: stripped, without reasoning; may be empty.
      reasoning: reasoning text, if the endpoint returns it; may be empty.
      finish: finish reason, such as "stop" or "length"; None if not given.
      tokens: prompt and completion tokens; None if not given.
    """

    text: str
    reasoning: str
    finish: str | None
    tokens: int | None


def payload(config: ApiConfig, messages: Sequence[dict]) -> dict:
    """The JSON body of a request.

    Args:
      config: of the endpoint.
      messages: {"role": ..., "content": ...} each.
    """
    limit = "max_completion_tokens" if config.reasoning_effort else "max_tokens"
    options = {
        "temperature": config.temperature,
        limit: config.max_tokens,
        "reasoning_effort": config.reasoning_effort,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"model": config.model, "messages": list(messages), **given}


def most_tokens(config: ApiConfig, messages: Sequence[dict]) -> int:
    """Upper bound of a request's tokens, its bytes: no token is less than a byte."""
    read = sum(
        _PER_MESSAGE + len(m["content"].encode(errors="replace")) for m in messages
    )
    return _PER_REQUEST + read + (config.max_tokens or 0)


def decoded(body: bytes) -> str:
    """The text of a body, without the mark that some servers begin UTF-8 with."""
    return body.decode("utf-8-sig", errors="replace")


def read_completion(text: str, hide: Callable[..., str] = str) -> Completion:
    """The first answer of a response.

    Args:
      text: of its body.
      hide: what is done to text of it that an error shows; see `redactor`.

    Raises:
      InputError: if it is no JSON, or none with an answer, in one line.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"its answer is no JSON: {one_line(hide(text))!r}") from None
    try:
        choice = data["choices"][0]
        message = choice["message"]
        return Completion(
            *_told_apart(message),
            finish=_if_of(choice.get("finish_reason"), str),
            tokens=_tokens(data.get("usage")),
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        said = error_message(data)
        reason = f": {one_line(hide(said))}" if said else ""
        raise InputError(f"its answer has no message{reason}") from None


def error_message(data) -> str:
    """What a server says of an error in a JSON value; empty if nothing."""
    error = data.get("error") if isinstance(data, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "")


def one_line(text: str) -> str:
    """The beginning of a text, in one line."""
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _told_apart(message: dict) -> tuple[str, str]:
    """The text of a message, and its reasoning."""
    text = _words(message.get("content"))
    reasoning = _words(message.get("reasoning_content") or message.get("reasoning"))
    # Servers that do not tell reasoning apart leave it in front of the answer, and
    # where the template begins it, without its beginning.
    thought, end, rest = text.partition("</think>")
    if end or text.startswith("<think>"):
        thought = thought.removeprefix("<think>").strip()
        return rest.strip(), f"{reasoning}\n{thought}".strip()
    return text, reasoning


def _words(content) -> str:
    """The text of a message's content, which is text, parts with text, or null."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    # Half of a surrogate pair, which JSON can spell, is no Unicode text.
    return (_if_of(content, str) or "").encode(errors="replace").decode().strip()


def _tokens(usage) -> int | None:
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    # True is a number to Python, and no count to the journal.
    return total if type(total) is int and total in _COUNTS else None


def _if_of(value, kind: type):
    return value if isinstance(value, kind) else None
