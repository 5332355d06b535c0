"""What a trained run is worth: the numbers of summary.json."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import jax
import numpy as np

from aajax.envs import EnvSpec, find_spec
from aajax.envs.base import Environment
from aajax.envs.matrix import IteratedMatrixGame
from aajax.keys import stream
from aajax.references import is_reference
from aajax.rollout import Episodes
from aajax.tournament import (
    Group,
    against_copies,
    cooperation_after,
    outcome_names,
    with_itself,
)
from aajax.training.assemble import make_env, make_policies
from aajax.training.config import RunConfig
from aajax.training.run import hyperparameter_settings
from aajax.training.self_play import TrainState
from aajax.types import Array, PRNGKey, PyTree

NUM_GAMES = 1024  # at most, and as few as 16 where observations would fill the memory
MOST_NUMBERS = 2**22  # of the observations of one line-up
MEMBERS_AT_ONCE = 8


def trained_params(state: TrainState, num_agents: int) -> tuple[PyTree, ...]:
    """Parameters for each seat, [K, S, ...]; shared ones serve every seat."""
    params = [learner.params for learner in state.learners]
    return tuple(params * (num_agents // len(params)))


def scripted_group(spec: EnvSpec, env: Environment, names: tuple[str, ...]) -> Group:
    """Scripted players of an environment, which share a policy.

    Raises:
      InputError: if there is no such player.
    """
    found = [spec.player(env, name) for name in names]
    stacked = jax.tree.map(lambda *x: np.stack(x), *(params for _, params in found))
    seats = env.num_agents
    return Group(names, (found[0][0],) * seats, (stacked,) * seats)


def scripted_groups(
    spec: EnvSpec, env: Environment, names: Sequence[str]
) -> list[Group]:
    """The same, and players that are found by reference, each a group of its own."""
    own = [name for name in names if is_reference(name)]
    rest = tuple(name for name in names if name not in own)
    groups = [(name,) for name in own] + ([rest] if rest else [])
    return [scripted_group(spec, env, group) for group in groups]


def evaluate_state(config: RunConfig, state: TrainState) -> list[dict]:
    """Plays every trained seed without exploration, one record per hyper-parameter
    setting.

    All settings are played by the same programs.

    Returns:
      For each setting: `hyperparameters`; `mean_reward` in self-play, per step and
      agent; `measures` of self-play; `league`, reward against scripted players; in a
      matrix game `p_cooperate` after each outcome. Numbers are lists over seeds.
    """
    env, spec = make_env(config), find_spec(config.game)
    games = games_of(env, config.steps_per_episode), config.steps_per_episode
    names = spec.opponent_names(env)
    params = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:]), trained_params(state, env.num_agents)
    )
    settings = hyperparameter_settings(config)
    members = tuple(map(str, range(len(settings) * config.seeds)))
    trained = Group(members, make_policies(config, env), params)

    def chance(what: str) -> PRNGKey:
        return stream(config.first_seed, f"evaluation: {what}")

    measure = measure_of(spec, env)
    measured = with_itself(chance("with itself"), env, trained, *games, measure)
    mean_reward = measured.pop("reward with itself")
    answers = {}
    if spec.from_payoff is not None and len(set(env.action_spaces)) == 1:
        game = cast(IteratedMatrixGame, env)
        answers = _answers(chance("answers"), game, trained, config.num_steps, games[0])
        measured |= {
            f"P({game.action_names[0]} | {outcome})": numbers
            for outcome, numbers in answers.items()
        }
    against = {}
    if names:
        others = scripted_group(spec, env, names)
        league = against_copies(chance("against others"), env, trained, others, *games)
        against = dict(zip(names, league.T, strict=True))
    records = []
    for k, hyperparameters in enumerate(settings):
        own = slice(k * config.seeds, (k + 1) * config.seeds)
        record = {
            "hyperparameters": hyperparameters,
            "mean_reward": mean_reward[own].tolist(),
        }
        if answers:
            record["p_cooperate"] = _lists(answers, own)
        record["measures"] = _lists(measured, own)
        record["league"] = _lists(against, own)
        records.append(record)
    return records


def measure_of(
    spec: EnvSpec, env: Environment
) -> Callable[[Episodes], dict[str, Array]]:
    """What is measured of episodes: the mean reward, and the measures of the game."""

    def measure(episodes: Episodes) -> dict[str, Array]:
        reward = episodes.mean(episodes.trajectory.reward).mean()
        own = {} if spec.measures is None else spec.measures(env, episodes)
        return {"reward with itself": reward, **own}

    return measure


def games_of(env: Environment, num_steps: int) -> int:
    """Games that a line-up is measured in."""
    size = num_steps * env.num_agents * math.prod(env.observation_shape)
    return min(NUM_GAMES, max(16, MOST_NUMBERS // size))


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
            return cooperation_after(key, env, trained.policies[0], params, *games)

        return jax.lax.map(of_member, params, batch_size=MEMBERS_AT_ONCE)

    found = np.asarray(answers(trained.params), float)
    return dict(zip(outcome_names(env), found.T, strict=True))


def _lists(numbers: dict[str, np.ndarray], own: slice) -> dict[str, list[float]]:
    return {name: x[own].tolist() for name, x in numbers.items()}
