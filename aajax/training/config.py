"""A training run as a value: its config, what it may hold, and presets."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Annotated, Literal

from tyro.conf import arg

Algorithm = Literal["naive", "sum_of_rewards", "advantage_alignment"]
Past = Literal["discounted", "strict", "inclusive", "fading", "summed", "mean"]


@dataclasses.dataclass(frozen=True)
class Knobs:
    """Numbers that can be swept, each run of a sweep with its own."""

    beta: float = 1.0  # weight of the alignment term
    gamma: float = 0.96  # discount of rewards
    past_gamma: float = 0.96  # discount of the past in the alignment term
    lambda_: float = 0.95  # λ of generalised advantages, with a critic
    learning_rate: float = 0.1  # Adam, of the actor
    critic_learning_rate: float = 0.1  # Adam, of the critic
    exploration: float = 0.3  # ε of the ε-soft policy that plays while training
    entropy_bonus: float = 0.0  # weight of the policy's entropy, in nats
    clip: float = 0.2  # of PPO's probability ratio


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
}
PPO_EPOCHS, PPO_MINIBATCHES = 4, 4

Sweep = dataclasses.make_dataclass(
    "Sweep",
    [
        (field.name, tuple[float, ...], dataclasses.field(default=()))
        for field in dataclasses.fields(Knobs)
    ],
    frozen=True,
    namespace={"__doc__": "Values to try of each knob; all combinations are run."},
)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A training run of small policies on an iterated matrix game."""

    game: str = "ipd"  # world to play; `aajax list` names them
    payoff: str | None = None  # own payoff tensor: JSON, or a .json or .npy file
    policy: Literal["tabular", "mlp", "gru"] = "tabular"  # kind of policy
    hidden_size: int = 32  # units of mlp and gru policies
    algorithm: Algorithm = "advantage_alignment"  # what a learner is credited for
    past: Past = "discounted"  # how the alignment term sums up the past
    learner: Literal["policy_gradient", "ppo"] = "policy_gradient"  # how it updates
    baseline: Literal["group", "critic"] = "group"  # other games' mean, or a critic
    parameters: Literal["shared", "separate"] = "shared"  # self-play, or one per seat
    num_games: int = 512  # games in parallel
    num_steps: int = 16  # steps per episode and update
    num_updates: int = 400  # updates of the policy
    seeds: int = 10  # runs with different seeds, trained at once
    first_seed: int = 0  # seeds are first_seed, first_seed + 1, ...
    knobs: Annotated[Knobs, arg(name="")] = Knobs()
    sweep: Sweep = Sweep()

    def __post_init__(self):
        _check(self)

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.first_seed, self.first_seed + self.seeds))

    @property
    def swept(self) -> dict[str, tuple[float, ...]]:
        """The knobs that vary, with their values; empty for a plain run."""
        return {
            name: tuple(values)
            for name, values in dataclasses.asdict(self.sweep).items()
            if values
        }

    def to_json(self) -> dict:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @staticmethod
    def from_json(record: Mapping) -> "RunConfig":
        knobs = Knobs(**record["knobs"])
        sweep = Sweep(**{k: tuple(v) for k, v in record["sweep"].items()})
        return RunConfig(**{**record, "knobs": knobs, "sweep": sweep})


def _check(config: RunConfig) -> None:
    """Raises ValueError, naming the argument, its value and what is accepted."""
    for name in ("hidden_size", "num_games", "num_steps", "num_updates", "seeds"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}: at least 1 is needed")
    if not 0 <= config.first_seed < 2**32 - config.seeds:
        raise ValueError(
            f"first_seed is {config.first_seed}: a number in [0, 2^32) is needed"
        )
    if config.baseline == "group" and config.num_games < 2:
        raise ValueError("num_games is 1: the group baseline compares at least 2 games")
    if config.learner == "ppo" and config.num_games % PPO_MINIBATCHES:
        raise ValueError(
            f"num_games is {config.num_games}: a multiple of {PPO_MINIBATCHES}, the "
            "number of PPO's minibatches, is needed"
        )
    for name, default in dataclasses.asdict(config.knobs).items():
        for value in (default, *getattr(config.sweep, name)):
            low, high = KNOB_RANGES[name]
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(
                    f"{name} is {value}: a number in [{low:g}, {high:g}] is needed"
                )


_GRU = RunConfig(
    policy="gru",
    hidden_size=16,
    baseline="critic",
    knobs=Knobs(
        beta=10.0, past_gamma=0.7, learning_rate=0.01, critic_learning_rate=0.01
    ),
)

PRESETS = {
    "ipd": ("Advantage Alignment, memory-one policies", RunConfig()),
    "ipd-critic": (
        "Advantage Alignment, a critic with GAE in place of the group baseline",
        RunConfig(baseline="critic"),
    ),
    "ipd-gru": ("Advantage Alignment, recurrent policies, a critic with GAE", _GRU),
    "ipd-ppo": (
        "Proximal Advantage Alignment, a critic with GAE",
        RunConfig(learner="ppo", baseline="critic"),
    ),
    "ipd-naive": ("every learner for itself", RunConfig(algorithm="naive")),
    "ipd-naive-gru": (
        "every learner for itself, recurrent policies",
        dataclasses.replace(_GRU, algorithm="naive"),
    ),
    "ipd-sum": (
        "every learner for the sum of rewards",
        RunConfig(algorithm="sum_of_rewards"),
    ),
}
