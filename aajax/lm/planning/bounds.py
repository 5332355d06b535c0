"""Roofline bounds: FLOPs, bytes and least seconds of a decoder on given hardware.

Counted are 2 FLOPs per weight and token, 4 per token, key and unit of an attention
head, and one read of all weights per decoding step. Adapters, norms and sampling are
left out, so that times are lower bounds.
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
    """Peak rates of one device.

    Attributes:
      tflops: 10¹² FLOPs per second of matrix products.
      memory_gbs: memory bandwidth, 10⁹ bytes per second.
      link_gbs: bandwidth from other devices, 10⁹ bytes per second; infinite for one
        device.
    """

    tflops: Positive
    memory_gbs: Positive
    link_gbs: LinkRate = math.inf

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Lower bounds of the times of an iteration's phases, in seconds.

    Attributes:
      reading: prefill of the prompts.
      sampling: decoding, token by token.
      training: one training step on all prompts and samples.
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
    """Number of weights of all layers, without embedding and head."""
    params = jax.eval_shape(functools.partial(init_params, config), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params["layers"]))


def _one_expert(config: DecoderConfig) -> int:
    """Number of weights of one expert in all layers."""
    return 3 * config.num_layers * config.hidden_size * config.intermediate_size


def active_size(config: DecoderConfig) -> int:
    """Number of the layers' weights that a token is multiplied with."""
    others = config.num_experts - config.experts_per_token
    return layer_size(config) - others * _one_expert(config)


def attention_flops(config: DecoderConfig, length: int) -> float:
    """FLOPs of causal attention per token, mean over a sequence of `length`.

    Those of recurrent layers, which do not grow with it, are left out.
    """
    sizes = [config.heads(config.mixer(layer))[1] for layer in config.attending]
    return 2 * config.num_heads * sum(sizes) * (length + 1)


def forward_flops(config: DecoderConfig, length: int) -> float:
    """FLOPs of all layers per token, mean over a sequence of `length`."""
    return 2 * active_size(config) + attention_flops(config, length)


def logits_flops(config: DecoderConfig) -> float:
    """FLOPs of the logits per token."""
    return 2 * config.vocab_size * config.hidden_size


def training_flops(
    config: DecoderConfig,
    length: int,
    frozen: bool = False,
    remat: bool = False,
    targets: float = 1.0,
) -> float:
    """FLOPs of a training step per token, mean over a sequence of `length`.

    The sum of the forward pass, the backward pass to activations and, unless `frozen`,
    to weights, and with `remat` another forward pass. Logits are computed for the share
    `targets` of tokens.
    """
    weights, logits = 2 * active_size(config), targets * logits_flops(config)
    attention = attention_flops(config, length)
    passes = 2 if frozen else 3
    again = weights + attention if remat else 0.0
    return passes * (weights + logits) + 3 * attention + again


def step_bytes(
    config: DecoderConfig, batch: float, length: float, itemsize: int
) -> float:
    """Bytes that one decoding step must read from memory.

    All weights once (but of an untied embedding only a few rows, left out, and of
    experts as many as can be met), and the KV cache of `batch` sequences of `length`.
    """
    each = [math.prod(config.heads(config.mixer(layer))) for layer in config.caching]
    cache = 2 * sum(each)
    unmet = max(config.num_experts - batch * config.experts_per_token, 0)
    unread = unmet * _one_expert(config) * itemsize
    return weight_bytes(config, itemsize) - unread + batch * length * cache * itemsize


def weight_bytes(config: DecoderConfig, itemsize: int) -> int:
    """Bytes of all weights that a decoding step can need."""
    size = layer_size(config) + config.vocab_size * config.hidden_size
    return size * itemsize


def iteration_seconds(
    config: DecoderConfig,
    rates: Rates,
    iteration: Iteration,
    *,
    data: int = 1,
    fsdp: int = 1,
    tensor: int = 1,
) -> Seconds:
    """Lower bounds of the time to sample all sequences and to train on them.

    Work is divided evenly over the mesh. Weights that are sharded over `fsdp` are
    all-gathered in each decoding step, overlapped with computation.

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
    weights = weight_bytes(config, iteration.itemsize)
    gathered = weights / tensor * (fsdp - 1) / fsdp
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
