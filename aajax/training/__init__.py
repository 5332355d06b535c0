"""Loops: self-play, sweeps over seeds and settings, runs that can be resumed."""

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
from aajax.training.self_play import Trainer, TrainState, self_play, train

__all__ = [
    "PRESETS",
    "Final",
    "Hyperparameters",
    "NetworkConfig",
    "Opponents",
    "Replay",
    "RunConfig",
    "Sweep",
    "TrainState",
    "Trainer",
    "self_play",
    "train",
]
