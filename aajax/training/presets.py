"""Runs by name: `aajax train NAME`."""

import dataclasses

from aajax.training.config import Final, Hyperparameters, NetworkConfig, RunConfig
from aajax.training.pool import Opponents

_GRU = RunConfig(
    policy="gru",
    hidden_size=16,
    network=NetworkConfig(encoder_layers=0),
    baseline="critic",
    hyperparameters=Hyperparameters(
        beta=10.0, past_gamma=0.7, learning_rate=0.01, critic_learning_rate=0.01
    ),
)


def _public_goods(num_agents: int, **hyperparameters: float) -> RunConfig:
    return RunConfig(
        game="public_goods",
        options=(f"num_agents={num_agents}",),
        num_updates=300,
        hyperparameters=Hyperparameters(learning_rate=0.05, **hyperparameters),
    )


# The more agents there are, the fewer of them may explore at once, and the less one
# agent's action brings to another.
_PUBLIC_GOODS = {
    3: _public_goods(3, beta=1.0, exploration=0.1),
    5: _public_goods(5, beta=3.0, exploration=0.1),
    7: _public_goods(7, beta=10.0, exploration=0.02),
}
_PAIRWISE_GOODS = {
    3: _public_goods(3, beta=30.0, past_gamma=0.3, exploration=0.05),
    5: _public_goods(5, beta=100.0, past_gamma=0.3, exploration=0.05),
    7: _public_goods(7, beta=3000.0, past_gamma=0.1, exploration=0.02),
}

_COIN = RunConfig(
    game="coin",
    options=("observation=history",),
    policy="mlp",
    hidden_size=64,
    network=NetworkConfig(activation="relu", value_scale=5.0),
    baseline="critic",
    past="clipped",
    opponents=Opponents(capacity=64, every=8, groups=16, current=0.5),
    num_games=128,
    num_steps=50,
    num_updates=700,
    max_gradient_norm=1.0,
    hyperparameters=Hyperparameters(
        beta=1.5,
        past_gamma=0.9,
        gae_lambda=0.4,
        learning_rate=0.005,
        critic_learning_rate=0.005,
        exploration=0.2,
        entropy_bonus=0.15,
    ),
    final=Final(entropy_bonus=0.01),
)
_COIN_PPO = dataclasses.replace(
    _COIN,
    algorithm="naive",
    learner="ppo",
    num_epochs=2,
    num_minibatches=2,
    opponents=Opponents(),
    num_updates=300,
)

_NEGOTIATION = RunConfig(
    game="negotiation",
    options=("observation=history",),
    policy="mlp",
    hidden_size=64,
    whiten=True,
    num_games=192,
    group_size=32,
    num_steps=50,
    max_gradient_norm=1.0,
    hyperparameters=Hyperparameters(
        beta=2.0,
        past_gamma=0.9,
        learning_rate=0.001,
        exploration=0.2,
        entropy_bonus=0.4,
    ),
    final=Final(entropy_bonus=0.05),
)
_NEGOTIATION_PPO = dataclasses.replace(
    _NEGOTIATION,
    algorithm="naive",
    learner="ppo",
    num_epochs=2,
    num_minibatches=2,
    num_updates=200,
)

# One patch for three. Apples grow back four times as fast as on the published map, in
# episodes a tenth as long.
_HARVEST_SMALL = RunConfig(
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
_HARVEST = RunConfig(
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


PRESETS = {
    "ipd": ("Advantage Alignment, memory-one policies", RunConfig()),
    "ipd-critic": (
        "Advantage Alignment, critic with GAE as baseline",
        RunConfig(baseline="critic"),
    ),
    "ipd-gru": ("Advantage Alignment, recurrent policies, critic with GAE", _GRU),
    "ipd-ppo": (
        "Proximal Advantage Alignment, critic with GAE",
        RunConfig(learner="ppo", baseline="critic"),
    ),
    "ipd-naive": (
        "policy gradient, each for its own reward",
        RunConfig(algorithm="naive"),
    ),
    "ipd-naive-gru": (
        "policy gradient, each for its own, recurrent policies",
        dataclasses.replace(_GRU, algorithm="naive"),
    ),
    "ipd-sum": (
        "policy gradient, each for the sum of rewards",
        RunConfig(algorithm="sum_of_rewards"),
    ),
    "ipd-loqa": (
        "LOQA, memory-one policies",
        RunConfig(
            algorithm="loqa",
            num_games=256,
            num_steps=50,
            num_updates=3000,
            hyperparameters=Hyperparameters(learning_rate=0.01, exploration=0.2),
        ),
    ),
    "ipd-lola": (
        "LOLA from sampled games (DiCE), memory-one policies",
        RunConfig(
            algorithm="lola",
            optimizer="sgd",
            parameters="separate",
            num_steps=50,
            num_updates=100,
            hyperparameters=Hyperparameters(
                learning_rate=1.0, lookahead_rate=1.0, exploration=0.0
            ),
        ),
    ),
    "ipd-lola-exact": (
        "LOLA with exact values, memory-one policies",
        RunConfig(
            algorithm="lola_exact",
            optimizer="sgd",
            parameters="separate",
            num_updates=100,
            hyperparameters=Hyperparameters(
                learning_rate=1.0, lookahead_rate=1.0, exploration=0.0
            ),
        ),
    ),
    "ipd-pola": (
        "POLA from sampled games (DiCE), memory-one policies",
        RunConfig(
            algorithm="pola",
            optimizer="sgd",
            parameters="separate",
            num_games=128,
            num_steps=50,
            num_lookahead=2,
            num_outer=20,
            num_updates=15,
            hyperparameters=Hyperparameters(
                learning_rate=0.1,
                lookahead_rate=0.25,
                inner_penalty=1.0,
                outer_penalty=10.0,
                exploration=0.0,
            ),
        ),
    ),
    "ipd-pola-exact": (
        "POLA with exact values, memory-one policies",
        RunConfig(
            algorithm="pola_exact",
            parameters="separate",
            num_outer=300,
            num_updates=40,
            hyperparameters=Hyperparameters(
                learning_rate=0.05,
                lookahead_rate=0.5,
                outer_penalty=30.0,
                exploration=0.0,
            ),
        ),
    ),
    "ipd-coala": (
        "COALA-PG: shapes naive learners, recurrent policy",
        RunConfig(
            algorithm="coala",
            policy="gru",
            hidden_size=16,
            network=NetworkConfig(encoder_layers=0, value_scale=100.0),
            learner="ppo",
            num_minibatches=2,
            baseline="critic",
            parameters="separate",
            num_games=16,
            num_steps=10,
            num_updates=100,
            seeds=5,
            hyperparameters=Hyperparameters(
                gamma=1.0,
                gae_lambda=1.0,
                learning_rate=0.005,
                critic_learning_rate=0.005,
                exploration=0.0,
                naive_rate=0.3,
            ),
        ),
    ),
    **{
        f"public-goods-{num_agents}": (f"Advantage Alignment, {num_agents} agents", run)
        for num_agents, run in _PUBLIC_GOODS.items()
    },
    **{
        f"public-goods-{num_agents}-pairs": (
            f"likewise, each of {num_agents} paid back for what it did itself",
            dataclasses.replace(run, algorithm="pairwise_alignment"),
        )
        for num_agents, run in _PAIRWISE_GOODS.items()
    },
    "ipd-mfos": (
        "M-FOS: a policy in each step, against a naive learner",
        RunConfig(
            game="meta_ipd",
            algorithm="naive",
            policy="mlp",
            hidden_size=256,
            network=NetworkConfig(encoder_layers=1, value_scale=50.0),
            proposals="normal",
            learner="ppo",
            num_minibatches=1,
            baseline="critic",
            num_games=256,
            num_steps=100,
            num_updates=150,
            seeds=5,
            hyperparameters=Hyperparameters(
                gamma=0.99,
                gae_lambda=1.0,
                learning_rate=0.002,
                critic_learning_rate=0.002,
                exploration=0.0,
                entropy_bonus=0.01,
            ),
        ),
    ),
    "coin": (
        "Advantage Alignment, policies see what was taken last",
        _COIN,
    ),
    "coin-loqa": (
        "LOQA, policies see what was taken last",
        dataclasses.replace(
            _COIN,
            algorithm="loqa",
            target_rate=0.02,
            hyperparameters=dataclasses.replace(
                _COIN.hyperparameters, beta=1.0, entropy_bonus=0.1
            ),
        ),
    ),
    "coin-ppo": ("PPO, each for its own reward", _COIN_PPO),
    "coin-sum": (
        "PPO, each for the sum of rewards",
        dataclasses.replace(_COIN_PPO, algorithm="sum_of_rewards"),
    ),
    "negotiation": (
        "Advantage Alignment, policies see the round before",
        _NEGOTIATION,
    ),
    "negotiation-ppo": ("PPO, each for its own reward", _NEGOTIATION_PPO),
    "negotiation-sum": (
        "PPO, each for the sum of rewards",
        dataclasses.replace(_NEGOTIATION_PPO, algorithm="sum_of_rewards"),
    ),
    **_with_baselines("harvest-small", _HARVEST_SMALL, "3 agents, small map"),
    **_with_baselines("harvest", _HARVEST, "7 agents (accelerator)"),
}
"""Runs of small policies by name: (what it is, its config)."""
