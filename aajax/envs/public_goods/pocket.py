"""Training exchanges for pocket models, in the format of public goods."""

import math

import numpy as np

from aajax.envs.pocket import MOST, NUMBER, Exchange, by_rule, pick, request_of
from aajax.envs.public_goods.words import LEVELS


def contribution(rng: np.random.Generator) -> Exchange:
    """A round in which each player says how many coins to give."""
    news = (
        f"Everybody has {MOST} coins.",
        f"The others gave: B {rng.integers(MOST + 1)}, C {rng.integers(MOST + 1)}.",
        f"You earned {rng.integers(2 * MOST)} points.",
    )
    asks = (
        f"What do you give of your {MOST} coins? Answer <x> for x coins",
        f"Say how much you give, 0 to {MOST}, as <x>",
    )
    terse = f"Give of {MOST} coins: <x>\nGive?", f"They gave {pick(rng, LEVELS)}\nGive?"
    request = request_of(rng, news, asks, terse)
    answer = f"<{rng.integers(MOST + 1)}>"
    return Exchange(request, answer, f"<{NUMBER}>", math.log(MOST + 1))


def ruled_contributions(rng: np.random.Generator) -> Exchange:
    """A round in the short wording, with a rule for what to give."""
    level = int(rng.integers(len(LEVELS)))
    gave, gave_more = level > 0, level > 1
    rules = {
        "Give all.": MOST,
        "Give nothing.": 0,
        "Give half.": MOST // 2,
        "Give as they did.": (0, 3, 7, MOST)[level],
        "Give the rest of what they gave.": (MOST, 7, 3, 0)[level],
        "Give all if they gave something, or nothing.": MOST * gave,
        "Give nothing if they gave something, or all.": MOST * (not gave),
        "Give all if they gave much or all, or nothing.": MOST * gave_more,
        "Give nothing if they gave much or all, or all.": MOST * (not gave_more),
    }
    free = Exchange(
        f"They gave {LEVELS[level]}\nGive?", f"<{rng.integers(MOST + 1)}>",
        f"<{NUMBER}>", math.log(MOST + 1),
    )  # fmt: skip
    return by_rule(rng, free, {rule: f"<{coins}>" for rule, coins in rules.items()})
