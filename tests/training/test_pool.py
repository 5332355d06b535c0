"""Past selves as opponents: who is kept, who is met, and that it costs no copies.

The learner here learns nothing but to count its updates: its one parameter, reported
as the log-probability of whatever it does, tells which self acted.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aajax import envs
from aajax.envs.matrix.players import memory_one, scripted_table
from aajax.learners import Learner, LearnerState
from aajax.policies import Policy, PolicyOutput
from aajax.training import NetworkConfig, Opponents, Replay, RunConfig, self_play, sweep
from aajax.training import pool as pools
from aajax.training.assemble import make_trainer, seat_groups
from aajax.training.run import hyperparameter_values
from aajax.training.self_play import train
from aajax.training.transforms import frozen, memory_reset, past_selves

DEFECT = 1


def counter():
    """A policy that defects, and a learner that counts."""

    def act(params, key, observation, memory):
        shape = observation.shape[:-1]
        action = jnp.full(shape, DEFECT, jnp.int32)
        return PolicyOutput(action, jnp.full(shape, params), jnp.zeros(shape), memory)

    def value(params, observation, memory):
        return jnp.zeros(observation.shape[:-1])

    def update(key, state, trajectory):
        who = trajectory.log_prob
        return state._replace(params=state.params + 1), {"who": who}

    policy = Policy(lambda key: jnp.zeros(()), lambda shape: (), act, value)
    return policy, Learner(lambda key: LearnerState(jnp.zeros(()), ()), update)


def test_a_ring_by_hand():
    """Three places; the second, third, fourth and fifth self are kept."""
    pool = pools.create({"x": jnp.full(2, 7.0)}, 3)
    np.testing.assert_array_equal(pool.members["x"], np.full((3, 2), 7.0))
    expected = {
        1: ([7, 7, 7], False),
        2: ([2, 7, 7], True),
        3: ([2, 3, 7], True),
        4: ([2, 3, 4], True),
        5: ([5, 3, 4], True),
        6: ([5, 3, 4], False),
    }
    for self, (members, keeps) in expected.items():
        params = {"x": jnp.full(2, float(self))}
        pool = pools.record(pool, params, jnp.array(keeps))
        np.testing.assert_array_equal(pool.members["x"][:, 0], members)
    assert pool.filled == 4


@pytest.mark.parametrize(
    ("filled", "there"),
    [(0, []), (1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (9, [0, 1, 2])],
)
def test_opponents_are_drawn_from_the_past_selves_there_are(filled, there):
    """A quarter of the groups meets the present self; all do while there is none."""
    members = {"x": jnp.arange(3.0), "y": jnp.arange(6.0).reshape(3, 2)}
    present = {"x": jnp.array(-1.0), "y": jnp.array([-2.0, -1.0])}
    pool = pools.Pool(members, jnp.array(filled))
    options = Opponents(capacity=3, groups=400, current=0.25)
    drawn = jax.jit(pools.draw, static_argnames="options")(
        jax.random.key(0), pool, present, options=options
    )
    who = np.asarray(drawn["x"], int)
    assert drawn["y"].shape == (400, 2)
    np.testing.assert_array_equal(drawn["y"], np.stack([2 * who, 2 * who + 1], 1))
    np.testing.assert_array_equal(who[:100], -1)
    if not there:
        np.testing.assert_array_equal(who, -1)
        return
    values, counts = np.unique(who[100:], return_counts=True)
    assert values.tolist() == there
    if len(there) > 1:
        assert stats.chisquare(counts).pvalue > 1e-3


OPTIONS = Opponents(capacity=4, every=3, groups=4, current=0.25)
NUM_UPDATES, NUM_GAMES, NUM_STEPS = 120, 8, 2


@functools.cache
def who_met():
    """Which self sat where, f[updates, T, B, N], in games of three."""
    env = envs.make("public_goods", num_steps=NUM_STEPS)
    policy, learner = counter()
    trainer = self_play(
        env,
        [policy],
        [learner],
        [[1]],
        num_games=NUM_GAMES,
        transforms=[past_selves(OPTIONS)],
    )
    run = jax.jit(functools.partial(train, trainer, num_updates=NUM_UPDATES))
    state, metrics = run(jax.random.key(0))
    assert state.learners[0].params == state.num_updates == NUM_UPDATES
    assert state.pool.filled == NUM_UPDATES // OPTIONS.every
    return np.asarray(metrics["who"], int)


def test_the_present_self_plays_its_seat_and_past_ones_the_rest():
    who = who_met()
    now = np.arange(NUM_UPDATES)[:, None, None]
    np.testing.assert_array_equal(who[..., 1], np.broadcast_to(now, who.shape[:3]))
    # One opponent throughout a game, and throughout a group of games.
    np.testing.assert_array_equal(who[..., 2], who[..., 0])
    np.testing.assert_array_equal(who[:, 0], who[:, 1])
    groups = who[:, 0, :, 0].reshape(NUM_UPDATES, OPTIONS.groups, -1)
    assert (groups == groups[..., :1]).all()
    assert len(np.unique(groups[50])) > 1


def test_opponents_are_the_latest_of_every_third_self():
    """Uniformly, and a quarter of the groups meets the present self."""
    opponents = who_met()[:, 0, ::2, 0]
    np.testing.assert_array_equal(opponents[:, 0], np.arange(NUM_UPDATES))
    age = np.zeros(OPTIONS.capacity)
    for now in range(NUM_UPDATES):
        # Selves 2, 5, 8, ... are kept, the latest four of them.
        kept = [*range(2, now, 3)][-4:] or [now]
        assert set(opponents[now, 1:]) <= set(kept)
        if len(kept) == OPTIONS.capacity:
            for opponent in opponents[now, 1:]:
                age[kept.index(opponent)] += 1
    assert age.sum() > 300
    assert stats.chisquare(age).pvalue > 1e-3


def test_against_a_frozen_policy_the_reward_is_the_learners():
    env = envs.make("ipd", num_steps=NUM_STEPS)
    policy, learner = counter()
    cooperator = scripted_table("always_cooperate", 2, 2)
    trainer = self_play(
        env,
        [policy],
        [learner],
        [[1]],
        num_games=NUM_GAMES,
        transforms=[frozen(memory_one(), cooperator)],
    )
    state, metrics = jax.jit(trainer.update)(trainer.init(jax.random.key(0)))
    np.testing.assert_array_equal(metrics["reward"], 0)  # not −3, nor the mean
    np.testing.assert_array_equal(metrics["who"][..., 1], 0)
    np.testing.assert_allclose(metrics["who"][..., 0], 0, atol=1e-6)
    assert state.pool is None


def test_only_the_first_seat_learns():
    env = envs.make("public_goods", num_steps=2)
    assert seat_groups(RunConfig(opponents=OPTIONS), env) == [[0]]
    assert seat_groups(RunConfig(), env) == [[0, 1, 2]]


def test_past_selves_take_the_last_seats():
    env = envs.make("harvest", num_steps=2)
    for past, learning in [(0, [0]), (2, [0, 1, 2, 3, 4]), (6, [0])]:
        options = dataclasses.replace(OPTIONS, seats=past)
        assert seat_groups(RunConfig(opponents=options), env) == [learning]


def test_games_that_go_on_meet_past_selves_if_memories_begin_anew():
    """Of memories that count steps, values tell how long they are."""

    def act(params, key, observation, memory):
        shape = observation.shape[:-1]
        action = jnp.full(shape, DEFECT, jnp.int32)
        return PolicyOutput(action, jnp.full(shape, params), memory, memory + 1)

    def update(key, state, trajectory):
        seen = {"value": trajectory.value, "last": trajectory.last}
        return state._replace(params=state.params + 1), seen

    policy = Policy(lambda key: jnp.zeros(()), jnp.zeros, act, lambda p, o, m: m)
    trainer = self_play(
        envs.make("public_goods", num_steps=7),
        [policy],
        [Learner(lambda key: LearnerState(jnp.zeros(()), ()), update)],
        [[0, 1]],
        num_games=NUM_GAMES,
        num_steps=4,
        transforms=[past_selves(OPTIONS), memory_reset()],
    )
    run = jax.jit(functools.partial(train, trainer, num_updates=4))
    _, metrics = run(jax.random.key(0))
    last = np.asarray(metrics["last"][:, :, 0])
    assert np.flatnonzero(last).tolist() == [6, 13]
    expected = [[0, 1, 2, 3], [0, 1, 2, 0], [0, 1, 2, 3], [0, 1, 0, 1]]
    for seat in range(3):
        np.testing.assert_array_equal(metrics["value"][:, :, 0, seat], expected)


@pytest.mark.parametrize(
    ("num_learners", "num_steps"), [(2, None), (1, 3)], ids=["two", "under way"]
)
def test_two_learners_and_games_that_go_on_are_refused(num_learners, num_steps):
    policy, learner = counter()
    with pytest.raises(ValueError, match="opponents is .* a single learner, and fresh"):
        self_play(
            envs.make("ipd", num_steps=2),
            [policy] * num_learners,
            [learner] * num_learners,
            [[i] for i in range(num_learners)],
            num_games=NUM_GAMES,
            num_steps=num_steps,
            transforms=[past_selves(OPTIONS)],
        )


@pytest.mark.parametrize(
    ("num_seeds", "num_groups"),
    [
        (1, 1),
        (2, 4),
        pytest.param(1, 4, marks=pytest.mark.slow),
        pytest.param(2, 1, marks=pytest.mark.slow),
    ],
)
def test_rings_are_written_in_place(num_seeds, num_groups):
    """Updates need little memory beside rings of opponents and of earlier games."""
    config = RunConfig(
        policy="mlp",
        hidden_size=4,
        network=NetworkConfig(encoder_layers=1),
        baseline="critic",
        opponents=Opponents(capacity=2**14, groups=num_groups),
        replay=Replay(games=4, capacity=2**14),
        num_games=8,
        num_steps=4,
        seeds=num_seeds,
    )
    make, hyperparameters = make_trainer(config), hyperparameter_values(config)
    state = jax.eval_shape(lambda: sweep.start(make, hyperparameters, config.seed_list))
    rings = jax.tree.leaves((state.pool.members, state.store.games))
    assert {x.shape[:3] for x in rings} == {(1, num_seeds, 2**14)}
    num_bytes = sum(x.size * x.dtype.itemsize for x in rings)
    compiled = sweep.advance(make, 3).lower(hyperparameters, state).compile()
    used = compiled.memory_analysis()
    assert used.alias_size_in_bytes > num_bytes  # they are the donated ones
    assert used.temp_size_in_bytes < num_bytes / 20


def test_only_one_transform_takes_the_seats_of_others():
    policy, learner = counter()
    cooperator = scripted_table("always_cooperate", 2, 2)
    with pytest.raises(ValueError, match="transforms has 2 that take the seats of oth"):
        self_play(
            envs.make("ipd", num_steps=2),
            [policy],
            [learner],
            [[0]],
            num_games=NUM_GAMES,
            transforms=[past_selves(OPTIONS), frozen(memory_one(), cooperator)],
        )
