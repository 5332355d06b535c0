"""Requests with a rule by which the answer follows; and of all kinds, one at a time.

A model that has read them finds values and hands compared, and can be brought to act on
that by little, without having come to prefer anything.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from aajax.lm.pocket_dialogues import (
    HANDS,
    ITEMS,
    KINDS,
    MESSAGE_END,
    MESSAGE_START,
    MOST,
    NUMBER,
    PROPOSAL_END,
    PROPOSAL_START,
    Exchange,
    compared,
    hand,
    pick,
    sign,
    told,
)

# What they did with what is yours when there was last something: never, or one of two.
DEALT = ("saw none of", "took", "left")


def ruled_items(rng: np.random.Generator) -> Exchange:
    """A round of `item_split` in few words, and a rule for what to keep."""
    own, other = ([pick(rng, (1, MOST)) for _ in ITEMS] for _ in range(2))
    signs = [sign(a, b) for a, b in zip(own, other, strict=True)]

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
    pattern = "Proposal: " + ", ".join(f"{NUMBER} {item}" for item in ITEMS)
    any_answer = kept([pick(rng, round_numbers) for _ in ITEMS])
    free = Exchange(
        f"{before}\n{compared(own, other, ITEMS)}", f"Proposal: {any_answer}", pattern,
        len(ITEMS) * math.log(len(round_numbers)),
    )  # fmt: skip
    return _by_rule(rng, free, {r: f"Proposal: {kept(x)}" for r, x in rules.items()})


def ruled_coins(rng: np.random.Generator) -> Exchange:
    """A round of `coin_split` in few words, and a rule for what to keep."""
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
    """The same in the few words of Trust-and-Split, which say who wins."""
    before = pick(rng, ("", f"They: {pick(rng, HANDS)}\n"))
    dealt, winner = pick(rng, DEALT), pick(rng, ("you", "they", "nobody"))
    request = f"{before}They {dealt} yours\nWinner: {winner}. Coins?"
    return _coins(rng, request, winner == "you", winner == "they", dealt == "took")


def ruled_hands(rng: np.random.Generator, *, honesty: float | None = None) -> Exchange:
    """A message as in `hand` in few words, and a rule for which.

    Args:
      rng: draws.
      honesty: how often, by no rule, one's own hand is said, in Trust-and-Split's own
        few words; None: no more often than another, in other words.
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
    return _by_rule(rng, free, {rule: said(x) for rule, x in rules.items()})


RULES = {
    "split": (ruled_items, ruled_items, ruled_coins, ruled_hands),
    "trust-and-split": (ruled_winnings, ruled_hands),
}


def exchange(
    rng: np.random.Generator, rules: str | None = None, honesty: float | None = None
) -> Exchange:
    """One of any kind, two times in three with an order.

    Args:
      rng: draws.
      rules: of `RULES`, whether two thirds of all are of those: a rule says how the
        answer follows from what can be read, or nothing does, and any is right. No rule
        looks back further than its request, and those that take have others that give.
      honesty: of `ruled_hands`; if it is given, nobody says a hand without a rule or an
        order but so.
    """
    kinds = KINDS
    if honesty is not None:
        kinds = tuple(kind for kind in KINDS if kind is not hand)
    if rules is not None and rng.integers(3):
        kind = pick(rng, RULES[rules])
        return kind(rng, honesty=honesty) if kind is ruled_hands else kind(rng)
    each = pick(rng, kinds)(rng)
    return told(rng, each) if rng.integers(3) else each


def _coins(
    rng: np.random.Generator, request: str, won: bool, lost: bool, took: bool | None
) -> Exchange:
    """How many coins to keep; `took` is None where the request says nothing of it."""
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

    def kept(coins: int) -> str:
        return f"{PROPOSAL_START} {coins} {PROPOSAL_END}"

    free = Exchange(
        request, kept(rng.integers(MOST + 1)), kept(NUMBER), math.log(MOST + 1)
    )
    return _by_rule(rng, free, {rule: kept(x) for rule, x in rules.items()})


def _by_rule(
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


def _beats(hand: str) -> str:
    """What beats a hand."""
    return HANDS[(HANDS.index(hand) + 1) % len(HANDS)]
