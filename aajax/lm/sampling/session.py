"""Sessions (the state of a batch of sequences) and samples.

A session's arrays are on one device or sharded over a mesh: `empty_session` creates
them there, and `run` keeps their sharding.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
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
from aajax.types import AnyArray, Array, PyTree

SHORTEST_OPENING = 16  # tokens; and openings are multiples of it


class Session(NamedTuple):
    """The state of a batch of sequences: KV cache and last hidden states.

    Attributes:
      cache: of P sequences, `batch` padded to a power of two; with several processes,
        of all their sequences.
      last: [P, D], hidden state of each sequence's last token.
      batch: B, number of this process's sequences, without padding.
    """

    cache: Cache
    last: Array
    batch: int

    @property
    def length(self) -> np.ndarray:
        """i32[B], tokens read."""
        return own_rows(self.cache.length)[: self.batch]


class Sampling(NamedTuple):
    """Sampling parameters of each sequence.

    Attributes:
      max_tokens: i32[B] or a scalar, budget in tokens, stop token included.
      stop: bool[V] or bool[B, V], mask of stop tokens.
      temperature: f32[B] or a scalar; 0 for greedy decoding.
      grammar: for constrained decoding; see `grammar.compile_grammar`.
      state: i32[B], start state of each row in the grammar, `FREE` for no constraint;
        needed with `grammar`.
      active: bool[B], rows to sample; None for all.
    """

    max_tokens: AnyArray | int
    stop: AnyArray
    temperature: AnyArray | float = 1.0
    grammar: Grammar | None = None
    state: AnyArray | None = None
    active: AnyArray | None = None


class Sample(NamedTuple):
    """Sampled tokens as NumPy arrays; L is the largest budget.

    Attributes:
      tokens: i32[B, L], padded with −1; includes the stop token, if any.
      length: i32[B], tokens sampled.
      log_prob: f32[B, L], of each token under the distribution that it was drawn from
        (after grammar, temperature, top-k and top-p); 0 for greedy decoding and
        padding.
      stopped: bool[B], whether the sequence ended with a stop token.
      state: i32[B, L], grammar state before each token.
      remaining: i32[B, L], budget before each token; 0 for padding. With `state` it
        lets `scoring.score` apply the sampler's logits mask.
    """

    tokens: np.ndarray
    length: np.ndarray
    log_prob: np.ndarray
    stopped: np.ndarray
    state: np.ndarray
    remaining: np.ndarray


class Opening(NamedTuple):
    """What all sequences of a session begin with, to be read once per adapter.

    Attributes:
      tokens: ids, once for each of n adapters.
      adapter_id: i32[n], the adapters, −1 for none.
      of_row: i32[B], which of them each sequence takes.
    """

    tokens: list[list[int]]
    adapter_id: np.ndarray
    of_row: np.ndarray


def shared_length(rows: Sequence[list[int]]) -> int:
    """Number of tokens that all rows begin with, in multiples of `SHORTEST_OPENING`."""
    # Between the first and the last in order there is no other beginning.
    first, last = min(rows), max(rows)
    pairs = zip(first, last, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return same - same % SHORTEST_OPENING


@functools.partial(jax.jit, donate_argnums=0)
def spread(cache: Cache, read: Cache, last: Array, index: Array) -> tuple[Cache, Array]:
    """A cache whose sequences have read what those of another one have.

    Args:
      cache: of P empty sequences, with room; donated.
      read: of n sequences of equal length.
      last: [n, D], hidden states of their last tokens.
      index: i32[P], which of the n each of the P sequences takes.

    Returns:
      The cache, and hidden states [P, D].
    """

    def put(own: Array, new: Array) -> Array:
        new = jnp.take(new, index, axis=-4)[..., : own.shape[-2], :]
        return own.at[..., : new.shape[-2], :].set(new.astype(own.dtype))

    key, value = jax.tree.map(put, (cache.key, cache.value), (read.key, read.value))
    memory = jax.tree.map(lambda new: new[index], read.memory)
    return Cache(key, value, read.length[index], memory), last[index]


def make_room(session: Session, length: int, limit: int, donate: bool) -> Cache:
    """The session's cache with room for `length` tokens, copied unless `donate`.

    Args:
      session: whose cache is used.
      length: tokens of the longest sequence, at most `limit`.
      limit: upper bound of the cache's size.
      donate: whether the session's memory may be reused.
    """
    size = min(bucket(length), limit)
    if size > session.cache.size:
        cache = grow(session.cache, size)
        length, memory = jax.tree.map(jnp.copy, (cache.length, cache.memory))
        return cache._replace(length=length, memory=memory)
    return session.cache if donate else jax.tree.map(jnp.copy, session.cache)


def check_room(
    length: np.ndarray, budget: np.ndarray, active: np.ndarray, limit: int
) -> None:
    """Raises InputError if an active row is empty or its budget exceeds the limit.

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


def take_back(
    session: Session, rows: Array, length: Array, last: Array, memory: PyTree = ()
) -> Session:
    """Resets `rows`, bool[P], to an earlier state of the session.

    Args:
      session: whose rows are reset.
      rows: which of them.
      length, last, memory: i32[P], [P, D] and that of the cache, as they were.
    """

    def chosen(old: Array, new: Array) -> Array:
        return jnp.where(rows.reshape(-1, *[1] * (old.ndim - 1)), old, new)

    cache = session.cache
    cache = cache._replace(memory=jax.tree.map(chosen, memory, cache.memory))
    length = jnp.where(rows, length, cache.length)
    last = jnp.where(rows[:, None], last, session.last)
    return session._replace(cache=cache._replace(length=length), last=last)


def merge(rows: np.ndarray, new: Sample, old: Sample) -> Sample:
    """Selects `new` for `rows`, bool[B], and `old` for the others."""

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
    """An empty session of `batch` sequences per process, with a cache of `size` slots.

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
    shape = config, rows, size, cache_dtype, dtype, mesh
    if mesh is None:
        cache, last = _empty(*shape)
    else:
        cache, last = named(mesh, *_empty_on_mesh(*shape))
    return Session(cache, last, batch)


def run(mesh: Mesh | None, program: Callable, *arguments: Any) -> tuple:
    """Runs a program that returns a cache and rows, and constrains their sharding."""
    if mesh is None:
        return program(*arguments)
    with jax.set_mesh(mesh):
        cache, *rows = program(*arguments)
    return named(mesh, cache, *rows)


def named(mesh: Mesh, cache: Cache, *rows: Any) -> tuple:
    """The same arrays, with their shardings named as all programs take them.

    They are there already, but the compiler may name them otherwise, for which programs
    would be compiled anew.
    """
    shardings = cache_shardings(mesh, cache), batch_shardings(mesh, list(rows))
    cache, rows = jax.device_put((cache, list(rows)), shardings)
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
