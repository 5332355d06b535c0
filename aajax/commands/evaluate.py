"""What a trained run is worth: the numbers of summary.json."""

import jax
import numpy as np

from aajax.envs.matrix import IteratedMatrixGame
from aajax.league import (
    Group,
    against_copies,
    cooperation_after,
    outcome_names,
    with_itself,
)
from aajax.policies import matrix
from aajax.training.assemble import make_env, make_policy
from aajax.training.config import RunConfig
from aajax.training.run import knob_values
from aajax.training.self_play import TrainState
from aajax.types import PyTree

NUM_GAMES = 1024
OPPONENTS = ("always_cooperate", "always_defect", "tit_for_tat", "random")


def trained_params(state: TrainState, num_agents: int) -> tuple[PyTree, ...]:
    """Parameters for each seat, [K, S, ...]; shared ones serve every seat."""
    params = [learner.params for learner in state.learners]
    return tuple(params * (num_agents // len(params)))


def scripted_group(env: IteratedMatrixGame, names: tuple[str, ...]) -> Group:
    """Scripted players for a game with equal action counts."""
    counts = env.action_counts
    tables = [matrix.scripted_table(name, len(counts), counts[0]) for name in names]
    return Group(names, matrix.memory_one(), (np.stack(tables),) * len(counts))


def evaluate(config: RunConfig, state: TrainState) -> list[dict]:
    """Plays every trained seed without exploration, one record per knob setting.

    Returns:
      For each setting: `knobs`; `mean_reward` in self-play, per step and agent;
      `p_cooperate` after each outcome; `league`, reward against scripted players.
      Numbers are lists over seeds.
    """
    env = make_env(config)
    policy = make_policy(config, env)
    key = jax.random.key(config.first_seed)
    knobs = knob_values(config)
    games = NUM_GAMES, config.num_steps
    opponents = scripted_group(env, OPPONENTS)
    num_steps = max(2, config.num_steps)  # an outcome, and the answer to it
    answers = jax.jit(
        jax.vmap(
            lambda params: cooperation_after(
                key, env, policy, params, NUM_GAMES, num_steps
            )
        )
    )
    settings = []
    for k in range(len(next(iter(knobs.values())))):
        params = jax.tree.map(
            lambda x, k=k: x[k], trained_params(state, env.num_agents)
        )
        trained = Group(tuple(map(str, config.seed_list)), policy, params)
        league = against_copies(key, env, trained, opponents, *games)
        p_cooperate = np.asarray(answers(params), float).T
        settings.append(
            {
                "knobs": {name: float(x[k]) for name, x in knobs.items()},
                "mean_reward": with_itself(key, env, trained, *games).tolist(),
                "p_cooperate": _lists(outcome_names(env), p_cooperate),
                "league": _lists(OPPONENTS, league.T),
            }
        )
    return settings


def _lists(names, rows: np.ndarray) -> dict[str, list[float]]:
    return {name: row.tolist() for name, row in zip(names, rows, strict=True)}
