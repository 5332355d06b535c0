"""Chat templates applied turn by turn, around sampled replies.

    opening, reply, next turn, reply, next turn, reply, ..., close

Replies keep the ids that were sampled and are never tokenised again, so that their
log-probabilities stay valid. The text around them is found by rendering the tokenizer's
own chat template on probe dialogues, and verified on complete ones.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Sequence

import jinja2

from aajax.errors import InputError
from aajax.lm.text.tokens import Tokens

_WORDS = tuple(f"{who}{turn}zq" for turn in range(4) for who in ("asks", "tells"))
_BLANK_LINE = "\n\n"
_EMPTY_THOUGHT = r"(<think>\s*</think>\s*)?"
_USER_TEXTS = (
    "Hello.",
    " two  spaces around ",
    "\n\nlines\n\nof text\n",
    "Ünïcödé ✓ 漢字 🎲",
    "",
    "\ttabs\r\n",
)
_THOUGHT = "<think>\nfirst\n</think>\n\nthen"


@dataclasses.dataclass(frozen=True, eq=False)
class ChatTemplate:
    """The parts of a chat template between the replies; made by `find_template`.

    A reply has `stopped` if its last id is `end_of_turn`. If it has not (it used its
    budget, or ended with another stop token), the following part adds the end of turn.

    Attributes:
      tokens: the tokenizer.
      start: what precedes the first user's text.
      separator: what stands between texts of a user without a reply in between.
      header: what stands between a user's text and the reply.
      turn: what stands between a reply and the next user's text, end of turn included.
      ending: what follows the last reply, end of turn included.
      end_of_turn: the id after which a reply is over.
      merges_user_turns: whether the template refuses two user turns in a row, which
        then become one turn with a blank line in between.
      trims: whether a user's text loses the white space around it.
    """

    tokens: Tokens
    start: str
    separator: str
    header: str
    turn: str
    ending: str
    end_of_turn: int
    merges_user_turns: bool
    trims: bool

    def opening(self, user_text: str | Sequence[str]) -> list[int]:
        """Ids from the start of the dialogue to the header of the first reply.

        Args:
          user_text: one text, or several turns that a seat listened to.
        """
        return self._encode(self.start, *self._turns(user_text), self.header)

    def next_turn(self, user_text: str | Sequence[str], stopped: bool) -> list[int]:
        """Ids from the end of a sampled reply to the header of the next.

        Args:
          user_text: one text, or several turns that a seat listened to.
          stopped: whether the last id of the reply is `end_of_turn`.
        """
        turn = self._after_reply(self.turn, stopped)
        return self._encode(turn, *self._turns(user_text), self.header)

    def close(self, stopped: bool) -> list[int]:
        """Ids that follow the last reply of a dialogue.

        Args:
          stopped: whether the last id of the reply is `end_of_turn`.
        """
        return self._encode(self._after_reply(self.ending, stopped))

    def _after_reply(self, frame: str, stopped: bool) -> str:
        return frame.removeprefix(self.tokens.end_of_turn or "") if stopped else frame

    def _turns(self, user_text: str | Sequence[str]) -> list[str]:
        """Texts with the separator in between, as arguments of `_encode`."""
        texts = [user_text] if isinstance(user_text, str) else list(user_text)
        if not texts:
            raise InputError("user_text is []: at least one text is needed")
        if self.merges_user_turns:
            texts = [self.separator.join(texts)]
        if self.trims:
            texts = [text.strip() for text in texts]
        between = [self.separator] * len(texts)
        return list(itertools.chain(*zip(texts, between, strict=True)))[:-1]

    def _encode(self, *parts: str) -> list[int]:
        """Ids of the template's parts and, at odd places, of texts.

        As in a dialogue tokenised at once, text between two markers is one text.
        """
        ids, text = [], ""
        for i, part in enumerate(parts):
            for piece in [part] if i % 2 else _split(self.tokens, part):
                if i % 2 == 0 and piece in self.tokens.markers:
                    ids += [*self.tokens.encode(text), self.tokens.markers[piece]]
                    text = ""
                else:
                    text += piece
        return ids + self.tokens.encode(text)


def find_template(
    tokens: Tokens, system: str | None = None, enable_thinking: bool = False
) -> ChatTemplate:
    """Splits a tokenizer's chat template into the parts around replies; checks them.

    If the template trims texts, users' texts are trimmed, but replies stay as sampled.
    Qwen3 without thinking puts an empty <think> block before a new reply and drops it
    from earlier turns; it is kept there, since the reply was sampled after it.

    Args:
      tokens: from `load_tokenizer`.
      system: system message; the template's default if None.
      enable_thinking: passed to the template.

    Raises:
      InputError: if there is no template, it rejects `system`, or a rendered dialogue
        is not a prefix of the same dialogue with more turns: for instance if the
        template removes the reasoning of earlier replies, or numbers the turns.
    """
    if not tokens.tokenizer.chat_template:
        raise _refusal(tokens, "it has none; --chat-template gives one")
    if system is not None and any(marker in system for marker in tokens.markers):
        raise InputError(f"system is {system!r}: text without special tokens is needed")

    def render(texts: Sequence[str], roles: str = "uauauau", generate=True) -> str:
        """`texts` said by u(ser) and a(ssistant) in turn."""
        names = {"u": "user", "a": "assistant"}
        messages = [] if system is None else [{"role": "system", "content": system}]
        for role, text in zip(roles, texts, strict=False):
            messages.append({"role": names[role], "content": text})
        try:
            return tokens.render(messages, generate, enable_thinking)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            what = "it fails" if system is None else f"it fails with system {system!r}"
            raise _refusal(tokens, f"{what}: {error}") from error

    template, history = _take_apart(tokens, render)
    if system is not None and system.strip() not in template.start:
        raise InputError(
            f"system is {system!r}: None is needed, the chat template leaves it out"
        )
    _check(template, history, render)
    return template


def _take_apart(tokens: Tokens, render) -> tuple[ChatTemplate, str]:
    """The template, and the header of a reply in earlier turns."""
    start, header = _gaps(tokens, render(_WORDS[:1]), _WORDS[:1])
    gaps = _gaps(tokens, render(_WORDS[:7]), _WORDS[:7])
    history, turn = gaps[1:3]
    names = ["start", "header of a reply", "end of a reply"]
    expected = [start, *[history, turn] * 3, header]
    for i, (gap, wanted) in enumerate(zip(gaps, expected, strict=True)):
        if gap != wanted:
            name = names[0] if i == 0 else names[2 - i % 2]
            raise _refusal(tokens, f"the {name} is {gap!r} once and {wanted!r} once")
    thought = header[len(history) :]
    if header != history + thought or not re.fullmatch(_EMPTY_THOUGHT, thought):
        raise _refusal(
            tokens,
            f"the header of a reply is {header!r} at first and {history!r} later",
        )
    ending = _gaps(tokens, render(_WORDS[:2], generate=False), _WORDS[:2])[-1]
    end = tokens.end_of_turn
    if end is None or not turn.startswith(end):
        raise _refusal(tokens, f"no single token ends a reply before {turn!r}")
    separator = _separator(tokens, render, expected)
    padded = " \n" + _WORDS[0] + "\n "
    trims = padded not in render([padded])
    return ChatTemplate(
        tokens=tokens,
        start=start,
        separator=_BLANK_LINE if separator is None else separator,
        header=header,
        turn=turn,
        ending=ending,
        end_of_turn=tokens.markers[end],
        merges_user_turns=separator is None,
        trims=trims,
    ), history


def _gaps(tokens: Tokens, rendered: str, words: Sequence[str]) -> list[str]:
    """What stands around the words in a rendered dialogue."""
    gaps = []
    for word in words:
        gap, found, rendered = rendered.partition(word)
        if not found or word in rendered:
            raise _refusal(tokens, f"it does not write {word!r} once, in its turn")
        gaps.append(gap)
    return [*gaps, rendered]


def _separator(tokens: Tokens, render, gaps: Sequence[str]) -> str | None:
    """What stands between two user turns in a row, wherever they come, or None."""
    start, history, turn, *_, header = gaps
    try:
        first = _gaps(tokens, render(_WORDS[:2], "uu"), _WORDS[:2])
        later = _gaps(tokens, render(_WORDS[:4], "uauu"), _WORDS[:4])
    except ValueError:
        return None
    separator = first[1]
    fits = first == [start, separator, header]
    fits &= later == [start, history, turn, separator, header]
    return separator if fits else None


def _check(template: ChatTemplate, history: str, render) -> None:
    """Compares whole dialogues of three turns with the template's parts, as strings and
    as ids; replies have no white space around them, which a template may trim."""
    tokens = template.tokens
    num_texts = len(_USER_TEXTS)
    for shift in range(num_texts):
        shifted = [_USER_TEXTS[(shift + i) % num_texts] for i in range(6)]
        dialogue = [
            text.strip() if role == "a" else text
            for text, role in zip(shifted[:5], "uauau", strict=True)
        ]
        _compare(tokens, render(dialogue), _joined(template, history, dialogue))
        whole = _joined(template, template.header, dialogue)
        expected = tokens.tokenizer.encode(whole, add_special_tokens=False)
        ids = template.opening(dialogue[0])
        for reply, text in zip(dialogue[1::2], dialogue[2::2], strict=True):
            ids += tokens.encode(reply) + template.next_turn(text, stopped=False)
        _compare(tokens, expected, ids)
    # Behind an empty thought no other one is to come, and it does not matter then what
    # the template does to thoughts.
    if template.header == history:
        dialogue = ["Hello.", _THOUGHT, "Again.", _THOUGHT, "And again."]
        _compare(tokens, render(dialogue), _joined(template, history, dialogue))


def _joined(template: ChatTemplate, header: str, dialogue: Sequence[str]) -> str:
    """The dialogue as a string, with `header` before all replies but the next one."""
    frames = [template.start, header, template.turn, header, template.turn]
    texts = [
        text.strip() if template.trims and i % 2 == 0 else text
        for i, text in enumerate(dialogue)
    ]
    pairs = zip(frames, texts, strict=True)
    return "".join(itertools.chain(*pairs)) + template.header


def _compare(tokens: Tokens, by_template, by_parts) -> None:
    if by_template != by_parts:
        pairs = enumerate(zip(by_template, by_parts, strict=False))
        shorter = min(len(by_template), len(by_parts))
        first = next((i for i, (a, b) in pairs if a != b), shorter)
        near = slice(max(first - 10, 0), first + 30)
        raise _refusal(
            tokens, f"{by_template[near]!r} stands where {by_parts[near]!r} would"
        )


@functools.lru_cache(maxsize=256)
def _split(tokens: Tokens, frame: str) -> tuple[str, ...]:
    """Markers and what is between them, the longest marker first where two fit."""
    longest_first = sorted(tokens.markers, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    return tuple(re.split(f"({pattern})", frame)) if pattern else (frame,)


def _refusal(tokens: Tokens, difference: str) -> InputError:
    return InputError(
        f"tokens is {tokens.tokenizer.name_or_path}: a chat template that only appends "
        f"to a dialogue is needed, {difference}".replace("\n", " ")
    )
