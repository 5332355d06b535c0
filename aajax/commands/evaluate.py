"""What a trained run is worth: the numbers of summary.json."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs import split, trust_and_split
from aajax.envs.base import Environment
from aajax.envs.coin import CoinGame, pickups
from aajax.envs.harvest.env import CommonsHarvest
from aajax.envs.harvest.measures import measures as harvest_measures
from aajax.envs.matrix import IteratedMatrixGame
from aajax.envs.negotiation import NegotiationGame, best_total, stakes_seen
from aajax.league import (
    Group,
    against_copies,
    cooperation_after,
    outcome_names,
    with_itself,
)
from aajax.policies.scripted import players
from aajax.training.assemble import make_env, make_policy
from aajax.training.config import RunConfig
from aajax.training.measures import step_numbers
from aajax.training.run import knob_settings
from aajax.training.self_play import TrainState
from aajax.types import Array, PyTree, Trajectory

NUM_GAMES = 1024
FEWER_GAMES = {CommonsHarvest: 32}  # in worlds whose observations fill the memory
OPPONENTS = (
    *("always_cooperate", "always_defect", "tit_for_tat", "random"),
    *("greedy", "pacifist", "sustainable"),
)


def trained_params(state: TrainState, num_agents: int) -> tuple[PyTree, ...]:
    """Parameters for each seat, [K, S, ...]; shared ones serve every seat."""
    params = [learner.params for learner in state.learners]
    return tuple(params * (num_agents // len(params)))


def scripted_group(env: Environment, names: tuple[str, ...]) -> Group:
    """Scripted players of a world.

    Raises:
      InputError: if there is no such player.
    """
    there = players(env)
    params = [there.params(name) for name in names]
    stacked = jax.tree.map(lambda *x: np.stack(x), *params)
    return Group(names, there.policy, (stacked,) * env.num_agents)


def evaluate(config: RunConfig, state: TrainState) -> list[dict]:
    """Plays every trained seed without exploration, one record per knob setting.

    Returns:
      For each setting: `knobs`; `mean_reward` in self-play, per step and agent;
      `measures` of self-play; `league`, reward against scripted players; in a matrix
      game `p_cooperate` after each outcome. Numbers are lists over seeds.
    """
    env = make_env(config)
    policy = make_policy(config, env)
    key = jax.random.key(config.first_seed)
    games = FEWER_GAMES.get(type(env), NUM_GAMES), config.steps_per_episode
    names = tuple(name for name in OPPONENTS if name in players(env).names)
    opponents = scripted_group(env, names)
    measure = partial(MEASURES[type(env)], env)
    settings = []
    for k, knobs in enumerate(knob_settings(config)):
        params = jax.tree.map(
            lambda x, k=k: x[k], trained_params(state, env.num_agents)
        )
        trained = Group(tuple(map(str, config.seed_list)), policy, params)
        measured = with_itself(key, env, trained, *games, measure)
        mean_reward = measured.pop("reward with itself").tolist()
        measures = {name: x.tolist() for name, x in measured.items()}
        setting = {
            "knobs": knobs,
            "mean_reward": mean_reward,
        }
        if type(env) is IteratedMatrixGame:
            setting["p_cooperate"] = _answers(key, env, trained, config.num_steps)
            measures |= {
                f"P({env.action_names[0]} | {outcome})": numbers
                for outcome, numbers in setting["p_cooperate"].items()
            }
        league = against_copies(key, env, trained, opponents, *games)
        setting["measures"] = measures
        setting["league"] = _lists(names, league.T)
        settings.append(setting)
    return settings


def _of_reward(env: Environment, trajectory: Trajectory) -> dict[str, Array]:
    return {"reward with itself": trajectory.reward.mean()}


def _of_coins(env: CoinGame, trajectory: Trajectory) -> dict[str, Array]:
    """In games of two and one coin, whose coins are taken."""
    measures = _of_reward(env, trajectory)
    if env.num_agents == 2 and env.coins == "one":
        own, other = pickups(trajectory.reward / env.gain)
        coins = (own + other).sum()
        measures["own of the coins taken"] = own.sum() / jnp.maximum(coins, 1)
        measures["coins per step and agent"] = (own + other).mean()
    return measures


def _of_harvest(env: CommonsHarvest, trajectory: Trajectory) -> dict[str, Array]:
    """Of whole episodes: apples, when they are eaten, and zaps."""
    time = step_numbers(jnp.zeros(trajectory.last.shape[1], jnp.int32), trajectory.last)
    numbers = harvest_measures(env, trajectory, time)
    names = {"apples": "apples per agent", "zaps": "zaps per agent"}
    numbers = {names.get(name, name): x for name, x in numbers.items()}
    return {**_of_reward(env, trajectory), **numbers}


def _of_deals(env: NegotiationGame, trajectory: Trajectory) -> dict[str, Array]:
    """Where both see the stakes, how much of what there was to gain was gained."""
    measures = _of_reward(env, trajectory)
    if {"pool", "own_utility", "other_utility"} <= set(env.layout()):
        stakes = stakes_seen(env, trajectory.observation[:, :, 0])
        paid = trajectory.reward.sum()
        measures["efficiency"] = paid / best_total(env, stakes).sum()
    return measures


def _of_splits(env: split.Split, trajectory: Trajectory) -> dict[str, Array]:
    """How much of what there was to gain was gained."""
    measures = _of_reward(env, trajectory)
    values = split.values_seen(env, trajectory.observation[:, :, 0])
    paid = trajectory.reward.sum()
    measures["efficiency"] = paid / split.best_total(env, values).sum()
    return measures


def _of_trust(
    env: trust_and_split.TrustAndSplit, trajectory: Trajectory
) -> dict[str, Array]:
    """Where a round came to its end, the same of those that did."""
    measures = _of_reward(env, trajectory)
    if trajectory.reward.shape[0] >= env.num_turns:
        parts = env.read(trajectory.observation[:, :, 0])
        best = parts["splits"].sum() * trust_and_split.best_total(env)
        measures["efficiency"] = trajectory.reward.sum() / best
    return measures


MEASURES: dict[type, Callable[[Environment, Trajectory], dict[str, Array]]] = {
    IteratedMatrixGame: _of_reward,
    CoinGame: _of_coins,
    CommonsHarvest: _of_harvest,
    NegotiationGame: _of_deals,
    split.Split: _of_splits,
    trust_and_split.TrustAndSplit: _of_trust,
}


def _answers(key, env: IteratedMatrixGame, trained: Group, num_steps: int) -> dict:
    """P(cooperate) after each outcome, name -> one number per seed."""

    @jax.jit
    @jax.vmap
    def answers(params):
        # An outcome, and the answer to it.
        steps = max(2, num_steps)
        return cooperation_after(key, env, trained.policy, params, NUM_GAMES, steps)

    return _lists(outcome_names(env), np.asarray(answers(trained.params), float).T)


def _lists(names, rows: np.ndarray) -> dict[str, list[float]]:
    return {name: row.tolist() for name, row in zip(names, rows, strict=True)}
