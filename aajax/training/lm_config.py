"""A training run of a language model as a value."""

import dataclasses
import functools
import itertools
import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from tyro.conf import arg

from aajax import references, schema
from aajax.dialogue import registry
from aajax.dialogue.endpoints.api_config import MAY_DIFFER, Endpoints
from aajax.dialogue.learning import credit
from aajax.dialogue.play.seating import Seating, num_rows
from aajax.dialogue.pocket import PocketConfig
from aajax.envs.text import TextGame
from aajax.envs.wording import WORDINGS
from aajax.errors import InputError
from aajax.lm.checkpoints import named
from aajax.lm.model.lora import BLOCKS, LoraConfig, Targets
from aajax.lm.model.precision import MatmulPrecision
from aajax.lm.text.chat_templates import TEMPLATES
from aajax.schema import (
    Count,
    Formerly,
    Natural,
    Positive,
    Refers,
    Seed,
    Share,
    check,
)
from aajax.training.config import Beta, Rate, Weight, several
from aajax.training.estimator import PAST, find_past
from aajax.training.options import read_options

GOAL = "a function LmConfig -> Goal"
LmAlgorithm = (
    Literal["naive", "sum_of_rewards", "advantage_alignment"]
    | Annotated[str, Refers(GOAL)]
)
LmPast = (
    Literal["discounted", "strict", "inclusive", "summed", "mean", "clipped"]
    | Annotated[str, Refers(PAST)]
)
KlGradient = Literal["k3", "reverse"]
LmBaseline = Literal["group", "batch", "critic"]
LONGEST = 240  # characters of a name, and a number before it, of 255 that files have
MEMBERS = "members"  # folder of a run, with one of each member of a population


@dataclasses.dataclass(frozen=True)
class Speaking:
    """How answers are sampled."""

    temperature: Positive = 1.0  # sampling temperature
    max_tokens: Count = 400  # most tokens of an answer
    # answers sampled without the grammar, before one with it; None: 1 if they are valid
    # often enough, which a few show at the start of the run, else 0
    free_tries: Natural | None = 0
    # most tokens of a dialogue; None: the model's context length
    max_cache: Count | None = None
    # initial size of the KV cache in tokens; each doubling compiles
    cache_size: Count = 1
    # tokens of prompts that are read at once, a power of two; None: what memory allows
    prefill_chunk: Annotated[Count | None, Formerly("piece")] = None

    __post_init__ = check

    def check_relations(self):
        chunk = self.prefill_chunk
        if chunk is not None and chunk & (chunk - 1):
            raise InputError(f"prefill_chunk is {chunk}: a power of two is needed")


@dataclasses.dataclass(frozen=True)
class Lora:
    """The low-rank adapter (LoRA) that is trained."""

    rank: Count = 32  # rank r of the low-rank matrices
    alpha: Positive = 64.0  # scale: adapters are multiplied by alpha / rank
    targets: Targets = tuple(BLOCKS)  # linear layers that have an adapter

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class PastSelves:
    """Adapters of earlier iterations, which are kept as opponents."""

    every: Natural = 10  # iterations between two adapters that are kept; 0: none
    most: Count = 28  # most of them per iteration, sampled from all that were kept

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Matches that are played when training is over."""

    matches: Count = 64  # matches with each opponent, an even number

    __post_init__ = check

    def check_relations(self):
        if self.matches % 2:
            raise InputError(
                f"matches is {self.matches}: an even number is needed, as each "
                "environment is played from both seats"
            )


# Names that may be swept, with what each accepts: those of which no shape depends.
SWEPT: dict[str, Any] = {
    "algorithm": LmAlgorithm,
    "past": LmPast,
    "baseline": Literal["group", "batch"],
    "beta": Beta,
    "gamma": Share,
    "past_gamma": Share,
    "learning_rate": Rate,
    "critic_learning_rate": Rate,
    "kl": Weight,
    "entropy_bonus": Weight,
    "reward_scale": Positive,
    "group_size": Count,
    "past_share": Share,
}

Sweep = dataclasses.make_dataclass(
    "Sweep",
    [
        (name, several(annotation), dataclasses.field(default=()))
        for name, annotation in SWEPT.items()
    ],
    frozen=True,
    namespace={
        "__module__": __name__,
        "__doc__": "Values to try of what shapes do not depend on; all combinations "
        "are trained at once, each with all seeds.",
        "__post_init__": check,
    },
)
"""Values to try of each option of `SWEPT`."""


@dataclasses.dataclass(frozen=True)
class LmConfig:
    """A training run of a language model in a game of words."""

    game: str = "ipd"  # text game; `aajax list` names them, or FILE.py:NAME of yours
    options: tuple[str, ...] = ()  # options of the game: name=value name=value ...
    # wording: full, brief, short, or a folder of templates (see aajax wording)
    prompts: str = "full"
    # Hugging Face folder, .gguf file, id of the Hub, or smollm2; None: a pocket model,
    # trained first
    model: Path | None = None
    # for a model that has none: chatml, gemma, llama3, or a Jinja file
    chat_template: str | None = None

    pocket: PocketConfig = PocketConfig()

    system: str | None = None  # system prompt of every dialogue; None: none
    # of the arithmetic and of the frozen weights
    dtype: Literal["float32", "bfloat16"] = "float32"
    # of products' factors: bfloat16 with float32 elsewhere, twice as fast on CPUs that
    # have AVX512-BF16; None: what JAX does on the device
    matmul_precision: MatmulPrecision | None = None
    # what a learner maximises; `aajax list` describes them; or FILE.py:NAME of yours
    algorithm: LmAlgorithm = "advantage_alignment"
    beta: Beta = 1.0  # weight β of the alignment term
    # how the alignment term aggregates past advantages, or FILE.py:NAME of yours
    past: LmPast = "discounted"
    past_gamma: Share = 0.9  # discount factor of past advantages
    gamma: Share = 0.9  # discount factor γ of rewards
    # group: mean of equal seeds; batch: mean of all matches; critic
    baseline: LmBaseline = "group"
    # λ of generalised advantage estimation, with a critic
    gae_lambda: Annotated[Share, Formerly("lambda_")] = 0.95
    reward_scale: Positive = 1.0  # points are divided by this to give rewards
    num_matches: Count = 64  # matches per iteration
    group_size: Count = 8  # matches that start from the same environment seed
    num_iterations: Count = 1000  # iterations of playing and learning
    seating: Annotated[Seating, arg(name="")] = Seating()
    past_selves: PastSelves = PastSelves()
    # fixed opponent: a player of `aajax list`, an adapter, model:MODEL, api:URL#MODEL
    guest: str | None = None

    api: Endpoints = Endpoints()
    speaking: Speaking = Speaking()
    lora: Lora = Lora()
    # PEFT folder, or a finished run's, to start from; None: a new adapter
    initial_adapter: Path | None = None
    learning_rate: Rate = 3e-6  # learning rate of Adam
    final_learning_rate: Rate | None = None  # final learning rate; None: constant
    critic_learning_rate: Rate = 3e-6  # learning rate of the critic
    max_gradient_norm: Positive = 1.0  # clip gradients to this norm
    ratio_cap: Positive = 2.0  # importance ratios are truncated at this value
    kl: Weight = 0.0  # weight of the KL divergence from the base model
    final_kl: Weight | None = None  # final weight; None: constant
    # k3: gradient of the k3 estimate, as published; reverse: of KL(π ‖ base)
    kl_gradient: KlGradient = "k3"
    entropy_bonus: Weight = 0.0  # weight of the entropy per token, in nats
    final_entropy_bonus: Weight | None = None  # final weight; None: constant
    # gradient accumulation: parts of a batch, one after another; None: as many as leave
    # each device one sequence at a time
    num_microbatches: Count | None = 1
    # iterations over which final values are approached; None: all
    final_num_iterations: Count | None = None
    remat: bool = False  # recompute activations in the backward pass to save memory
    data: Count = 1  # mesh axis: devices that each hold a copy of the weights
    # mesh axis: devices that share weights and batch; None: all that are left
    fsdp: Count | None = 1
    tensor: Count = 1  # mesh axis: devices that share heads and hidden units
    # the same while playing, where no weights are split over fsdp; None: tensor, or as
    # many times that as have room for the weights and the longest cache
    play_tensor: Count | None = None
    # random seed; of several the first: they are seed, seed + 1, ...
    seed: Seed = 0
    seeds: Count = 1  # number of random seeds, each of which trains an adapter
    save_every: Count = 10  # iterations between two checkpoints
    matches_every: Count = 10  # iterations between two whose matches are saved

    eval: Evaluation = Evaluation()
    # Made of annotations, a class that checkers do not see.
    sweep: Annotated[
        Sweep,  # pyright: ignore[reportInvalidTypeForm]
        arg(help=Sweep.__doc__),
    ] = Sweep()

    # What may be another where a run goes on: its numbers do not depend on it, but for
    # the order in which they are summed up.
    may_differ: ClassVar[frozenset[str]] = frozenset(
        {
            *("data", "fsdp", "tensor", "play_tensor", "num_microbatches", "remat"),
            "speaking.prefill_chunk",
            *(f"api.{x}" for x in MAY_DIFFER),
        }
    )
    unit: ClassVar[str] = "iterations"
    schedule_option: ClassVar[str] = "final_num_iterations"

    __post_init__ = check

    @property
    def length(self) -> int:
        return self.num_iterations

    @property
    def schedule_length(self) -> int:
        """Iterations of which the way to final values takes shares."""
        return self.final_num_iterations or self.num_iterations

    @property
    def moving(self) -> tuple[str, ...]:
        """Options that say what a quantity comes to."""
        names = "final_learning_rate", "final_kl", "final_entropy_bonus"
        return tuple(name for name in names if getattr(self, name) is not None)

    def scheduled_over(self, length: int) -> "LmConfig":
        return dataclasses.replace(self, final_num_iterations=length)

    def settled_as(self, stored: "LmConfig") -> "LmConfig":
        """The config with what it leaves open as a run that is stored decided it."""
        if self.speaking.free_tries is not None:
            return self
        speaking = dataclasses.replace(
            self.speaking, free_tries=stored.speaking.free_tries
        )
        return dataclasses.replace(self, speaking=speaking)

    @functools.cached_property
    def num_seats(self) -> int:
        """N, of the game; raises InputError if there is no such game."""
        return make_game(self).env.num_agents

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.seed, self.seed + self.seeds))

    @property
    def swept(self) -> dict[str, tuple[float | str, ...]]:
        """What varies, with its values; empty without a sweep."""
        values = dataclasses.asdict(self.sweep)
        return {name: tuple(each) for name, each in values.items() if each}

    @property
    def settings(self) -> list[dict[str, float | str]]:
        """All combinations of what varies, the last name varying fastest."""
        combinations = itertools.product(*self.swept.values())
        return [dict(zip(self.swept, each, strict=True)) for each in combinations]

    @property
    def lanes(self) -> tuple[int, int]:
        """How many settings and seeds there are."""
        return len(self.settings), self.seeds

    @property
    def is_population(self) -> bool:
        """Whether adapters of several settings or seeds are trained at once."""
        return bool(self.swept) or self.seeds > 1

    @property
    def members(self) -> list["LmConfig"]:
        """A run of its own for every setting and seed, the seed varying fastest.

        Raises:
          InputError: for a combination that is not accepted.
        """
        if not self.is_population:
            return [self]
        alone = {"seeds": 1, "sweep": Sweep()}
        found = []
        for setting in self.settings:
            values: dict[str, Any] = {**setting, **alone}
            if "past_share" in values:
                share = values.pop("past_share")
                seating = dataclasses.replace(self.seating, past_share=share)
                values["seating"] = seating
            found += [
                dataclasses.replace(self, seed=seed, **values)
                for seed in self.seed_list
            ]
        return found

    @property
    def has_past_selves(self) -> bool:
        return self.past_selves.every > 0 and self.seating.past_share > 0

    @property
    def goal(self) -> credit.Goal:
        """What a learner is credited for.

        Raises:
          InputError: if it is somebody's own, and not there or of another kind.
        """
        if references.is_reference(self.algorithm):
            return _own_goal(self)
        if self.algorithm == "advantage_alignment":
            past = find_past(self.past)
            return credit.advantage_alignment(self.past_gamma, self.beta, past=past)
        return getattr(credit, self.algorithm)()

    @property
    def lora_config(self) -> LoraConfig:
        return LoraConfig(self.lora.rank, self.lora.alpha, tuple(self.lora.targets))

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, from which `from_json` makes an equal config."""
        record = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        return self.located(record)

    @staticmethod
    def located(record: dict) -> dict:
        """A record of a run in which files and folders have absolute paths."""
        found = {
            name: references.absolute(record[name])
            for name in ("game", "guest", "past", "algorithm")
            if name in record
        }
        if "guest" in record:
            found["guest"] = named.absolute(found["guest"], "guest")
        # A guest may also be the name of a player.
        for name in ("model", "initial_adapter", "guest", "chat_template"):
            if record.get(name) in TEMPLATES:
                continue
            if record.get(name) is not None and Path(record[name]).exists():
                found[name] = str(Path(record[name]).resolve())
        if record.get("prompts") not in (None, *WORDINGS):
            found["prompts"] = str(Path(record["prompts"]).resolve())
        if "sweep" in record:
            own = {
                name: [references.absolute(x) for x in record["sweep"].get(name, ())]
                for name in ("past", "algorithm")
            }
            found["sweep"] = {**record["sweep"], **own}
        return {**record, **found}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "LmConfig":
        """The config of `to_json`; what a record lacks has its default.

        Raises:
          InputError: for what is no field, or not what it needs to be.
        """
        return schema.build(cls, record)

    def check_relations(self):
        for name in ("entropy_bonus", "kl", "learning_rate"):
            most, final = getattr(self, name), getattr(self, f"final_{name}")
            if final is not None and final > most:
                raise InputError(
                    f"final_{name} is {final}: a number from 0 to {name} ({most:g}) is "
                    "needed"
                )
        _check_matches(self)
        if self.is_population:
            _check_population(self)


def _check_population(config: LmConfig) -> None:
    """Whether its members can be trained together."""
    if config.seed + config.seeds > 2**32:
        raise InputError(
            f"seed is {config.seed}: at most {2**32 - config.seeds} is needed, so that "
            f"all {config.seeds} seeds are below 2^32"
        )
    members = config.members  # refuses combinations
    if config.sweep.critic_learning_rate:
        if config.sweep.baseline:
            raise InputError(
                f"sweep.baseline is {list(config.sweep.baseline)}: none is needed with "
                "sweep.critic_learning_rate, which baseline 'critic' alone has"
            )
        if config.baseline != "critic":
            raise InputError(
                f"baseline is {config.baseline!r}: 'critic' is needed with "
                "sweep.critic_learning_rate"
            )
    if (config.guest or "").startswith("api:"):
        raise InputError(
            f"guest is {config.guest!r}: a player of this machine is needed with "
            f"{len(members)} members, whose matches have equal numbers"
        )


def make_game(config: LmConfig) -> TextGame:
    """The game of a run; raises InputError if there is no such game."""
    options = game_options(config)
    with schema.called({"wording": "prompts"}):
        return registry.make(config.game, config.prompts, **options)


def game_options(config: LmConfig) -> dict[str, object]:
    """The options of a run's game; raises InputError for what the game has not."""
    accepted = registry.parameters(config.game)
    return read_options("options", config.options, config.game, accepted)


def _own_goal(config: LmConfig) -> credit.Goal:
    label = f"algorithm is {config.algorithm!r}: {GOAL} is needed"
    make = references.load(config.algorithm, "algorithm", GOAL)
    advantage = jax.ShapeDtypeStruct((4, config.num_seats), jnp.float32)
    try:
        goal = make(config)
        shapes = [jax.eval_shape(f, advantage).shape for f in (goal.share, goal.credit)]
    except Exception as error:  # of somebody else's code
        raise InputError(f"{label} ({references.reason(error)})") from error
    if any(shape != advantage.shape for shape in shapes):
        raise InputError(
            f"{label} whose functions keep shapes, and of {list(advantage.shape)} they "
            f"make {' and '.join(str(list(shape)) for shape in shapes)}"
        )
    return goal


def _check_matches(config: LmConfig) -> None:
    """Whether matches divide as they are to, and past selves are there to play."""
    parts = config.num_microbatches or 1
    # Of divisors of the matches the game need not be known.
    if config.num_matches % parts:
        rows = num_rows(config.seating, config.num_matches, config.num_seats)
        if rows % parts:
            raise InputError(
                f"num_microbatches is {parts}: a divisor of the {rows} seats that are "
                "learned from is needed"
            )
    if config.baseline == "group" and config.group_size == 1:
        raise InputError(
            "group_size is 1: at least 2 is needed with baseline 'group'; 'batch' "
            "compares all matches"
        )
    if config.seating.past_share > 0 and config.past_selves.every == 0:
        raise InputError(
            "past_selves.every is 0: at least 1 is needed with past_share above 0"
        )
    if config.num_matches % config.group_size:
        raise InputError(
            f"group_size is {config.group_size}: a divisor of num_matches "
            f"({config.num_matches}) is needed"
        )


def member_names(config: LmConfig) -> list[str]:
    """Names of the members, such as beta_3_seed_0; each is that of a folder.

    Where one would be longer than names of files may be, all are numbers.
    """
    names = []
    for setting in config.settings:
        words = [f"{name}_{_word(value)}" for name, value in setting.items()]
        names += ["_".join([*words, f"seed_{seed}"]) for seed in config.seed_list]
    if max(map(len, names)) > LONGEST:
        return [f"member_{number}" for number in range(len(names))]
    if len(set(names)) < len(names):  # values that differ in other signs than these
        names = [f"{number}_{name}" for number, name in enumerate(names)]
    return names


def _word(value: float | str) -> str:
    """A value in the name of a folder, wherever the file that it refers to is."""
    text = value if isinstance(value, str) else f"{value:g}"
    if references.is_reference(value):
        place, _, name = text.rpartition(":")
        text = f"{Path(place).name}_{name}"
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", text)
