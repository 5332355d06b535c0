"""Measures of Commons Harvest: apples, sustainability and zaps."""

from collections.abc import Callable

import jax.numpy as jnp

from aajax.envs.harvest import rules
from aajax.envs.harvest.env import CommonsHarvest
from aajax.envs.harvest.observe import PLANES
from aajax.envs.measures import step_numbers
from aajax.types import Array, Episodes, Tables, Trajectory


def measures(
    env: CommonsHarvest,
    trajectory: Trajectory,
    time: Array,
    inside: Array | None = None,
) -> dict[str, Array]:
    """Measures of a trajectory [T, B, N, ...], each f32[].

    * apples: number eaten by an agent in these T steps, mean over games and agents.
    * sustainability: the mean step of the episode, from 1, at which an apple is eaten;
      0 if none is. As in Perolat et al. (https://arxiv.org/abs/1707.06600), but with
      equal weight per apple instead of per agent.
    * zaps: number of beams that an agent fires in these T steps.

    Args:
      env: the environment; its `apple_reward` must not be 0.
      trajectory: of all seats.
      time: i32[T, B], steps of the episode played before each step.
      inside: bool[T, B], mask of steps that count; None for all.
    """
    inside = jnp.ones_like(trajectory.last) if inside is None else inside
    # A reward is nothing but apples, and an apple is worth something.
    eaten = jnp.where(inside[..., None], trajectory.reward / env.apple_reward, 0.0)
    apples = eaten.sum()
    when = (time + 1).astype(jnp.float32)[..., None]
    _, num_games, num_agents = trajectory.reward.shape
    fired = shots(env, trajectory.observation, trajectory.action) & inside[..., None]
    return {
        "apples": apples / (num_games * num_agents),
        "sustainability": (when * eaten).sum() / jnp.maximum(apples, 1),
        "zaps": fired.astype(jnp.float32).sum() / (num_games * num_agents),
    }


def shots(env: CommonsHarvest, observation: Array, action: Array) -> Array:
    """Whether an agent fires a beam, bool[...]: it zaps and is able to.

    Args:
      env: the environment.
      observation: f32[..., C · H · W].
      action: i32[...].
    """
    ready = env.unflatten(observation)[..., PLANES.index("ready"), 0, 0]
    return (action == rules.ZAP) & (ready == 1)


def of_episodes(env: CommonsHarvest, episodes: Episodes) -> dict[str, Array]:
    """`measures` of complete episodes, for evaluation."""
    time = episodes.state.time[:-1]
    numbers = measures(env, episodes.trajectory, time, episodes.inside)
    names = {"apples": "apples per agent", "zaps": "zaps per agent"}
    return {names.get(name, name): x for name, x in numbers.items()}


def while_training(
    env: CommonsHarvest,
) -> Callable[[Tables, Trajectory], dict[str, Array]]:
    """`measures` of a rollout between two updates, for training metrics."""

    def measure(before: Tables, trajectory: Trajectory) -> dict[str, Array]:
        time = step_numbers(before.state.time, trajectory.last)
        return measures(env, trajectory, time)

    return measure
