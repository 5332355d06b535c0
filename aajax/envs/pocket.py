"""Short made-up dialogues in the formats that games ask for, with random answers.

A model that has read them answers in the right format, does as it is told, and prefers
nothing yet, so that whatever it comes to prefer was learned from rewards. Text only: no
game is played.
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
    """A request and one of the answers to it.

    Attributes:
      request, answer: text.
      pattern: regular expression of all well-formed answers.
      nats: entropy of the answers that could have been drawn.
    """

    request: str
    answer: str
    pattern: str
    nats: float


Kind = Callable[[np.random.Generator], Exchange]


def told(rng: np.random.Generator, each: Exchange) -> Exchange:
    """The same, but the request says which answer is wanted.

    A model for which answers never depend on requests does not learn to tell letters
    or numbers apart, and can hardly be taught to by an adapter.
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
    """Sentences, or every other time few words."""
    return pick(rng, terse) if rng.integers(2) else joined(rng, news, asks)


def joined(rng: np.random.Generator, news: Sequence[str], asks: Sequence[str]) -> str:
    """A sentence or two, and a request."""
    told = [pick(rng, sentences) for sentences in (_BEFORE, news) if rng.integers(2)]
    return " ".join([*told, pick(rng, asks)])


def pick(rng: np.random.Generator, options: Sequence):
    """One of them, each as likely as another."""
    return options[int(rng.integers(len(options)))]


def by_rule(
    rng: np.random.Generator, free: Exchange, answers: Mapping[str, str]
) -> Exchange:
    """One time in four `free`, else with one of the rules, at the end.

    Only so is what comes before read on its own account, and for an adapter to find:
    below a rule it is read in the light of that, and without one, hardly at all.
    """
    if not rng.integers(4):
        return free
    rule = pick(rng, list(answers))
    return Exchange(f"{free.request}\n{rule}", answers[rule], free.pattern, 0.0)
