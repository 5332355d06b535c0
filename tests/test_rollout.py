"""Play recorded as trajectories."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs, nets
from aajax.envs.matrix import seat_views
from aajax.envs.matrix.players import memory_one, memory_one_table, scripted_table
from aajax.envs.negotiation import players as negotiation
from aajax.ops.memory_one import memory_one_values
from aajax.policies import categorical_policy, seated
from aajax.rollout import begin, rollout

NUM_GAMES = 7
NUM_STEPS = 10
TABULAR = categorical_policy(nets.tabular(5, 2))
GRU = categorical_policy(nets.actor_critic(nets.gru(4), 5, 2))
# One different value for START, CC, CD, DC and DD.
VALUES = np.array([10.0, 20.0, 30.0, 40.0, 50.0], np.float32)
PARAMS = {"actor": jnp.zeros((5, 2)), "critic": jnp.asarray(VALUES)}


@functools.partial(jax.jit, static_argnames=("policy", "num_steps"))
def play(key, env, policy, params, tables, num_steps):
    return rollout(key, env, policy, params, tables, num_steps)


def start(env, policy, num_games=NUM_GAMES):
    return begin(jax.random.key(1), env, policy, num_games)


def states(action):
    """Own-first number of each seat's next observation, from actions [T, B, 2]."""
    return 1 + 2 * action + action[..., ::-1]


@functools.cache
def windows(ends):
    """Three and a bit episodes of three steps."""
    env = envs.AutoReset(envs.make("ipd", num_steps=3, ends=ends))
    tables = start(env, TABULAR)
    return jax.device_get(
        play(jax.random.key(2), env, TABULAR, PARAMS, tables, NUM_STEPS)
    )


def test_shapes_and_types():
    _, trajectory = windows(False)
    assert trajectory.observation.shape == (NUM_STEPS, NUM_GAMES, 2, 5)
    for name, shape, dtype in [
        ("action", (NUM_STEPS, NUM_GAMES, 2), "int32"),
        ("reward", (NUM_STEPS, NUM_GAMES, 2), "float32"),
        ("discount", (NUM_STEPS, NUM_GAMES), "float32"),
        ("last", (NUM_STEPS, NUM_GAMES), "bool"),
        ("log_prob", (NUM_STEPS, NUM_GAMES, 2), "float32"),
        ("value", (NUM_STEPS, NUM_GAMES, 2), "float32"),
        ("next_value", (NUM_STEPS, NUM_GAMES, 2), "float32"),
    ]:
        field = getattr(trajectory, name)
        assert (field.shape, field.dtype) == (shape, dtype), name
    assert trajectory.memory == ()


@pytest.mark.parametrize("ends", [False, True])
def test_every_field_is_of_its_step(ends):
    tables, trajectory = windows(ends)
    action = trajectory.action
    np.testing.assert_array_equal(
        trajectory.last.T, [np.arange(NUM_STEPS) % 3 == 2] * NUM_GAMES
    )
    np.testing.assert_array_equal(
        trajectory.discount, 1.0 - (trajectory.last if ends else 0)
    )
    payoff = np.array([-1, -3, 0, -2])
    np.testing.assert_array_equal(trajectory.reward, payoff[states(action) - 1])
    # Before each step: START of a new episode, or what the step before led to.
    before = np.concatenate([np.zeros((1, NUM_GAMES, 2), int), states(action)[:-1]])
    before[np.arange(NUM_STEPS) % 3 == 0] = 0
    np.testing.assert_array_equal(trajectory.observation, np.eye(5)[before])
    np.testing.assert_array_equal(trajectory.value, VALUES[before])
    np.testing.assert_allclose(trajectory.log_prob, np.log(0.5), rtol=1e-6)
    np.testing.assert_array_equal(
        tables.timestep.observation, np.eye(5)[states(action)[-1]]
    )


@pytest.mark.parametrize("ends", [False, True])
def test_the_next_value_is_of_where_the_action_led(ends):
    """At the last step of an episode, too, it is not that of START."""
    _, trajectory = windows(ends)
    np.testing.assert_array_equal(
        trajectory.next_value, VALUES[states(trajectory.action)]
    )


def test_without_reset_the_next_value_is_the_same():
    env = envs.make("ipd", num_steps=3)
    tables = start(env, TABULAR)
    _, trajectory = jax.device_get(
        play(jax.random.key(2), env, TABULAR, PARAMS, tables, 3)
    )
    np.testing.assert_array_equal(
        trajectory.last, [[False], [False], [True]] * np.ones((1, NUM_GAMES), bool)
    )
    np.testing.assert_array_equal(
        trajectory.next_value, VALUES[states(trajectory.action)]
    )


@functools.cache
def halves():
    """Two stretches of a recurrent policy, and parameters for which memory matters."""
    env = envs.AutoReset(envs.make("ipd", num_steps=4, continuation=0.8))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(GRU.init, jax.random.key(0))
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)
    tables = [start(env, GRU)]
    trajectories = []
    for key in (3, 4):
        after, trajectory = play(
            jax.random.key(key), env, GRU, params, tables[-1], NUM_STEPS // 2
        )
        tables.append(after)
        trajectories.append(trajectory)
    return env, params, tables, trajectories


def test_games_go_on_where_they_stopped():
    _, params, tables, (first, second) = halves()
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for before, after in zip(tables[:-1], tables[1:], strict=True):
        assert jax.tree.structure(before) == jax.tree.structure(after)
        for old, new in zip(*map(jax.tree.leaves, (before, after)), strict=True):
            assert (old.shape, old.dtype) == (new.shape, new.dtype)
    np.testing.assert_array_equal(second.observation[0], tables[1].timestep.observation)
    # The memory carries on: both stretches are read as one from the first memory.
    joined = jax.tree.map(lambda *x: jnp.concatenate(x), first, second)
    evaluation = jax.jit(GRU.evaluate)(
        params, joined.observation, joined.action, joined.last, first.memory
    )
    np.testing.assert_allclose(
        evaluation.log_prob, joined.log_prob, rtol=2e-5, atol=2e-5
    )
    np.testing.assert_allclose(evaluation.value, joined.value, rtol=2e-5, atol=2e-5)


def test_the_recorded_memory_is_that_before_the_first_step():
    _, _, tables, trajectories = halves()
    for before, trajectory in zip(tables, trajectories, strict=False):
        jax.tree.map(np.testing.assert_array_equal, trajectory.memory, before.memory)
    assert not any(np.any(x) for x in jax.tree.leaves(trajectories[0].memory))
    carried = trajectories[1].memory["actor"]
    stopped = np.asarray(trajectories[0].last[-1])
    assert stopped.any() and not stopped.all()
    assert np.all(carried[stopped] == 0)
    assert np.all(np.any(carried[~stopped] != 0, axis=-1))


def test_nothing_but_the_key_decides():
    env, params, tables, trajectories = halves()

    def again(key):
        key = jax.random.key(key)
        return play(key, env, GRU, params, tables[0], NUM_STEPS // 2)[1]

    jax.tree.map(np.testing.assert_array_equal, again(3), trajectories[0])
    assert np.any(again(5).action != trajectories[0].action)


def test_seats_have_their_own_policies_and_memories():
    env = envs.make("ipd", num_steps=4)
    policy = seated([GRU, memory_one()], [[1], [0]])
    params = (halves()[1], scripted_table("always_defect", 2, 2))
    _, trajectory = play(jax.random.key(0), env, policy, params, start(env, policy), 4)
    np.testing.assert_array_equal(trajectory.action[..., 0], 1)
    np.testing.assert_array_equal(trajectory.value[..., 0], 0)
    assert np.std(trajectory.log_prob[..., 1]) > 0
    recurrent, scripted = trajectory.memory
    assert scripted == ()
    assert recurrent["actor"].shape == (NUM_GAMES, 1, 4)


@pytest.mark.parametrize(("game", "num_agents"), [("ipd", 2), ("public_goods", 3)])
def test_long_games_are_worth_the_exact_values(game, num_agents):
    """Discounted returns of mixed policies, a different one in each seat."""
    gamma, num_steps, num_games = 0.7, 36, 2000
    # What comes after 36 steps is worth less than 10^-4, below the sampling error.
    env = envs.make(game, num_steps=num_steps)
    rng = np.random.default_rng(num_agents)
    chances = rng.uniform(0.05, 0.95, (num_agents, 1 + 2**num_agents))
    tables = tuple(memory_one_table(p) for p in chances)
    policy = seated([memory_one()] * num_agents, [[i] for i in range(num_agents)])
    _, trajectory = play(
        jax.random.key(0),
        env,
        policy,
        tables,
        start(env, policy, num_games),
        num_steps,
    )
    discounts = gamma ** np.arange(num_steps)
    returns = np.einsum("t,tbn->bn", discounts, np.asarray(trajectory.reward))
    # Exact values number the states as the environment does, each table from its own
    # seat.
    views = seat_views(env.action_counts)
    world = jnp.stack([table[view] for table, view in zip(tables, views, strict=True)])
    exact = memory_one_values(env.payoff, world, gamma)[0]
    error = returns.std(0) / np.sqrt(num_games)
    assert (error < 0.1).all()
    assert (np.abs(returns.mean(0) - exact) < 4 * error).all()


COPIES, NUM_WORLDS, NUM_TURNS = 3, 4, 5


@functools.cache
def shared_chance(copies):
    """Games of negotiation, whose stakes are drawn anew in every turn."""
    env = envs.make("negotiation", utilities="uniform", num_steps=NUM_TURNS)
    policy = seated([negotiation.scripted(env)], [[0, 1]])
    params = (negotiation.scripted_params("random", env),)
    num_games = COPIES * NUM_WORLDS
    tables = begin(jax.random.key(0), env, policy, num_games, copies)
    run = jax.jit(rollout, static_argnames=("policy", "num_steps", "group_size"))
    trajectory = run(
        jax.random.key(1),
        env,
        policy,
        params,
        tables,
        num_steps=NUM_TURNS,
        group_size=copies,
    )[1]
    layout = env.layout()
    observation = np.asarray(trajectory.observation)
    seen = [observation[..., layout[name]] for name in ("pool", "own_utility")]
    return np.concatenate(seen, -1), np.asarray(trajectory.action)


def test_copies_share_the_environments_chance_and_nobody_elses():
    """At the start and after every step; consecutive games are copies."""
    stakes, action = shared_chance(COPIES)
    groups = stakes.reshape(NUM_TURNS, NUM_WORLDS, COPIES, -1)
    np.testing.assert_array_equal(
        groups, np.broadcast_to(groups[:, :, :1], groups.shape)
    )
    for step in groups[:, :, 0]:
        assert len(np.unique(step, axis=0)) == NUM_WORLDS
    assert len(np.unique(groups[:, 0, 0], axis=0)) == NUM_TURNS
    # Policies draw for every game and seat on their own.
    drawn = action.reshape(NUM_TURNS, -1)
    for step in drawn:
        assert len(np.unique(step)) > 0.9 * len(step)


def test_without_copies_every_game_has_its_own_chance():
    stakes, _ = shared_chance(1)
    for step in stakes.reshape(NUM_TURNS, COPIES * NUM_WORLDS, -1):
        assert len(np.unique(step, axis=0)) == COPIES * NUM_WORLDS
