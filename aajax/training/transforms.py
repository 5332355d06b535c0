"""Transforms of a trainer: composable additions to the updates of `self_play`.

self_play(..., transforms=[past_selves(Opponents(64)), replayed(Replay(32))])
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from aajax.errors import InputError
from aajax.learners.base import Metrics
from aajax.policies.base import Policy
from aajax.policies.seating import by_group
from aajax.training import pool as pools
from aajax.training import replay as replays
from aajax.training.pool import Opponents
from aajax.training.replay import Replay
from aajax.training.self_play import Others, Setting, TrainState, Transform
from aajax.types import PRNGKey, PyTree, Tables, Trajectory


def past_selves(options: Opponents) -> Transform:
    """Past selves of the learner, from a pool, play the seats that it does not play.

    Raises:
      InputError: from `self_play`, for more than one learner, or for recurrent memory
        that is kept from update to update while opponents change.
    """

    def others(setting: Setting) -> Others:
        policy, *more = setting.policies
        if more or not (setting.fresh or setting.resets_memory):
            raise InputError(
                f"opponents is {options}: a single learner, and fresh games or "
                "memories in every update, are needed"
            )

        def params(key: PRNGKey, state: TrainState) -> PyTree:
            assert state.pool is not None  # by `init`
            return pools.draw(key, state.pool, state.acting[0], options)

        return Others(by_group(policy, options.groups), params)

    def init(setting: Setting, state: TrainState, shapes: Callable) -> TrainState:
        del setting, shapes
        return state._replace(pool=pools.create(state.acting[0], options.capacity))

    def end(before: TrainState, after: TrainState) -> TrainState:
        keeps = after.num_updates % options.every == 0
        # Known only when the opponents have been read from the ring: XLA would copy
        # it before a write that need not wait.
        keeps &= jnp.isfinite(optax.tree.norm(after.learners[0].params))
        assert before.pool is not None
        return after._replace(pool=pools.record(before.pool, before.acting[0], keeps))

    return Transform(others=others, init=init, end=end)


def frozen(policy: Policy, params: PyTree) -> Transform:
    """A fixed policy plays the seats that no learner plays.

    The learners then learn a best response to it.
    """
    return Transform(others=lambda setting: Others(policy, lambda key, state: params))


def replayed(options: Replay) -> Transform:
    """Replaces some games of every update by replayed ones; see `training.replay`."""

    def init(setting: Setting, state: TrainState, shapes: Callable) -> TrainState:
        del setting
        return state._replace(store=replays.create(shapes(state), options.capacity))

    def change(
        key: PRNGKey, setting: Setting, state: TrainState, trajectory: Trajectory
    ) -> tuple[TrainState, Trajectory]:
        assert state.store is not None  # by `init`
        store, trajectory, is_old = replays.mix(
            key, state.store, trajectory, options.games
        )
        for i, seats in enumerate(setting.seats):
            memory, params = trajectory.memory[i], state.acting[i]
            trajectory = replays.revalue(
                setting.policies[i], params, trajectory, memory, seats, is_old
            )
        return state._replace(store=store), trajectory

    return Transform(init=init, change=change)


def measured(measure: Callable[[Tables, Trajectory], Metrics]) -> Transform:
    """Adds measures of the games just played to the metrics.

    Args:
      measure: `(games in progress before the rollout, trajectory) -> {name: f32[]}`.
    """
    return Transform(measure=measure)


def memory_reset() -> Transform:
    """Resets recurrent memory at every update, also within episodes."""
    return Transform(resets_memory=True)


def over_devices(mesh: Mesh) -> Transform:
    """Divides games over devices, and averages gradients over all of them.

    Numbers are those of one device but for rounding.

    Args:
      mesh: with the axis `self_play.GAMES`, whose size divides the number of games.
    """
    return Transform(mesh=mesh)
