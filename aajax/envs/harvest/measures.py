"""What agents did to the apples and to one another, of played games."""

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
    """Numbers of games [T, B, N, ...], each f32[].

    * apples: eaten by an agent in these T steps, the mean over games and agents.
    * sustainability: the mean step of the episode, from 1, at which an apple is eaten,
      by Perolat et al. (https://arxiv.org/abs/1707.06600) but that apples count alike
      whoever eats them; 0 if none is.
    * zaps: beams that an agent fires in these T steps.

    Args:
      env: where apples are worth something.
      trajectory: of all seats.
      time: i32[T, B], steps of the episode played before each step.
      inside: bool[T, B], steps that count; None for all.
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
    """Who fires a beam, bool[...]: who zaps and can.

    Args:
      env: the environment.
      observation: f32[..., C · H · W].
      action: i32[...].
    """
    ready = env.unflatten(observation)[..., PLANES.index("ready"), 0, 0]
    return (action == rules.ZAP) & (ready == 1)


def of_episodes(env: CommonsHarvest, episodes: Episodes) -> dict[str, Array]:
    """Of whole episodes: apples, when they are eaten, and zaps."""
    time = episodes.state.time[:-1]
    numbers = measures(env, episodes.trajectory, time, episodes.inside)
    names = {"apples": "apples per agent", "zaps": "zaps per agent"}
    return {names.get(name, name): x for name, x in numbers.items()}


def while_training(
    env: CommonsHarvest,
) -> Callable[[Tables, Trajectory], dict[str, Array]]:
    """The same of what is played between two updates."""

    def measure(before: Tables, trajectory: Trajectory) -> dict[str, Array]:
        time = step_numbers(before.state.time, trajectory.last)
        return measures(env, trajectory, time)

    return measure
