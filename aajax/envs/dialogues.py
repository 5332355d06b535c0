"""Training exchanges for pocket models, sampled from the text formats of all games.

In some the request states a rule that determines the answer from the numbers or hands
in it. A model trained on them can compare these, so that an adapter can later learn to
act on them, but it has no preferences among actions yet.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from aajax.envs.matrix.pocket import two_choices
from aajax.envs.pocket import Exchange, pick, told
from aajax.envs.public_goods.pocket import contribution, ruled_contributions
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
Rules = Literal["split", "trust-and-split", "public-goods"]
RULES: dict[Rules, tuple[Callable, ...]] = {
    "split": (ruled_items, ruled_items, ruled_coins, ruled_hands),
    "trust-and-split": (ruled_winnings, ruled_hands),
    # Among the kinds of all games it would change the models of the others.
    "public-goods": (contribution, ruled_contributions, ruled_contributions),
}


def exchange(
    rng: np.random.Generator, rules: Rules | None = None, honesty: float | None = None
) -> Exchange:
    """A random exchange; two in three state the wanted answer (see `pocket.told`).

    Args:
      rng: random generator.
      rules: key of `RULES`, or None. If given, two thirds of the exchanges are of these
        kinds, whose requests may end in a rule that determines the answer; without a
        rule any answer is right. Rules refer to their own request only, and each rule
        that favours oneself has a counterpart that favours the other player.
      honesty: passed to `ruled_hands`. If given, exchanges of the plain kind `hand` are
        left out, so that it alone sets how often the truth is told unasked.
    """
    kinds = KINDS
    if honesty is not None:
        kinds = tuple(kind for kind in KINDS if kind is not hand)
    if rules is not None and rng.integers(3):
        kind = pick(rng, RULES[rules])
        return kind(rng, honesty=honesty) if kind is ruled_hands else kind(rng)
    each = pick(rng, kinds)(rng)
    return told(rng, each) if rng.integers(3) else each
