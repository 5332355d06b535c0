"""The parts of a language model's training run, from its config."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from aajax import schema
from aajax.dialogue.learning.critic import Critic, CriticState, make_critic
from aajax.dialogue.learning.learner import Restriction, SpeechLoss, speech_loss
from aajax.dialogue.play.seating import GUEST, LEARNER, num_rows, num_spoken
from aajax.dialogue.players.base import Player
from aajax.dialogue.players.language_model import (
    LanguageModel,
    answer_grammar,
    load_language_model,
    stop_mask,
)
from aajax.dialogue.players.scripted import scripted_player
from aajax.dialogue.pocket import pocket_folder, user_cache
from aajax.envs.text import TextGame
from aajax.errors import InputError
from aajax.keys import numpy_stream, stream
from aajax.lm.ahead import Sizes
from aajax.lm.checkpoints.find import model_folder
from aajax.lm.checkpoints.peft_config import CONFIG, adapter_folder
from aajax.lm.checkpoints.peft_folder import load_peft
from aajax.lm.checkpoints.weights import load_params, read_config
from aajax.lm.mesh.hosts import padded_rows, processes
from aajax.lm.mesh.playing import (
    Longest,
    check_divides_devices,
    device_memory,
    playing_mesh,
    playing_tensor,
)
from aajax.lm.mesh.sharding import check_divides, make_mesh, param_shardings, shard
from aajax.lm.model import lora
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import BATCH
from aajax.lm.model.decoder import Adapters, init_params
from aajax.lm.text.tokens import load_tokenizer
from aajax.lm.training.fit import Fit, FitState, make_step
from aajax.ops import surrogate
from aajax.training.assemble import SCHEDULE
from aajax.training.lm_config import LmConfig, make_game
from aajax.types import AnyArray, PRNGKey, PyTree

DIVERGENCES = {"k3": surrogate.kl_k3, "reverse": surrogate.kl_k3_reverse}


class LmState(NamedTuple):
    """What an iteration changes.

    Attributes:
      policy: the adapter, its optimiser, and iterations done.
      critic: None without one.
    """

    policy: FitState
    critic: CriticState | None


class TermScales(NamedTuple):
    """Weights of terms of a loss, relative to those that it has."""

    entropy: float = 1.0
    kl: float = 1.0


@dataclasses.dataclass(frozen=True)
class LmParts:
    """What does not change in a run, or in a member of a population.

    Attributes:
      config: of the run, or what it would be of a run of the member alone.
      game: that is played.
      model: the base, without adapters.
      players: those that are not the model, by name.
      fit: the policy's training step.
      critic: None without one.
      scale: f32[1], of the adapter.
      mesh: None for one device; over several processes each plays matches of its own.
      credit: advantages f[M, T, N] → credits f[M, T, N].
      scales: of the loss's terms in `fit`.
      rate: iterations done → learning rate; None if `fit` has it.
      critic_rate: learning rate of the critic; None if `critic` has it.
    """

    config: LmConfig
    game: TextGame
    model: LanguageModel
    players: dict[str, Player]
    fit: Fit
    critic: Critic | None
    scale: jax.Array
    mesh: Mesh | None
    credit: Callable[[AnyArray], jax.Array]
    scales: TermScales = TermScales()
    rate: Callable[[int], float] | None = None
    critic_rate: float | None = None

    def init(self, key: PRNGKey) -> LmState:
        """A state whose adapter changes nothing yet, or is the initial one."""
        policy, critic = self._weights(key)
        if self.mesh is not None:
            policy, critic = shard((policy, critic), self.mesh)
        return self._begin(policy, critic)

    @property
    def template(self) -> LmState:
        """Shapes of a state, and where they lie on a mesh."""
        key = jax.random.key(self.config.seed)
        shapes = jax.eval_shape(lambda key: self._begin(*self._weights(key)), key)
        if self.mesh is None:
            return shapes
        shardings = param_shardings(self.mesh, shapes)
        return jax.tree.map(
            lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
            shapes, shardings,
        )  # fmt: skip

    def _begin(self, policy: PyTree, critic: PyTree | None) -> LmState:
        value = None if self.critic is None else self.critic.init(critic)
        return LmState(self.fit.init(policy), value)

    def _weights(self, key: PRNGKey) -> tuple[PyTree, PyTree | None]:
        """Adapters of the policy and of the critic to begin with."""
        config = self.config
        decoder = self.model.sampler.config
        adapter_key = stream(key, "training in words: adapter")
        adapter = lora.init_adapters(decoder, config.lora_config, adapter_key)
        if config.initial_adapter is not None:
            initial = _initial_adapter(config, decoder)
            adapter = lora.begun_with(adapter, initial)
        critic = None
        if self.critic is not None:
            critic_key = stream(key, "training in words: critic's adapter")
            critic = lora.init_adapters(decoder, config.lora_config, critic_key).weights
        return adapter.weights, critic

    def line_up(self, adapters: Adapters) -> dict[str, Player]:
        """Everybody, the model with these adapters, laid out for playing.

        To be let go of when the matches are over.
        """
        return {LEARNER: self.model.with_adapters(adapters), **self.players}


def assemble(
    config: LmConfig,
    make_guest: Callable[[str, TextGame], Player] | None = None,
    sizes: Sizes | None = None,
    num_members: int = 1,
) -> LmParts:
    """All parts of a run; the model is read, or a pocket model trained.

    Args:
      config: of the run.
      make_guest: `(name, game) -> Player`, of `config.guest`; None for scripted ones.
      sizes: of programs that were compiled before; None for those that fit.
      num_members: of a population, that play in one batch.

    Raises:
      InputError: for what the config names and is not there.
    """
    game, goal = make_game(config), config.goal
    players: dict[str, Player] = {}
    if config.seating.guest_share > 0:
        if config.guest is None:
            raise InputError(
                "guest is None: a player is needed with a guest_share of "
                f"{config.seating.guest_share:g}; --guest names one"
            )
        with schema.called({"player": "guest"}):
            players[GUEST] = (make_guest or _scripted)(config.guest, game)
    elif config.guest is not None:
        raise InputError(
            f"guest is {config.guest!r}: none is needed with a guest_share of 0, where "
            "no guest plays"
        )
    mesh = run_mesh(config)
    if sizes is not None and mesh is None:
        mesh = make_mesh(devices=jax.devices()[:1])  # as programs are compiled for it
    if config.play_tensor is not None:
        check_divides_devices(config.play_tensor, 1 if mesh is None else mesh.size)
    model = _model(config, game, mesh, sizes, num_members)
    decoder = model.sampler.config
    if config.initial_adapter is not None:
        _initial_adapter(config, decoder)  # refused before anything is written
    # Constants of programs, which arrays of other processes' devices cannot be.
    own = jax.device_get((model.grammar, model.stop))
    grammar, stop = jax.tree.map(jnp.asarray, own)
    fit, critic = make_learners(config, decoder, Restriction(grammar, stop), mesh)
    scale = jnp.full(1, config.lora_config.scale, jnp.float32)
    if mesh is not None:
        scale = shard(scale, mesh)
    credit = jax.jit(jax.vmap(goal.credit))
    return LmParts(config, game, model, players, fit, critic, scale, mesh, credit)


def make_learners(
    config: LmConfig,
    decoder: DecoderConfig,
    restriction: Restriction,
    mesh: Mesh | None,
) -> tuple[Fit, Critic | None]:
    """The policy's training step and the critic's, None without one."""
    shared = {
        "num_microbatches": num_microbatches(config, mesh),
        "mesh": mesh,
        "dtype": jnp.dtype(config.dtype),
        "matmul_precision": config.matmul_precision,
        "remat": config.remat,
    }
    weights = SpeechLoss(
        config.ratio_cap,
        config.kl,
        config.entropy_bonus,
        config.speaking.temperature,
        DIVERGENCES[config.kl_gradient],
    )
    optimizer = adam(config, config.learning_rate, config.final_learning_rate)
    loss = speech_loss(weights, *restriction)
    fit = make_step(decoder, optimizer, loss, adapters=True, **shared)
    if config.baseline != "critic":
        return fit, None
    optimizer = adam(config, config.critic_learning_rate)
    scale = jnp.full(1, config.lora_config.scale, jnp.float32)
    return fit, make_critic(decoder, optimizer, scale, **shared)


def _initial_adapter(config: LmConfig, decoder: DecoderConfig) -> Adapters:
    assert config.initial_adapter is not None
    label = f"initial_adapter is {str(config.initial_adapter)!r}"
    folder = adapter_folder(Path(config.initial_adapter))
    if folder is None:
        raise InputError(
            f"{label}: a folder with {CONFIG}, or that of a finished run or of one of "
            "its members, is needed"
        )
    with schema.called({"folder": "initial_adapter"}):
        found, adapter = load_peft(folder, decoder)
    own = config.lora_config
    if abs(found.scale - own.scale) > 1e-6:
        raise InputError(
            f"{label}: one of alpha / rank {own.scale:g} is needed, not {found.scale:g}"
        )
    if found.rank > own.rank:
        raise InputError(
            f"{label}: one of rank {own.rank} or less is needed, not {found.rank}"
        )
    others = [name for name in found.targets if name not in own.targets]
    if others:
        raise InputError(
            f"{label}: one of {', '.join(own.targets)} alone is needed, and it has "
            f"{', '.join(others)} too"
        )
    return adapter


def _scripted(name: str, game: TextGame) -> Player:
    return scripted_player(game, name)


def run_mesh(config: LmConfig, devices: Sequence[Any] | None = None) -> Mesh | None:
    """The mesh of a run; None for one device.

    Args:
      config: of the run.
      devices: that it is to have; None for all of all processes.

    Raises:
      InputError: if the mesh does not fit the devices, if processes would share
        sequences, or if sequences do not divide among processes or devices.
    """
    axes = {"data": config.data, "fsdp": config.fsdp, "tensor": config.tensor}
    if set(axes.values()) == {1} and devices is None:
        return None
    sizes = {name: -1 if size is None else size for name, size in axes.items()}
    mesh = make_mesh(**sizes, devices=devices)
    if mesh.size == 1:
        return None
    count = len(processes(mesh))
    if config.num_matches % count:
        raise InputError(
            f"num_matches is {config.num_matches}: a multiple of the {count} processes "
            "is needed, each of which plays matches of its own"
        )
    padded_rows(mesh, 1)  # refuses processes that share rows
    rows = num_rows(config.seating, config.num_matches, config.num_seats)
    parts = math.prod(mesh.shape[axis] for axis in BATCH)
    if count > 1 and rows % parts:
        raise InputError(
            f"num_matches is {config.num_matches}: seats that are learned from in a "
            f"multiple of data x fsdp = {parts} are needed with several processes, not "
            f"{rows}"
        )
    num_microbatches(config, mesh)
    return mesh


def num_microbatches(config: LmConfig, mesh: Mesh | None) -> int:
    """Parts of a training batch, each with equally many sequences for every device.

    Raises:
      InputError: if the sequences of a part do not divide among data x fsdp, so that
        devices would compute the same ones and exchange their attention.
    """
    parts = 1 if mesh is None else math.prod(mesh.shape[axis] for axis in BATCH)
    rows = num_rows(config.seating, config.num_matches, config.num_seats)
    if config.num_microbatches is None:
        return max(rows // parts, 1)
    if rows // config.num_microbatches % parts:
        most = rows // parts
        needed = f"a divisor of {most}" if rows % parts == 0 else "another num_matches"
        raise InputError(
            f"num_microbatches is {config.num_microbatches}: parts of "
            f"{rows // config.num_microbatches} sequences do not divide among data x "
            f"fsdp = {parts}; {needed} is needed"
        )
    return config.num_microbatches


def find_model(config: LmConfig) -> Path:
    """The checkpoint folder of a run's base; a pocket model is trained where needed."""
    if config.model is None:
        return pocket_folder(config=config.pocket)
    return model_folder(config.model, user_cache() / "models")


def find_restriction(config: LmConfig, folder: Path, vocab_size: int) -> Restriction:
    """What a run restricts answers to, by the tokenizer of its model alone.

    Args:
      config: of the run.
      folder: of the model, whose weights need not be there.
      vocab_size: V, of the model.
    """
    tokens = load_tokenizer(folder, config.chat_template)
    patterns = make_game(config).patterns.values()
    grammar, _ = answer_grammar(patterns, tokens, vocab_size)
    return Restriction(grammar, jnp.asarray(stop_mask(tokens, vocab_size)))


def _model(
    config: LmConfig,
    game: TextGame,
    mesh: Mesh | None,
    sizes: Sizes | None,
    num_members: int,
) -> LanguageModel:
    dtype, speaking = jnp.dtype(config.dtype), config.speaking
    names = {f.name: f"speaking.{f.name}" for f in dataclasses.fields(speaking)}
    if config.model is not None:
        names["folder"] = "model"
    params = plays_on = None
    with schema.called(names):
        folder = find_model(config)
        if mesh is not None:
            decoder = read_config(folder)
            check_divides(decoder, mesh.shape["fsdp"], mesh.shape["tensor"])
            like = jax.eval_shape(lambda: init_params(decoder, jax.random.key(0)))
            shardings = param_shardings(mesh, like)
            if sizes is None:
                memory = device_memory(mesh)
                plays_on = find_playing_mesh(config, decoder, mesh, memory, num_members)
            else:
                plays_on = playing_mesh(mesh, sizes.play_tensor)
            params = load_params(folder, decoder, dtype=dtype, shardings=shardings)
        return load_language_model(
            folder, list(game.patterns.values()), dtype=dtype, params=params,
            system=config.system, chat_template=config.chat_template,
            max_cache=speaking.max_cache,
            temperature=speaking.temperature, max_tokens=speaking.max_tokens,
            free_tries=speaking.free_tries or 0, cache_size=speaking.cache_size,
            mesh=plays_on, matmul_precision=config.matmul_precision,
            prefill_chunk=speaking.prefill_chunk, sizes=sizes,
        )  # fmt: skip


def find_playing_mesh(
    config: LmConfig,
    decoder: DecoderConfig,
    mesh: Mesh,
    memory: float | None,
    num_members: int = 1,
) -> Mesh:
    """The mesh that a run plays on, of the devices of the one that it trains on.

    Args:
      config: of the run, or of a member of a population.
      decoder: of its model.
      mesh: of training.
      memory: bytes of a device; None if they are unknown.
      num_members: of the population, all of which play in one batch.

    Raises:
      InputError: if `play_tensor` does not fit devices, processes or weights.
    """
    tensor = config.play_tensor
    if tensor is None:
        spoken = num_spoken(config.seating, config.num_matches, config.num_seats)
        most = config.speaking.max_cache or decoder.max_length
        longest = Longest(num_members * spoken, min(most, decoder.max_length))
        dtype = jnp.dtype(config.dtype)
        tensor = playing_tensor(mesh, decoder, dtype, memory, longest)
    plays_on = playing_mesh(mesh, tensor)
    check_divides(decoder, 1, tensor)
    padded_rows(plays_on, 1)  # refuses processes that share rows
    return plays_on


def adam(
    config: LmConfig, rate: float, final: float | None = None
) -> optax.GradientTransformation:
    """Adam on gradients that are clipped; its rate moves on to `final`, if given."""
    clip = optax.clip_by_global_norm(config.max_gradient_norm)
    if final is None:
        return optax.chain(clip, optax.adam(rate))
    return optax.chain(clip, optax.adam(linear_schedule(config, rate, final)))


def linear_schedule(config: LmConfig, rate: float, final: float) -> optax.Schedule:
    """From one value to the other in the course of a run: step → value."""
    first, last = (round(share * config.schedule_length) for share in SCHEDULE)
    return optax.linear_schedule(rate, final, max(last - first, 1), first)


def random_numbers(config: LmConfig, iteration: int) -> np.random.Generator:
    """What draws the environments and opponents of an iteration."""
    return numpy_stream(config.seed, "training in words: worlds", iteration)
