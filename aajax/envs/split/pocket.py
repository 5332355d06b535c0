"""Training exchanges for pocket models, in the format of Split."""

import math
from collections.abc import Sequence

import numpy as np

from aajax.envs.pocket import MOST, NUMBER, Exchange, by_rule, pick, request_of
from aajax.envs.split import words
from aajax.envs.split.words import compared, sign

ITEMS = words.ITEMS[:3]


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
    request = request_of(rng, news, asks, terse)
    nats = len(items) * math.log(MOST + 1)
    return Exchange(request, f"Proposal: {kept}", pattern, nats)


def ruled_items(rng: np.random.Generator) -> Exchange:
    """A round of Split in the short wording, with a rule for what to keep."""
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
    return by_rule(rng, free, {r: f"Proposal: {kept(x)}" for r, x in rules.items()})
