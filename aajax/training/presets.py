"""Runs by name: `aajax train NAME`."""

import dataclasses

from aajax.training.config import Knobs, NetworkConfig, RunConfig

_GRU = RunConfig(
    policy="gru",
    hidden_size=16,
    network=NetworkConfig(encoder_layers=0),
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
