"""Training with joint learners, such as LOLA, which update all agents at once.

A joint learner plays the games itself, as many as it needs, by the function `play`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from aajax.envs.base import Environment
from aajax.envs.wrappers import AutoReset
from aajax.errors import InputError
from aajax.learners.base import Metrics
from aajax.learners.lookahead import JointLearner, Play
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import begin, rollout
from aajax.training.self_play import Trainer, TrainState
from aajax.types import PRNGKey, PyTree, Trajectory


def fresh_games(
    env: Environment,
    policies: Sequence[Policy],
    *,
    num_games: int,
    num_steps: int | None = None,
) -> Play:
    """A function `(key, params) -> trajectory` that plays games from a reset.

    If episodes are shorter than `num_steps`, further ones follow (auto-reset).

    Args:
      env: unbatched.
      policies: one per seat; `params` and the trajectory's memory have one entry for
        each.
      num_games: B, games played in parallel.
      num_steps: T; None for a whole episode.

    Raises:
      InputError: if there is not one policy per seat, or num_steps is None and
        episodes vary in length.
    """
    if len(policies) != env.num_agents:
        raise InputError(
            f"policies has {len(policies)} entries: one for each of the "
            f"{env.num_agents} seats is needed"
        )
    num_steps = num_steps or env.episode_length
    if num_steps is None:
        raise InputError(
            "num_steps is None: a number is needed, as episodes vary in length"
        )
    table = seated(policies, [[seat] for seat in range(env.num_agents)])
    game = env if env.episode_length == num_steps else AutoReset(env)

    def play(key: PRNGKey, params: tuple[PyTree, ...]) -> Trajectory:
        begin_key, play_key = jax.random.split(key)
        tables = begin(begin_key, game, table, num_games)
        return rollout(play_key, game, table, params, tables, num_steps)[1]

    return play


def joint_play(learner: JointLearner) -> Trainer:
    """A trainer whose every update is one of the joint learner's."""

    def init(key: PRNGKey) -> TrainState:
        key, learner_key = jax.random.split(key)
        states = learner.init(learner_key)
        return TrainState(key, jnp.zeros((), jnp.int32), states, tables=None)

    def update(state: TrainState) -> tuple[TrainState, Metrics]:
        key, learner_key = jax.random.split(state.key)
        states, metrics = learner.update(learner_key, state.learners)
        return TrainState(key, state.num_updates + 1, states, tables=None), metrics

    return Trainer(init, update)
