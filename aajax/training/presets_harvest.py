"""Runs in Commons Harvest by name: on a tiny map, and as published."""

import dataclasses

from aajax.training.config import Hyperparameters, NetworkConfig, RunConfig
from aajax.training.pool import Opponents

# One patch for three. Apples grow back four times as fast as on the published map, in
# episodes a tenth as long.
_SMALL = RunConfig(
    game="harvest",
    options=("map=tiny", "probabilities=(0.0,0.01,0.02,0.1)", "view=(4,1,3,3)"),
    policy="mlp",
    hidden_size=32,
    network=NetworkConfig(
        encoder_layers=1, activation="relu", value_scale=5.0, channels=(8,)
    ),
    baseline="critic",
    past="positive",
    learner="ppo",
    num_epochs=2,
    num_minibatches=2,
    num_games=32,
    num_steps=100,
    num_updates=200,
    max_gradient_norm=1.0,
    seeds=5,
    hyperparameters=Hyperparameters(
        beta=2.0,
        gamma=0.99,
        past_gamma=0.9,
        learning_rate=0.001,
        critic_learning_rate=0.001,
        exploration=0.0,
        entropy_bonus=0.01,
    ),
)

# The numbers of https://arxiv.org/abs/2406.14662 and its code: 6 games of 15 steps an
# update in episodes of 1000, memories of these 15 steps, 5 present and 2 past selves.
# It sees planes and not pictures, and keeps the latest 100 of every 20th self, where
# the published pool holds up to 4000 and shows 100 of them at a time.
_OPEN = RunConfig(
    game="harvest",
    policy="transformer",
    hidden_size=192,
    network=NetworkConfig(
        encoder_layers=1,
        readout_layers=3,
        readout_size=192,
        activation="relu",
        shared=True,
        value_scale=1.0,
        channels=(32, 64, 64),
    ),
    baseline="critic",
    target_rate=0.005,
    past="mean",
    learner="ppo",
    num_epochs=2,
    num_minibatches=1,
    opponents=Opponents(capacity=100, every=20, groups=1, seats=2),
    num_games=6,
    num_steps=15,
    episode_steps=1000,
    memory="update",
    num_updates=34_000,
    max_gradient_norm=10.0,
    seeds=1,
    hyperparameters=Hyperparameters(
        beta=1.0,
        gamma=0.99,
        gae_lambda=0.95,
        learning_rate=1e-5,
        critic_learning_rate=1e-5,
        exploration=0.0,
        entropy_bonus=0.1,
        clip=0.1,
    ),
)


def _with_baselines(name: str, config: RunConfig, where: str) -> dict:
    """Advantage Alignment, and what it is compared with."""
    return {
        name: (f"Proximal Advantage Alignment, {where}", config),
        f"{name}-ppo": (
            f"PPO, each for its own reward, {where}",
            dataclasses.replace(config, algorithm="naive"),
        ),
        f"{name}-sum": (
            f"PPO, each for the sum of rewards, {where}",
            dataclasses.replace(config, algorithm="sum_of_rewards"),
        ),
    }


HARVEST_PRESETS = {
    **_with_baselines("harvest-small", _SMALL, "3 agents, small map"),
    **_with_baselines("harvest", _OPEN, "7 agents (accelerator)"),
}
