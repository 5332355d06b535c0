"""Samplers of the stakes of a negotiation: the pool and both agents' utilities.

There are three kinds of item and two agents. A sampler is a function of a few random
words alone, so that games with the same key have the same stakes.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aajax.types import Array

NUM_AGENTS = 2
NUM_ITEMS = 3
MOST = 5  # items of one kind, and (but for some samplers) what one item is worth


class Stakes(NamedTuple):
    """The stakes of a round: the pool, and what it is worth to each agent.

    Attributes:
      pool: f32[3], how many there are of each kind of item.
      utility: f32[N, 3], what one item is worth to each agent.
    """

    pool: Array
    utility: Array


class Sampler(NamedTuple):
    """A distribution of stakes.

    Attributes:
      draw: `u32[num_words] -> Stakes`.
      num_words: random words that a draw takes.
      largest: the greatest |utility|.
      worth: default of the utility that corresponds to a reward of 1.
      can_be_negative: whether an item may be worth less than nothing.
    """

    draw: Callable[[Array], Stakes]
    num_words: int
    largest: int = MOST
    worth: int = MOST * NUM_ITEMS
    can_be_negative: bool = False


def uniform(words: Array) -> Stakes:
    """Pool sizes and utilities uniform on 1, ..., 5, independently."""
    digits = _one_to_five(words)
    return Stakes(digits[0], digits[1:])


def high_contrast(words: Array) -> Stakes:
    """One of each item, worth 1 to one agent and 5 to the other, by a fair coin."""
    coins = (words[0] >> jnp.arange(NUM_ITEMS, dtype=jnp.uint32)) & 1
    first = 1.0 + 4.0 * coins.astype(jnp.float32)
    return Stakes(jnp.ones(NUM_ITEMS), jnp.stack([first, 6.0 - first]))


def competitive(words: Array) -> Stakes:
    """Pool sizes and utilities uniform on 1, ..., 5; utilities are equal for both."""
    pool, utility = _one_to_five(words)
    return Stakes(pool, jnp.stack([utility, utility]))


def cooperative(words: Array) -> Stakes:
    """Opposite utilities, (a, −b, 0) and (−a, b, 0), with 4 of each item."""
    first = _one_to_five(words)[0] * jnp.array([1.0, -1.0, 0.0])
    return Stakes(jnp.full(NUM_ITEMS, 4.0), jnp.stack([first, -first]))


def deal_or_no_deal(words: Array) -> Stakes:
    """One of the contexts of `deal_or_no_deal_contexts`, uniformly."""
    contexts = deal_or_no_deal_contexts()
    row = jnp.asarray(contexts)[words[0] % len(contexts)].astype(jnp.float32)
    return Stakes(row[0], row[1:])


def fixed(pool: tuple[int, ...], utility: tuple[tuple[int, ...], ...]):
    """The same stakes every time."""

    def draw(words: Array) -> Stakes:
        del words
        return Stakes(jnp.array(pool, jnp.float32), jnp.array(utility, jnp.float32))

    return draw


@functools.cache
def deal_or_no_deal_contexts() -> np.ndarray:
    """All contexts of "Deal or No Deal?", u8[C, 1 + N, 3]: pool, each agent's values.

    There are at least one of each item and 5 to 7 in all; values are integers ≥ 0; the
    pool is worth exactly 10 to each agent; no item is worth 0 to both, and some item is
    worth more than 0 to both, so that not both can earn the maximum
    (Lewis et al. 2017, https://arxiv.org/abs/1706.05125).
    """
    contexts = []
    for pool in itertools.product(range(1, MOST + 1), repeat=NUM_ITEMS):
        if not 5 <= sum(pool) <= 7:
            continue
        values = [
            value
            for value in itertools.product(range(11), repeat=NUM_ITEMS)
            if np.dot(value, pool) == 10
        ]
        contexts += [
            (pool, first, second)
            for first, second in itertools.product(values, repeat=NUM_AGENTS)
            if np.all(np.add(first, second)) and np.any(np.multiply(first, second))
        ]
    return np.array(contexts, np.uint8)


def _one_to_five(words: Array) -> Array:
    """Three numbers from each word, f32[num_words, 3], each of 1, ..., 5 uniformly.

    125 does not divide 2^32: the probabilities are off by less than 1e-7 of their own.
    """
    place = jnp.array([[1, MOST, MOST**2]], jnp.uint32)
    digits = (words[:, None] % MOST**NUM_ITEMS) // place % MOST
    return 1.0 + digits.astype(jnp.float32)


SAMPLERS = {
    "uniform": Sampler(uniform, 3),
    "high_contrast": Sampler(high_contrast, 1),
    "high_contrast_no_sampling": Sampler(
        fixed((1, 1, 1), ((5, 5, 1), (1, 1, 5))), num_words=0
    ),
    "no_sampling": Sampler(
        fixed((4, 4, 4), ((10, 3, 2), (3, 10, 2))), num_words=0, largest=10
    ),
    "cooperative": Sampler(cooperative, 1, can_be_negative=True),
    "competitive": Sampler(competitive, 2),
    "deal_or_no_deal": Sampler(deal_or_no_deal, 1, largest=10, worth=10),
}
