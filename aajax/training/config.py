"""A training run as a value: its config, and what it may hold."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from aajax.errors import InputError
from aajax.training.pool import Opponents
from aajax.training.replay import Replay

PolicyKind = Literal["tabular", "mlp", "gru", "transformer"]
Algorithm = Literal[
    "naive", "sum_of_rewards", "advantage_alignment", "loqa", "lola", "lola_exact"
]
Past = Literal[
    *("discounted", "strict", "inclusive", "fading", "summed", "mean"),
    *("clipped", "positive", "sign"),
]
Baseline = Literal["group", "critic"]
CHOICES = {"past": get_args(Past), "baseline": get_args(Baseline)}


@dataclasses.dataclass(frozen=True)
class Knobs:
    """Numbers that can be swept, each run of a sweep with its own."""

    beta: float = 1.0  # weight of the alignment term, or of LOQA's co-players' term
    gamma: float = 0.96  # discount of rewards
    past_gamma: float = 0.96  # discount of the past in the alignment term
    lambda_: float = 0.95  # λ of generalised advantages, with a critic
    learning_rate: float = 0.1  # of the actor
    critic_learning_rate: float = 0.1  # of the critic
    exploration: float = 0.3  # ε, of actions taken at random while training
    entropy_bonus: float = 0.0  # weight of the policy's entropy, in nats
    clip: float = 0.2  # of PPO's probability ratio
    reach: float = 0.9  # λ of the loaded-DiCE return, LOQA's
    lookahead_rate: float = 1.0  # of the co-player's imagined step, LOLA's


KNOB_RANGES = {
    "beta": (-1e6, 1e6),
    "gamma": (0.0, 1.0),
    "past_gamma": (0.0, 1.0),
    "lambda_": (0.0, 1.0),
    "learning_rate": (0.0, 1e3),
    "critic_learning_rate": (0.0, 1e3),
    "exploration": (0.0, 1.0),
    "entropy_bonus": (0.0, 1e6),
    "clip": (0.0, 1e6),
    "reach": (0.0, 1.0),
    "lookahead_rate": (0.0, 1e6),
}

Sweep = dataclasses.make_dataclass(
    "Sweep",
    [
        (field.name, tuple[float, ...], dataclasses.field(default=()))
        for field in dataclasses.fields(Knobs)
    ]
    + [
        ("past", tuple[Past, ...], dataclasses.field(default=())),
        ("baseline", tuple[Baseline, ...], dataclasses.field(default=())),
    ],
    frozen=True,
    namespace={
        "__doc__": "Values to try of each knob, of past and of baseline; all "
        "combinations are run, as one program."
    },
)


@dataclasses.dataclass(frozen=True)
class Final:
    """What knobs come to, in a straight line from 30 % to 90 % of the updates."""

    exploration: float | None = None  # ε; None: it stays
    entropy_bonus: float | None = None  # likewise


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Layers of mlp, gru and transformer policies."""

    encoder_layers: int = 2  # dense layers over each observation
    readout_layers: int = 0  # dense layers after a gru
    readout_size: int = 64  # units of those
    critic_size: int = 0  # units of the critic's torso; 0: as many as the actor's
    activation: Literal["tanh", "relu"] = "tanh"  # of the dense layers
    shared: bool = False  # whether actor and critic share a torso
    value_scale: float = 16.0  # of the critic's output: steps that a value sums up
    channels: tuple[int, ...] = (16, 16)  # of convolutions, if planes are seen
    blocks: int = 3  # of a transformer: attention and dense layers
    heads: int = 4  # of attention


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A training run of small policies."""

    game: str = "ipd"  # world to play; `aajax list` names them
    world: tuple[str, ...] = ()  # its options: name=value name=value ...
    payoff: str | None = None  # own payoff tensor: JSON, or a .json or .npy file
    policy: PolicyKind = "tabular"  # kind of policy
    hidden_size: int = 32  # units of mlp, gru and transformer policies
    network: NetworkConfig = NetworkConfig()
    proposals: Literal["binned", "normal"] = "binned"  # how real numbers are drawn
    num_bins: int = 2  # values of each binned number
    explore: Literal["soft", "greedy"] = "soft"  # is ε in log π, or only in play
    algorithm: Algorithm = "advantage_alignment"  # what a learner is credited for
    past: Past = "discounted"  # how the alignment term sums up the past
    learner: Literal["policy_gradient", "ppo"] = "policy_gradient"  # how it updates
    num_epochs: int = 4  # passes of ppo over a trajectory
    num_minibatches: int = 4  # parts of a pass
    baseline: Baseline = "group"  # other games' mean, or a critic
    target_rate: float = 0.0  # τ of a target critic; 0: none
    whiten: bool = False  # advantages to spread 1; always with a critic or ppo
    whiten_over: Literal["learner", "table"] = "learner"  # seats whitened together
    parameters: Literal["shared", "separate"] = "shared"  # self-play, or one per seat
    opponents: Opponents = Opponents()
    replay: Replay = Replay()
    num_games: int = 512  # games in parallel
    copies: int = 1  # games at a time that share the world's chance, compared together
    num_steps: int = 16  # steps per update, and per episode
    episode_steps: int = 0  # steps per episode, if it spans updates; 0: it does not
    memory: Literal["episode", "update"] = "episode"  # with which it begins anew
    num_updates: int = 400  # updates of the policy
    num_chunks: int = 1  # parts of a batch, one after the other, to save memory
    optimizer: Literal["adam", "sgd"] = "adam"  # what the learning rates are of
    max_gradient_norm: float = 0.0  # longer gradients are shortened; 0: never
    seeds: int = 10  # runs with different seeds, trained at once
    first_seed: int = 0  # seeds are first_seed, first_seed + 1, ...
    knobs: Annotated[Knobs, arg(name="")] = Knobs()
    final: Final = Final()
    sweep: Sweep = Sweep()

    def __post_init__(self):
        _check(self)

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.first_seed, self.first_seed + self.seeds))

    @property
    def steps_per_episode(self) -> int:
        """Steps after which an episode is cut off."""
        return self.episode_steps or self.num_steps

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
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @staticmethod
    def from_json(record: Mapping) -> "RunConfig":
        parts = {"knobs": Knobs, "network": NetworkConfig, "final": Final}
        parts |= {"opponents": Opponents, "replay": Replay}
        nested = {name: part(**_tuples(record[name])) for name, part in parts.items()}
        sweep = Sweep(**_tuples(record["sweep"]))
        world = tuple(record["world"])
        return RunConfig(**{**record, **nested, "sweep": sweep, "world": world})


def _tuples(record: Mapping) -> dict:
    """With tuples in place of the lists that JSON made of them."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}


COUNTS = (
    *("hidden_size", "num_games", "copies", "num_steps", "num_updates", "num_chunks"),
    *("seeds", "num_epochs", "num_minibatches"),
)


def _check(config: RunConfig) -> None:
    """Raises InputError, naming the argument, its value and what is accepted."""
    for name in COUNTS:
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}: at least 1 is needed")
    _check_network(config.network)
    if config.policy == "transformer" and config.hidden_size % (
        2 * config.network.heads
    ):
        raise InputError(
            f"hidden_size is {config.hidden_size}: a multiple of twice the "
            f"{config.network.heads} heads is needed"
        )
    _check_algorithm(config)
    if config.num_bins < 2:
        raise InputError(f"num_bins is {config.num_bins}: at least 2 is needed")
    if not 0 <= config.first_seed < 2**32 - config.seeds:
        raise InputError(
            f"first_seed is {config.first_seed}: a number in [0, 2^32) is needed"
        )
    if not 0 <= config.target_rate <= 1:
        raise InputError(
            f"target_rate is {config.target_rate}: a number in [0, 1] is needed"
        )
    if not 0 <= config.max_gradient_norm < math.inf:
        raise InputError(
            f"max_gradient_norm is {config.max_gradient_norm}: a number of at least 0 "
            "is needed"
        )
    config.opponents.check(config.num_games)
    _check_games(config)
    for name, value in dataclasses.asdict(config.final).items():
        if value is not None:
            _check_knob(f"final.{name}", name, value)
    for name, default in dataclasses.asdict(config.knobs).items():
        for value in (default, *getattr(config.sweep, name)):
            _check_knob(name, name, value)
    for name, accepted in CHOICES.items():
        for value in getattr(config.sweep, name):
            if value not in accepted:
                raise InputError(
                    f"{name} is {value!r}: one of {', '.join(accepted)} is needed"
                )


def _check_algorithm(config: RunConfig) -> None:
    """Whether what is asked for is something that the algorithm can do."""
    plain = {}
    if config.algorithm in ("loqa", "lola", "lola_exact"):
        plain["learner"] = "policy_gradient"
    if config.algorithm in ("lola", "lola_exact"):
        plain |= {"target_rate": 0.0, "num_chunks": 1, "copies": 1}
        if config.replay.games:
            raise InputError(
                f"replay.games is {config.replay.games}: 0 is needed with algorithm "
                f"{config.algorithm!r}"
            )
    for name, value in plain.items():
        if getattr(config, name) != value:
            raise InputError(
                f"{name} is {getattr(config, name)!r}: {value!r} is needed with "
                f"algorithm {config.algorithm!r}"
            )


def _check_network(network: NetworkConfig) -> None:
    least = {"encoder_layers": 0, "readout_layers": 0, "readout_size": 1}
    for name, low in {**least, "critic_size": 0, "blocks": 1, "heads": 1}.items():
        if getattr(network, name) < low:
            raise InputError(
                f"network.{name} is {getattr(network, name)}: at least {low} is needed"
            )
    if min(network.channels, default=1) < 1:
        raise InputError(
            f"network.channels is {network.channels}: numbers of at least 1 are needed"
        )
    if network.shared and network.critic_size:
        raise InputError(
            f"network.critic_size is {network.critic_size}: 0 is needed where actor "
            "and critic share a torso"
        )
    if not math.isfinite(network.value_scale):
        raise InputError(
            f"network.value_scale is {network.value_scale}: a finite number is needed"
        )


def _check_games(config: RunConfig) -> None:
    """Whether games divide as they are to."""
    num_games = config.num_games
    if num_games % config.copies:
        raise InputError(
            f"copies is {config.copies}: a divisor of the {num_games} games is needed"
        )
    if config.episode_steps and config.episode_steps < config.num_steps:
        raise InputError(
            f"episode_steps is {config.episode_steps}: 0, or at least the "
            f"{config.num_steps} steps of an update, is needed"
        )
    group = num_games if config.copies == 1 else config.copies
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
    config.replay.check(num_games)
    if config.replay.games and config.copies > 1:
        raise InputError(
            f"replay.games is {config.replay.games}: 0 is needed where games are "
            "compared with their copies"
        )


def _check_knob(label: str, name: str, value: float) -> None:
    low, high = KNOB_RANGES[name]
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(
            f"{label} is {value}: a number in [{low:g}, {high:g}] is needed"
        )
