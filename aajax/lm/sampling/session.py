"""What a decoder has read, as a value, and what was sampled from it.

A session's arrays lie on one device or on a mesh; `empty_session` and `run` put them
there and keep them there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from aajax.errors import InputError
from aajax.lm.mesh.hosts import largest, own_rows, padded_rows, processes
from aajax.lm.mesh.sharding import batch_shardings, cache_shardings
from aajax.lm.model.cache import Cache, bucket, cut, grow, init_cache
from aajax.lm.model.config import DecoderConfig
from aajax.lm.sampling.grammar import Grammar
from aajax.types import AnyArray, Array


class Session(NamedTuple):
    """What has been read so far.

    Attributes:
      cache: of P sequences, P the power of two at or above `batch`; on a mesh of many
        processes, of those of all of them.
      last: [P, D], hidden state of each sequence's last token.
      batch: B, sequences that are in use, of this process.
    """

    cache: Cache
    last: Array
    batch: int

    @property
    def length(self) -> np.ndarray:
        """i32[B], tokens read."""
        return own_rows(self.cache.length)[: self.batch]


class Sampling(NamedTuple):
    """How the tokens of each sequence are to be sampled.

    Attributes:
      max_tokens: i32[B] or one for all, stop token included.
      stop: bool[V] or bool[B, V], tokens that end a sequence.
      temperature: f32[B] or one for all; 0 takes the likeliest token.
      grammar: what restricts each token, by the row's state; see `grammar`.
      state: i32[B], where in the grammar each row starts, `FREE` for all tokens that
        are text or stop; needed with `grammar`.
      active: bool[B], rows to sample; the others stay as they are. None for all.
    """

    max_tokens: AnyArray | int
    stop: AnyArray
    temperature: AnyArray | float = 1.0
    grammar: Grammar | None = None
    state: AnyArray | None = None
    active: AnyArray | None = None


class Sample(NamedTuple):
    """What `generate` sampled, as NumPy arrays; L is the largest budget.

    Attributes:
      tokens: i32[B, L], padded with −1; with the stop token, where there is one.
      length: i32[B], tokens sampled.
      log_prob: f32[B, L], of each token under the distribution that it was drawn from
        (after grammar, temperature, top-k and top-p); 0 where greedy, and for padding.
      stopped: bool[B], ended with a stop token, and not for want of budget.
      state: i32[B, L], the grammar state that each token was drawn in, and
      remaining: i32[B, L], the budget that was left, it included; 0 for padding. With
        both, `scoring.score` can restrict its distribution as the sampler did.
    """

    tokens: np.ndarray
    length: np.ndarray
    log_prob: np.ndarray
    stopped: np.ndarray
    state: np.ndarray
    remaining: np.ndarray


def make_room(session: Session, length: int, limit: int, donate: bool) -> Cache:
    """The session's cache with room for `length` tokens, not shared with `session`.

    Args:
      session: whose cache is copied unless it grows.
      length: tokens of the longest sequence, at most `limit`.
      limit: of the size.
      donate: whether the session's own memory will do.
    """
    size = min(bucket(length), limit)
    if size > session.cache.size:
        cache = grow(session.cache, size)
        return cache._replace(length=jnp.copy(cache.length))
    return session.cache if donate else jax.tree.map(jnp.copy, session.cache)


def check_room(
    length: np.ndarray, budget: np.ndarray, active: np.ndarray, limit: int
) -> None:
    """Raises InputError for an active row with nothing read or too large a budget.

    Args:
      length: i32[B], tokens read.
      budget: i32[B], tokens that may be sampled.
      active: bool[B].
      limit: tokens that a sequence may have.
    """
    for row in np.flatnonzero(active):
        if length[row] == 0:
            raise InputError(
                f"row {row} has read no token: one to start from (such as a "
                "beginning-of-sequence token) is needed"
            )
        if length[row] + budget[row] > limit:
            raise InputError(
                f"max_tokens[{row}] is {budget[row]}: at most {limit - length[row]} is "
                f"needed after {length[row]} tokens, for {limit} in all"
            )


def take_back(session: Session, rows: Array, length: Array, last: Array) -> Session:
    """The session with `rows`, bool[P], as when it had `length`, i32[P], and `last`."""
    cache = session.cache
    length = jnp.where(rows, length, cache.length)
    last = jnp.where(rows[:, None], last, session.last)
    return session._replace(cache=cache._replace(length=length), last=last)


def merge(rows: np.ndarray, new: Sample, old: Sample) -> Sample:
    """The new sample for `rows`, bool[B], and the old one for the others."""

    def choose(x, y):
        return np.where(rows.reshape(-1, *[1] * (x.ndim - 1)), x, y)

    return Sample(*map(choose, new, old))


def empty_session(
    config: DecoderConfig,
    batch: int,
    size: int,
    cache_dtype: jnp.dtype,
    dtype: jnp.dtype,
    mesh: Mesh | None = None,
) -> Session:
    """A session of `batch` sequences of each process, with caches of `size` slots.

    Raises:
      InputError: if another process has another number of sequences.
    """
    most, least = largest(mesh, batch, -batch)
    if most != -least:
        raise InputError(
            f"batch is {batch}, and {-least} to {most} among all processes: the same "
            "number in each is needed"
        )
    rows = padded_rows(mesh, batch) * len(processes(mesh))
    make = _empty if mesh is None else _empty_on_mesh
    cache, last = make(config, rows, size, cache_dtype, dtype, mesh)
    return Session(cache, last, batch)


def run(mesh: Mesh | None, program: Callable, *arguments: Any) -> tuple:
    """What a program returns, a cache and rows, each where it belongs on the mesh."""
    if mesh is None:
        return program(*arguments)
    with jax.set_mesh(mesh):
        cache, *rows = program(*arguments)
    # They are there already, but named otherwise, for which programs compile anew.
    shardings = cache_shardings(mesh, cache), batch_shardings(mesh, rows)
    cache, rows = jax.device_put((cache, rows), shardings)
    return cache, *rows


def _empty(
    config: DecoderConfig,
    rows: int,
    size: int,
    cache_dtype: jnp.dtype,
    dtype: jnp.dtype,
    mesh: Mesh | None,
) -> tuple[Cache, Array]:
    cache = init_cache(config, rows, size, cache_dtype)
    last = jnp.zeros((rows, config.hidden_size), dtype)
    if mesh is None:
        return (cut(cache) if jax.default_backend() == "cpu" else cache), last
    shardings = cache_shardings(mesh, cache), batch_shardings(mesh, last)
    return jax.lax.with_sharding_constraint((cache, last), shardings)


# Compiled, no device ever holds all of them.
_empty_on_mesh = jax.jit(_empty, static_argnums=range(6))
