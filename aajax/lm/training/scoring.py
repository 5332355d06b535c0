"""Log-probabilities and entropies of given tokens, with chunked logits.

    π(v | h) = softmax(h Wᵀ / temperature)_v,  over all tokens or the allowed ones

The L · V logits of a sequence in float32 can take more memory than the model. They are
computed in chunks of positions, and, but for few of them, recomputed in the backward
pass.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.errors import InputError
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import split_over_batch
from aajax.lm.model.decoder import logits
from aajax.types import AnyArray, Array, PyTree

_PLACES = 1024  # of a device, whose logits exist at the same time
_FEW_PLACES = 512  # whose logits are kept for the backward pass


class Scores(NamedTuple):
    """Scores of each target; 0 at padding.

    Attributes:
      log_prob: f32[B, L], log π(target | hidden), in nats.
      entropy: f32[B, L], −Σ_v π(v) log π(v), in nats.
    """

    log_prob: Array
    entropy: Array


def score(
    config: DecoderConfig,
    params: PyTree,
    hidden: Array,
    targets: AnyArray,
    *,
    temperature: Array | float = 1.0,
    allowed: Callable[[PyTree], Array] | None = None,
    state: PyTree = None,
    chunk_size: int | None = None,
) -> Scores:
    """log π(target | hidden) and the entropy of π, in float32, differentiable.

    For tokens that were sampled with the same temperature and `allowed`, it equals the
    sampler's log-probability, unless top-k or top-p was used.

    Args:
      config: static.
      params: of the decoder; only the embedding or the head is read.
      hidden: [B, L, D], of `forward`; a token is scored by the hidden state of the
        token *before* it, so callers shift: hidden[:, :-1] with tokens[:, 1:].
      targets: i32[B, L], −1 for padding.
      temperature: above 0, one for all or f32[B].
      allowed: `state -> bool[B, c, V]`, which tokens π is restricted to (and
        renormalised over), given c places of `state`; None for all tokens. A target
        outside of them has log-probability −∞.
      state: pytree of [B, L, ...], what `allowed` needs to know of each place; needed
        with it.
      chunk_size: places of each sequence at which logits exist at the same time; None
        for at most 256, 1024 of all sequences of a device; logits of 512 are not
        computed again.

    Returns:
      Scores of [B, L].

    Raises:
      InputError: for a temperature that is not positive, or `allowed` without state.
    """
    if isinstance(temperature, (int, float)) and not temperature > 0:
        raise InputError(f"temperature is {temperature}: a number above 0 is needed")
    if chunk_size is not None and chunk_size < 1:
        raise InputError(f"chunk_size is {chunk_size}: at least 1 is needed")
    if allowed is not None and state is None:
        raise InputError("state is None: with allowed, one of [B, L, ...] is needed")
    batch, length = targets.shape
    if length == 0:
        return Scores(*[jnp.zeros((batch, 0), jnp.float32)] * 2)
    is_kept = False
    if chunk_size is None:
        own_rows = split_over_batch(batch)
        is_kept = own_rows * length <= _FEW_PLACES
        chunk_size = min(max(_PLACES // own_rows, 1), 256)
    size = min(chunk_size, length)
    padding = -length % size
    temperature = jnp.asarray(temperature, jnp.float32)
    temperature = jnp.broadcast_to(temperature, (batch,))[:, None, None]

    def split(x: AnyArray, fill: int) -> Array:
        """[B, L, ...] → [chunks, B, size, ...]."""
        widths = [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2)
        x = jnp.pad(x, widths, constant_values=jnp.asarray(fill, x.dtype))
        return jnp.moveaxis(x.reshape(batch, -1, size, *x.shape[2:]), 1, 0)

    def join(x: Array) -> Array:
        return jnp.moveaxis(x, 0, 1).reshape(batch, -1)[:, :length]

    def chunk(hidden: Array, targets: Array, state: PyTree) -> Scores:
        absent = targets < 0
        score = logits(config, params, hidden) / temperature
        if allowed is not None:
            # Where there is no target, nothing allowed would be 0/0 in the gradient.
            mask = allowed(state) | absent[:, :, None]
            score = jnp.where(mask, score, -jnp.inf)
        log_prob, entropy = _score(score, jnp.maximum(targets, 0))
        return Scores(jnp.where(absent, 0.0, log_prob), jnp.where(absent, 0.0, entropy))

    if not is_kept:
        chunk = jax.checkpoint(chunk, prevent_cse=False)
    chunks = (
        split(hidden, 0),
        split(targets, -1),
        jax.tree.map(lambda x: split(x, 0), state),
    )
    scores = jax.lax.map(lambda each: chunk(*each), chunks)
    return Scores(*map(join, scores))


def _score(score: Array, target: Array) -> tuple[Array, Array]:
    """log π(target) and the entropy, f32[B, c] of logits f32[B, c, V]."""
    score = score - jax.lax.stop_gradient(jnp.max(score, -1, keepdims=True))
    total = jax.nn.logsumexp(score, -1)
    log_prob = jnp.take_along_axis(score, target[..., None], -1)[..., 0] - total
    # Both factors are made finite, or the gradient of 0 · −inf would be nan.
    finite = jnp.where(jnp.isneginf(score), 0.0, score)
    probs = jnp.exp(score - total[..., None])
    return log_prob, total - jnp.sum(probs * finite, -1)
