"""One training run: rollout and update, again and again, under one scan."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs.base import Environment
from aajax.envs.wrappers import AutoReset
from aajax.learners.base import Learner, LearnerState, Metrics
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import Tables, begin, rollout
from aajax.types import Array, PRNGKey


class TrainState(NamedTuple):
    """All that a run needs to go on, and nothing else.

    Attributes:
      key: for the updates to come.
      num_updates: i32[], updates made.
      learners: one state per learner.
      tables: games under way, or None where every update starts afresh.
    """

    key: PRNGKey
    num_updates: Array
    learners: tuple[LearnerState, ...]
    tables: Tables | None


class Trainer(NamedTuple):
    """A pair of pure functions around a whole training state.

    Attributes:
      init: `key -> TrainState`.
      update: `TrainState -> (TrainState, metrics)`.
    """

    init: Callable[[PRNGKey], TrainState]
    update: Callable[[TrainState], tuple[TrainState, Metrics]]


def self_play(
    env: Environment,
    policies: Sequence[Policy],
    learners: Sequence[Learner],
    seats: Sequence[Sequence[int]],
    *,
    num_games: int,
    num_steps: int | None = None,
    copies: int = 1,
) -> Trainer:
    """Learners that play one another, or themselves.

    Where every episode is `num_steps` long each update plays fresh games; elsewhere
    games go on from update to update and start again when they stop.

    Args:
      env: one game.
      policies: one per learner, as it acts while training.
      learners: one for shared parameters, or one per seat.
      seats: for each learner, the seats that its policy plays.
      num_games: B, games played in parallel.
      num_steps: T, steps per update; None for a whole episode.
      copies: games that share the world's chance, as for `rollout`.

    Raises:
      ValueError: if num_steps is None and episodes vary in length, or if copies does
        not divide the number of games.
    """
    num_steps = num_steps or env.episode_length
    if num_steps is None:
        raise ValueError(
            "num_steps is None: a number is needed, as episodes vary in length"
        )
    if num_games % copies:
        raise ValueError(
            f"copies is {copies}: a divisor of the {num_games} games is needed"
        )
    table = seated(policies, seats)
    fresh = env.episode_length == num_steps
    world = env if fresh else AutoReset(env)

    def deal(key: PRNGKey) -> Tables:
        return begin(key, world, table, num_games, copies)

    def init(key: PRNGKey) -> TrainState:
        key, learner_key, table_key = jax.random.split(key, 3)
        keys = jax.random.split(learner_key, len(learners))
        states = tuple(
            learner.init(k) for learner, k in zip(learners, keys, strict=True)
        )
        tables = None if fresh else deal(table_key)
        return TrainState(key, jnp.zeros((), jnp.int32), states, tables)

    def update(state: TrainState) -> tuple[TrainState, Metrics]:
        key, begin_key, play_key, update_key = jax.random.split(state.key, 4)
        tables = deal(begin_key) if fresh else state.tables
        params = tuple(learner.acting for learner in state.learners)
        tables, trajectory = rollout(
            play_key, world, table, params, tables, num_steps, copies
        )
        metrics = {"reward": jnp.mean(trajectory.reward)}
        states = []
        for i, learner in enumerate(learners):
            own = trajectory._replace(memory=trajectory.memory[i])
            learner_key = jax.random.fold_in(update_key, i)
            learned, numbers = learner.update(learner_key, state.learners[i], own)
            states.append(learned)
            prefix = f"learner_{i}/" if len(learners) > 1 else ""
            metrics |= {prefix + name: number for name, number in numbers.items()}
        tables = None if fresh else tables
        next_state = TrainState(key, state.num_updates + 1, tuple(states), tables)
        return next_state, metrics

    return Trainer(init, update)


def train(
    trainer: Trainer, key: PRNGKey, num_updates: int
) -> tuple[TrainState, Metrics]:
    """A whole run from its beginning; `jax.vmap` over keys trains many seeds.

    Returns:
      The final state, and metrics with a leading axis of updates.
    """
    return continued(trainer, trainer.init(key), num_updates)


def continued(
    trainer: Trainer, state: TrainState, num_updates: int
) -> tuple[TrainState, Metrics]:
    """So many updates more, under one scan."""
    return jax.lax.scan(lambda s, _: trainer.update(s), state, length=num_updates)
