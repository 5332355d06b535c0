"""Samplers of item values in Split: the agents' values differ, but have equal sums.

In every round the two value vectors are different, and all items together are worth the
same to both agents. All such pairs are equally likely (to one part in 10^5). A draw is
a function of a few random words alone, so that games with the same key have the same
values.

Source: AdAlign for language models, https://arxiv.org/abs/2511.19405.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aajax.types import Array

MOST_ITEMS = 4  # kinds; of more, "one_to_twenty" has too many to list


class Sampler(NamedTuple):
    """A distribution of the values of a round.

    Attributes:
      draw: `u32[num_words] -> i32[N, num_items]`.
      num_words: random words that a draw takes.
      largest: the greatest value.
    """

    draw: Callable[[Array], Array]
    num_words: int
    largest: int


class Sums(NamedTuple):
    """Vectors of values in the order of their sums.

    Attributes:
      vector: u8[V, num_items].
      start: i32[S], index of the first vector of each sum that at least two have.
      count: u32[S], number of vectors with that sum.
      below: u32[S − 1], 2^32 times the cumulative probability of the sums.
    """

    vector: np.ndarray
    start: np.ndarray
    count: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]
    below: np.ndarray


def ties(num_items: int) -> Sampler:
    """Each 1 or 10; items may be worth the same to both."""
    return _listed(num_items, exclusive=False)


def exclusive(num_items: int) -> Sampler:
    """Each 1 to one agent and 10 to the other."""
    return _listed(num_items, exclusive=True)


def one_to_twenty(num_items: int) -> Sampler:
    """Integers from 1 to 20.

    A sum that n vectors have is drawn with weight n(n − 1), then two different vectors
    of that sum: all pairs are equally likely.
    """

    def draw(words: Array) -> Array:
        sums = vectors_by_sum(num_items)
        which = jnp.sum(words[0] >= jnp.asarray(sums.below), dtype=jnp.int32)
        start, count = jnp.asarray(sums.start)[which], jnp.asarray(sums.count)[which]
        first = words[1] % count
        second = (first + 1 + words[2] % (count - 1)) % count
        place = start + jnp.stack([first, second]).astype(jnp.int32)
        return jnp.asarray(sums.vector)[place].astype(jnp.int32)

    return Sampler(draw, num_words=3, largest=20)


SAMPLERS: dict[str, Callable[[int], Sampler]] = {
    "ties": ties,
    "exclusive": exclusive,
    "one_to_twenty": one_to_twenty,
}


@functools.cache
def pairs(num_items: int, exclusive: bool) -> np.ndarray:
    """All pairs of different vectors of 1s and 10s with equal sums, i32[C, N, items].

    Args:
      num_items: 2 to 4.
      exclusive: whether every item is worth 1 to one of them and 10 to the other.
    """
    vectors = list(itertools.product((1, 10), repeat=num_items))
    return np.array(
        [
            (first, second)
            for first, second in itertools.product(vectors, repeat=2)
            if first != second and sum(first) == sum(second)
            if not exclusive or all(a != b for a, b in zip(first, second, strict=True))
        ],
        np.int32,
    )


@functools.cache
def vectors_by_sum(num_items: int) -> Sums:
    """All vectors of whole numbers from 1 to 20, by sum."""
    vector = np.indices((20,) * num_items).reshape(num_items, -1).T + 1
    total = vector.sum(1)
    vector = vector[np.argsort(total, kind="stable")].astype(np.uint8)
    _, start, count = np.unique(np.sort(total), return_index=True, return_counts=True)
    start, count = start[count > 1], count[count > 1]
    weight = [int(n) * (int(n) - 1) for n in count]
    below = [(part << 32) // sum(weight) for part in itertools.accumulate(weight)]
    return Sums(
        vector,
        start.astype(np.int32),
        count.astype(np.uint32),
        np.array(below[:-1], np.uint32),
    )


def _listed(num_items: int, exclusive: bool) -> Sampler:
    def draw(words: Array) -> Array:
        table = pairs(num_items, exclusive)
        return jnp.asarray(table)[words[0] % len(table)]

    return Sampler(draw, num_words=1, largest=10)
