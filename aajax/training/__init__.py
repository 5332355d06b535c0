"""Loops: self-play, sweeps over seeds and settings, runs that can be resumed."""

from aajax.training.algorithms import ALGORITHMS, Algorithm, Parts
from aajax.training.config import (
    Final,
    Hyperparameters,
    NetworkConfig,
    RunConfig,
    Sweep,
)
from aajax.training.pool import Opponents
from aajax.training.presets import PRESETS
from aajax.training.replay import Replay
from aajax.training.self_play import (
    Others,
    Setting,
    Trainer,
    TrainState,
    Transform,
    self_play,
    train,
)
from aajax.training.transforms import (
    frozen,
    measured,
    memory_reset,
    past_selves,
    replayed,
)

__all__ = [
    "ALGORITHMS",
    "PRESETS",
    "Algorithm",
    "Final",
    "Hyperparameters",
    "NetworkConfig",
    "Opponents",
    "Others",
    "Parts",
    "Replay",
    "RunConfig",
    "Setting",
    "Sweep",
    "TrainState",
    "Trainer",
    "Transform",
    "memory_reset",
    "frozen",
    "measured",
    "past_selves",
    "replayed",
    "self_play",
    "train",
]
