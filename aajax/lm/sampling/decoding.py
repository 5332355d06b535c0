"""The two compiled programs of `sampler`: prefill (`read`) and decoding (`decode`).

Both take the memory of the cache that they are given, and write into it in place. P is
the number of sequences, padding included.
"""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from aajax.lm.model.cache import Cache
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import Adapters, forward, logits, unstack_layers
from aajax.lm.model.precision import MatmulPrecision, matmuls_in
from aajax.lm.sampling.grammar import Grammar, allowed_tokens, next_state
from aajax.ops import categorical
from aajax.types import AnyArray, Array, PRNGKey, PyTree


class Columns(NamedTuple):
    """Records of each sampled token, [P, L] each; see `session.Sample`."""

    tokens: Array
    log_prob: Array
    state: Array
    remaining: Array


class Program(NamedTuple):
    """Static arguments of the compiled programs.

    Attributes:
      config: of the decoder.
      dtype: of the computation.
      top_k: top-k sampling: among the k likeliest tokens only; None for all.
      size: L, room for sampled tokens, at least the largest budget.
      matmul_precision: of products; None for JAX's own.
    """

    config: DecoderConfig
    dtype: jnp.dtype
    top_k: int | None = None
    size: int = 0
    matmul_precision: MatmulPrecision | None = None


class Model(NamedTuple):
    """The weights of the model.

    Attributes:
      params: of the decoder.
      adapters, adapter_id: as in `decoder.forward`.
    """

    params: PyTree
    adapters: Adapters | None = None
    adapter_id: Array | None = None


class Wanted(NamedTuple):
    """Sampling parameters of each sequence, padded; see `session.Sampling`.

    Attributes:
      keys: key[P].
      temperature: f32[P], 0 for greedy decoding.
      budget: i32[P], maximal number of tokens; 0 for an inactive sequence.
      stop: bool[1, V] or bool[P, V], mask of stop tokens.
      state: i32[P], grammar state.
      grammar: for constrained decoding; None for no constraint.
      top_p: f32[], nucleus sampling: among the smallest set of likeliest tokens whose
        total probability reaches top_p; None for all.
    """

    keys: PRNGKey
    temperature: AnyArray
    budget: AnyArray
    stop: AnyArray
    state: AnyArray
    grammar: Grammar | None = None
    top_p: AnyArray | float | None = None


class _Loop(NamedTuple):
    cache: Cache
    last: Array  # [P, D]
    state: Array  # i32[P], of the grammar
    done: Array  # bool[P]
    stopped: Array  # bool[P]
    columns: Columns
    step: Array  # i32[]


def num_programs() -> int:
    """Number of programs that `read` and `decode` have been compiled to so far."""
    programs: tuple[Any, ...] = (read, decode)
    return sum(program._cache_size() for program in programs)


@functools.partial(jax.jit, static_argnums=0, donate_argnames="cache")
def read(
    program: Program, model: Model, cache: Cache, last: Array, tokens: Array
) -> tuple[Cache, Array]:
    """Prefill: reads `tokens` into the cache, and returns the last hidden states.

    Args:
      program: static.
      model: that reads.
      cache: with room for the tokens; donated.
      last: [P, D], hidden state of each sequence's last token.
      tokens: i32[P, L], −1 from the end of each row on.
    """
    valid = tokens >= 0
    place = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    positions = jnp.where(valid, cache.length[:, None] + place, -1)
    with matmuls_in(program.matmul_precision):
        hidden, after = forward(
            program.config, model.params, jnp.maximum(tokens, 0), positions, cache,
            model.adapters, model.adapter_id, dtype=program.dtype,
        )  # fmt: skip
    assert after is not None
    count = valid.sum(1, dtype=jnp.int32)
    at = jnp.maximum(count - 1, 0)[:, None, None]
    newest = jnp.take_along_axis(hidden, at, 1)[:, 0]
    return after, jnp.where(count[:, None] > 0, newest, last)


@functools.partial(jax.jit, static_argnums=0, donate_argnames="cache")
def decode(
    program: Program, model: Model, cache: Cache, last: Array, wanted: Wanted
) -> tuple[Cache, Array, Columns, Array]:
    """Decodes token by token until all sequences have stopped or used their budget.

    Args:
      program: static.
      model: that is sampled from.
      cache: with room for the budgets; donated.
      last: [P, D], what the first token is sampled from.
      wanted: how each sequence is sampled.

    Returns:
      The cache, `last`, a record of the tokens, and bool[P], who met a stop token.
    """
    num_rows = last.shape[0]
    stop = jnp.broadcast_to(wanted.stop, (num_rows, program.config.vocab_size))
    wanted = wanted._replace(stop=stop)
    if cache.is_apart:
        params, adapters = unstack_layers(program.config, model.params, model.adapters)
        model = model._replace(params=params, adapters=adapters)
    whole = jnp.zeros((num_rows, program.size), jnp.int32)
    loop = _Loop(
        cache,
        last,
        cast(Array, wanted.state),
        cast(Array, wanted.budget <= 0),
        jnp.zeros(num_rows, bool),
        Columns(whole - 1, jnp.zeros(whole.shape, jnp.float32), whole, whole),
        jnp.zeros((), jnp.int32),
    )
    body = functools.partial(_sample_and_read, program, model, wanted)
    with matmuls_in(program.matmul_precision):
        loop = jax.lax.while_loop(lambda loop: ~loop.done.all(), body, loop)
    return loop.cache, loop.last, loop.columns, loop.stopped


def _sample_and_read(
    program: Program, model: Model, wanted: Wanted, loop: _Loop
) -> _Loop:
    """One more token of each sequence that goes on."""
    done, step, remaining = loop.done, loop.step, wanted.budget - loop.step
    score = logits(program.config, model.params, loop.last)
    if wanted.grammar is not None:
        mask = allowed_tokens(
            wanted.grammar,
            loop.state,
            cast(Array, wanted.stop),
            cast(Array, remaining),
        )
        score = jnp.where(mask, score, -jnp.inf)
        done = done | ~mask.any(1)
    key = jax.vmap(jax.random.fold_in, (0, None))(wanted.keys, step)
    token, log_prob = draw(key, score, wanted.temperature, program.top_k, wanted.top_p)
    columns = Columns(
        jnp.where(done, -1, token),
        jnp.where(done, 0.0, log_prob),
        jnp.where(done, 0, loop.state),
        jnp.where(done, 0, remaining),
    )
    columns = jax.tree.map(lambda x, y: x.at[:, step].set(y), loop.columns, columns)
    hidden, after = forward(
        program.config, model.params, token[:, None],
        jnp.where(done, -1, loop.cache.length)[:, None],
        loop.cache, model.adapters, model.adapter_id, dtype=program.dtype,
    )  # fmt: skip
    state = loop.state
    if wanted.grammar is not None:
        state = jnp.where(done, state, next_state(wanted.grammar, state, token))
    rows = jnp.arange(len(token))
    stops = ~done & wanted.stop[rows, token]
    assert after is not None
    return _Loop(
        after,
        jnp.where(done[:, None], loop.last, hidden[:, 0]),
        state,
        done | stops | (remaining <= 1),
        loop.stopped | stops,
        columns,
        step + 1,
    )


def draw(
    key: PRNGKey,
    score: Array,
    temperature: AnyArray,
    top_k: int | None = None,
    top_p: AnyArray | float | None = None,
) -> tuple[Array, Array]:
    """One token of each distribution softmax(score / temperature), truncated.

    Args:
      key: key[P].
      score: f32[P, V], −∞ for tokens that are not allowed.
      temperature: f32[P], 0 for the likeliest token.
      top_k: samples among the k likeliest tokens, and ties with the last of them.
      top_p: nucleus sampling: samples among the smallest set of likeliest tokens (after
        top-k) whose total probability reaches top_p.

    Returns:
      Tokens i32[P], and their log-probabilities f32[P].
    """
    greedy = temperature <= 0
    scaled = score / jnp.where(greedy, 1.0, temperature)[:, None]
    if top_k is not None:
        least = jax.lax.top_k(scaled, top_k)[0][:, -1:]
        scaled = jnp.where(scaled >= least, scaled, -jnp.inf)
    if top_p is not None:
        ordered = -jnp.sort(-scaled)
        probs = jax.nn.softmax(ordered)
        before = jnp.cumsum(probs, 1) - probs
        least = jnp.where(before < top_p, ordered, jnp.inf).min(1, keepdims=True)
        scaled = jnp.where(scaled >= least, scaled, -jnp.inf)
    token = jax.vmap(categorical.sample)(key, scaled)
    token = jnp.where(greedy, jnp.argmax(score, 1).astype(jnp.int32), token)
    log_probs = jax.nn.log_softmax(scaled)
    log_prob = jnp.take_along_axis(log_probs, token[:, None], 1)[:, 0]
    return token, jnp.where(greedy, 0.0, log_prob)
