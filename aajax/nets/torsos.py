"""Torsos: what turns observations into features, with or without memory.

A torso is an encoder that sees one observation; if it remembers, a cell that carries
features through time; and layers after the cell.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import lecun_normal, zeros

from aajax.nets.initializers import orthogonal
from aajax.types import Array


class MLP(nn.Module):
    """Dense layers, each followed by an activation.

    Attributes:
      sizes: width of each layer; none at all passes the input on.
      activation: of every layer.
    """

    sizes: Sequence[int]
    activation: Callable[[Array], Array] = jnp.tanh

    @nn.compact
    def __call__(self, x):
        for size in self.sizes:
            x = self.activation(nn.Dense(size, kernel_init=orthogonal(2**0.5))(x))
        return x


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014), its two halves apart.

        r = σ(W_r x + U_r h),  z = σ(W_z x + U_z h),
        n = tanh(W_n x + r ∘ (U_n h + b)),  h' = (1 − z) ∘ n + z ∘ h

    `project` computes all of W x; `recur` is what remains.

    Attributes:
      features: units, h.
    """

    features: int

    def setup(self):
        self.input = nn.Dense(3 * self.features, kernel_init=lecun_normal())
        shape = self.features, 3 * self.features
        self.recurrent = self.param("recurrent", _three_orthogonal, shape)
        self.bias = self.param("bias", zeros, (self.features,))

    def project(self, x: Array) -> Array:
        """W x with its biases, f32[..., 3h] from f32[..., F]."""
        return self.input(x)

    def recur(self, h: Array, projected: Array) -> Array:
        """h' from h, f32[..., h], and W x, f32[..., 3h]."""
        from_input = jnp.split(projected, 3, axis=-1)
        from_memory = jnp.split(h @ self.recurrent, 3, axis=-1)
        r, z = (
            jax.nn.sigmoid(x + y)
            for x, y in zip(from_input[:2], from_memory[:2], strict=True)
        )
        bias = jnp.broadcast_to(self.bias, h.shape)
        n = jnp.tanh(from_input[2] + r * (from_memory[2] + bias))
        return n + z * (h - n)

    def __call__(self, h: Array, x: Array) -> Array:
        return self.recur(h, self.project(x))


def _three_orthogonal(key, shape, dtype=jnp.float32):
    size = shape[0]
    init = orthogonal()
    blocks = [init(k, (size, size), dtype) for k in jax.random.split(key, 3)]
    return jnp.concatenate(blocks, axis=1)


class Torso(NamedTuple):
    """An encoder, a cell if it remembers, and layers after it.

    Attributes:
      encoder: a module from observations [..., O] to features.
      cell: a recurrent cell over the features, or None.
      readout: a module from the cell's features to the torso's.
    """

    encoder: nn.Module
    cell: GRU | None = None
    readout: nn.Module = MLP(())


def mlp(*sizes: int, activation: Callable[[Array], Array] = jnp.tanh) -> Torso:
    """Sees the present observation alone."""
    return Torso(MLP(sizes, activation))


def gru(
    size: int,
    *encoder_sizes: int,
    readout_sizes: Sequence[int] = (),
    activation: Callable[[Array], Array] = jnp.tanh,
) -> Torso:
    """Remembers the whole history in `size` gated units.

    Args:
      size: units of the cell.
      *encoder_sizes: dense layers before it.
      readout_sizes: dense layers after it.
      activation: of the dense layers.
    """
    encoder, readout = MLP(encoder_sizes, activation), MLP(readout_sizes, activation)
    return Torso(encoder, GRU(size), readout)
