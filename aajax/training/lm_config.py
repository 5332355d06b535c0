"""A training run of a language model as a value."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from tyro.conf import arg

from aajax import references, schema
from aajax.dialogue.endpoints.api_config import MAY_DIFFER, Endpoints
from aajax.dialogue.learning import credit
from aajax.dialogue.play.seating import Seating, num_rows
from aajax.dialogue.pocket import PocketConfig
from aajax.envs.wording import WORDINGS
from aajax.errors import InputError
from aajax.lm.model.lora import BLOCKS, LoraConfig, Targets
from aajax.schema import (
    Count,
    Formerly,
    Natural,
    Positive,
    Reference,
    Seed,
    Share,
    check,
)
from aajax.training.config import Beta, Rate, Weight
from aajax.training.estimator import find_past

LmAlgorithm = Literal["naive", "sum_of_rewards", "advantage_alignment"]
LmPast = (
    Literal["discounted", "strict", "inclusive", "summed", "mean", "clipped"]
    | Reference
)
KlGradient = Literal["k3", "reverse"]
LmBaseline = Literal["group", "batch", "critic"]


@dataclasses.dataclass(frozen=True)
class Speaking:
    """How answers are sampled."""

    temperature: Positive = 1.0  # of sampling
    max_tokens: Count = 400  # of an answer
    free_tries: Natural = 0  # without the grammar, before one under it
    max_cache: Count | None = None  # tokens of the longest dialogue; None: the model's
    cache_size: Count = 1  # tokens with room at first; each doubling compiles

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class Lora:
    """The adapter that learns."""

    rank: Count = 32
    alpha: Positive = 64.0
    targets: Targets = tuple(BLOCKS)  # linear layers

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class PastSelves:
    """Earlier adapters that are kept as opponents."""

    every: Natural = 10  # iterations between two that are kept; 0: none
    most: Count = 28  # that play in one iteration, drawn from all that were kept

    __post_init__ = check


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
    beta: Beta = 1.0  # weight of the alignment term
    past: LmPast = "discounted"  # how the alignment term sums up the past
    past_gamma: Share = 0.9  # discount of the past
    gamma: Share = 0.9  # discount of rewards
    baseline: LmBaseline = (
        "group"  # same-seed matches' mean, all matches' mean, a critic
    )
    gae_lambda: Annotated[Share, Formerly("lambda_")] = 0.95  # λ of GAE, with a critic
    reward_scale: Positive = 1.0  # points that make a reward of 1
    num_matches: Count = 64  # in an iteration
    group_size: Count = 8  # matches with the same environment seed
    num_iterations: Count = 1000
    seating: Annotated[Seating, arg(name="")] = Seating()
    past_selves: PastSelves = PastSelves()
    guest: str | None = None  # who sits in the guest's seat: a player, see `aajax list`
    api: Endpoints = Endpoints()
    speaking: Speaking = Speaking()
    lora: Lora = Lora()
    initial_adapter: Path | None = None  # PEFT folder to begin with; None: zero
    learning_rate: Rate = 3e-6  # of Adam
    final_learning_rate: Rate | None = None  # what it comes to; None: it stays
    critic_learning_rate: Rate = 3e-6  # of a critic's
    max_gradient_norm: Positive = 1.0  # longer gradients are shortened
    ratio_cap: Positive = 2.0  # of importance ratios
    kl: Weight = 0.0  # weight of the divergence from the base
    final_kl: Weight | None = None  # what it comes to; None: it stays
    kl_gradient: KlGradient = "k3"  # k3's own, as published, or that of KL(π ‖ base)
    entropy_bonus: Weight = 0.0  # weight of the entropy, in nats
    final_entropy_bonus: Weight | None = None  # what it comes to; None: it stays
    num_microbatches: Count = 1  # parts of a training batch, one after the other
    final_num_iterations: Count | None = None  # of which these take shares; None: all
    remat: bool = False  # recompute layers in the backward pass
    data: Count = 1  # mesh axis that copies weights
    fsdp: Count = 1  # mesh axis that splits weights and batch
    tensor: Count = 1  # mesh axis that splits heads and hidden units
    seed: Seed = 0
    save_every: Count = 10  # iterations between two checkpoints
    matches_every: Count = 10  # iterations between two whose matches are written down

    # What may be another where a run goes on: its numbers do not depend on it.
    may_differ: ClassVar[frozenset[str]] = frozenset(f"api.{x}" for x in MAY_DIFFER)
    unit: ClassVar[str] = "iterations"

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

    @property
    def has_past_selves(self) -> bool:
        return self.past_selves.every > 0 and self.seating.past_share > 0

    @property
    def goal(self) -> credit.Goal:
        """What a learner is credited for."""
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
        """A record of a run in which files and folders of templates are absolute."""
        found = {
            name: references.absolute(record[name])
            for name in ("game", "guest", "past")
            if name in record
        }
        if record.get("prompts") not in (None, *WORDINGS):
            found["prompts"] = str(Path(record["prompts"]).resolve())
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


def _check_matches(config: LmConfig) -> None:
    """Whether matches divide as they are to, and past selves are there to play."""
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
