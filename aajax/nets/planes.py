"""Convolutions, for observations that are planes."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp

from aajax.nets.initializers import orthogonal
from aajax.types import Array

KERNEL = 3  # cells along a side of what one unit sees


class Planes(nn.Module):
    """Convolutions of 3 × 3 without padding over flat planes, and flat again.

    Each is a product of patches and weights. Seeds that train at once have weights of
    their own, which makes products a batch of them, and would make convolutions ones
    in groups, for which a CPU takes several times as long.

    Attributes:
      shape: C, H, W of the planes that an observation [..., C · H · W] holds.
      channels: of each convolution.
      activation: of every one.
    """

    shape: tuple[int, int, int]
    channels: Sequence[int]
    activation: Callable[[Array], Array] = jnp.tanh

    @nn.compact
    def __call__(self, x):
        lead = x.shape[:-1]
        x = jnp.moveaxis(x.reshape(*lead, *self.shape), -3, -1)
        for size in self.channels:
            x = nn.Dense(size, kernel_init=orthogonal(2**0.5))(patches(x))
            x = self.activation(x)
        return x.reshape(*lead, -1)


def patches(x: Array) -> Array:
    """What each unit of a convolution sees, f[..., H − 2, W − 2, 9 C].

    Args:
      x: f[..., H, W, C].
    """
    height, width = x.shape[-3] - KERNEL + 1, x.shape[-2] - KERNEL + 1
    shifted = [
        x[..., i : i + height, j : j + width, :]
        for i in range(KERNEL)
        for j in range(KERNEL)
    ]
    return jnp.concatenate(shifted, axis=-1)
