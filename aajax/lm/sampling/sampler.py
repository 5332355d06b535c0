"""Batched sampling with a KV cache that is kept across the turns of a dialogue.

A session is a value: `append` prefills tokens, `generate` samples, and both return a
new session. Every token is processed once, so that no turn reads the history again.
Sequences may have different lengths; each has its own temperature, budget, stop tokens,
grammar state and key, as arrays, so that other values need no new compilation. It works
on token ids only.

On a mesh, rows are sharded over data and fsdp, heads over tensor. If the mesh spans
processes, each passes and receives its own rows only, but all must call the same
methods with equally many rows and the same kinds of arguments. Global row numbers are
folded into a single key, so that rows of different processes differ.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from aajax.errors import InputError
from aajax.lm.ahead import Sizes, ready
from aajax.lm.compilation import compiles
from aajax.lm.mesh.hosts import (
    first_row,
    largest,
    own_rows,
    padded_rows,
    place_rows,
    processes,
)
from aajax.lm.mesh.playing import device_memory, moved
from aajax.lm.model import lora
from aajax.lm.model.cache import bucket
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import AXES
from aajax.lm.model.decoder import Adapters, unstack_layers
from aajax.lm.model.precision import MatmulPrecision
from aajax.lm.sampling.decoding import (
    Model,
    Program,
    Wanted,
    decode,
    num_programs,
    read,
)
from aajax.lm.sampling.grammar import FREE
from aajax.lm.sampling.prefill import fitting_chunk
from aajax.lm.sampling.rows import (
    block_width,
    fold,
    pad,
    per_row,
    room_of,
    row_keys,
    stop_rows,
)
from aajax.lm.sampling.session import (
    SHORTEST_OPENING,
    Opening,
    Sample,
    Sampling,
    Session,
    check_room,
    empty_session,
    make_room,
    merge,
    run,
    shared_length,
    spread,
    take_back,
)
from aajax.types import AnyArray, Array, PRNGKey, PyTree

__all__ = ["FREE", "Sample", "Sampler", "Sampling", "Session", "num_programs"]


_joined = jax.jit(lora.joined, static_argnums=1)


class _ByRow(NamedTuple):
    """What `Sampling` says, with one entry a row, not shared with what was given."""

    max_tokens: np.ndarray
    stop: np.ndarray
    temperature: np.ndarray
    state: np.ndarray
    active: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Options of prefill and decoding; it holds no state.

    Methods do not change the session that they are given. With `donate` they reuse its
    memory instead of copying the cache, and it must not be used again.

    Attributes:
      config: of the decoder.
      dtype: of the computation.
      cache_dtype: of the KV cache; `dtype` if None.
      matmul_precision: of products, see `precision.matmuls_in`; None for JAX's own.
      top_k: top-k sampling: among the k likeliest tokens (and ties) only.
      top_p: nucleus sampling: among the smallest set of likeliest tokens whose total
        probability reaches top_p.
      max_cache: maximal length of a sequence in tokens; `config.max_length` if None.
      prefill_chunk: tokens of each prompt that are read at once, a power of two, which
        bounds the memory of activations; None for the largest, of at most 512, that
        leaves most of a device's memory free.
      mesh: of `sharding.make_mesh`, on which params, adapters and grammar have been
        placed by `sharding.shard`. None for one device.
      sizes: to which all is padded, so that few programs are compiled; None to pad as
        little as is quick.
    """

    config: DecoderConfig
    dtype: jnp.dtype = jnp.float32
    cache_dtype: jnp.dtype | None = None
    matmul_precision: MatmulPrecision | None = None
    top_k: int | None = None
    top_p: float | None = None
    max_cache: int | None = None
    prefill_chunk: int | None = None
    mesh: Mesh | None = None
    sizes: Sizes | None = None

    def __post_init__(self):
        vocab = self.config.vocab_size
        if self.top_k is not None and not 1 <= self.top_k <= vocab:
            raise InputError(f"top_k is {self.top_k}: 1 to {vocab} is needed")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}: a number in (0, 1] is needed")
        chunk = self.prefill_chunk
        if chunk is not None and (chunk < 1 or chunk & (chunk - 1)):
            raise InputError(f"prefill_chunk is {chunk}: a power of two is needed")
        if self.max_cache is not None and self.max_cache < 1:
            raise InputError(f"max_cache is {self.max_cache}: at least 1 is needed")
        if self.mesh is not None and self.mesh.axis_names != AXES:
            raise InputError(
                f"mesh has axes {', '.join(self.mesh.axis_names)}: {', '.join(AXES)} "
                "are needed"
            )

    @property
    def limit(self) -> int:
        """Maximal length of a sequence in tokens."""
        longest = self.config.max_length
        return longest if self.max_cache is None else min(longest, self.max_cache)

    def prepare(self, params: PyTree) -> PyTree:
        """Params for many calls of `append` and `generate`.

        On a mesh they are moved to where `mesh` has them, if they lie elsewhere. On
        CPUs they are unstacked once (see `unstack_layers`), for the memory of a second
        copy, instead of in each call; in bfloat16 if products are rounded to it.
        """
        if self.mesh is not None:
            return moved(self.mesh, params)
        if jax.default_backend() != "cpu":
            return params
        if self.matmul_precision == "bfloat16":
            params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
        return unstack_layers(self.config, params)[0]

    def prepare_adapters(self, adapters: Adapters) -> Adapters:
        """Adapters for many calls of `append` and `generate`.

        They are joined (see `lora.joined`), on a mesh moved to where `mesh` has them,
        and on CPUs unstacked.
        """
        adapters = _joined(adapters, self.dtype)
        if self.mesh is not None:
            return moved(self.mesh, adapters)
        if jax.default_backend() != "cpu":
            return adapters
        _, unstacked = unstack_layers(self.config, {}, adapters)
        assert unstacked is not None
        return unstacked

    def chunk_of(self, rows: int, memory: float | None = None) -> int:
        """Tokens of each of so many rows, of all processes, that are read at once.

        Args:
          rows: padded ones.
          memory: bytes of a device; None for those that it says it has.
        """
        if self.sizes is not None:
            return self.sizes.chunk
        if self.prefill_chunk is not None:
            return self.prefill_chunk
        memory = device_memory(self.mesh) if memory is None else memory
        return fitting_chunk(self.config, rows, self.mesh, self.dtype, memory)

    def start(self, batch: int, size: int = 1) -> Session:
        """A session of `batch` empty sequences, with a KV cache of `size` tokens each.

        The cache doubles as needed. Each size is compiled separately, and attention
        takes time in proportion to the size, used or not.
        """
        if batch < 1:
            raise InputError(f"batch is {batch}: at least 1 is needed")
        if size > self.limit:
            raise InputError(f"size is {size}: at most {self.limit} is needed")
        dtype = self.dtype if self.cache_dtype is None else self.cache_dtype
        size = bucket(size if self.sizes is None else max(size, self.sizes.slots))
        size = min(size, self.limit)
        return empty_session(self.config, batch, size, dtype, self.dtype, self.mesh)

    def append(
        self,
        session: Session,
        params: PyTree,
        tokens: Sequence[Sequence[int]],
        adapters: Adapters | None = None,
        adapter_id: AnyArray | None = None,
        *,
        donate: bool = False,
    ) -> Session:
        """Prefill: the session after reading `tokens`.

        Args:
          session: not changed, unless donated.
          params: of the decoder, or what `prepare` made of them.
          tokens: ids for each of the B sequences; may be empty.
          adapters: low-rank adapters.
          adapter_id: i32[B], each sequence's, −1 for none; needed with `adapters`.
          donate: whether the memory of `session` may be taken.

        Raises:
          InputError: if a sequence would exceed the limit, an id is not in the
            vocabulary, or the lists are not B.
        """
        if len(tokens) != session.batch:
            raise InputError(
                f"tokens has {len(tokens)} rows: {session.batch} are needed"
            )
        rows = [np.asarray(row, np.int32).reshape(-1) for row in tokens]
        for row, ids in enumerate(rows):
            if ids.size and not 0 <= ids.min() <= ids.max() < self.config.vocab_size:
                raise InputError(
                    f"tokens[{row}] has ids {ids.min()} to {ids.max()}: ids of 0 to "
                    f"{self.config.vocab_size - 1} are needed"
                )
        count = np.array([len(ids) for ids in rows])
        total = session.length + count
        row = int(total.argmax())
        if total[row] > self.limit:
            raise InputError(
                f"tokens[{row}] has length {count[row]}, {total[row]} with what was "
                f"read before: at most {self.limit} in all is needed"
            )
        longest, length = largest(self.mesh, count.max(), total.max())
        if longest == 0:
            return session
        if (opening := self._opening(session, rows, adapter_id)) is not None:
            session = self._read_once(session, params, opening, adapters, donate)
            size = len(opening.tokens[0])
            rest = [row[size:].tolist() for row in rows]
            return self.append(session, params, rest, adapters, adapter_id, donate=True)
        cache = make_room(session, length, self.limit, donate)
        last, padded = session.last, padded_rows(self.mesh, session.batch)
        adapter_id = self._adapter_rows(session.batch, adapter_id, adapters)
        model = Model(params, adapters, adapter_id)
        program = Program(
            self.config, self.dtype, matmul_precision=self.matmul_precision
        )
        chunk = self.chunk_of(padded * len(processes(self.mesh)))
        for first in range(0, longest, chunk):
            width = self._width(longest - first, chunk)
            block = np.full((padded, width), -1, np.int32)
            for row, ids in enumerate(rows):
                part = ids[first : first + width]
                block[row, : len(part)] = part
            part = place_rows(self.mesh, block)
            with compiles(f"reading {len(last)} x {width} tokens"):
                cache, last = run(
                    self.mesh, ready(read, 1), program, model, cache, last, part
                )
        return Session(cache, last, session.batch)

    def _width(self, number: int, chunk: int) -> int:
        """Tokens that are read at once where so many are left."""
        if self.sizes is not None:
            return self.sizes.width(number)
        return min(chunk, block_width(number))

    def _opening(
        self,
        session: Session,
        rows: Sequence[np.ndarray],
        adapter_id: AnyArray | None,
    ) -> Opening | None:
        """What all rows begin with, if it is worth to be read once per adapter.

        Sequences of all processes begin at the same time and share as many tokens,
        but not necessarily the same. With fixed sizes it is read in every row, by the
        programs that there are.
        """
        if self.sizes is not None:
            return None
        batch = session.batch
        ids = np.full(batch, -1) if adapter_id is None else np.asarray(adapter_id)
        different, of_row = np.unique(ids, return_inverse=True)
        size = (
            0 if session.length.any() else shared_length([row.tolist() for row in rows])
        )
        least, most = largest(self.mesh, -size, len(different))
        if -least < SHORTEST_OPENING or 2 * most > largest(self.mesh, batch)[0]:
            return None
        different = np.pad(different, (0, most - len(different)), mode="edge")
        tokens = [rows[0][:-least].tolist()] * most
        return Opening(tokens, different, of_row.astype(np.int32))

    def _read_once(
        self,
        session: Session,
        params: PyTree,
        opening: Opening,
        adapters: Adapters | None,
        donate: bool,
    ) -> Session:
        """The session after its opening, which is read once and copied to all rows."""
        count, size = len(opening.tokens), len(opening.tokens[0])
        ids = None if adapters is None else opening.adapter_id
        small = self.append(
            self.start(count, size), params, opening.tokens, adapters, ids, donate=True
        )
        index = first_row(self.mesh, padded_rows(self.mesh, count)) + opening.of_row
        room = make_room(session, largest(self.mesh, size)[0], self.limit, donate)
        with compiles(f"copying {size} tokens to {len(session.last)} rows"):
            cache, last = run(
                self.mesh, spread, room,
                small.cache, small.last, self._rows(session.batch, index, index[0]),
            )  # fmt: skip
        return Session(cache, last, session.batch)

    def generate(
        self,
        session: Session,
        params: PyTree,
        key: PRNGKey,
        sampling: Sampling,
        adapters: Adapters | None = None,
        adapter_id: AnyArray | None = None,
        *,
        donate: bool = False,
    ) -> tuple[Session, Sample]:
        """Samples until every sequence has produced a stop token or used its budget.

        A sequence also ends if its grammar allows no token. A row's sample does not
        depend on the other rows.

        Args:
          session: not changed, unless donated.
          params: of the decoder.
          key: one key, into which row numbers are folded, or B typed keys.
          sampling: temperature, budget, stop tokens and grammar of each row.
          adapters, adapter_id: as in `append`.
          donate: whether the memory of `session` may be reused.

        Returns:
          The session with the sampled tokens read, and the sample.

        Raises:
          InputError: if an active row is empty (append at least a
            beginning-of-sequence token) or would exceed the limit, a temperature or
            budget is negative, or shapes do not fit.
        """
        batch = session.batch
        given = self._by_row(batch, sampling)
        # The same for all subsets of rows, so that their samples can be merged.
        columns = int(given.max_tokens.max())
        budget = np.where(given.active, given.max_tokens, 0)
        check_room(session.length, budget, given.active, self.limit)
        total = (session.length + budget).max()
        longest, length = largest(self.mesh, columns, total)
        rows = functools.partial(self._rows, batch)
        keys = row_keys(
            key, batch, padded_rows(self.mesh, batch), first_row(self.mesh, batch)
        )
        stop = given.stop
        wanted = Wanted(
            keys=place_rows(self.mesh, keys),
            temperature=rows(given.temperature, 1.0),
            budget=rows(budget, 0),
            stop=stop if len(stop) == 1 else rows(stop, False),
            state=rows(given.state, FREE),
            grammar=sampling.grammar,
            top_p=self.top_p,
        )
        if self.sizes is not None:
            longest = max(longest, self.sizes.answer)
        size = room_of(longest)
        program = Program(
            self.config, self.dtype, self.top_k, size, self.matmul_precision
        )
        adapter_id = self._adapter_rows(batch, adapter_id, adapters)
        model = Model(params, adapters, adapter_id)
        cache, last = make_room(session, length, self.limit, donate), session.last
        with compiles(f"sampling in {len(last)} x {cache.size} tokens"):
            cache, last, *buffers = run(
                self.mesh, ready(decode, 1), program, model, cache, last, wanted
            )
        record, stopped = own_rows(buffers)
        tokens, log_prob, states, remaining = (x[:batch, :columns] for x in record)
        count = (tokens >= 0).sum(1).astype(np.int32)
        sample = Sample(tokens, count, log_prob, stopped[:batch], states, remaining)
        return Session(cache, last, batch), sample

    def generate_checked(
        self,
        session: Session,
        params: PyTree,
        key: PRNGKey,
        sampling: Sampling,
        *,
        accepts: Callable[[int, list[int]], bool],
        num_tries: int,
        donate: bool = False,
        **options,
    ) -> tuple[Session, Sample, np.ndarray]:
        """Rejection sampling with constrained decoding as a fallback.

        Each row is sampled without constraint until `accepts` is true, at most
        `num_tries` times, then once under the grammar. Rejected samples are removed
        from the session.

        Args:
          session, params, key: as in `generate`.
          sampling: how each row is sampled, under a grammar.
          accepts: `(row, ids) -> bool`; `ids` includes the stop token, if any.
          num_tries: unconstrained samples per row; 0 for the grammar at once.
          donate: as in `generate`.
          **options: further arguments of `generate`.

        Returns:
          The session, the sample, and i32[B], the number of samples that each row took:
          0 for an inactive row, num_tries + 1 for one that needed the grammar.
        """
        if num_tries < 0:
            raise InputError(f"num_tries is {num_tries}: 0 or more is needed")
        batch = session.batch
        given = self._by_row(batch, sampling)
        pending, state = given.active, given.state
        keys = row_keys(key, batch, batch, first_row(self.mesh, batch))
        start, result, tries = session, None, np.zeros(batch, np.int32)
        before = start.length
        # Those of a session that is donated would not be there any more.
        memory = jax.tree.map(jnp.copy, start.cache.memory)
        for index in range(num_tries + 1):
            free = index < num_tries
            now = sampling._replace(state=np.where(free, FREE, state), active=pending)
            session, sample = self.generate(
                session, params, fold(keys, index), now,
                donate=donate or index > 0, **options,
            )  # fmt: skip
            result = sample if result is None else merge(pending, sample, result)
            tries += pending
            if free:
                failed = [
                    not accepts(row, sample.tokens[row, : sample.length[row]].tolist())
                    for row in np.flatnonzero(pending).tolist()
                ]
                pending[pending] = failed
            if not free or not largest(self.mesh, int(pending.any()))[0]:
                break
            session = take_back(
                session, self._rows(batch, pending, False),
                self._rows(batch, before, 0), start.last, memory,
            )  # fmt: skip
        assert result is not None  # there is one try at least
        return session, result, tries

    def _by_row(self, batch: int, sampling: Sampling) -> _ByRow:
        temperature = per_row("temperature", sampling.temperature, np.float32, batch)
        budget = per_row("max_tokens", sampling.max_tokens, np.int32, batch)
        active = True if sampling.active is None else sampling.active
        active = per_row("active", active, bool, batch)
        if not (temperature >= 0).all():
            raise InputError(f"temperature is {temperature.min()}: 0 or more is needed")
        if (budget < 0).any():
            raise InputError(f"max_tokens is {budget.min()}: 0 or more is needed")
        state = sampling.state
        if (sampling.grammar is None) != (state is None):
            given = "grammar" if state is None else "state"
            raise InputError(f"{given} is given alone: grammar and state are needed")
        state = per_row("state", FREE if state is None else state, np.int32, batch)
        stop = stop_rows(sampling.stop, batch, self.config.vocab_size)
        return _ByRow(budget, stop, temperature, state, active)

    def _rows(self, batch: int, x: np.ndarray, fill: float) -> Array:
        """This process's rows [B, ...], padded and placed on the mesh as [P, ...]."""
        return place_rows(self.mesh, pad(x, padded_rows(self.mesh, batch), fill))

    def _adapter_rows(
        self, batch: int, adapter_id: AnyArray | None, adapters: Adapters | None
    ) -> Array | None:
        """i32[P], or None without adapters."""
        if adapters is None:
            return None
        if adapter_id is None:
            raise InputError("adapter_id is None: with adapters, i32[B] is needed")
        adapter_id = per_row("adapter_id", adapter_id, np.int32, batch)
        return self._rows(batch, adapter_id, -1)
