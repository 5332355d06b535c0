"""The chunk size of prefill: how many tokens of prompts are read at once."""

import math

import jax.numpy as jnp
from jax.sharding import Mesh

from aajax.lm.model.attention import SLOTS
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import BATCH

MOST, LEAST = 512, 16  # tokens
SHARE = 1 / 8  # of a device's memory that activations may take


def fitting_chunk(
    config: DecoderConfig,
    rows: int,
    mesh: Mesh | None,
    dtype: jnp.dtype,
    memory: float | None,
) -> int:
    """The largest power of two, up to 512, of tokens of each row that fit in memory.

    Args:
      config: of the decoder.
      rows: that are read at once, on all devices.
      mesh: None for one device.
      dtype: of the computation.
      memory: bytes of a device; None if they are unknown, for 512.
    """
    if memory is None:
        return MOST
    parts = 1 if mesh is None else math.prod(mesh.shape[axis] for axis in BATCH)
    tensor = 1 if mesh is None else mesh.shape["tensor"]
    own = math.ceil(rows / parts)
    room = SHARE * memory / (own * _bytes_of_token(config, tensor, dtype))
    fitting = 1 << max(int(room), 1).bit_length() - 1
    return min(max(fitting, LEAST), MOST)


def _bytes_of_token(config: DecoderConfig, tensor: int, dtype: jnp.dtype) -> float:
    """Bytes of the activations of one token that exist at the same time.

    Four vectors of the hidden size, three of the MLP, and per head two in float32 and
    the scores of one block of slots.
    """
    hidden = 4 * config.hidden_size + 3 * config.units_per_token / tensor
    size = max(config.head_dim, config.full_head_dim or 0)
    heads = config.num_heads / tensor * 4 * (2 * size + SLOTS)
    return hidden * jnp.dtype(dtype).itemsize + heads
