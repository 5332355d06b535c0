"""Messages between the players of text games, each between tags.

What one player says reaches another quoted, and without what stands around the tags.
"""

import re

from aajax.envs.base import check_whole
from aajax.envs.text import Table, quoted, trimmed
from aajax.envs.wording import Wording

MESSAGE_START, MESSAGE_END = "<<message_start>>", "<<message_end>>"
MESSAGE_FORM = f"{MESSAGE_START} ... {MESSAGE_END}"
MOST_CHARS = 1000  # of a message


def check_message_chars(message_chars: int) -> None:
    """Raises InputError if `message_chars` is out of range."""
    check_whole("message_chars", message_chars, 1, MOST_CHARS)


def message_pattern(message_chars: int) -> str:
    """Regular expression of tagged messages without `<`, up to `message_chars` long."""
    return f"{MESSAGE_START}[^<]{{0,{message_chars}}}{MESSAGE_END}"


def write_message(text: str) -> str:
    """The message between its tags."""
    return f"{MESSAGE_START}{text}{MESSAGE_END}"


def heard(wording: Wording, pattern: str, table: Table, seat: int) -> str:
    """The prompt's part on the other's last message; "" if it was not asked for one."""
    text = table.words[-1][1 - seat]
    if text is None:
        return ""
    return wording.write("heard", message=quoted(message_text(pattern, text)))


def message_text(pattern: str, answer: str) -> str:
    """The text between the tags; "" if the answer is malformed."""
    answer = trimmed(answer)
    return inside_tags(answer) if re.fullmatch(pattern, answer) else ""


def inside_tags(message: str) -> str:
    """A well-formed message without its tags."""
    return message.removeprefix(MESSAGE_START).removesuffix(MESSAGE_END)
