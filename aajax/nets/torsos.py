"""Torsos: what turns observations into features, with or without memory.

A torso is an encoder that sees one observation and, if it remembers, a cell that
carries features through time. Only the cell is scanned: the encoder and the heads
work on all steps at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.initializers import orthogonal


class MLP(nn.Module):
    """Dense layers, each followed by tanh.

    Attributes:
      sizes: width of each layer.
    """

    sizes: Sequence[int]

    @nn.compact
    def __call__(self, x):
        for size in self.sizes:
            x = jnp.tanh(nn.Dense(size, kernel_init=orthogonal(2**0.5))(x))
        return x


class Torso(NamedTuple):
    """An encoder, and a cell if it remembers.

    Attributes:
      encoder: a module from observations [..., O] to features.
      cell: a recurrent cell over the features, or None.
    """

    encoder: nn.Module
    cell: nn.RNNCellBase | None = None


def mlp(*sizes: int) -> Torso:
    """Sees the present observation alone."""
    return Torso(MLP(sizes))


def gru(size: int, *encoder_sizes: int) -> Torso:
    """Remembers the whole history in `size` gated units (Cho et al. 2014)."""
    return Torso(MLP(encoder_sizes), nn.GRUCell(size))
