"""A player that is a local language model, with any number of LoRA adapters.

All rows are sampled in one batch, whatever their adapters, and the KV cache is kept
from turn to turn, so that every token is processed once.

On a mesh over several processes, each process holds rows of its own, in any number; all
must call `reply` at the same steps.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.dialogue.players.base import Reply, Request, Row, Tokens
from aajax.envs.text import trimmed
from aajax.errors import InputError
from aajax.lm.checkpoints.weights import load_params, read_config
from aajax.lm.mesh.hosts import largest
from aajax.lm.mesh.sharding import shard
from aajax.lm.model.decoder import Adapters
from aajax.lm.sampling.grammar import Grammar, compile_grammar, matches
from aajax.lm.sampling.sampler import Sample, Sampler, Sampling, Session
from aajax.lm.text.chat import ChatTemplate, find_template
from aajax.lm.text.tokens import Tokens as TextTokens
from aajax.lm.text.tokens import load_tokenizer
from aajax.types import PRNGKey, PyTree

MAX_TOKENS = 400  # of an answer, if nothing else is said
_SILENT = Request("", None, None, np.zeros(0, np.float32))  # of a row that is nobody's


class Memory(NamedTuple):
    """State of a language model's rows.

    R is the largest number of rows of any process; the others are padded.

    Attributes:
      session: KV cache and lengths.
      adapter_id: i32[R].
      pending: [R], prompts of each row that are not in the cache yet.
      stopped: [R], whether the last answer ended with the end of turn; None before the
        first.
    """

    session: Session
    adapter_id: np.ndarray
    pending: tuple[tuple[str, ...], ...]
    stopped: tuple[bool | None, ...]


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """A `Player` that samples from a decoder; made by `load_language_model`.

    Attributes:
      sampler: of its decoder.
      params: of the base.
      spoken_params: the same as the sampler takes them; see `Sampler.prepare`.
      template: what stands around answers.
      grammar: of all patterns that it may be asked for.
      starts: pattern → grammar state in which it begins.
      adapters: which rows name by number; None for the base alone.
      temperature: of sampling.
      max_tokens: of an answer.
      free_tries: answers that are sampled without the grammar until one matches, before
        one is sampled under it; 0 for the grammar from the first.
      cache_size: tokens that there is room for at first.
    """

    sampler: Sampler
    params: PyTree
    spoken_params: PyTree
    template: ChatTemplate
    grammar: Grammar
    starts: Mapping[str, int]
    adapters: Adapters | None = None
    temperature: float = 1.0
    max_tokens: int = MAX_TOKENS
    free_tries: int = 0
    cache_size: int = 1

    def with_adapters(self, adapters: Adapters) -> "LanguageModel":
        """The model with these adapters, all of it laid out for playing.

        On a mesh the result has copies of the weights, where they lie elsewhere in
        training; let go of it when the matches are over.
        """
        params = self.spoken_params
        if self.sampler.mesh is not None:
            params = self.sampler.prepare(self.params)
        adapters = self.sampler.prepare_adapters(adapters)
        return dataclasses.replace(self, adapters=adapters, spoken_params=params)

    @property
    def stop(self) -> np.ndarray:
        """bool[V], tokens that end an answer."""
        return stop_mask(self.template.tokens, self.sampler.config.vocab_size)

    def start(self, rows: Sequence[Row]) -> Memory:
        num_adapters = 0 if self.adapters is None else len(self.adapters.scale)
        for row in rows:
            if not -1 <= row.adapter < num_adapters:
                raise InputError(
                    f"adapter is {row.adapter}: −1 to {num_adapters - 1} is needed"
                )
        (batch,) = largest(self.sampler.mesh, len(rows))
        adapter_id = np.full(batch, -1, np.int32)
        adapter_id[: len(rows)] = [row.adapter for row in rows]
        return Memory(
            session=self.sampler.start(batch, self.cache_size),
            adapter_id=adapter_id,
            pending=((),) * batch,
            stopped=(None,) * batch,
        )

    def reply(
        self, memory: Memory, requests: Sequence[Request], keys: PRNGKey
    ) -> tuple[Memory, list[Reply | None]]:
        num_rows, batch = len(requests), len(memory.pending)
        requests = [*requests, *[_SILENT] * (batch - num_rows)]
        told = [
            (*before, request.text) if request.text else before
            for before, request in zip(memory.pending, requests, strict=True)
        ]
        asked = np.array([request.kind is not None for request in requests])
        if not largest(self.sampler.mesh, int(asked.any()))[0]:
            return memory._replace(pending=tuple(told)), [None] * num_rows
        if batch > num_rows:
            keys = keys[np.minimum(np.arange(batch), num_rows - 1)]
        # Many rows read the same.
        prompt = functools.cache(self._prompt)
        prompts = [
            prompt(texts, stopped) if now else []
            for texts, stopped, now in zip(told, memory.stopped, asked, strict=True)
        ]
        adapters = {}
        if self.adapters is not None:
            adapters = {"adapters": self.adapters, "adapter_id": memory.adapter_id}
        session = self.sampler.append(
            memory.session, self.spoken_params, prompts, donate=True, **adapters
        )
        session, sample, tries = self.sampler.generate_checked(
            session,
            self.spoken_params,
            keys,
            self._sampling(requests, asked),
            accepts=lambda row, ids: self._accepts(requests[row], ids),
            num_tries=self.free_tries,
            donate=True,
            **adapters,
        )
        text = functools.cache(self._text)
        replies = [
            self._reply(row, prompts[row], sample, int(tries[row]), text)
            if now
            else None
            for row, now in enumerate(asked)
        ]
        end = self.template.end_of_turn
        memory = Memory(
            session=session,
            adapter_id=memory.adapter_id,
            pending=tuple(
                () if now else texts for texts, now in zip(told, asked, strict=True)
            ),
            stopped=tuple(
                before
                if reply is None or reply.tokens is None
                else reply.tokens.ids[-1:] == [end]
                for reply, before in zip(replies, memory.stopped, strict=True)
            ),
        )
        return memory, replies[:num_rows]

    def _sampling(self, requests: Sequence[Request], asked: np.ndarray) -> Sampling:
        state = [
            self.starts[request.answers] if now else 0
            for request, now in zip(requests, asked, strict=True)
        ]
        return Sampling(
            max_tokens=self.max_tokens,
            stop=self.stop,
            temperature=self.temperature,
            grammar=self.grammar,
            state=np.array(state),
            active=asked,
        )

    def _reply(
        self,
        row: int,
        prompt: list[int],
        sample: Sample,
        tries: int,
        text: Callable[[tuple[int, ...]], str],
    ) -> Reply:
        size = sample.length[row]
        ids = sample.tokens[row, :size].tolist()
        tokens = Tokens(
            prompt=prompt,
            ids=ids,
            log_prob=sample.log_prob[row, :size].tolist(),
            state=sample.state[row, :size].tolist(),
            remaining=sample.remaining[row, :size].tolist(),
        )
        return Reply(text(tuple(ids)), tries, tokens)

    def _prompt(self, texts: tuple[str, ...], stopped: bool | None) -> list[int]:
        texts = texts or ("",)
        if stopped is None:
            return self.template.opening(texts)
        return self.template.next_turn(texts, stopped)

    def _text(self, ids: Sequence[int]) -> str:
        return self.template.tokens.decode(ids)

    def _accepts(self, request: Request, ids: list[int]) -> bool:
        if not ids or ids[-1] not in self.template.tokens.stop_ids:
            return False
        return matches(request.answers, trimmed(self._text(ids)).encode())


def answer_grammar(
    patterns: Iterable[str], tokens: TextTokens, vocab_size: int
) -> tuple[Grammar, dict[str, int]]:
    """The grammar of answers of any of `patterns`, and where each begins in it.

    Args:
      patterns: of answers; those that are there twice count once.
      tokens: of the model's tokenizer.
      vocab_size: V, of the model.
    """
    pieces = tokens.token_bytes()
    pieces = [None if i in tokens.stop_ids else piece for i, piece in enumerate(pieces)]
    pieces = (pieces + [None] * vocab_size)[:vocab_size]
    unique = tuple(dict.fromkeys(patterns))
    grammar, starts = compile_grammar(unique, pieces)
    return grammar, dict(zip(unique, starts, strict=True))


def stop_mask(tokens: TextTokens, vocab_size: int) -> np.ndarray:
    """bool[V], tokens that end an answer."""
    stop = np.zeros(vocab_size, bool)
    stop[list(tokens.stop_ids)] = True
    return stop


def _check_budget(grammar: Grammar, starts: Mapping[str, int], max_tokens: int) -> None:
    """Raises InputError if an answer of one of the forms cannot end in `max_tokens`."""
    for pattern, start in starts.items():
        least = int(grammar.distance[start]) + 1  # and a stop token
        if least > max_tokens:
            raise InputError(
                f"max_tokens is {max_tokens}: at least {least} is needed for an answer "
                f"of the form {pattern!r} with this tokenizer"
            )


def load_language_model(
    folder: str | Path,
    patterns: Sequence[str],
    *,
    system: str | None = None,
    chat_template: str | None = None,
    params: PyTree | None = None,
    **options,
) -> LanguageModel:
    """Loads the model of a Hugging Face folder, for answers of any of `patterns`.

    Args:
      folder: with config.json, weights and a tokenizer with a chat template.
      patterns: of answers, each compiled into the grammar.
      system: what the system says in every dialogue.
      chat_template: in place of the folder's own; see `read_chat_template`.
      params: of the decoder, if loaded (and sharded) already; None to load them.
      **options: further attributes of `Sampler` and of `LanguageModel`. Weights that
        are loaded are of `dtype`, and rounded to the `matmul_precision`. If `params`
        lie on another mesh than `mesh`, the model plays after
        `LanguageModel.with_adapters` only.

    Raises:
      InputError: if the folder cannot be read, its template rewrites what was said, or
        a pattern is refused.
    """
    config, tokens = read_config(folder), load_tokenizer(folder, chat_template)
    template = find_template(tokens, system)
    grammar, starts = answer_grammar(patterns, tokens, config.vocab_size)
    _check_budget(grammar, starts, options.get("max_tokens", MAX_TOKENS))
    names = {field.name for field in dataclasses.fields(Sampler)} & set(options)
    sampler = Sampler(config, **{name: options.pop(name) for name in names})
    mesh = sampler.mesh
    if params is None:
        params = load_params(folder, dtype=sampler.dtype)
        if sampler.matmul_precision == "bfloat16":
            # Norms and embeddings too: the sampler has a copy in bfloat16.
            rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
            params = jax.tree.map(lambda x: x.astype(sampler.dtype), rounded)
    return LanguageModel(
        sampler=sampler,
        params=params,
        spoken_params=sampler.prepare(params) if mesh is None else params,
        template=template,
        grammar=grammar if mesh is None else shard(grammar, mesh),
        starts=starts,
        **options,
    )
