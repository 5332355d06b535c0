"""What a device's rates allow at best: arithmetic, bytes and seconds of a decoder.

Two operations per weight and token, and four per token, key and unit of a head; all
weights are read once per step of decoding. Adapters, norms and samplers are left out:
these are bounds.
"""

import dataclasses
import functools
import math
from typing import Annotated

import jax

from aajax.errors import InputError
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import init_params
from aajax.schema import Positive, Range, check

LinkRate = Annotated[float, Range(0, above=True, infinite=True)]


@dataclasses.dataclass(frozen=True)
class Rates:
    """What one device does at most.

    Attributes:
      tflops: 10¹² operations per second of products.
      memory_gbs: 10⁹ bytes per second from its memory.
      link_gbs: 10⁹ bytes per second that reach it from other devices; infinite where
        there are none.
    """

    tflops: Positive
    memory_gbs: Positive
    link_gbs: LinkRate = math.inf

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Least times of an iteration's parts.

    Attributes:
      reading: what is told, into the cache.
      sampling: token by token.
      training: one step on all that was read and sampled.
    """

    reading: float
    sampling: float
    training: float


@dataclasses.dataclass(frozen=True)
class Iteration:
    """What is played and learned from in one iteration.

    Attributes:
      batch: sequences, over all devices.
      length: tokens of each at the end.
      sampled: how many of these were sampled; above 0 and below `length`.
      itemsize: bytes of a number in weights and cache.
      frozen: whether only adapters are trained.
      remat: whether training recomputes layers.
    """

    batch: int
    length: int
    sampled: int
    itemsize: int = 2
    frozen: bool = True
    remat: bool = True

    def __post_init__(self):
        if not 0 < self.sampled < self.length:
            raise InputError(
                f"sampled is {self.sampled}: a number from 1 to {self.length - 1}, "
                "below the length, is needed"
            )


def layer_size(config: DecoderConfig) -> int:
    """Weights of all layers."""
    params = jax.eval_shape(functools.partial(init_params, config), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params["layers"]))


def attention_flops(config: DecoderConfig, length: int) -> float:
    """Of a token that sees those before it, a mean over a sequence's."""
    return 2 * config.num_layers * config.num_heads * config.head_dim * (length + 1)


def forward_flops(config: DecoderConfig, length: int) -> float:
    """Of all layers and a token, a mean over a sequence of `length`."""
    return 2 * layer_size(config) + attention_flops(config, length)


def logits_flops(config: DecoderConfig) -> float:
    """Of a token's."""
    return 2 * config.vocab_size * config.hidden_size


def training_flops(
    config: DecoderConfig,
    length: int,
    frozen: bool = False,
    remat: bool = False,
    targets: float = 1.0,
) -> float:
    """Of a token in a training step, a mean over a sequence's.

    Forward, backward to what came in and, unless weights are frozen, to them; and
    forward once more where layers are recomputed. Logits are those of a share of
    tokens, the targets.
    """
    weights, logits = 2 * layer_size(config), targets * logits_flops(config)
    attention = attention_flops(config, length)
    passes = 2 if frozen else 3
    again = weights + attention if remat else 0.0
    return passes * (weights + logits) + 3 * attention + again


def step_bytes(
    config: DecoderConfig, batch: float, length: float, itemsize: int
) -> float:
    """Bytes that a step of decoding cannot but read.

    All weights once (of an untied embedding a few rows, which are left out), and the
    keys and values of `batch` sequences of `length`.
    """
    cache = 2 * config.num_layers * config.num_kv_heads * config.head_dim
    weights = layer_size(config) + config.vocab_size * config.hidden_size
    return (weights + batch * length * cache) * itemsize


def iteration_seconds(
    config: DecoderConfig,
    rates: Rates,
    iteration: Iteration,
    *,
    data: int = 1,
    fsdp: int = 1,
    tensor: int = 1,
) -> Seconds:
    """Least seconds of playing all sequences once and of a step on them.

    Every device has its part of sequences and of tensor products. Weights that are
    split by `fsdp` are gathered for each step of decoding, while the last ones are
    worked with.

    Args:
      config: of the decoder.
      rates: of each device.
      iteration: what is played and learned from.
      data, fsdp, tensor: sizes of the mesh axes.
    """
    batch, length, sampled = iteration.batch, iteration.length, iteration.sampled
    devices = data * fsdp * tensor
    flops = rates.tflops * 1e12 * devices
    own = batch / (data * fsdp)
    read = step_bytes(config, own, length / 2, iteration.itemsize) / tensor
    gathered = step_bytes(config, 0, 0, iteration.itemsize) / tensor * (fsdp - 1) / fsdp
    memory = read / (rates.memory_gbs * 1e9)
    link = gathered / (rates.link_gbs * 1e9)
    forward = forward_flops(config, length)
    arithmetic = batch * (forward + logits_flops(config)) / flops
    learned = training_flops(
        config, length, iteration.frozen, iteration.remat, sampled / length
    )
    return Seconds(
        reading=batch * (length - sampled) * forward / flops,
        sampling=sampled * max(memory, link, arithmetic),
        training=batch * length * learned / flops,
    )
