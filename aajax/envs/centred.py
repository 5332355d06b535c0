"""Observations made of named parts, each scaled from [0, largest] to [−1, 1].

Around 0, so that a network's first layer is not driven by their mean.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp

from aajax.types import Array


class Part(NamedTuple):
    """One part of an observation.

    Attributes:
      size: numbers in it.
      largest: that any of them can be, in the game's own units; the least is 0.
    """

    size: int
    largest: Array | float = 1.0


def width(parts: Mapping[str, Part]) -> int:
    """Numbers in an observation."""
    return sum(part.size for part in parts.values())


def layout(parts: Mapping[str, Part]) -> dict[str, slice]:
    """Where in an observation each of its parts is, by name."""
    places, start = {}, 0
    for name, part in parts.items():
        places[name] = slice(start, start + part.size)
        start += part.size
    return places


def write(parts: Mapping[str, Part], numbers: Mapping[str, Array]) -> Array:
    """(x − X / 2) / (X / 2) of every part, X its largest, in order, f32[N, O].

    Args:
      parts: what an observation is made of.
      numbers: [N, size] each, in the game's own units, by name.
    """
    seen = []
    for name, part in parts.items():
        half = part.largest / 2
        # In this order, so that the middle is shown as 0 however it is compiled.
        seen.append((numbers[name].astype(jnp.float32) - half) / half)
    return jnp.concatenate(seen, axis=1)


def read(parts: Mapping[str, Part], observation: Array) -> dict[str, Array]:
    """The parts of observations f32[..., O] in the game's own units, by name."""
    numbers = {}
    for name, place in layout(parts).items():
        half = parts[name].largest / 2
        numbers[name] = half + half * observation[..., place]
    return numbers
