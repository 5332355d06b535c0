"""What is measured of play while training, beside the reward, by world."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from aajax.envs.base import Environment
from aajax.envs.harvest import CommonsHarvest
from aajax.envs.harvest.measures import measures
from aajax.learners.base import Metrics
from aajax.rollout import Tables
from aajax.training.self_play import Measure
from aajax.types import Array, Trajectory


def measure_of(env: Environment) -> Measure | None:
    """What to measure of a world's games; None where the reward says it all."""
    make = MEASURES.get(type(env))
    return None if make is None else make(env)


def step_numbers(start: Array, last: Array) -> Array:
    """How many steps of its episode were played before each step, i32[T, B].

    Args:
      start: i32[B], before the first.
      last: bool[T, B], after which steps another episode begins.
    """

    def advance(time, last):
        return jnp.where(last, 0, time + 1), time

    return jax.lax.scan(advance, start, last)[1]


def _of_harvest(env: CommonsHarvest) -> Measure:
    def measure(before: Tables, trajectory: Trajectory) -> Metrics:
        time = step_numbers(before.state.time, trajectory.last)
        return measures(env, trajectory, time)

    return measure


MEASURES: dict[type, Callable[[Environment], Measure]] = {CommonsHarvest: _of_harvest}
