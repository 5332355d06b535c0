"""Speed of training: whole iterations, of play and updates, at published sizes."""

import dataclasses
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import jax

from aajax.bench.timing import rates, seconds
from aajax.training import PRESETS, Hyperparameters, NetworkConfig, Opponents, RunConfig
from aajax.training.assemble import make_trainer
from aajax.training.self_play import continued

IPD = RunConfig(
    num_games=2048, num_steps=50, hyperparameters=Hyperparameters(exploration=0.2)
)

# LOQA as published (https://arxiv.org/abs/2405.01035): seat 0 learns against its
# present self, which is a pool of one. In plain self-play both seats would learn, from
# twice as many gradients per env-step.
COIN = RunConfig(
    game="coin",
    policy="gru",
    hidden_size=128,
    network=NetworkConfig(critic_size=64, activation="relu"),
    algorithm="loqa",
    baseline="critic",
    target_rate=0.01,
    opponents=Opponents(capacity=1, every=1, groups=1, current=1.0),
    num_games=512,
    num_steps=50,
    max_gradient_norm=1.0,
    hyperparameters=Hyperparameters(
        learning_rate=0.001,
        critic_learning_rate=0.01,
        exploration=0.0,
        entropy_bonus=0.1,
    ),
)
COIN_POOL = dataclasses.replace(COIN, opponents=Opponents(capacity=1000))

# The published league's networks and batch, with two updates per batch.
NEGOTIATION = RunConfig(
    game="negotiation",
    policy="gru",
    hidden_size=64,
    network=NetworkConfig(readout_layers=2, readout_size=128, activation="relu"),
    proposals="normal",
    past="mean",
    learner="ppo",
    num_epochs=2,
    num_minibatches=1,
    baseline="critic",
    target_rate=0.005,
    num_games=16_384,
    num_steps=50,
    num_chunks=32,
    max_gradient_norm=1.0,
    hyperparameters=Hyperparameters(
        beta=3.0,
        learning_rate=0.001,
        critic_learning_rate=0.001,
        exploration=0.0,
        entropy_bonus=0.005,
    ),
)
# Proposals of 0, ..., 5 of each item, large networks, and one update per batch.
DISCRETE = dataclasses.replace(
    NEGOTIATION,
    options=("proposals=discrete",),
    hidden_size=512,
    network=NetworkConfig(
        encoder_layers=3, readout_layers=3, readout_size=512, activation="relu"
    ),
    learner="policy_gradient",
    num_chunks=64,
)


HARVEST = PRESETS["harvest"][1]


def measure_ipd(repeats: int, config: RunConfig = IPD) -> dict:
    """Tabular Advantage Alignment."""
    return _training(config, repeats, iterations=20)


def measure_coin(repeats: int, config: RunConfig = COIN) -> dict:
    """LOQA in the Coin Game, against the present self."""
    return _training(config, repeats, iterations=2)


def measure_coin_pool(repeats: int, config: RunConfig = COIN_POOL) -> dict:
    """LOQA in the Coin Game, against past selves, one for every 32 games."""
    return _training(config, repeats, iterations=2)


def measure_negotiation(repeats: int, config: RunConfig = NEGOTIATION) -> dict:
    """Proximal Advantage Alignment in the Negotiation Game; both seats learn."""
    return _training(config, repeats, iterations=1, counts_agents=True)


def measure_discrete(repeats: int, config: RunConfig = DISCRETE) -> dict:
    """Large networks and discrete proposals, once: an iteration takes minutes."""
    del repeats
    return _training(config, 1, iterations=1, counts_agents=True)


def measure_harvest(repeats: int, config: RunConfig = HARVEST) -> dict:
    """Proximal Advantage Alignment in Commons Harvest, and how long a run of it is."""
    result = _training(config, repeats, iterations=2)
    steps = config.num_updates * config.num_games * config.num_steps
    hours = steps / result["median"] / 3600
    note = f"{hours:.3g} h for {config.num_updates} updates"
    return {**result, "note": note}


def measure_job(repeats: int) -> dict:
    """The main job in a new process: start, compilation, 10 seeds, league, figure."""

    def job(i: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            subprocess.run(
                [sys.executable, "-m", "aajax", "train", "ipd", "--out", str(out)],
                check=True,
                capture_output=True,
            )

    each = [seconds(job, i) for i in range(repeats)]
    return {"unit": "s", "median": statistics.median(each), "all": each}


def _training(
    config: RunConfig, repeats: int, iterations: int, counts_agents: bool = False
) -> dict:
    """Steps per second of one run that goes on from repeat to repeat."""
    trainer = make_trainer(config)({})
    latest = jax.jit(trainer.init)(jax.random.key(0))
    run = jax.jit(lambda state: continued(trainer, state, iterations), donate_argnums=0)
    compiled = {}

    def compile_run(i: int) -> None:
        compiled["run"] = run.lower(latest).compile()

    def advance(i: int):
        nonlocal latest
        latest, numbers = compiled["run"](latest)
        return latest, numbers

    first = seconds(compile_run, 0)
    each = [seconds(advance, i) for i in range(repeats)]
    steps = iterations * config.num_games * config.num_steps
    unit = "agent-steps/s" if counts_agents else "env-steps/s"
    return rates(each, 2 * steps if counts_agents else steps, unit, first)
