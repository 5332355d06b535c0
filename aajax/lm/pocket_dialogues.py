"""Short made-up dialogues in the formats that games ask for, with random answers.

A model that has read them answers in the right format, does as it is told, and prefers
nothing yet, so that whatever it comes to prefer was learned from rewards. Text only: no
game is played.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

MESSAGE_START, MESSAGE_END = "<<message_start>>", "<<message_end>>"
PROPOSAL_START, PROPOSAL_END = "<<proposal_start>>", "<<proposal_end>>"
ITEMS = ("hats", "books", "balls")
HANDS = ("rock", "paper", "scissors")
MOST = 10  # of each item, and coins

_NUMBER = f"({'|'.join(map(str, range(MOST + 1)))})"
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
    letter = _pick(rng, "AB")
    news = (
        f"Last time the other player chose <{_pick(rng, 'AB')}>.",
        f"You have {rng.integers(100)} points, the other player {rng.integers(100)}.",
        "Two equal letters pay the same to both.",
    )
    asks = (
        "Answer <A> or <B>.",
        "Your letter, <A> or <B>?",
        "Choose between <A> and <B>, and say nothing else.",
    )
    points = ", ".join(f"{pair} {rng.integers(6)}" for pair in ("AA", "AB", "BA", "BB"))
    terse = f"They: <{_pick(rng, 'AB')}>", f"<A> or <B>? {points}."
    request = _request(rng, news, asks, terse)
    return Exchange(request, f"<{letter}>", "<A>|<B>", math.log(2))


def item_split(rng: np.random.Generator) -> Exchange:
    """A round in which each player says how many of each item to keep."""
    items = ITEMS[: rng.integers(2, len(ITEMS) + 1)]
    values = [[_pick(rng, (1, MOST)) for _ in items] for _ in range(2)]
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
    pattern = "Proposal: " + ", ".join(f"{_NUMBER} {item}" for item in items)
    request = _request(rng, news, asks, terse)
    nats = len(items) * math.log(MOST + 1)
    return Exchange(request, f"Proposal: {kept}", pattern, nats)


def coin_split(rng: np.random.Generator) -> Exchange:
    """A round in which each player says how many coins to keep."""
    news = (
        f"{MOST} coins are to be shared.",
        f"Your hand is {_pick(rng, HANDS)}.",
        f"A coin is worth {_pick(rng, (1, 10))} to you.",
        f"Last time the other player kept {rng.integers(MOST + 1)} coins.",
        f"The other player said: {_talk(rng)}",
    )
    form = f"{PROPOSAL_START} x {PROPOSAL_END}"
    asks = (
        f"How many of the {MOST} coins do you keep? Write {form}",
        f"Say how many coins are yours, 0 to {MOST}, as {form}",
    )
    answer = f"{PROPOSAL_START} {rng.integers(MOST + 1)} {PROPOSAL_END}"
    pattern = f"{PROPOSAL_START} {_NUMBER} {PROPOSAL_END}"
    terse = "Coins?", f"They: {_pick(rng, HANDS)}\nCoins?"
    request = _request(rng, news, asks, terse)
    return Exchange(request, answer, pattern, math.log(MOST + 1))


def message(rng: np.random.Generator) -> Exchange:
    """A message that is asked for before coins are split."""
    news = (
        f"Your hand is {_pick(rng, HANDS)}.",
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
    own = f"You: {_pick(rng, HANDS)}"
    class_ = _pick(rng, ("upper", "lower"))
    news = f"My hand is {_pick(rng, HANDS)}.", f"They: {_pick(rng, HANDS)}", own
    asks = (
        "Say a hand.",
        f"Talk: {MESSAGE_START}rock{MESSAGE_END} or another hand",
    )
    terse = (
        f"{own}\nSay?",
        f"They: {_pick(rng, HANDS)}\nSay?",
        f"Last: {class_}, {rng.integers(MOST + 1)}\n{own}\nSay?",
    )
    answer = f"{MESSAGE_START}{_pick(rng, HANDS)}{MESSAGE_END}"
    pattern = f"{MESSAGE_START}({'|'.join(HANDS)}){MESSAGE_END}"
    request = _request(rng, news, asks, terse)
    return Exchange(request, answer, pattern, math.log(len(HANDS)))


KINDS = (two_choices, item_split, coin_split, message, hand)


def told(rng: np.random.Generator, each: Exchange) -> Exchange:
    """The same, but the request says which answer is wanted.

    A model for which answers never depend on requests does not learn to tell letters
    or numbers apart, and can hardly be taught to by an adapter.
    """
    order = _pick(rng, ("Say", "Now say", "The answer is", "Repeat"))
    # On a line of its own, where it is spelled with the tokens of an answer.
    request = f"{each.request} {order}\n{each.answer}"
    return each._replace(request=request, nats=0.0)


def ruled_items(rng: np.random.Generator) -> Exchange:
    """A round of `item_split` in few words, and a rule for what to keep."""
    own, other = ([_pick(rng, (1, MOST)) for _ in ITEMS] for _ in range(2))
    signs = [_sign(a, b) for a, b in zip(own, other, strict=True)]

    def kept(amounts: Sequence[int]) -> str:
        return ", ".join(f"{n} {item}" for n, item in zip(amounts, ITEMS, strict=True))

    def by_sign(more: int, less: int) -> list[int]:
        return [{">": more, "<": less, "=": MOST // 2}[sign] for sign in signs]

    everything, nothing = [MOST] * len(ITEMS), [0] * len(ITEMS)
    valued = by_sign(MOST, 0)
    rules = {
        "Keep all.": everything,
        "Keep nothing.": nothing,
        "Keep half.": [MOST // 2] * len(ITEMS),
        "Keep what you value more.": valued,
        "Keep what they value more.": by_sign(0, MOST),
    }
    if rng.integers(2):
        # What they did in the round before.
        took = bool(rng.integers(2))
        before = f"They {'took' if took else 'left'} yours"

        def by_deed(then: list[int], otherwise: list[int]) -> list[int]:
            return then if took else otherwise

        rules |= {
            "Keep all if they took yours, or nothing.": by_deed(everything, nothing),
            "Keep nothing if they took yours, or all.": by_deed(nothing, everything),
            "Keep all if they took yours, or what you value more.": by_deed(
                everything, valued
            ),
            "Keep what you value more if they took yours, or all.": by_deed(
                valued, everything
            ),
        }
    else:
        before = f"Share {kept(everything)}. Proposal: x hats, y books, z balls"
    round_numbers = 0, MOST // 2, MOST
    pattern = "Proposal: " + ", ".join(f"{_NUMBER} {item}" for item in ITEMS)
    any_answer = kept([_pick(rng, round_numbers) for _ in ITEMS])
    free = Exchange(
        f"{before}\n{compared(own, other, ITEMS)}", f"Proposal: {any_answer}", pattern,
        len(ITEMS) * math.log(len(round_numbers)),
    )  # fmt: skip
    return _by_rule(rng, free, {r: f"Proposal: {kept(x)}" for r, x in rules.items()})


def ruled_coins(rng: np.random.Generator) -> Exchange:
    """A round of `coin_split` in few words, and a rule for how many coins to keep."""
    own, other = _pick(rng, HANDS), _pick(rng, HANDS)
    won, lost = own == _beats(other), other == _beats(own)
    before = _pick(rng, ("", f"They: {other}\n"))
    rules = {
        "Keep all.": MOST,
        "Keep nothing.": 0,
        "Keep half.": MOST // 2,
        "Keep all if you win, or nothing.": MOST * won,
        "Keep all if they win, or nothing.": MOST * lost,
    }
    if rng.integers(2):
        # What they did in the round before, with what was worth more to whom.
        does, whose = _pick(rng, ("took", "left")), _pick(rng, ("yours", "theirs"))
        before += f"They {does} {whose}\n"
        took = (does, whose) == ("took", "yours")
        rules |= {
            "Keep all if they took yours, or nothing.": MOST * took,
            "Keep nothing if they took yours, or all.": MOST * (not took),
            "Keep all if they took yours or you win.": MOST * (took or won),
            "Keep nothing if they took yours or you win.": MOST * (not (took or won)),
        }

    def kept(coins: int) -> str:
        return f"{PROPOSAL_START} {coins} {PROPOSAL_END}"

    free = Exchange(
        f"{before}You {own}, they {other}. Coins?",
        kept(rng.integers(MOST + 1)), kept(_NUMBER), math.log(MOST + 1),
    )  # fmt: skip
    return _by_rule(rng, free, {rule: kept(x) for rule, x in rules.items()})


def ruled_hands(rng: np.random.Generator, honesty: float | None = None) -> Exchange:
    """A message as in `hand` in few words, and a rule for which.

    Without a rule it is one's own hand with a probability of `honesty`, if that is
    given, and otherwise one of the others.
    """
    own = _pick(rng, HANDS)
    whose = _pick(rng, ("yours", "theirs"))
    before = _pick(rng, ("", f"They {_pick(rng, ('took', 'left'))} {whose}\n"))
    rules = {
        "Say yours.": own,
        "Say what beats it.": _beats(own),
        "Say what it beats.": _beats(_beats(own)),
    }

    def said(hand: str) -> str:
        return f"{MESSAGE_START}{hand}{MESSAGE_END}"

    if honesty is None:
        told, nats = _pick(rng, HANDS), math.log(len(HANDS))
    else:
        chance = [honesty if hand == own else (1 - honesty) / 2 for hand in HANDS]
        told = rng.choice(HANDS, p=chance)
        nats = -sum(p * math.log(p) for p in chance if p)
    free = Exchange(
        f"{before}You: {own}\nSay?", said(told), said(f"({'|'.join(HANDS)})"), nats
    )
    return _by_rule(rng, free, {rule: said(x) for rule, x in rules.items()})


RULED = (ruled_items, ruled_items, ruled_coins, ruled_hands)


def exchange(
    rng: np.random.Generator, rules: bool = False, honesty: float | None = None
) -> Exchange:
    """One of any kind, two times in three with an order.

    Args:
      rng: draws.
      rules: whether two thirds of all are of `RULED`: a rule says how the answer
        follows from what can be read, or nothing does, and any is right. No rule looks
        back further than its request, and those that take have others that give.
      honesty: of `ruled_hands`.
    """
    if rules and rng.integers(3):
        kind = _pick(rng, RULED)
        return kind(rng, honesty) if kind is ruled_hands else kind(rng)
    each = _pick(rng, KINDS)(rng)
    return told(rng, each) if rng.integers(3) else each


def _by_rule(
    rng: np.random.Generator, free: Exchange, answers: Mapping[str, str]
) -> Exchange:
    """One time in four `free`, else with one of the rules, at the end.

    Only so is what comes before read on its own account, and for an adapter to find:
    below a rule it is read in the light of that, and without one, hardly at all.
    """
    if not rng.integers(4):
        return free
    rule = _pick(rng, list(answers))
    return Exchange(f"{free.request}\n{rule}", answers[rule], free.pattern, 0.0)


def compared(own: Sequence[int], other: Sequence[int], items: Sequence[str]) -> str:
    """As in "10 > 1 hats, 1 < 10 books": own values first."""
    return ", ".join(
        f"{a} {_sign(a, b)} {b} {item}"
        for a, b, item in zip(own, other, items, strict=True)
    )


def _sign(own: int, other: int) -> str:
    return ">" if own > other else "<" if own < other else "="


def _beats(hand: str) -> str:
    """What beats a hand."""
    return HANDS[(HANDS.index(hand) + 1) % len(HANDS)]


def _talk(rng: np.random.Generator) -> str:
    coins = rng.integers(MOST + 1)
    claim = f"{_pick(rng, _CLAIMS)} {_pick(rng, HANDS)}"
    return f"{claim}, {_pick(rng, _WISHES)} {coins} coins."


def _request(
    rng: np.random.Generator,
    news: Sequence[str],
    asks: Sequence[str],
    terse: Sequence[str],
) -> str:
    """Sentences, or every other time few words."""
    return _pick(rng, terse) if rng.integers(2) else _join(rng, news, asks)


def _join(rng: np.random.Generator, news: Sequence[str], asks: Sequence[str]) -> str:
    """A sentence or two, and a request."""
    told = [_pick(rng, sentences) for sentences in (_BEFORE, news) if rng.integers(2)]
    return " ".join([*told, _pick(rng, asks)])


def _pick(rng: np.random.Generator, options: Sequence):
    return options[rng.integers(len(options))]
