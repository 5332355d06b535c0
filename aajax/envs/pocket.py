"""Synthetic training text for pocket models: requests in the games' formats, answered.

A model trained on it answers in the right format and follows instructions, but has no
preferences among actions, since answers are random: what it prefers later was learned
from rewards. No game is played to make the text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

MOST = 10  # of each item, and coins

NUMBER = f"({'|'.join(map(str, range(MOST + 1)))})"
_BEFORE = (
    "A new round begins.",
    "Here is the next round.",
    "The game goes on.",
    "Both players answer now.",
)


class Exchange(NamedTuple):
    """A user message and the assistant's answer.

    Attributes:
      request, answer: text.
      pattern: regular expression of all well-formed answers.
      nats: entropy of the distribution from which the answer was drawn.
    """

    request: str
    answer: str
    pattern: str
    nats: float


Kind = Callable[[np.random.Generator], Exchange]


def told(rng: np.random.Generator, each: Exchange) -> Exchange:
    """The exchange with the wanted answer stated in the request.

    Without such exchanges answers would be independent of requests, and a model would
    not learn to tell letters or numbers apart, nor would an adapter easily.
    """
    order = pick(rng, ("Say", "Now say", "The answer is", "Repeat"))
    # On a line of its own, where it is spelled with the tokens of an answer.
    request = f"{each.request} {order}\n{each.answer}"
    return each._replace(request=request, nats=0.0)


def request_of(
    rng: np.random.Generator,
    news: Sequence[str],
    asks: Sequence[str],
    terse: Sequence[str],
) -> str:
    """A request in sentences (`joined`), or half the time one of the short `terse`."""
    return pick(rng, terse) if rng.integers(2) else joined(rng, news, asks)


def joined(rng: np.random.Generator, news: Sequence[str], asks: Sequence[str]) -> str:
    """A request from `asks`, after up to two sentences of introduction."""
    told = [pick(rng, sentences) for sentences in (_BEFORE, news) if rng.integers(2)]
    return " ".join([*told, pick(rng, asks)])


def pick(rng: np.random.Generator, options: Sequence):
    """A uniformly random element."""
    return options[int(rng.integers(len(options)))]


def by_rule(
    rng: np.random.Generator, free: Exchange, answers: Mapping[str, str]
) -> Exchange:
    """With probability ¼ `free`, else its request followed by a rule, and the answer.

    `answers` maps rules to answers. Exchanges without rules make the model encode what
    a request says without knowing what it is needed for, where an adapter finds it.
    """
    if not rng.integers(4):
        return free
    rule = pick(rng, list(answers))
    return Exchange(f"{free.request}\n{rule}", answers[rule], free.pattern, 0.0)
