"""Short made-up dialogues in the formats that games ask for, with random answers.

A model that has read them answers in the right format, does as it is told, and prefers
nothing yet, so that whatever it comes to prefer was learned from rewards. Text only: no
game is played.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MESSAGE_START, MESSAGE_END = "<<message_start>>", "<<message_end>>"
PROPOSAL_START, PROPOSAL_END = "<<proposal_start>>", "<<proposal_end>>"
ITEMS = ("hats", "books", "balls")
HANDS = ("rock", "paper", "scissors")
MOST = 10  # of each item, and coins

NUMBER = f"({'|'.join(map(str, range(MOST + 1)))})"
_BEFORE = (
    "A new round begins.",
    "Here is the next round.",
    "The game goes on.",
    "Both players answer now.",
)
_CLAIMS = ("My hand is", "I hold", "This time I have", "I was given")
_WISHES = ("I would keep", "let me take", "I ask for", "my share could be")


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


def two_choices(rng: np.random.Generator) -> Exchange:
    """A round in which both players name a letter."""
    letter = pick(rng, "AB")
    news = (
        f"Last time the other player chose <{pick(rng, 'AB')}>.",
        f"You have {rng.integers(100)} points, the other player {rng.integers(100)}.",
        "Two equal letters pay the same to both.",
    )
    asks = (
        "Answer <A> or <B>.",
        "Your letter, <A> or <B>?",
        "Choose between <A> and <B>, and say nothing else.",
    )
    points = ", ".join(f"{pair} {rng.integers(6)}" for pair in ("AA", "AB", "BA", "BB"))
    terse = f"They: <{pick(rng, 'AB')}>", f"<A> or <B>? {points}."
    request = _request(rng, news, asks, terse)
    return Exchange(request, f"<{letter}>", "<A>|<B>", math.log(2))


def item_split(rng: np.random.Generator) -> Exchange:
    """A round in which each player says how many of each item to keep."""
    items = ITEMS[: rng.integers(2, len(ITEMS) + 1)]
    values = [[pick(rng, (1, MOST)) for _ in items] for _ in range(2)]
    worth, other = (
        ", ".join(f"{item}={x}" for item, x in zip(items, own, strict=True))
        for own in values
    )
    stock = ", ".join(f"{MOST} {item}" for item in items)
    blanks = ", ".join(
        f"{blank} {item}" for blank, item in zip("xyz", items, strict=False)
    )
    news = (
        f"On the table are {stock}.",
        f"Your values: {worth}.",
        f"The other player's values: {other}.",
    )
    asks = (
        f"Write what you keep as Proposal: {blanks}",
        f"Of {stock} you keep a part. Answer in the form Proposal: {blanks}",
    )
    numbers = " | ".join(" ".join(map(str, own)) for own in values)
    asked = " ".join(str(rng.integers(MOST + 1)) for _ in items)
    terse = (
        f"They: {asked}\n{numbers}",
        f"Share {stock}. Proposal: {blanks}\n{numbers}",
    )
    kept = ", ".join(f"{rng.integers(MOST + 1)} {item}" for item in items)
    pattern = "Proposal: " + ", ".join(f"{NUMBER} {item}" for item in items)
    request = _request(rng, news, asks, terse)
    nats = len(items) * math.log(MOST + 1)
    return Exchange(request, f"Proposal: {kept}", pattern, nats)


def coin_split(rng: np.random.Generator) -> Exchange:
    """A round in which each player says how many coins to keep."""
    news = (
        f"{MOST} coins are to be shared.",
        f"Your hand is {pick(rng, HANDS)}.",
        f"A coin is worth {pick(rng, (1, 10))} to you.",
        f"Last time the other player kept {rng.integers(MOST + 1)} coins.",
        f"The other player said: {_talk(rng)}",
    )
    form = f"{PROPOSAL_START} x {PROPOSAL_END}"
    asks = (
        f"How many of the {MOST} coins do you keep? Write {form}",
        f"Say how many coins are yours, 0 to {MOST}, as {form}",
    )
    answer = f"{PROPOSAL_START} {rng.integers(MOST + 1)} {PROPOSAL_END}"
    pattern = f"{PROPOSAL_START} {NUMBER} {PROPOSAL_END}"
    terse = "Coins?", f"They: {pick(rng, HANDS)}\nCoins?"
    request = _request(rng, news, asks, terse)
    return Exchange(request, answer, pattern, math.log(MOST + 1))


def message(rng: np.random.Generator) -> Exchange:
    """A message that is asked for before coins are split."""
    news = (
        f"Your hand is {pick(rng, HANDS)}.",
        f"{MOST} coins will be shared after you have talked.",
        f"The other player said: {_talk(rng)}",
    )
    asks = (
        f"Send a message between {MESSAGE_START} and {MESSAGE_END}",
        f"Speak first: {MESSAGE_START}, a sentence or two, {MESSAGE_END}",
    )
    answer = f"{MESSAGE_START}{_talk(rng)}{MESSAGE_END}"
    pattern = f"{MESSAGE_START}[^<>]{{1,120}}{MESSAGE_END}"
    request = _join(rng, news, asks)
    count = len(_CLAIMS) * len(HANDS) * len(_WISHES) * (MOST + 1)
    return Exchange(request, answer, pattern, math.log(count))


def hand(rng: np.random.Generator) -> Exchange:
    """A message of one word, a hand."""
    own = f"You: {pick(rng, HANDS)}"
    class_ = pick(rng, ("upper", "lower"))
    news = f"My hand is {pick(rng, HANDS)}.", f"They: {pick(rng, HANDS)}", own
    asks = (
        "Say a hand.",
        f"Talk: {MESSAGE_START}rock{MESSAGE_END} or another hand",
    )
    terse = (
        f"{own}\nSay?",
        f"They: {pick(rng, HANDS)}\nSay?",
        f"Last: {class_}, {rng.integers(MOST + 1)}\n{own}\nSay?",
    )
    answer = f"{MESSAGE_START}{pick(rng, HANDS)}{MESSAGE_END}"
    pattern = f"{MESSAGE_START}({'|'.join(HANDS)}){MESSAGE_END}"
    request = _request(rng, news, asks, terse)
    return Exchange(request, answer, pattern, math.log(len(HANDS)))


KINDS = (two_choices, item_split, coin_split, message, hand)


def told(rng: np.random.Generator, each: Exchange) -> Exchange:
    """The same, but the request says which answer is wanted.

    A model for which answers never depend on requests does not learn to tell letters
    or numbers apart, and can hardly be taught to by an adapter.
    """
    order = pick(rng, ("Say", "Now say", "The answer is", "Repeat"))
    # On a line of its own, where it is spelled with the tokens of an answer.
    request = f"{each.request} {order}\n{each.answer}"
    return each._replace(request=request, nats=0.0)


def compared(own: Sequence[int], other: Sequence[int], items: Sequence[str]) -> str:
    """As in "10 > 1 hats, 1 < 10 books": own values first."""
    return ", ".join(
        f"{a} {sign(a, b)} {b} {item}"
        for a, b, item in zip(own, other, items, strict=True)
    )


def sign(own: int, other: int) -> str:
    """How one's own value compares."""
    return ">" if own > other else "<" if own < other else "="


def _talk(rng: np.random.Generator) -> str:
    coins = rng.integers(MOST + 1)
    claim = f"{pick(rng, _CLAIMS)} {pick(rng, HANDS)}"
    return f"{claim}, {pick(rng, _WISHES)} {coins} coins."


def _request(
    rng: np.random.Generator,
    news: Sequence[str],
    asks: Sequence[str],
    terse: Sequence[str],
) -> str:
    """Sentences, or every other time few words."""
    return pick(rng, terse) if rng.integers(2) else _join(rng, news, asks)


def _join(rng: np.random.Generator, news: Sequence[str], asks: Sequence[str]) -> str:
    """A sentence or two, and a request."""
    told = [pick(rng, sentences) for sentences in (_BEFORE, news) if rng.integers(2)]
    return " ".join([*told, pick(rng, asks)])


def pick(rng: np.random.Generator, options: Sequence):
    """One of them, each as likely as another."""
    return options[rng.integers(len(options))]
