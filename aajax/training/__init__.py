"""Loops: self-play, sweeps over seeds and knobs, runs that can be resumed."""

from aajax.training.config import PRESETS, Knobs, RunConfig, Sweep
from aajax.training.self_play import Trainer, TrainState, self_play, train

__all__ = [
    "PRESETS",
    "Knobs",
    "RunConfig",
    "Sweep",
    "TrainState",
    "Trainer",
    "self_play",
    "train",
]
