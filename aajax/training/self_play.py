"""One training run: rollout and update, again and again, under one scan."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from aajax.envs.base import Environment
from aajax.envs.wrappers import AutoReset
from aajax.errors import InputError
from aajax.learners.base import Learner, LearnerState, Metrics
from aajax.policies.base import Policy
from aajax.policies.seating import by_group, seated
from aajax.rollout import Tables, begin, rollout
from aajax.training import pool as pools
from aajax.training import replay as replays
from aajax.training.pool import Opponents, Pool
from aajax.training.replay import Replay, Store
from aajax.types import Array, PRNGKey, PyTree, Trajectory


class TrainState(NamedTuple):
    """All that a run needs to go on, and nothing else.

    Attributes:
      key: for the updates to come.
      num_updates: i32[], updates made.
      learners: one state per learner.
      tables: games under way, or None where every update starts afresh.
      pool: past selves, or None.
      store: earlier games, or None.
    """

    key: PRNGKey
    num_updates: Array
    learners: tuple[LearnerState, ...]
    tables: Tables | None
    pool: Pool | None = None
    store: Store | None = None


Measure = Callable[[Tables, Trajectory], Metrics]


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
    group_size: int = 1,
    opponents: Opponents | None = None,
    frozen: tuple[Policy, PyTree] | None = None,
    replay: Replay | None = None,
    forget: bool = False,
    measure: Measure | None = None,
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
      opponents: with them a single learner plays its `seats` against past selves, who
        take all other seats; None for none.
      frozen: a policy and its parameters, that take all other seats and do not learn:
        the learner then finds a best response to them.
      replay: whether some games of every update are older ones; None for none.
      forget: whether memories begin anew with every update, in games that go on too.
      measure: what else is measured of every update's play.

    Raises:
      InputError: if num_steps is None and episodes vary in length, or if group_size
        does not divide the number of games.
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
    if frozen is not None and opponents is not None:
        raise InputError("opponents is given: None is needed with a frozen policy")
    rest = sorted(set(range(env.num_agents)).difference(*seats))
    if frozen is not None:
        table = seated([*policies, frozen[0]], [*seats, rest])
    elif opponents is None:
        table = seated(policies, seats)
    else:
        if len(learners) > 1 or not (fresh or forget):
            raise InputError(
                f"opponents is {opponents}: a single learner, and fresh games or "
                "memories in every update, are needed"
            )
        others = by_group(policies[0], opponents.groups)
        table = seated([policies[0], others], [seats[0], rest])
    game = env if fresh else AutoReset(env)

    def deal(key: PRNGKey) -> Tables:
        return begin(key, game, table, num_games, group_size)

    def play(key: PRNGKey, params: tuple, tables: Tables) -> tuple[Tables, Trajectory]:
        return rollout(key, game, table, params, tables, num_steps, group_size)

    def others_params(key: PRNGKey, pool: Pool | None, present: PyTree) -> tuple:
        if frozen is not None:
            return (frozen[1],)
        if opponents is None:
            return ()
        return (pools.draw(key, pool, present, opponents),)

    def init(key: PRNGKey) -> TrainState:
        key, learner_key, table_key = jax.random.split(key, 3)
        keys = jax.random.split(learner_key, len(learners))
        states = tuple(
            learner.init(k) for learner, k in zip(learners, keys, strict=True)
        )
        params = tuple(state.acting for state in states)
        pool, store = None, None
        if opponents is not None:
            pool = pools.create(params[0], opponents.capacity)
        tables = deal(table_key)
        if replay is not None:
            params += others_params(table_key, pool, params[0])
            _, shapes = jax.eval_shape(play, table_key, params, tables)
            store = replays.create(shapes, replay.capacity)
        num_updates = jnp.zeros((), jnp.int32)
        return TrainState(
            key, num_updates, states, None if fresh else tables, pool, store
        )

    def update(state: TrainState) -> tuple[TrainState, Metrics]:
        key, *keys = jax.random.split(state.key, 6)
        begin_key, play_key, update_key, opponent_key, replay_key = keys
        tables = deal(begin_key) if fresh else state.tables
        if forget:
            memory = table.initial_memory((num_games, env.num_agents))
            tables = tables._replace(memory=memory)
        params = tuple(learner.acting for learner in state.learners)
        pool, num_updates = state.pool, state.num_updates + 1
        everyone = params + others_params(opponent_key, pool, params[0])
        before, (tables, trajectory) = tables, play(play_key, everyone, tables)
        metrics = {"reward": _reward(trajectory, seats)}
        if measure is not None:
            metrics |= measure(before, trajectory)
        store = state.store
        if replay is not None:
            store, trajectory, is_old = replays.mix(
                replay_key, store, trajectory, replay.games
            )
            for i, own_seats in enumerate(seats):
                memory = trajectory.memory[i]
                trajectory = replays.revalue(
                    policies[i], params[i], trajectory, memory, own_seats, is_old
                )
        states = []
        for i, learner in enumerate(learners):
            own = trajectory._replace(memory=trajectory.memory[i])
            learner_key = jax.random.fold_in(update_key, i)
            learned, numbers = learner.update(learner_key, state.learners[i], own)
            states.append(learned)
            prefix = f"learner_{i}/" if len(learners) > 1 else ""
            metrics |= {prefix + name: number for name, number in numbers.items()}
        if opponents is not None:
            keeps = num_updates % opponents.every == 0
            # Known only when the opponents have been read from the ring: XLA would copy
            # it before a write that need not wait.
            keeps &= jnp.isfinite(optax.tree.norm(states[0].params))
            pool = pools.record(pool, params[0], keeps)
        tables = None if fresh else tables
        next_state = TrainState(key, num_updates, tuple(states), tables, pool, store)
        return next_state, metrics

    return Trainer(init, update)


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
