"""Training against co-players that learn, over meta-games of several episodes.

In each meta-game a naive learner begins anew. It and the shaper play B games, and after
each of M episodes the naive learner updates from its games. The shaper's memory goes on
over all episodes, so that it can see how the other learns, and it learns once, from all
steps of K meta-games.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs.base import Environment
from aajax.errors import InputError
from aajax.learners.base import Learner, LearnerState, Metrics
from aajax.ops import shaping as rules
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import begin, rollout
from aajax.schema import Count, check
from aajax.training.self_play import Trainer, TrainState
from aajax.types import Array, PRNGKey, PyTree, Trajectory

RULES: dict[str, rules.Rule] = {
    "coala": rules.coala,
    "mfos": rules.mfos,
    "batch_unaware": rules.batch_unaware,
}


@dataclasses.dataclass(frozen=True)
class MetaGames:
    """Meta-games against naive learners."""

    games: Count = 16  # coala: meta-games in a batch, a naive learner in each
    episodes: Count = 20  # coala: episodes of a meta-game
    # coala: what an action is credited for beside its own episode
    rule: Literal["coala", "mfos", "batch_unaware"] = "coala"

    __post_init__ = check


class MetaPlay(NamedTuple):
    """One meta-game.

    Attributes:
      trajectory: of the shaper's seat, [M, T, B, 1, ...], without memory; each episode
        ends with `last`.
      reward: f32[M, 2], of both players, per step, by episode.
    """

    trajectory: Trajectory
    reward: Array


def meta_game(
    env: Environment,
    shaper: Policy,
    naive: Policy,
    learner: Learner,
    *,
    num_games: int,
    num_episodes: int,
) -> Callable[[PRNGKey, PyTree], MetaPlay]:
    """A function `(key, shaper's params) -> MetaPlay`.

    Args:
      env: of two seats, whose episodes are all of one length.
      shaper: plays seat 0, and remembers over episodes.
      naive: plays seat 1, and forgets after each.
      learner: of the naive policy, which learns from seat 1.
      num_games: B.
      num_episodes: M.

    Raises:
      InputError: for another number of seats, or episodes that vary in length.
    """
    if env.num_agents != 2:
        raise InputError(f"env has {env.num_agents} seats: 2 are needed")
    length = env.episode_length
    if length is None:
        raise InputError("env has episodes that vary in length: equal ones are needed")
    table = seated([shaper, naive], [[0], [1]])

    def play(key: PRNGKey, params: PyTree) -> MetaPlay:
        init_key, *keys = jax.random.split(key, 1 + num_episodes)

        def episode(carry: tuple[LearnerState, PyTree], key: PRNGKey):
            state, memory = carry
            begin_key, play_key, learn_key = jax.random.split(key, 3)
            tables = begin(begin_key, env, table, num_games)
            tables = tables._replace(memory=(memory, tables.memory[1]))
            end, played = rollout(
                play_key, env, table, (params, state.acting), tables, length
            )
            own = played._replace(memory=played.memory[1])
            learned, _ = learner.update(learn_key, state, own)
            return (learned, end.memory[0]), (
                _of_seat(played, 0),
                jnp.mean(played.reward, axis=(0, 1)),
            )

        start = learner.init(init_key), shaper.initial_memory((num_games, 1))
        return MetaPlay(*jax.lax.scan(episode, start, jnp.stack(keys))[1])

    return play


def shaping(
    env: Environment,
    policies: tuple[Policy, Policy],
    learners: tuple[Learner, Learner],
    *,
    num_meta_games: int,
    num_games: int,
    num_episodes: int,
) -> Trainer:
    """A shaper that learns against naive learners, once per batch of meta-games.

    Metrics: `reward` and `naive/reward` per step, over all episodes, and
    `reward_at_last` and `naive/reward_at_last` of the last episodes.

    Args:
      env: of two seats, whose episodes are all of one length.
      policies: the shaper's and the naive learner's.
      learners: likewise; the shaper's gets its own seat alone, all episodes as one, of
        games [K · B].
      num_meta_games: K.
      num_games: B, in each meta-game.
      num_episodes: M.

    Raises:
      InputError: as `meta_game`.
    """
    shaper, naive = policies
    play = meta_game(
        env,
        shaper,
        naive,
        learners[1],
        num_games=num_games,
        num_episodes=num_episodes,
    )

    def init(key: PRNGKey) -> TrainState:
        key, learner_key = jax.random.split(key)
        state = learners[0].init(learner_key)
        return TrainState(key, jnp.zeros((), jnp.int32), (state,), tables=None)

    def update(state: TrainState) -> tuple[TrainState, Metrics]:
        key, play_key, learn_key = jax.random.split(state.key, 3)
        keys = jax.random.split(play_key, num_meta_games)
        played = jax.vmap(play, (0, None))(keys, state.acting[0])
        memory = shaper.initial_memory((num_meta_games * num_games, 1))
        trajectory = whole_meta_games(played.trajectory)._replace(memory=memory)
        learned, numbers = learners[0].update(learn_key, state.learners[0], trajectory)
        mean, last = played.reward.mean((0, 1)), played.reward[:, -1].mean(0)
        metrics = {
            "reward": mean[0],
            "naive/reward": mean[1],
            "reward_at_last": last[0],
            "naive/reward_at_last": last[1],
        }
        after = TrainState(key, state.num_updates + 1, (learned,), tables=None)
        return after, metrics | numbers

    return Trainer(init, update)


def whole_meta_games(trajectory: Trajectory) -> Trajectory:
    """[K, M, T, B, ...] as [M·T, K·B, ...], that ends after the last episode alone.

    The value of what an episode's last action leads to is that of the next one's start;
    after the last episode it is 0.
    """

    def flat(x: Array) -> Array:
        x = jnp.moveaxis(x, 0, 2)  # [M, T, K, B, ...]
        return x.reshape(x.shape[0] * x.shape[1], -1, *x.shape[4:])

    steps = jax.tree.map(flat, trajectory)
    last = jnp.zeros_like(steps.last).at[-1].set(True)
    following = jnp.concatenate([steps.value[1:], jnp.zeros_like(steps.value[:1])])
    return steps._replace(
        last=last, discount=1.0 - last.astype(jnp.float32), next_value=following
    )


def _of_seat(trajectory: Trajectory, seat: int) -> Trajectory:
    """What one seat sees, does and earns, without memory and action values."""
    shared = {"discount": trajectory.discount, "last": trajectory.last}
    own = {
        name: x[:, :, seat : seat + 1]
        for name, x in trajectory._asdict().items()
        if name not in (*shared, "memory", "action_value")
    }
    return Trajectory(**own, **shared, memory=(), action_value=None)
