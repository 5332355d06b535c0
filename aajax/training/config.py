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
    Refers,
    Seed,
    Share,
    check,
)
from aajax.training.algorithms import find_algorithm
from aajax.training.estimator import Baseline, PastName
from aajax.training.pool import Opponents
from aajax.training.replay import Replay
from aajax.training.shaping import MetaGames

NETWORK = "a function num_outputs -> flax.linen.Module"
PolicyKind = (
    Literal["tabular", "mlp", "gru", "transformer"] | Annotated[str, Refers(NETWORK)]
)
Beta = Annotated[float, Range(-1e6, 1e6)]
Weight = Annotated[float, Range(0, 1e6)]
Rate = Annotated[float, Range(0, 1e3)]
Channels = Annotated[tuple[int, ...], Range(1)]


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """Numbers that can be swept, each run of a sweep with its own."""

    # weight β of the alignment term; for loqa, of the co-players' return
    beta: Beta = 1.0
    gamma: Share = 0.96  # discount factor γ of rewards
    past_gamma: Share = 0.96  # discount factor of past advantages in the alignment term
    # λ of generalised advantage estimation, with a critic
    gae_lambda: Annotated[Share, Formerly("lambda_")] = 0.95
    learning_rate: Rate = 0.1  # learning rate of the actor
    critic_learning_rate: Rate = 0.1  # learning rate of the critic
    exploration: Share = 0.3  # ε: probability of a uniformly random action in training
    # weight of the policy's entropy (in nats) in the objective
    entropy_bonus: Weight = 0.0
    clip: Weight = 0.2  # PPO clips the probability ratio to [1 − clip, 1 + clip]
    # loqa: λ of the loaded-DiCE return
    dice_lambda: Annotated[Share, Formerly("reach")] = 0.9
    # lola, pola: learning rate of the co-player's imagined steps
    lookahead_rate: Weight = 1.0
    # pola: weight of the divergence from the policy before the update, in the
    # co-player's imagined steps
    inner_penalty: Weight = 0.0
    outer_penalty: Weight = 0.0  # pola: likewise, in an agent's own steps
    naive_rate: Rate = 0.1  # coala: learning rate of the naive learner

    __post_init__ = check


def several(annotation):
    """Several different values of what an annotation accepts."""
    kind, marks = schema.split(annotation)
    return Annotated[tuple[kind, ...], *marks, Items(distinct=True)]


Sweep = dataclasses.make_dataclass(
    "Sweep",
    [
        (name, several(annotation), dataclasses.field(default=()))
        for name, annotation in {
            **schema.hints(Hyperparameters),
            "past": PastName,
            "baseline": Baseline,
        }.items()
    ],
    frozen=True,
    namespace={
        "__module__": __name__,
        "__doc__": "Values to try of each hyper-parameter, of past and of baseline; "
        "all combinations are run, as one program.",
        "__post_init__": check,
    },
)
"""Values to try of each hyper-parameter, of past and of baseline."""


@dataclasses.dataclass(frozen=True)
class Final:
    """Values that are approached linearly from 30 % to 90 % of the updates."""

    exploration: Share | None = None  # final ε; None: constant
    entropy_bonus: Weight | None = None  # final weight; None: constant
    num_updates: Count | None = None  # updates that those are shares of; None: all

    __post_init__ = check

    @property
    def values(self) -> dict[str, float]:
        """What is approached, by the names of hyper-parameters."""
        both = {"exploration": self.exploration, "entropy_bonus": self.entropy_bonus}
        return {name: value for name, value in both.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Layers of mlp, gru and transformer policies; the core is a dense layer, a GRU or
    attention."""

    encoder_layers: Natural = 2  # dense layers over the observation, before the core
    readout_layers: Natural = 0  # dense layers after the core of gru and transformer
    readout_size: Count = 64  # units of each readout layer
    # units of the critic's own layers; 0: as many as the actor's
    critic_size: Natural = 0
    # activation of dense and convolutional layers
    activation: Literal["tanh", "relu"] = "tanh"
    shared: bool = False  # actor and critic share all layers but the last
    value_scale: Positive = 16.0  # factor of the critic's output
    # channels of each convolution, for observations in planes
    channels: Channels = (16, 16)
    blocks: Count = 3  # transformer: number of blocks of attention and dense layers
    heads: Count = 4  # transformer: attention heads of a block

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

    game: str = "ipd"  # environment; `aajax list` names them, or FILE.py:NAME of yours
    # options of the environment: name=value name=value ...
    options: Annotated[tuple[str, ...], Formerly("world")] = ()
    # payoff tensor of a matrix game of your own: JSON, or a .json or .npy file
    payoff: str | None = None
    # architecture of the policy network, or FILE.py:NAME of a Flax network of yours
    policy: PolicyKind = "tabular"
    hidden_size: Count = 32  # hidden units of mlp, gru and transformer policies
    network: NetworkConfig = NetworkConfig()
    # continuous actions: binned, categorical over num_bins values, or normal
    proposals: Literal["binned", "normal"] = "binned"
    # number of values that each binned action can take
    num_bins: Annotated[int, Range(2)] = 2
    # soft: log π includes the ε-mixture; greedy: only sampling does
    explore: Literal["soft", "greedy"] = "soft"
    # what a learner maximises; `aajax list` describes them, or FILE.py:NAME of yours
    algorithm: str = "advantage_alignment"
    # how the alignment term aggregates past advantages, or FILE.py:NAME of yours
    past: PastName = "discounted"
    # surrogate objective of the policy update
    learner: Literal["policy_gradient", "ppo"] = "policy_gradient"
    num_epochs: Count = 4  # ppo: epochs over each batch
    num_minibatches: Count = 4  # ppo: minibatches in each epoch
    # group: mean return of other games; critic: learned values
    baseline: Baseline = "group"
    target_rate: Share = 0.0  # update rate τ of a target critic; 0: no target critic
    # scale advantages to unit variance; always on with a critic or ppo
    whiten: bool = False
    # over each learner's seats, or over all seats together
    whiten_over: Literal["learner", "table"] = "learner"
    # shared: one network for all seats (self-play); separate: one each
    parameters: Literal["shared", "separate"] = "shared"

    opponents: Opponents = Opponents()
    replay: Replay = Replay()
    meta: MetaGames = MetaGames()
    num_games: Count = 512  # games in a batch, played in parallel
    # games that start from the same environment seed and share a baseline
    group_size: Annotated[Count, Formerly("copies")] = 1
    # time steps per update, and per episode unless episode_steps is set
    num_steps: Count = 16
    episode_steps: Natural = 0  # time steps per episode; 0: num_steps
    # when recurrent memory is reset: at each new episode, or at each update
    memory: Literal["episode", "update"] = "episode"
    num_updates: Count = 400  # number of updates
    num_lookahead: Count = 1  # lola, pola: the co-player's imagined steps
    num_outer: Count = 1  # pola: an agent's own steps in an update
    num_chunks: Count = 1  # gradient accumulation: chunks of a batch, one after another
    optimizer: Literal["adam", "sgd"] = "adam"  # optimizer of actor and critic
    max_gradient_norm: NonNegative = 0.0  # clip gradients to this norm; 0: no clipping
    seeds: Count = 10  # number of random seeds, trained in parallel
    # the seeds are first_seed, first_seed + 1, ..., one for each of --seeds
    first_seed: Seed = 0
    # devices that a run is laid out over: how many, or all of all processes
    devices: Count | Literal["all"] = 1
    # what is divided among them: seeds and settings, each device having its own; or the
    # games of every update, whose gradients are averaged
    shard: Literal["seeds", "games"] = "seeds"
    hyperparameters: Annotated[Hyperparameters, arg(name=""), Formerly("knobs")] = (
        Hyperparameters()
    )
    final: Final = Final()
    # Made of the fields of other dataclasses, a class that checkers do not see.
    sweep: Annotated[
        Sweep,  # pyright: ignore[reportInvalidTypeForm]
        arg(help=Sweep.__doc__),
    ] = Sweep()

    unit: ClassVar[str] = "updates"
    schedule_option: ClassVar[str] = "final.num_updates"
    # where a run goes on
    may_differ: ClassVar[frozenset[str]] = frozenset({"devices", "shard"})

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

    def settled_as(self, stored: "RunConfig") -> "RunConfig":
        """The config itself, which leaves nothing open."""
        del stored
        return self

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.first_seed, self.first_seed + self.seeds))

    @property
    def steps_per_episode(self) -> int:
        """Steps after which an episode is truncated."""
        return self.episode_steps or self.num_steps

    @property
    def steps_remembered(self) -> int:
        """Steps after which a policy's recurrent memory is reset."""
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
    if "group" in (config.sweep.baseline or (config.baseline,)) and group < 2:
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
