"""A training run of a language model as a value."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from tyro.conf import arg

from aajax.dialogue import credit
from aajax.dialogue.seating import Seating, num_rows
from aajax.errors import InputError
from aajax.lm.lora import BLOCKS, LoraConfig
from aajax.lm.pocket import PocketConfig
from aajax.ops import alignment

LmAlgorithm = Literal["naive", "sum_of_rewards", "advantage_alignment"]
LmPast = Literal["discounted", "strict", "inclusive", "summed", "mean", "clipped"]
LmBaseline = Literal["group", "batch", "critic"]
PASTS = {
    "discounted": alignment.discounted_past,
    "strict": alignment.strict_past,
    "inclusive": alignment.inclusive_past,
    "summed": alignment.summed_past,
    "mean": alignment.mean_past,
    "clipped": alignment.chain(alignment.discounted_past, alignment.clip(1.0)),
}


@dataclasses.dataclass(frozen=True)
class Speaking:
    """How answers are sampled."""

    temperature: float = 1.0  # of sampling
    max_tokens: int = 400  # of an answer
    free_tries: int = 0  # without the grammar, before one under it
    max_cache: int | None = None  # tokens of the longest dialogue; None: the model's
    cache_size: int = (
        1  # tokens that there is room for at first; each doubling compiles
    )

    def __post_init__(self):
        if not 0 < self.temperature < math.inf:
            raise InputError(
                f"temperature is {self.temperature}: a number above 0 is needed"
            )
        for name, least in (
            ("max_tokens", 1),
            ("free_tries", 0),
            ("max_cache", 1),
            ("cache_size", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}: at least {least} is needed")


@dataclasses.dataclass(frozen=True)
class Lora:
    """The adapter that learns."""

    rank: int = 32
    alpha: float = 64.0
    targets: tuple[Literal[tuple(BLOCKS)], ...] = tuple(BLOCKS)  # linear layers

    def __post_init__(self):
        LoraConfig(self.rank, self.alpha, tuple(self.targets))  # refuses what is none


@dataclasses.dataclass(frozen=True)
class PastSelves:
    """Earlier adapters that are kept as opponents."""

    every: int = 10  # iterations between two that are kept; 0: none
    most: int = 28  # that play in one iteration, drawn from all that were kept


@dataclasses.dataclass(frozen=True)
class LmConfig:
    """A training run of a language model in a game of words."""

    game: str = "ipd"  # `aajax list` names them
    options: tuple[str, ...] = ()  # of the game: name=value name=value ...
    prompts: str = "full"  # wording: full, short, or a folder of your own
    model: Path | None = None  # Hugging Face folder; None: a pocket model
    pocket: PocketConfig = PocketConfig()
    system: str | None = None  # what the system says in every dialogue
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the arithmetic and the base
    algorithm: LmAlgorithm = "advantage_alignment"  # what a learner is credited for
    beta: float = 1.0  # weight of the alignment term
    past: LmPast = "discounted"  # how the alignment term sums up the past
    past_gamma: float = 0.9  # discount of the past
    gamma: float = 0.9  # discount of rewards
    baseline: LmBaseline = "group"  # equal worlds' mean, all matches' mean, a critic
    lambda_: float = 0.95  # λ of generalised advantages, with a critic
    reward_scale: float = 1.0  # points that make a reward of 1
    num_matches: int = 64  # in an iteration
    group_size: int = 8  # matches with equal worlds
    num_iterations: int = 1000
    seating: Annotated[Seating, arg(name="")] = Seating()
    past_selves: PastSelves = PastSelves()
    guest: str | None = None  # who sits in the guest's seat: a player, see `aajax list`
    speaking: Speaking = Speaking()
    lora: Lora = Lora()
    initial_adapter: Path | None = None  # PEFT folder to begin with; None: zero
    learning_rate: float = 3e-6  # of Adam
    final_learning_rate: float | None = None  # what it comes to; None: it stays
    critic_learning_rate: float = 3e-6  # of a critic's
    max_gradient_norm: float = 1.0  # longer gradients are shortened
    ratio_cap: float = 2.0  # of importance ratios
    kl: float = 0.0  # weight of the divergence from the base
    final_kl: float | None = None  # what it comes to; None: it stays
    entropy_bonus: float = 0.0  # weight of the entropy, in nats
    final_entropy_bonus: float | None = None  # what it comes to; None: it stays
    num_microbatches: int = 1  # parts of a training batch, one after the other
    remat: bool = False  # recompute layers in the backward pass
    data: int = 1  # mesh axis that copies weights
    fsdp: int = 1  # mesh axis that splits weights and batch
    tensor: int = 1  # mesh axis that splits heads and hidden units
    seed: int = 0
    save_every: int = 10  # iterations between two checkpoints
    matches_every: int = 10  # iterations between two whose matches are written down

    def __post_init__(self):
        _check(self)

    @property
    def has_past_selves(self) -> bool:
        return self.past_selves.every > 0 and self.seating.past_share > 0

    @property
    def goal(self) -> credit.Goal:
        """What a learner is credited for."""
        if self.algorithm == "advantage_alignment":
            past = PASTS[self.past]
            return credit.advantage_alignment(self.past_gamma, self.beta, past=past)
        return getattr(credit, self.algorithm)()

    @property
    def lora_config(self) -> LoraConfig:
        return LoraConfig(self.lora.rank, self.lora.alpha, tuple(self.lora.targets))

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, from which `from_json` makes an equal config."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "LmConfig":
        """The config of `to_json`; what a record lacks has its default."""
        return _from_json(cls, record)


_NESTED = {
    "pocket": PocketConfig,
    "seating": Seating,
    "past_selves": PastSelves,
    "speaking": Speaking,
    "lora": Lora,
}
_PATHS = ("model", "initial_adapter", "text")


def _from_json(cls: type, record: dict[str, Any]):
    known = [field.name for field in dataclasses.fields(cls)]
    values = {}
    for name, value in record.items():
        if name not in known:
            raise InputError(
                f"config has {name!r}: only {', '.join(known)} are known there"
            )
        if name in _NESTED:
            value = _from_json(_NESTED[name], value)
        elif name in _PATHS and value is not None:
            value = Path(value)
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    return cls(**values)


# Name → least and largest value.
_RANGES = {
    "beta": (-1e6, 1e6),
    "past_gamma": (0.0, 1.0),
    "gamma": (0.0, 1.0),
    "lambda_": (0.0, 1.0),
    "learning_rate": (0.0, 1e3),
    "critic_learning_rate": (0.0, 1e3),
    "kl": (0.0, 1e6),
    "entropy_bonus": (0.0, 1e6),
}
_POSITIVE = ("reward_scale", "max_gradient_norm", "ratio_cap")
_COUNTS = (
    *("num_matches", "group_size", "num_iterations", "num_microbatches"),
    *("data", "fsdp", "tensor", "save_every", "matches_every"),
)
_CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "algorithm": get_args(LmAlgorithm),
    "past": get_args(LmPast),
    "baseline": get_args(LmBaseline),
}


def _check(config: LmConfig) -> None:
    for name, choices in _CHOICES.items():
        value = getattr(config, name)
        if value not in choices:
            raise InputError(
                f"{name} is {value!r}: one of {', '.join(choices)} is needed"
            )
    for name, (low, high) in _RANGES.items():
        value = getattr(config, name)
        if not low <= value <= high:
            raise InputError(
                f"{name} is {value}: a number from {low:g} to {high:g} is needed"
            )
    for name in ("entropy_bonus", "kl", "learning_rate"):
        most, final = getattr(config, name), getattr(config, f"final_{name}")
        if final is not None and not 0 <= final <= most:
            raise InputError(
                f"final_{name} is {final}: a number from 0 to {name} ({most:g}) is "
                "needed"
            )
    for name in _POSITIVE:
        value = getattr(config, name)
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}: a number above 0 is needed")
    for name in _COUNTS:
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}: at least 1 is needed")
    if not 0 <= config.seed < 2**32:
        raise InputError(f"seed is {config.seed}: a number in [0, 2^32) is needed")
    rows = num_rows(config.seating, config.num_matches)
    if rows % config.num_microbatches:
        raise InputError(
            f"num_microbatches is {config.num_microbatches}: a divisor of the {rows} "
            "seats that are learned from is needed"
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
    if config.past_selves.every < 0 or config.past_selves.most < 1:
        raise InputError(
            f"past_selves is {config.past_selves}: every of 0 or more and most of 1 or "
            "more are needed"
        )
