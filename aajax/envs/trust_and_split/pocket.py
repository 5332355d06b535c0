"""Training exchanges for pocket models, in the formats of Trust-and-Split."""

import math

import numpy as np

from aajax.envs.messages import MESSAGE_END, MESSAGE_START
from aajax.envs.pocket import (
    MOST,
    NUMBER,
    Exchange,
    by_rule,
    joined,
    pick,
    request_of,
)
from aajax.envs.trust_and_split.env import HANDS
from aajax.envs.trust_and_split.words import (
    DEALT,
    PROPOSAL_END,
    PROPOSAL_START,
)

_CLAIMS = ("My hand is", "I hold", "This time I have", "I was given")
_WISHES = ("I would keep", "let me take", "I ask for", "my share could be")


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
    request = request_of(rng, news, asks, terse)
    return Exchange(request, answer, pattern, math.log(MOST + 1))


def message(rng: np.random.Generator) -> Exchange:
    """A free message before coins are split."""
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
    request = joined(rng, news, asks)
    count = len(_CLAIMS) * len(HANDS) * len(_WISHES) * (MOST + 1)
    return Exchange(request, answer, pattern, math.log(count))


def hand(rng: np.random.Generator) -> Exchange:
    """A message of one word, the name of a hand."""
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
    request = request_of(rng, news, asks, terse)
    return Exchange(request, answer, pattern, math.log(len(HANDS)))


def ruled_coins(rng: np.random.Generator) -> Exchange:
    """A round of `coin_split` in a short wording, with a rule for what to keep."""
    own, other = pick(rng, HANDS), pick(rng, HANDS)
    won, lost = own == _beats(other), other == _beats(own)
    before = pick(rng, ("", f"They: {other}\n"))
    took = None
    if rng.integers(2):
        # What they did in the round before, with what was worth more to whom.
        does, whose = pick(rng, ("took", "left")), pick(rng, ("yours", "theirs"))
        before += f"They {does} {whose}\n"
        took = (does, whose) == ("took", "yours")
    return _coins(rng, f"{before}You {own}, they {other}. Coins?", won, lost, took)


def ruled_winnings(rng: np.random.Generator) -> Exchange:
    """As `ruled_coins`, in Trust-and-Split's short wording, which states the winner."""
    before = pick(rng, ("", f"They: {pick(rng, HANDS)}\n"))
    dealt, winner = pick(rng, DEALT), pick(rng, ("you", "they", "nobody"))
    request = f"{before}They {dealt} yours\nWinner: {winner}. Coins?"
    return _coins(rng, request, winner == "you", winner == "they", dealt == "took")


def ruled_hands(rng: np.random.Generator, *, honesty: float | None = None) -> Exchange:
    """A message as in `hand` in a short wording, with a rule for which hand to say.

    Args:
      rng: random generator.
      honesty: probability that an exchange without a rule tells the player's own hand,
        in Trust-and-Split's short wording; None for 1/3 (uniform over hands), in
        another wording.
    """
    own = pick(rng, HANDS)
    rules = {
        "Say yours.": own,
        "Say what beats it.": _beats(own),
        "Say what it beats.": _beats(_beats(own)),
    }

    def said(hand: str) -> str:
        return f"{MESSAGE_START}{hand}{MESSAGE_END}"

    if honesty is None:
        whose = pick(rng, ("yours", "theirs"))
        before = pick(rng, ("", f"They {pick(rng, ('took', 'left'))} {whose}\n"))
        request = f"{before}You: {own}\nSay?"
        told, nats = pick(rng, HANDS), math.log(len(HANDS))
    else:
        before = pick(rng, (f"You: {own}\n", f"They: {pick(rng, HANDS)}\n"))
        request = f"{before}You {own}. Say?"
        chance = [honesty if hand == own else (1 - honesty) / 2 for hand in HANDS]
        told = rng.choice(HANDS, p=chance)
        nats = -sum(p * math.log(p) for p in chance if p)
    free = Exchange(request, said(told), said(f"({'|'.join(HANDS)})"), nats)
    return by_rule(rng, free, {rule: said(x) for rule, x in rules.items()})


def _talk(rng: np.random.Generator) -> str:
    coins = rng.integers(MOST + 1)
    claim = f"{pick(rng, _CLAIMS)} {pick(rng, HANDS)}"
    return f"{claim}, {pick(rng, _WISHES)} {coins} coins."


def _coins(
    rng: np.random.Generator, request: str, won: bool, lost: bool, took: bool | None
) -> Exchange:
    """How many coins to keep; `took` is None if the request does not mention it."""
    rules = {
        "Keep all.": MOST,
        "Keep nothing.": 0,
        "Keep half.": MOST // 2,
        "Keep all if you win, or nothing.": MOST * won,
        "Keep all if they win, or nothing.": MOST * lost,
    }
    if took is not None:
        rules |= {
            "Keep all if they took yours, or nothing.": MOST * took,
            "Keep nothing if they took yours, or all.": MOST * (not took),
            "Keep all if they took yours or you win.": MOST * (took or won),
            "Keep nothing if they took yours or you win.": MOST * (not (took or won)),
        }

    def kept(coins: object) -> str:
        return f"{PROPOSAL_START} {coins} {PROPOSAL_END}"

    free = Exchange(
        request, kept(rng.integers(MOST + 1)), kept(NUMBER), math.log(MOST + 1)
    )
    return by_rule(rng, free, {rule: kept(x) for rule, x in rules.items()})


def _beats(hand: str) -> str:
    """The hand that beats `hand`."""
    return HANDS[(HANDS.index(hand) + 1) % len(HANDS)]
