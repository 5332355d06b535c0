"""One training run: rollout and update, again and again, under one scan.

What else happens in an update is a chain of transforms, see `training.transforms`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aajax.envs.base import Environment
from aajax.envs.wrappers import AutoReset
from aajax.errors import InputError
from aajax.learners.base import Learner, LearnerState, Metrics
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import Tables, begin, rollout
from aajax.training.pool import Pool
from aajax.training.replay import Store
from aajax.types import Array, PRNGKey, PyTree, Trajectory

GAMES = "games"  # the axis of a mesh over which games are divided


class TrainState(NamedTuple):
    """All that a run needs to go on, and nothing else.

    Attributes:
      key: for the updates to come.
      num_updates: i32[], updates made.
      learners: one state per learner.
      tables: games under way, or None where every update starts afresh.
      pool: past selves, of `transforms.past_selves`; else None.
      store: earlier games, of `transforms.replayed`; else None.
    """

    key: PRNGKey
    num_updates: Array
    learners: tuple[LearnerState, ...]
    tables: Tables | None
    pool: Pool | None = None
    store: Store | None = None

    @property
    def acting(self) -> tuple[PyTree, ...]:
        """The parameters that play, one entry per learner."""
        return tuple(learner.acting for learner in self.learners)


class Trainer(NamedTuple):
    """A pair of pure functions around a whole training state.

    Attributes:
      init: `key -> TrainState`.
      update: `TrainState -> (TrainState, metrics)`.
    """

    init: Callable[[PRNGKey], TrainState]
    update: Callable[[TrainState], tuple[TrainState, Metrics]]


class Setting(NamedTuple):
    """Who plays what, and how: what is the same in every update.

    Attributes:
      env: one game; with auto-reset where games go on from update to update.
      policies: one per learner.
      seats: for each learner, the seats that its policy plays.
      num_games: B, games played in parallel.
      num_steps: T, steps per update.
      group_size: games that share the environment's chance, as for `rollout`.
      fresh: whether every update plays games from their start.
      resets_memory: whether every update starts with initial memories, also in games
        that go on.
      mesh: with an axis `GAMES`, over which games are divided; None for one device.
    """

    env: Environment
    policies: tuple[Policy, ...]
    seats: tuple[tuple[int, ...], ...]
    num_games: int
    num_steps: int
    group_size: int
    fresh: bool
    resets_memory: bool
    mesh: Mesh | None = None

    @property
    def rest(self) -> list[int]:
        """Seats that no learner plays."""
        return sorted(set(range(self.env.num_agents)).difference(*self.seats))


class Others(NamedTuple):
    """Who takes the seats that no learner plays.

    Attributes:
      policy: that plays them.
      params: `(key, state) -> params` of that policy, for one update.
    """

    policy: Policy
    params: Callable[[PRNGKey, TrainState], PyTree]


class Transform(NamedTuple):
    """What is added to every update of `self_play`.

    As gradient transformations in optax, transforms are chained: each gets what those
    before it made. One has only the parts that it needs, and the rest of an update is
    left as it is. What it keeps from update to update lies in the `TrainState`.

    Attributes:
      others: `setting -> Others`, who takes the seats that no learner plays.
      resets_memory: whether every update starts with initial memories.
      init: `(setting, state, shapes) -> state`, with what the transform keeps;
        `shapes(state)` is what an update's trajectory looks like.
      measure: `(tables before play, trajectory) -> metrics`, of the games just played.
      change: `(key, setting, state, trajectory) -> (state, trajectory)`, of what is
        learned from.
      end: `(before, after) -> after`, both states, once all learners have learned.
      mesh: with an axis `GAMES`, over which games are divided.
    """

    others: Callable[[Setting], Others] | None = None
    resets_memory: bool = False
    init: Callable[[Setting, TrainState, Callable], TrainState] | None = None
    measure: Callable[[Tables, Trajectory], Metrics] | None = None
    change: (
        Callable[
            [PRNGKey, Setting, TrainState, Trajectory], tuple[TrainState, Trajectory]
        ]
        | None
    ) = None
    end: Callable[[TrainState, TrainState], TrainState] | None = None
    mesh: Mesh | None = None


def self_play(
    env: Environment,
    policies: Sequence[Policy],
    learners: Sequence[Learner],
    seats: Sequence[Sequence[int]],
    *,
    num_games: int,
    num_steps: int | None = None,
    group_size: int = 1,
    transforms: Sequence[Transform] = (),
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
      group_size: games that share the environment's chance, as for `rollout`.
      transforms: what else happens in an update, in this order.

    Raises:
      InputError: if num_steps is None and episodes vary in length, if group_size does
        not divide the number of games, if a transform does not fit, or if two of them
        are to take the other seats.
    """
    num_steps = num_steps or env.episode_length
    if num_steps is None:
        raise InputError(
            "num_steps is None: a number is needed, as episodes vary in length"
        )
    if num_games % group_size:
        raise InputError(
            f"group_size is {group_size}: a divisor of the {num_games} games is needed"
        )
    fresh = env.episode_length == num_steps
    setting = Setting(
        env=env if fresh else AutoReset(env),
        policies=tuple(policies),
        seats=tuple(map(tuple, seats)),
        num_games=num_games,
        num_steps=num_steps,
        group_size=group_size,
        fresh=fresh,
        resets_memory=any(transform.resets_memory for transform in transforms),
        mesh=next((x.mesh for x in transforms if x.mesh is not None), None),
    )
    others = _others(setting, transforms)
    # Who sits at the table is known before what its play looks like.
    ordered = sorted(transforms, key=lambda transform: transform.others is None)
    loop = _Loop(setting, tuple(learners), others, tuple(ordered))
    return Trainer(loop.init, loop.update)


class _Loop(NamedTuple):
    """The parts of `self_play`, put together."""

    setting: Setting
    learners: tuple[Learner, ...]
    others: Others | None
    transforms: tuple[Transform, ...]

    def init(self, key: PRNGKey) -> TrainState:
        key, learner_key, table_key = jax.random.split(key, 3)
        keys = jax.random.split(learner_key, len(self.learners))
        states = tuple(
            learner.init(k) for learner, k in zip(self.learners, keys, strict=True)
        )
        tables = self.deal(table_key)
        kept = None if self.setting.fresh else tables
        state = TrainState(key, jnp.zeros((), jnp.int32), states, kept)

        def shapes(state: TrainState) -> Trajectory:
            return jax.eval_shape(self.play, table_key, table_key, state, tables)[1]

        for transform in self.transforms:
            if transform.init is not None:
                state = transform.init(self.setting, state, shapes)
        return state

    def update(self, state: TrainState) -> tuple[TrainState, Metrics]:
        setting = self.setting
        key, *keys = jax.random.split(state.key, 6)
        begin_key, play_key, update_key, others_key, change_key = keys
        tables = self.deal(begin_key) if setting.fresh else state.tables
        assert tables is not None
        if setting.resets_memory:
            batch_shape = setting.num_games, setting.env.num_agents
            memory = self.table.initial_memory(batch_shape)
            tables = tables._replace(memory=memory)
        end, trajectory = self.play(play_key, others_key, state, tables)
        metrics = {"reward": _reward(trajectory, setting.seats)}
        for transform in self.transforms:
            if transform.measure is not None:
                metrics |= transform.measure(tables, trajectory)
        state, trajectory = self.change(change_key, state, trajectory)
        learned, numbers = _learn(self.learners, update_key, state.learners, trajectory)
        after = state._replace(
            key=key,
            num_updates=state.num_updates + 1,
            learners=learned,
            tables=None if setting.fresh else end,
        )
        for transform in self.transforms:
            if transform.end is not None:
                after = transform.end(state, after)
        return after, metrics | numbers

    @property
    def table(self) -> Policy:
        """The policy of all seats."""
        policies, seats = self.setting.policies, self.setting.seats
        if self.others is None:
            return seated(policies, seats)
        return seated(
            [*policies, self.others.policy], [*seats, tuple(self.setting.rest)]
        )

    def deal(self, key: PRNGKey) -> Tables:
        setting = self.setting
        tables = begin(
            key, setting.env, self.table, setting.num_games, setting.group_size
        )
        return _divided(setting.mesh, tables, axis=0)

    def play(
        self, key: PRNGKey, others_key: PRNGKey, state: TrainState, tables: Tables
    ) -> tuple[Tables, Trajectory]:
        setting, params = self.setting, state.acting
        if self.others is not None:
            params += (self.others.params(others_key, state),)
        end, trajectory = rollout(
            key,
            setting.env,
            self.table,
            params,
            tables,
            setting.num_steps,
            setting.group_size,
        )
        steps = _divided(setting.mesh, trajectory._replace(memory=()), axis=1)
        return end, steps._replace(memory=trajectory.memory)

    def change(
        self, key: PRNGKey, state: TrainState, trajectory: Trajectory
    ) -> tuple[TrainState, Trajectory]:
        """What all transforms make of a trajectory, each with a key of its own."""
        changes = [x.change for x in self.transforms if x.change is not None]
        for i, change in enumerate(changes):
            own_key = jax.random.fold_in(key, i) if i else key
            state, trajectory = change(own_key, self.setting, state, trajectory)
        return state, trajectory


def _others(setting: Setting, transforms: Sequence[Transform]) -> Others | None:
    """Who takes the seats that no learner plays, if anybody does."""
    takers = [x.others for x in transforms if x.others is not None]
    if len(takers) > 1:
        raise InputError(
            f"transforms has {len(takers)} that take the seats of others: at most 1 is "
            "needed"
        )
    return takers[0](setting) if takers else None


def _learn(
    learners: Sequence[Learner],
    key: PRNGKey,
    states: Sequence[LearnerState],
    trajectory: Trajectory,
) -> tuple[tuple[LearnerState, ...], Metrics]:
    """Every learner's update, and their metrics by name."""
    learned, metrics = [], {}
    for i, (learner, state) in enumerate(zip(learners, states, strict=True)):
        own = trajectory._replace(memory=trajectory.memory[i])
        after, numbers = learner.update(jax.random.fold_in(key, i), state, own)
        learned.append(after)
        prefix = f"learner_{i}/" if len(learners) > 1 else ""
        metrics |= {prefix + name: number for name, number in numbers.items()}
    return tuple(learned), metrics


def _divided(mesh: Mesh | None, tree: PyTree, axis: int) -> PyTree:
    """With the axis of games, in all arrays, over the mesh if there is one."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, P(*[None] * axis, GAMES))
    return jax.lax.with_sharding_constraint(tree, sharding)


def _reward(trajectory: Trajectory, seats: Sequence[Sequence[int]]) -> Array:
    """Mean reward per step of the seats that learn."""
    learning = jnp.asarray([seat for group in seats for seat in group])
    return jnp.mean(trajectory.reward[:, :, learning])


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
