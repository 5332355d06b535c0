"""Exploitability: trains a best response to a frozen policy."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.keys import stream
from aajax.policies.base import Policy
from aajax.rollout import Tables
from aajax.training import transforms
from aajax.training.algorithms import find_algorithm
from aajax.training.assemble import make_env, make_parts, make_policy, scheduled
from aajax.training.config import RunConfig
from aajax.training.self_play import Trainer, continued, self_play
from aajax.types import Array, PRNGKey, PyTree, Trajectory


class Responses(NamedTuple):
    """Best responses to M frozen policies, and what was earned while they learned.

    Attributes:
      params: of the responses, [M, ...].
      reward: f32[M, updates], of the learners per step, with their exploration.
      frozen_reward: f32[M, updates], of the frozen policies per step and seat.
    """

    params: PyTree
    reward: Array
    frozen_reward: Array


def best_responses(
    config: RunConfig, victim: Policy, params: PyTree, seed: int = 0
) -> Responses:
    """Trains a best response to each of M frozen policies, vmapped.

    Args:
      config: of the learner, which plays seat 0 and maximises its own reward; the
        config's algorithm, opponents and seeds are not used.
      victim: the frozen policy, in all other seats.
      params: of the victims, [M, ...].
      seed: of the learners.
    """
    algorithm = find_algorithm("naive")
    config = dataclasses.replace(config, algorithm=algorithm.name)
    env = make_env(config)
    resets = [transforms.memory_reset()] if config.memory == "update" else []

    def of_frozen(tables: Tables, trajectory: Trajectory) -> dict[str, Array]:
        del tables
        return {"frozen_reward": trajectory.reward[:, :, 1:].mean()}

    def respond(key: PRNGKey, params: PyTree) -> Responses:
        def make_fixed(hyperparameters: dict[str, Array]) -> Trainer:
            policy = make_policy(config, env, hyperparameters["exploration"])
            parts = make_parts(config, env, hyperparameters)
            return self_play(
                env,
                [policy],
                [algorithm.build_learner(parts, policy, [0])],
                [[0]],
                num_games=config.num_games,
                num_steps=config.num_steps,
                group_size=config.group_size,
                transforms=[
                    transforms.frozen(victim, params),
                    transforms.measured(of_frozen),
                    *resets,
                ],
            )

        trainer = scheduled(config, make_fixed)({})
        state, metrics = continued(trainer, trainer.init(key), config.num_updates)
        earned = metrics["reward"], metrics["frozen_reward"]
        return Responses(state.learners[0].params, *earned)

    num_victims = np.shape(jax.tree.leaves(params)[0])[0]
    keys = jax.random.split(stream(seed, "best responses"), num_victims)
    return jax.jit(jax.vmap(respond))(keys, jax.tree.map(jnp.asarray, params))
