"""The programs of a language model's run, lowered for devices that need not be there.

They are the functions that a run compiles (`learn`'s step of the policy and of the
critic, `Sampler`'s `read` and `decode`), given the shapes and shardings that a run
gives them.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from aajax.dialogue.learning.batch import SpeechBatch, padded_length
from aajax.dialogue.learning.learner import Restriction
from aajax.lm.ahead import Sizes
from aajax.lm.mesh.sharding import batch_shardings, cache_shardings, param_shardings
from aajax.lm.model.cache import bucket, init_cache
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import Adapters, init_params
from aajax.lm.model.lora import init_adapters, joined
from aajax.lm.planning.compile import Lowered, bytes_of, placed
from aajax.lm.planning.topologies import Chip
from aajax.lm.sampling.decoding import Model, Program, Wanted, decode, read
from aajax.lm.sampling.grammar import Grammar
from aajax.lm.sampling.rows import room_of
from aajax.lm.sampling.sampler import Sampler
from aajax.training.lm_assemble import find_playing_mesh, make_learners
from aajax.training.lm_config import LmConfig, make_game
from aajax.types import PyTree

# Of a grammar whose game and tokenizer are not at hand; large, and of little effect.
_STATES, _CLASSES = 4096, 64
EVALUATION_READ, EVALUATION_DECODE = "evaluation read", "evaluation decode"


@dataclasses.dataclass(frozen=True)
class Load:
    """How much a run's programs are given at once, over all devices.

    Attributes:
      rows: sequences that are learned from.
      players: sequences that are sampled.
      evaluated: sequences that the closing evaluation samples at a time.
      length: tokens of each, and slots of the cache.
      sampled: tokens of each that were sampled.
      num_adapters: that players choose from, the learners' among them; 0 for none.
      members: of a population, each of which has a state of training.
    """

    rows: int
    players: int
    evaluated: int
    length: int
    sampled: int
    num_adapters: int
    members: int = 1


@dataclasses.dataclass(frozen=True)
class Programs:
    """The programs of a run, by name, each lowered when asked for.

    Attributes:
      config: of the run.
      decoder: of its model.
      load: what they are given.
      mesh: of described devices; of one, for a run without a mesh.
      chip: each of the devices.
      restriction: of what players may say; None where the model's tokenizer is not at
        hand, for one of the usual size.
    """

    config: LmConfig
    decoder: DecoderConfig
    load: Load
    mesh: Mesh
    chip: Chip
    restriction: Restriction | None = None

    def __iter__(self) -> Iterator[tuple[str, Callable[[], Lowered]]]:
        yield "learn", self.learn
        if self.config.baseline == "critic":
            yield "critic", self.critic
        yield "read", self.read
        yield "decode", self.decode
        if not self.evaluates_alike:
            yield EVALUATION_READ, self.evaluation.read
            yield EVALUATION_DECODE, self.evaluation.decode

    @property
    def further(self) -> Iterator[tuple[str, Callable[[], Lowered]]]:
        """Smaller ones that a run needs too: critic's values, and short prompts."""
        if self.config.baseline == "critic":
            yield "critic's values", self.values
        players: dict[str, Programs] = {"read": self}
        if not self.evaluates_alike:
            players[EVALUATION_READ] = self.evaluation
        for name, own in players.items():
            for width in self.sizes.widths:
                if width != own.sizes.chunk:
                    yield f"{name} {width}", functools.partial(own.read, width)

    @property
    def sizes(self) -> Sizes:
        """To which a run has to pad, so that it has these programs."""
        chunk = self.sampler.chunk_of(self.load.players, self.chip.memory)
        return Sizes(
            slots=self.slots,
            chunk=min(chunk, self.slots),
            answer=room_of(self.config.speaking.max_tokens),
            length=padded_length(self.load.length),
            targets=padded_length(self.load.sampled),
            play_tensor=self.playing.shape["tensor"],
        )

    @property
    def evaluates_alike(self) -> bool:
        """Whether the closing evaluation takes the programs of training's matches."""
        return self.evaluation.load == self.load

    @property
    def evaluation(self) -> "Programs":
        """Those of the closing evaluation, of the learner alone, in which none learn.

        A league of the run, with as many matches at a time, has the same, and none of
        the state of training beside them.
        """
        load = self.load
        alone = min(load.num_adapters, 1)
        played = dataclasses.replace(load, players=load.evaluated, num_adapters=alone)
        return dataclasses.replace(self, load=played)

    @functools.cached_property
    def playing(self) -> Mesh:
        """The mesh that the run plays on."""
        run = self.config, self.decoder, self.mesh
        return find_playing_mesh(*run, self.chip.memory, self.load.members)

    def _placed(self, tree: PyTree, shardings: Callable | None = None) -> PyTree:
        return placed(self.mesh, tree, shardings)

    def _spoken(self, tree: PyTree, shardings: Callable | None = None) -> PyTree:
        return placed(self.playing, tree, shardings)

    def _lowered(self, function: Callable, *arguments: Any, mesh: Mesh) -> Lowered:
        program: Any = function
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            traced = program.trace(*arguments)
        return traced.lower(lowering_platforms=(self.chip.platform,))

    def _params(self) -> PyTree:
        dtype = jnp.dtype(self.config.dtype)

        def init():
            return init_params(self.decoder, jax.random.key(0), dtype)

        return self._placed(jax.eval_shape(init), param_shardings)

    def _adapters(self, count: int) -> Adapters:
        def init():
            lora, key = self.config.lora_config, jax.random.key(0)
            return init_adapters(self.decoder, lora, key, count)

        return self._placed(jax.eval_shape(init), param_shardings)

    def _learners(self):
        return make_learners(self.config, self.decoder, self._spoken_by, self.mesh)

    @functools.cached_property
    def _spoken_by(self) -> Restriction:
        return self.restriction or stand_in(self.decoder.vocab_size)

    def _batch(self, rows: int) -> SpeechBatch:
        length, most = map(padded_length, (self.load.length, self.load.sampled))
        num_rounds = make_game(self.config).num_rounds
        names = {"tokens": length, "positions": length, "decisions": num_rounds}
        names["opening"] = 0  # a fused kernel reads sequences as a whole
        floats = ("log_prob", "credit", "entropy_scale", "kl_scale")
        single = ("adapter_id", "entropy_scale", "kl_scale")

        def shape(name: str) -> jax.ShapeDtypeStruct:
            own = () if name in single else (names.get(name, most),)
            dtype = jnp.float32 if name in floats else jnp.int32
            return jax.ShapeDtypeStruct((rows, *own), dtype)

        batch = SpeechBatch._make(map(shape, SpeechBatch._fields))
        return self._placed(batch, batch_shardings)

    def others(self, name: str) -> int:
        """Bytes of each device that a run keeps there beside what a program is given.

        The stack of adapters, but in the closing evaluation; the critic's state; while
        it plays, also the policy's and, where it plays on another mesh, the weights as
        training has them.
        """
        evaluates = name in (EVALUATION_READ, EVALUATION_DECODE)
        count = 1 if evaluates else self.load.num_adapters
        kept = bytes_of(self._adapters(count)) if count > 1 else 0
        policy, critic = self._states()
        # A step is given the state of one member.
        kept += (self.load.members - (name == "learn")) * bytes_of(policy)
        if critic is not None:
            kept += (self.load.members - (name == "critic")) * bytes_of(critic)
        plays = name not in ("learn", "critic")
        if plays and self.playing is not self.mesh:
            kept += bytes_of(self._params())
        return kept

    def _states(self) -> tuple[PyTree, PyTree | None]:
        """States of the policy and of the critic, None without one."""
        weights = self._adapters(1).weights
        made = [
            None
            if one is None
            else self._placed(jax.eval_shape(one.init, weights), param_shardings)
            for one in self._learners()
        ]
        return made[0], made[1]

    def learn(self) -> Lowered:
        """The policy's gradient step."""
        (fit, _), (state, _) = self._learners(), self._states()
        batch, scale = self._batch(self.load.rows), self._adapters(1).scale
        arguments = state, batch, self._params(), scale
        return self._lowered(fit.update, *arguments, mesh=self.mesh)

    def critic(self) -> Lowered:
        """The critic's gradient step."""
        (_, critic), (_, state) = self._learners(), self._states()
        assert critic is not None
        batch = self._every_seat()
        shape = jax.ShapeDtypeStruct(batch.decisions.shape, jnp.float32)
        target = self._placed(shape, batch_shardings)
        arguments = state, self._params(), batch, target
        return self._lowered(critic.update, *arguments, mesh=self.mesh)

    def values(self) -> Lowered:
        """The critic's values."""
        (_, critic), (_, state) = self._learners(), self._states()
        assert critic is not None
        arguments = state, self._params(), self._every_seat()
        return self._lowered(critic.value, *arguments, mesh=self.mesh)

    def _every_seat(self) -> SpeechBatch:
        """The critic's batch: of all seats, whoever learns."""
        return self._batch(self.config.num_seats * self.config.num_matches)

    @property
    def sampler(self) -> Sampler:
        """As `load_language_model` makes it."""
        most = self.config.speaking.max_cache
        dtype = jnp.dtype(self.config.dtype)
        chunk = self.config.speaking.prefill_chunk
        return Sampler(
            self.decoder,
            dtype=dtype,
            max_cache=most,
            prefill_chunk=chunk,
            mesh=self.playing,
        )

    @property
    def slots(self) -> int:
        """Of the cache of a sequence, when it is as large as it gets."""
        return min(bucket(self.load.length), self.sampler.limit)

    def _session(self) -> tuple[Model, Any, Any]:
        """Model, cache and last hidden states, with the cache as large as it gets."""
        sampler, rows = self.sampler, self.load.players
        size, dtype = self.slots, sampler.dtype

        def init():
            cache = init_cache(self.decoder, rows, size, dtype)
            return cache, jnp.zeros((rows, self.decoder.hidden_size), dtype)

        cache, last = jax.eval_shape(init)
        cache = self._spoken(cache, cache_shardings)
        adapters = adapter_id = None
        if self.load.num_adapters:
            adapters = self._joined(self.load.num_adapters)
            adapter_id = self._rows(jnp.int32)
        params = self._spoken(self._params(), param_shardings)
        model = Model(params, adapters, adapter_id)
        return model, cache, self._spoken(last, batch_shardings)

    def _joined(self, count: int) -> Adapters:
        """Adapters as `Sampler.prepare_adapters` makes them on accelerators."""
        dtype = self.sampler.dtype
        shapes = jax.eval_shape(lambda x: joined(x, dtype), self._adapters(count))
        return self._spoken(shapes, param_shardings)

    def _rows(self, dtype: Any, *more: int) -> PyTree:
        shape = jax.ShapeDtypeStruct((self.load.players, *more), dtype)
        return self._spoken(shape, batch_shardings)

    def read(self, width: int | None = None) -> Lowered:
        """One chunk of all prompts, or a narrower one, into the largest cache."""
        width = self.sizes.chunk if width is None else width
        arguments = *self._session(), self._rows(jnp.int32, width)
        precision = self.config.matmul_precision
        program = Program(self.decoder, self.sampler.dtype, matmul_precision=precision)
        return self._lowered(read, program, *arguments, mesh=self.playing)

    def decode(self) -> Lowered:
        """One answer of all players, with the largest cache."""
        size = room_of(self.config.speaking.max_tokens)
        key = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
        rows = self.load.players
        keys = self._spoken(jax.ShapeDtypeStruct((rows,), key.dtype), batch_shardings)
        vocab = self.decoder.vocab_size
        grammar = jax.eval_shape(lambda: self._spoken_by.grammar)
        stop: Any = jax.ShapeDtypeStruct((1, vocab), jnp.bool_)
        wanted = Wanted(
            keys=keys,
            temperature=self._rows(jnp.float32),
            budget=self._rows(jnp.int32),
            stop=stop,
            state=self._rows(jnp.int32),
            grammar=self._spoken(grammar, param_shardings),
        )
        precision = self.config.matmul_precision
        program = Program(self.decoder, self.sampler.dtype, None, size, precision)
        arguments = *self._session(), wanted
        return self._lowered(decode, program, *arguments, mesh=self.playing)


def stand_in(vocab: int) -> Restriction:
    """A grammar of the size of a game's, whose words are drawn."""
    rng = np.random.default_rng(0)
    table = rng.integers(-1, _STATES, (_STATES, _CLASSES))
    grammar = Grammar(
        next_state=jnp.asarray(table, jnp.int16),
        token_class=jnp.asarray(rng.integers(0, _CLASSES, vocab), jnp.int32),
        accepting=jnp.ones(_STATES, bool),
        distance=jnp.ones(_STATES, jnp.int32),
    )
    return Restriction(grammar, jnp.zeros(vocab, bool))
