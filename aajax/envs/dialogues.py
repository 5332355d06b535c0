"""Requests with a rule by which the answer follows; and of all kinds, one at a time.

A model that has read them finds values and hands compared, and can be brought to act on
that by little, without having come to prefer anything.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from aajax.envs.matrix.pocket import two_choices
from aajax.envs.pocket import Exchange, pick, told
from aajax.envs.split.pocket import item_split, ruled_items
from aajax.envs.trust_and_split.pocket import (
    coin_split,
    hand,
    message,
    ruled_coins,
    ruled_hands,
    ruled_winnings,
)

KINDS = (two_choices, item_split, coin_split, message, hand)
Rules = Literal["split", "trust-and-split"]
RULES: dict[Rules, tuple[Callable, ...]] = {
    "split": (ruled_items, ruled_items, ruled_coins, ruled_hands),
    "trust-and-split": (ruled_winnings, ruled_hands),
}


def exchange(
    rng: np.random.Generator, rules: Rules | None = None, honesty: float | None = None
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
