"""A training run as a value: its config, and what it may hold."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from aajax import references, schema
from aajax.errors import InputError
from aajax.schema import (
    Count,
    Formerly,
    Items,
    Natural,
    NonNegative,
    Positive,
    Range,
    Reference,
    Seed,
    Share,
    check,
)
from aajax.training.algorithms import find_algorithm
from aajax.training.estimator import Baseline, PastName
from aajax.training.pool import Opponents
from aajax.training.replay import Replay

PolicyKind = Literal["tabular", "mlp", "gru", "transformer"] | Reference
Beta = Annotated[float, Range(-1e6, 1e6)]
Weight = Annotated[float, Range(0, 1e6)]
Rate = Annotated[float, Range(0, 1e3)]
Channels = Annotated[tuple[int, ...], Range(1)]


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """Numbers that can be swept, each run of a sweep with its own."""

    beta: Beta = 1.0  # weight of the alignment term, or of LOQA's co-players' term
    gamma: Share = 0.96  # discount of rewards
    past_gamma: Share = 0.96  # discount of the past in the alignment term
    gae_lambda: Annotated[Share, Formerly("lambda_")] = 0.95  # λ of GAE, with a critic
    learning_rate: Rate = 0.1  # of the actor
    critic_learning_rate: Rate = 0.1  # of the critic
    exploration: Share = 0.3  # ε, of actions taken at random while training
    entropy_bonus: Weight = 0.0  # weight of the policy's entropy, in nats
    clip: Weight = 0.2  # of PPO's probability ratio
    dice_lambda: Annotated[Share, Formerly("reach")] = 0.9  # λ of LOQA's DiCE return
    lookahead_rate: Weight = 1.0  # of the co-player's imagined step, LOLA's

    __post_init__ = check


def _values(annotation):
    """Several different values of what an annotation accepts."""
    kind, marks = schema.split(annotation)
    return Annotated[tuple[kind, ...], *marks, Items(distinct=True)]


Sweep = dataclasses.make_dataclass(
    "Sweep",
    [
        (name, _values(annotation), dataclasses.field(default=()))
        for name, annotation in {
            **schema.hints(Hyperparameters),
            "past": PastName,
            "baseline": Baseline,
        }.items()
    ],
    frozen=True,
    namespace={
        "__doc__": "Values to try of each hyper-parameter, of past and of baseline; "
        "all combinations are run, as one program.",
        "__post_init__": check,
    },
)


@dataclasses.dataclass(frozen=True)
class Final:
    """Values that are approached linearly from 30 % to 90 % of the updates."""

    exploration: Share | None = None  # ε; None: it stays
    entropy_bonus: Weight | None = None  # likewise
    num_updates: Count | None = None  # of which those are shares; None: the run's

    __post_init__ = check

    @property
    def values(self) -> dict[str, float]:
        """What is approached, by the names of hyper-parameters."""
        both = {"exploration": self.exploration, "entropy_bonus": self.entropy_bonus}
        return {name: value for name, value in both.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Layers of mlp, gru and transformer policies."""

    encoder_layers: Natural = 2  # dense layers over each observation
    readout_layers: Natural = 0  # dense layers after a gru
    readout_size: Count = 64  # units of those
    critic_size: Natural = 0  # units of the critic's torso; 0: as many as the actor's
    activation: Literal["tanh", "relu"] = "tanh"  # of the dense layers
    shared: bool = False  # whether actor and critic share a torso
    value_scale: Positive = 16.0  # of the critic's output: steps that a value sums up
    channels: Channels = (16, 16)  # of convolutions, if planes are seen
    blocks: Count = 3  # of a transformer: attention and dense layers
    heads: Count = 4  # of attention

    __post_init__ = check

    def check_relations(self):
        if self.shared and self.critic_size:
            raise InputError(
                f"critic_size is {self.critic_size}: 0 is needed where actor and "
                "critic share a torso"
            )


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A training run of small policies."""

    game: str = "ipd"  # environment to play; `aajax list` names them
    options: Annotated[tuple[str, ...], Formerly("world")] = ()  # name=value ... of it
    payoff: str | None = None  # own payoff tensor: JSON, or a .json or .npy file
    policy: PolicyKind = "tabular"  # kind of policy
    hidden_size: Count = 32  # units of mlp, gru and transformer policies
    network: NetworkConfig = NetworkConfig()
    proposals: Literal["binned", "normal"] = "binned"  # how real numbers are drawn
    num_bins: Annotated[int, Range(2)] = 2  # values of each binned number
    explore: Literal["soft", "greedy"] = "soft"  # is ε in log π, or only in play
    algorithm: str = "advantage_alignment"  # how it learns; `aajax list` names them
    past: PastName = "discounted"  # how the alignment term sums up the past
    learner: Literal["policy_gradient", "ppo"] = "policy_gradient"  # how it updates
    num_epochs: Count = 4  # passes of ppo over a trajectory
    num_minibatches: Count = 4  # parts of a pass
    baseline: Baseline = "group"  # other games' mean, or a critic
    target_rate: Share = 0.0  # τ of a target critic; 0: none
    whiten: bool = False  # advantages to spread 1; always with a critic or ppo
    whiten_over: Literal["learner", "table"] = "learner"  # seats whitened together
    parameters: Literal["shared", "separate"] = "shared"  # self-play, or one per seat
    opponents: Opponents = Opponents()
    replay: Replay = Replay()
    num_games: Count = 512  # games in parallel
    group_size: Annotated[Count, Formerly("copies")] = 1  # games with the same seed
    num_steps: Count = 16  # steps per update, and per episode
    episode_steps: Natural = 0  # steps per episode, if it spans updates; 0: it does not
    memory: Literal["episode", "update"] = "episode"  # with which it begins anew
    num_updates: Count = 400  # updates of the policy
    num_chunks: Count = 1  # parts of a batch, one after the other, to save memory
    optimizer: Literal["adam", "sgd"] = "adam"  # what the learning rates are of
    max_gradient_norm: NonNegative = 0.0  # longer gradients are shortened; 0: never
    seeds: Count = 10  # runs with different seeds, trained at once
    first_seed: Seed = 0  # seeds are first_seed, first_seed + 1, ...
    hyperparameters: Annotated[Hyperparameters, arg(name=""), Formerly("knobs")] = (
        Hyperparameters()
    )
    final: Final = Final()
    sweep: Sweep = Sweep()

    unit: ClassVar[str] = "updates"
    may_differ: ClassVar[frozenset[str]] = frozenset()  # where a run goes on

    __post_init__ = check

    @property
    def length(self) -> int:
        return self.num_updates

    @property
    def schedule_length(self) -> int:
        """Updates of which `final` has shares."""
        return self.final.num_updates or self.num_updates

    @property
    def moving(self) -> tuple[str, ...]:
        """Options that say what a hyper-parameter comes to."""
        return tuple(f"final.{name}" for name in self.final.values)

    def scheduled_over(self, length: int) -> "RunConfig":
        final = dataclasses.replace(self.final, num_updates=length)
        return dataclasses.replace(self, final=final)

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.first_seed, self.first_seed + self.seeds))

    @property
    def steps_per_episode(self) -> int:
        """Steps after which an episode is cut off."""
        return self.episode_steps or self.num_steps

    @property
    def steps_remembered(self) -> int:
        """Steps after which a policy's memory begins anew."""
        return self.num_steps if self.memory == "update" else self.steps_per_episode

    @property
    def has_critic(self) -> bool:
        return "critic" in (self.baseline, *self.sweep.baseline)

    @property
    def swept(self) -> dict[str, tuple[float | str, ...]]:
        """What varies, with its values; empty for a plain run."""
        return {
            name: tuple(values)
            for name, values in dataclasses.asdict(self.sweep).items()
            if values
        }

    def to_json(self) -> dict:
        """As JSON has it, from which `from_json` makes an equal config."""
        return self.located(json.loads(json.dumps(dataclasses.asdict(self))))

    @staticmethod
    def located(record: dict) -> dict:
        """A record of a run in which files have absolute paths."""
        names = "game", "policy", "algorithm", "past"
        found = {name: references.absolute(record[name]) for name in names}
        swept = record["sweep"]["past"]
        sweep = {**record["sweep"], "past": [references.absolute(x) for x in swept]}
        return {**record, **found, "sweep": sweep}

    @classmethod
    def from_json(cls, record: Mapping) -> "RunConfig":
        """The config of `to_json`; what a record lacks has its default.

        Raises:
          InputError: for what is no field, or not what it needs to be.
        """
        return schema.build(cls, record)

    def check_relations(self):
        if self.policy == "transformer" and self.hidden_size % (2 * self.network.heads):
            raise InputError(
                f"hidden_size is {self.hidden_size}: a multiple of twice the "
                f"{self.network.heads} heads is needed"
            )
        if self.first_seed + self.seeds > 2**32:
            raise InputError(
                f"first_seed is {self.first_seed}: at most {2**32 - self.seeds} is "
                f"needed, so that all {self.seeds} seeds are below 2^32"
            )
        find_algorithm(self.algorithm).check_settings(self)
        _check_games(self)


def _check_games(config: RunConfig) -> None:
    """Whether games divide as they are to."""
    num_games = config.num_games
    if num_games % config.group_size:
        raise InputError(
            f"group_size is {config.group_size}: a divisor of the {num_games} games "
            "is needed"
        )
    if config.episode_steps and config.episode_steps < config.num_steps:
        raise InputError(
            f"episode_steps is {config.episode_steps}: 0, or at least the "
            f"{config.num_steps} steps of an update, is needed"
        )
    group = num_games if config.group_size == 1 else config.group_size
    if config.baseline == "group" and group < 2:
        raise InputError("num_games is 1: the group baseline compares at least 2 games")
    if config.learner == "ppo" and num_games % config.num_minibatches:
        raise InputError(
            f"num_games is {num_games}: a multiple of {config.num_minibatches}, the "
            "number of PPO's minibatches, is needed"
        )
    parts = config.num_minibatches if config.learner == "ppo" else 1
    if num_games % (parts * config.num_chunks):
        raise InputError(
            f"num_chunks is {config.num_chunks}: a divisor of the "
            f"{num_games // parts} games is needed"
        )
    if config.opponents.capacity and num_games % config.opponents.groups:
        raise InputError(
            f"opponents.groups is {config.opponents.groups}: a divisor of the "
            f"{num_games} games is needed"
        )
    if config.replay.games >= num_games:
        raise InputError(
            f"replay.games is {config.replay.games}: fewer than the {num_games} games "
            "is needed"
        )
    if config.replay.games and config.group_size > 1:
        raise InputError(
            f"replay.games is {config.replay.games}: 0 is needed where games are "
            "compared in groups"
        )
