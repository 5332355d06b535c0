"""What a trained run is worth: the numbers of summary.json."""

import math
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
from aajax.envs.negotiation import NegotiationGame, best_total
from aajax.keys import stream
from aajax.league import (
    Group,
    against_copies,
    cooperation_after,
    outcome_names,
    with_itself,
)
from aajax.policies.scripted import players
from aajax.rollout import Episodes
from aajax.training.assemble import make_env, make_policy
from aajax.training.config import RunConfig
from aajax.training.run import knob_settings
from aajax.training.self_play import TrainState
from aajax.types import Array, PRNGKey, PyTree

NUM_GAMES = 1024  # at most, and as few as 16 where observations would fill the memory
MOST_NUMBERS = 2**22  # of the observations of one line-up
MEMBERS_AT_ONCE = 8
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

    All settings are played by the same programs.

    Returns:
      For each setting: `knobs`; `mean_reward` in self-play, per step and agent;
      `measures` of self-play; `league`, reward against scripted players; in a matrix
      game `p_cooperate` after each outcome. Numbers are lists over seeds.
    """
    env = make_env(config)
    games = games_of(env, config.steps_per_episode), config.steps_per_episode
    names = tuple(name for name in OPPONENTS if name in players(env).names)
    opponents = scripted_group(env, names)
    params = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:]), trained_params(state, env.num_agents)
    )
    settings = knob_settings(config)
    members = tuple(map(str, range(len(settings) * config.seeds)))
    trained = Group(members, make_policy(config, env), params)

    def chance(what: str) -> PRNGKey:
        return stream(config.first_seed, f"evaluation: {what}")

    measure = partial(MEASURES[type(env)], env)
    measured = with_itself(chance("with itself"), env, trained, *games, measure)
    mean_reward = measured.pop("reward with itself")
    answers = {}
    if type(env) is IteratedMatrixGame:
        answers = _answers(chance("answers"), env, trained, config.num_steps, games[0])
        measured |= {
            f"P({env.action_names[0]} | {outcome})": numbers
            for outcome, numbers in answers.items()
        }
    league = against_copies(chance("against others"), env, trained, opponents, *games)
    against = dict(zip(names, league.T, strict=True))
    records = []
    for k, knobs in enumerate(settings):
        own = slice(k * config.seeds, (k + 1) * config.seeds)
        record = {"knobs": knobs, "mean_reward": mean_reward[own].tolist()}
        if answers:
            record["p_cooperate"] = _lists(answers, own)
        record["measures"] = _lists(measured, own)
        record["league"] = _lists(against, own)
        records.append(record)
    return records


def games_of(env: Environment, num_steps: int) -> int:
    """Games that a line-up is measured in."""
    size = num_steps * env.num_agents * math.prod(env.observation_shape)
    return min(NUM_GAMES, max(16, MOST_NUMBERS // size))


def _of_reward(env: Environment, episodes: Episodes) -> dict[str, Array]:
    return {"reward with itself": episodes.mean(episodes.trajectory.reward).mean()}


def _of_coins(env: CoinGame, episodes: Episodes) -> dict[str, Array]:
    """Whose coins are taken."""
    own, other = (
        episodes.mean(x.astype(jnp.float32)).mean() for x in pickups(episodes.state)
    )
    return {
        **_of_reward(env, episodes),
        "own of the coins taken": own / jnp.maximum(own + other, 1e-9),
        "coins per step and agent": own + other,
    }


def _of_harvest(env: CommonsHarvest, episodes: Episodes) -> dict[str, Array]:
    """Of whole episodes: apples, when they are eaten, and zaps."""
    time = episodes.state.time[:-1]
    numbers = harvest_measures(env, episodes.trajectory, time, episodes.inside)
    names = {"apples": "apples per agent", "zaps": "zaps per agent"}
    numbers = {names.get(name, name): x for name, x in numbers.items()}
    return {**_of_reward(env, episodes), **numbers}


def _of_deals(env: NegotiationGame, episodes: Episodes) -> dict[str, Array]:
    """How much of what there was to gain was gained, in the turns that pay."""
    state = jax.tree.map(lambda x: x[:-1], episodes.state)
    pays = state.turn + 1 >= state.num_turns
    best = jnp.where(pays, best_total(env, state.stakes), 0.0)
    return {**_of_reward(env, episodes), "efficiency": _efficiency(episodes, best)}


def _of_splits(env: split.Split, episodes: Episodes) -> dict[str, Array]:
    """How much of what there was to gain was gained."""
    values = split.values_seen(env, episodes.trajectory.observation[:, :, 0])
    best = split.best_total(env, values)
    return {**_of_reward(env, episodes), "efficiency": _efficiency(episodes, best)}


def _of_trust(
    env: trust_and_split.TrustAndSplit, episodes: Episodes
) -> dict[str, Array]:
    """Where a round came to its end, the same of those that did."""
    measures = _of_reward(env, episodes)
    if episodes.trajectory.reward.shape[0] >= env.num_turns:
        splits = env.splits(jax.tree.map(lambda x: x[:-1], episodes.state))
        best = jnp.where(splits, trust_and_split.best_total(env), 0.0)
        measures["efficiency"] = _efficiency(episodes, best)
    return measures


def _efficiency(episodes: Episodes, best: Array) -> Array:
    """Rewards of all over the best total of each step, f32[T, B]."""
    paid = episodes.mean(episodes.trajectory.reward).sum()
    return paid / episodes.mean(best)


MEASURES: dict[type, Callable[[Environment, Episodes], dict[str, Array]]] = {
    IteratedMatrixGame: _of_reward,
    CoinGame: _of_coins,
    CommonsHarvest: _of_harvest,
    NegotiationGame: _of_deals,
    split.Split: _of_splits,
    trust_and_split.TrustAndSplit: _of_trust,
}


def _answers(
    key: PRNGKey,
    env: IteratedMatrixGame,
    trained: Group,
    num_steps: int,
    num_games: int,
) -> dict[str, np.ndarray]:
    """P(cooperate) after each outcome, name -> f64[members]."""
    # An outcome, and the answer to it; in games enough for all seats to be asked.
    games = max(num_games, env.num_agents), max(num_steps, 2)

    @jax.jit
    def answers(params):
        def of_member(params):
            return cooperation_after(key, env, trained.policy, params, *games)

        return jax.lax.map(of_member, params, batch_size=MEMBERS_AT_ONCE)

    found = np.asarray(answers(trained.params), float)
    return dict(zip(outcome_names(env), found.T, strict=True))


def _lists(numbers: dict[str, np.ndarray], own: slice) -> dict[str, list[float]]:
    return {name: x[own].tolist() for name, x in numbers.items()}
