"""Training exchanges for pocket models, in the format of games of two choices."""

import math

import numpy as np

from aajax.envs.pocket import Exchange, pick, request_of


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
    request = request_of(rng, news, asks, terse)
    return Exchange(request, f"<{letter}>", "<A>|<B>", math.log(2))
