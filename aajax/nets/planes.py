"""Convolutions, for observations that are images of several planes (channels)."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp

from aajax.nets.initializers import orthogonal
from aajax.types import Array

KERNEL = 3  # cells along a side of what one unit sees


class Planes(nn.Module):
    """A stack of 3 × 3 convolutions without padding, from and to flat vectors.

    Each convolution is a matrix product of patches and weights. Under `vmap` over seeds
    this becomes a batched product, where a convolution would become a grouped one,
    which is several times slower on CPUs.

    Attributes:
      shape: C, H, W of the image that an observation [..., C · H · W] holds.
      channels: output channels of each convolution.
      activation: after each convolution.
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
    """All 3 × 3 patches (im2col), f[..., H − 2, W − 2, 9 C].

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
