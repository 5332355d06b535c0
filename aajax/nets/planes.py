"""Convolutions, for observations that are images of several planes (channels)."""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from aajax.nets.initializers import orthogonal
from aajax.types import AnyArray, Array

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
        # Not reshaped to C, H, W first: TPUs would pad H and W to 8 and 128.
        cells = np.arange(math.prod(self.shape)).reshape(self.shape)
        seen = x[..., patches(np.moveaxis(cells, 0, -1))]
        for i, size in enumerate(self.channels):
            x = patches(x) if i else seen
            x = nn.Dense(size, kernel_init=orthogonal(2**0.5))(x)
            x = self.activation(x)
        return x.reshape(*lead, -1)


def patches(x: AnyArray) -> AnyArray:
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
    join = np.concatenate if isinstance(x, np.ndarray) else jnp.concatenate
    return join(shifted, axis=-1)
