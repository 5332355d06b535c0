"""Observations as concatenated named parts, each scaled from [0, largest] to [−1, 1].

Centring on 0 keeps the mean of the inputs from dominating a network's first layer.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp

from aajax.types import Array


class Part(NamedTuple):
    """One part of an observation.

    Attributes:
      size: number of entries.
      largest: upper bound of an entry in the game's own units; the lower bound is 0.
    """

    size: int
    largest: Array | float = 1.0


def width(parts: Mapping[str, Part]) -> int:
    """Length of an observation."""
    return sum(part.size for part in parts.values())


def layout(parts: Mapping[str, Part]) -> dict[str, slice]:
    """The slice of each part in an observation, by name."""
    places, start = {}, 0
    for name, part in parts.items():
        places[name] = slice(start, start + part.size)
        start += part.size
    return places


def write(parts: Mapping[str, Part], numbers: Mapping[str, Array]) -> Array:
    """The observation f32[N, O]: x / (X / 2) − 1 for each part x, X its largest value.

    Args:
      parts: the parts of an observation, in order.
      numbers: the value of each part, [N, size], in the game's own units, by name.
    """
    seen = []
    for name, part in parts.items():
        half = part.largest / 2
        # In this order, so that the middle is shown as 0 however it is compiled.
        seen.append((numbers[name].astype(jnp.float32) - half) / half)
    return jnp.concatenate(seen, axis=1)


def read(parts: Mapping[str, Part], observation: Array) -> dict[str, Array]:
    """Inverse of `write`: the parts of f32[..., O] in the game's own units, by name."""
    numbers = {}
    for name, place in layout(parts).items():
        half = parts[name].largest / 2
        numbers[name] = half + half * observation[..., place]
    return numbers
