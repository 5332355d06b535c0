"""Language models at work: dialogues, prompts, training; and what bounds them."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aajax.bench.timing import rate, rates, seconds
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import init_params
from aajax.lm.model.lora import LoraConfig, init_adapters
from aajax.lm.planning.bounds import (
    forward_flops,
    logits_flops,
    step_bytes,
    training_flops,
)
from aajax.lm.sampling.sampler import Sampler, Sampling
from aajax.lm.training.fit import TokenBatch, make_step
from aajax.types import Array, PyTree

UNIT = "tokens/s"
_MOST_STREAMED = 2**30  # bytes, far beyond what caches hold


@dataclasses.dataclass(frozen=True)
class Work:
    """What is measured.

    All turns have the same length and nothing stops early, so that no library pads.

    Attributes:
      config: of the decoder.
      folder: its checkpoint; None for random weights, made on the device.
      dtype: of weights, cache and arithmetic.
      batch: dialogues, and prompts.
      rounds: of a dialogue.
      turn: tokens that are heard, and as many sampled, in a round.
      prompt: tokens of each prompt.
      training_batch, training_length: sequences of a step and their tokens.
      train: all params, or an adapter of `rank` on the frozen params, its layers
        recomputed in the backward pass.
      rank: of the adapter.
    """

    config: DecoderConfig
    folder: str | None = None
    dtype: str = "float32"
    batch: int = 16
    rounds: int = 10
    turn: int = 24
    prompt: int = 256
    training_batch: int = 8
    training_length: int = 256
    train: Literal["params", "adapters"] = "params"
    rank: int = 32

    def heard(self, i: int) -> np.ndarray:
        """i32[rounds, batch, turn], what repeat i tells its dialogues."""
        shape = self.rounds, self.batch, self.turn
        rng = np.random.default_rng(i)
        return rng.integers(0, self.config.vocab_size, shape, np.int32)

    def tokens(self, i: int, batch: int, length: int) -> np.ndarray:
        """i32[batch, length] of repeat i."""
        rng = np.random.default_rng(i)
        return rng.integers(0, self.config.vocab_size, (batch, length), np.int32)


def measure_dialogue(repeats: int, work: Work) -> dict:
    """Rounds of hearing a turn and sampling one, at temperature 1; nothing read twice.

    Caches grow as they are needed.

    Returns:
      Records of sampled tokens per second: "dialogue", of all that is done, and
      "decode", of the time of sampling alone.
    """
    sampler = Sampler(work.config, jnp.dtype(work.dtype))
    params = sampler.prepare(_params(work))
    never = np.zeros(work.config.vocab_size, bool)
    sampling = []

    def dialogue(i: int):
        session = sampler.start(work.batch)
        sampling.append(0.0)
        for number, heard in enumerate(work.heard(i)):
            session = sampler.append(session, params, list(heard), donate=True)
            jax.block_until_ready(session.last)
            began = time.perf_counter()
            session, sample = sampler.generate(
                session,
                params,
                jax.random.key(work.rounds * i + number),
                Sampling(max_tokens=work.turn, stop=never),
                donate=True,
            )
            jax.block_until_ready(session.last)
            sampling[-1] += time.perf_counter() - began
            if not (sample.length == work.turn).all():
                raise RuntimeError("a dialogue ended early")
        return session.last

    count = work.batch * work.rounds * work.turn
    return {
        "dialogue": rate(dialogue, repeats, count, UNIT),
        "decode": rates(sampling[1:], count, UNIT, sampling[0]),
        **_device_peak(),
    }


def measure_prefill(repeats: int, work: Work) -> dict:
    """Prompts read into an empty cache."""
    sampler = Sampler(work.config, jnp.dtype(work.dtype))
    params = sampler.prepare(_params(work))

    def read(i: int):
        prompts = work.tokens(i, work.batch, work.prompt)
        session = sampler.start(work.batch, work.prompt)
        return sampler.append(session, params, list(prompts), donate=True).last

    result = rate(read, repeats, work.batch * work.prompt, UNIT)
    return {"prefill": result, **_device_peak()}


def measure_training(repeats: int, work: Work) -> dict:
    """Steps of Adam, each on tokens of its own; see `Work.train`."""
    tuned = work.train == "adapters"
    step = make_step(
        work.config,
        optax.adam(1e-5),
        dtype=jnp.dtype(work.dtype),
        adapters=tuned,
        remat=tuned,
    )
    params, base = _params(work), ()
    if tuned:
        lora = LoraConfig(rank=work.rank)
        adapters = init_adapters(work.config, lora, jax.random.key(1))
        state, base = step.init(adapters.weights), (params, adapters.scale)
    else:
        state = step.init(params)
    shape = work.training_batch, work.training_length
    places = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape)

    def train(i: int):
        nonlocal state
        tokens = work.tokens(i, shape[0], shape[1] + 1)
        batch = TokenBatch(
            tokens[:, :-1],
            places,
            tokens[:, 1:],
            np.ones(shape, np.float32),
            np.zeros(shape[0], np.int32),
        )
        state, metrics = step.update(state, batch, *base)
        return state, metrics

    result = rate(train, repeats, shape[0] * shape[1], UNIT)
    return {"training": result, **_device_peak()}


def measure_device(repeats: int, work: Work) -> dict:
    """The best of repeats of what the device can do, whatever the model.

    Returns:
      "bandwidth", bytes per second that are read, of a matrix in a product with one
      vector or in a sum, over about as many bytes as a step of decoding reads, so that
      caches help both alike; and "flops", operations per second of a product of large
      square matrices.
    """
    dtype = jnp.dtype(work.dtype)
    width = 2048 if jax.default_backend() == "cpu" else 8192
    rows = max(min(_step_bytes(work), _MOST_STREAMED) // (width * dtype.itemsize), 1)
    streamed, vector = jnp.ones((int(rows), width), dtype), jnp.ones(width, dtype)
    x = jnp.ones((width, width), dtype)

    def best(run: Callable[..., Array], *arrays: Array) -> float:
        run = jax.jit(run)
        each = [seconds(lambda i: run(*arrays), i) for i in range(3 * repeats + 1)]
        return min(each[1:])

    read = min(best(jnp.matmul, streamed, vector), best(jnp.sum, streamed))
    return {
        "bandwidth": streamed.nbytes / read,
        "flops": 2 * width**3 / best(jnp.matmul, x, x),
    }


def bounds(work: Work, device: dict) -> dict[str, float]:
    """Tokens per second of decoding, prefill and training that a device could do.

    Decoding is bound by bandwidth or by arithmetic, over a dialogue's mean, whichever
    takes longer; the others by arithmetic.

    Args:
      work: what is done.
      device: of `measure_device`.
    """
    config, tuned = work.config, work.train == "adapters"
    token = forward_flops(config, 2 * _mean_length(work)) + logits_flops(config)
    learned = training_flops(config, work.training_length, frozen=tuned, remat=tuned)
    return {
        "decode": min(
            work.batch * device["bandwidth"] / _step_bytes(work),
            device["flops"] / token,
        ),
        "prefill": device["flops"] / forward_flops(config, work.prompt),
        "training": device["flops"] / learned,
    }


def _mean_length(work: Work) -> int:
    """Tokens of a dialogue, half of what it ends with."""
    return work.rounds * work.turn


def _step_bytes(work: Work) -> float:
    itemsize = jnp.dtype(work.dtype).itemsize
    return step_bytes(work.config, work.batch, _mean_length(work), itemsize)


def _params(work: Work) -> PyTree:
    dtype = jnp.dtype(work.dtype)
    if work.folder is not None:
        from aajax.lm.checkpoints.weights import load_params

        return load_params(work.folder, work.config, dtype=dtype)
    init = functools.partial(init_params, work.config, dtype=dtype)
    return jax.block_until_ready(jax.jit(init)(jax.random.key(0)))


def _device_peak() -> dict:
    """The most device memory of this process, where the device tells."""
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return {} if peak is None else {"device_peak_bytes": peak}
