"""Torsos: networks from observations to features, feed-forward or recurrent.

A torso is an encoder of single observations, an optional recurrent cell (a GRU, or a
transformer with its KV cache as state), and layers after the cell.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import lecun_normal, zeros

from aajax.errors import InputError
from aajax.nets.initializers import orthogonal
from aajax.nets.planes import Planes
from aajax.nets.transformer import Transformer
from aajax.types import Array


class MLP(nn.Module):
    """Dense layers, each followed by an activation.

    Attributes:
      sizes: width of each layer; () is the identity.
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
    """A gated recurrent unit (Cho et al. 2014).

        r = σ(W_r x + U_r h),  z = σ(W_z x + U_z h),
        n = tanh(W_n x + r ∘ (U_n h + b)),  h' = (1 − z) ∘ n + z ∘ h

    `project` computes W x, which can be done for all time steps at once; `recur` is the
    sequential rest.

    Attributes:
      features: h, number of units.
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

    def step(self, h: Array, x: Array) -> tuple[Array, Array]:
        """One time step, (next state, features): both are h'."""
        h = self(h, x)
        return h, h

    @nn.nowrap
    def initial_memory(self, batch_shape: tuple[int, ...]) -> Array:
        """Zeros, f32[..., h]."""
        return jnp.zeros((*batch_shape, self.features))


def _three_orthogonal(key, shape, dtype=jnp.float32):
    size = shape[0]
    init = orthogonal()
    blocks = [init(k, (size, size), dtype) for k in jax.random.split(key, 3)]
    return jnp.concatenate(blocks, axis=1)


class Torso(NamedTuple):
    """The modules of a torso.

    Attributes:
      encoder: a module from observations [..., O] to features.
      cell: a recurrent cell over the features, or None.
      readout: a module from the cell's features to the torso's.
    """

    encoder: nn.Module
    cell: GRU | Transformer | None = None
    readout: nn.Module = MLP(())


def mlp(
    *sizes: int,
    activation: Callable[[Array], Array] = jnp.tanh,
    planes: Planes | None = None,
) -> Torso:
    """A feed-forward torso, without memory.

    Args:
      *sizes: dense layers.
      activation: of them.
      planes: convolutions before them, for observations that are planes.
    """
    return Torso(_encoder(sizes, activation, planes))


def gru(
    size: int,
    *encoder_sizes: int,
    readout_sizes: Sequence[int] = (),
    activation: Callable[[Array], Array] = jnp.tanh,
    planes: Planes | None = None,
) -> Torso:
    """A recurrent torso: dense layers, a GRU, dense layers.

    Args:
      size: units of the GRU.
      *encoder_sizes: dense layers before it.
      readout_sizes: dense layers after it.
      activation: of the dense layers.
      planes: convolutions before all, as for `mlp`.
    """
    encoder = _encoder(encoder_sizes, activation, planes)
    return Torso(encoder, GRU(size), MLP(readout_sizes, activation))


def transformer(
    size: int,
    *encoder_sizes: int,
    num_blocks: int,
    num_heads: int,
    context: int,
    readout_sizes: Sequence[int] = (),
    activation: Callable[[Array], Array] = jnp.tanh,
    planes: Planes | None = None,
) -> Torso:
    """A torso with a causal transformer over the steps of the episode.

    Args:
      size: width of the transformer, an even number.
      *encoder_sizes: dense layers before it.
      num_blocks: number of transformer blocks.
      num_heads: attention heads; must divide `size`.
      context: length of the KV cache in steps; when it is full it is emptied.
      readout_sizes: dense layers after it.
      activation: of the dense layers before and after it.
      planes: convolutions before all, as for `mlp`.

    Raises:
      InputError: for a size that is odd or no multiple of the heads.
    """
    if size % 2 or size % num_heads:
        raise InputError(
            f"size is {size}: an even multiple of {num_heads}, the number of heads, "
            "is needed"
        )
    encoder = _encoder(encoder_sizes, activation, planes)
    cell = Transformer(size, num_blocks, num_heads, context)
    return Torso(encoder, cell, MLP(readout_sizes, activation))


def _encoder(
    sizes: Sequence[int],
    activation: Callable[[Array], Array],
    planes: Planes | None,
) -> nn.Module:
    dense = MLP(sizes, activation)
    return dense if planes is None else nn.Sequential([planes, dense])
