"""Commons Harvest as an environment: maps, resets, endings, hyper-parameters, and
random play."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs.harvest import commons_harvest
from aajax.envs.harvest.board import board
from aajax.envs.harvest.layout import MAPS, parse

GAMES = 256
TINY = "#####\n#oi.#\n#.os#\n#.is#\n#####\n"


@jax.jit
def reset(env, keys):
    return jax.vmap(env.reset)(keys)


@jax.jit
def random_play(env, keys, probabilities):
    """Random play for as many steps as there are keys in a row; fields [T, B, ...]."""

    def body(state, keys):
        act_keys, step_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        shape = (env.num_agents,)
        action = jax.vmap(
            lambda key: jax.random.categorical(key, jnp.log(probabilities), shape=shape)
        )(act_keys)
        state, timestep = jax.vmap(env.step)(step_keys, state, action.astype(jnp.int32))
        return state, (state, timestep.reward)

    start = jax.vmap(env.reset)(keys[:, 0])[0]
    return jax.lax.scan(body, start, keys[:, 1:].T)[1]


def test_the_open_map():
    layout = parse(MAPS["open"])
    assert (layout.height, layout.width) == (18, 24)
    assert [layout.site.size, layout.inside.size, layout.outside.size] == [64, 2, 60]
    centres = [(2, 7), (2, 14), (7, 2), (7, 19)]
    diamonds = {
        (row + down, column + across)
        for row, column in centres
        for down in range(-2, 3)
        for across in range(-2, 3)
        if abs(down) + abs(across) <= 2
    }
    left = {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)}
    corners = left | {(row, 21 - column) for row, column in left}
    sites = {(cell // 24 - 1, cell % 24 - 1) for cell in layout.site}
    assert sites == diamonds | corners
    inside = [divmod(cell, 24) for cell in layout.inside]
    assert inside == [(7, 7), (7, 16)]
    assert np.bincount(layout.outside // 24)[15:].tolist() == [20, 22]


@pytest.mark.parametrize("name", MAPS)
def test_patches_are_apart(name):
    """As many patches as are drawn, and no apple without another near it."""
    near = parse(MAPS[name]).neighbours
    assert (near == near.T).all()
    assert (near.sum(1) > 0).all()
    reach = np.linalg.matrix_power(near + np.eye(len(near)), len(near)) > 0
    assert len(np.unique(reach, axis=0)) == {"open": 6, "small": 3, "tiny": 1}[name]


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("###\n##\n", "rows of one length"),
        ("\n", "rows of one length"),
        ("####\n#ox#\n####\n", "map is drawn with 'x'"),
        ("####\n#os.\n####\n", "map is open at its edge"),
        ("####\n#s.#\n####\n", "map has no 'o': an apple site"),
        ("####\n#o.#\n####\n", "map has no 's': an outside spawn point"),
    ],
)
def test_maps_that_are_none(picture, message):
    with pytest.raises(ValueError, match=message) as error:
        commons_harvest(picture, 2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"map": "closed"}, "map is 'closed': one of open, small"),
        ({"map": TINY}, "num_agents is None"),
        ({"map": TINY, "num_agents": 5}, "num_agents is 5: no more than the map's 2"),
        ({"num_agents": 1}, "num_agents is 1"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"probabilities": (0, 1)}, r"probabilities is \[0, 1\]: 4 numbers from 0"),
        ({"probabilities": (0, 0, 0, 2)}, "probabilities is .*to 1 are needed"),
        ({"apple_reward": float("nan")}, "apple_reward is nan: a finite number"),
        ({"cooldown": -1}, "cooldown is -1: a whole number from 0"),
        ({"cooldown": 1.5}, "cooldown is 1.5: a whole number"),
        ({"time_out": 0}, "time_out is 0: a whole number from 1"),
        ({"end_probability": 1.1}, "end_probability is 1.1"),
        ({"view": (9, 1, 5)}, r"view is \(9, 1, 5\)"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        envs.make("harvest", **options)


@pytest.fixture(scope="module")
def small():
    return commons_harvest("small")


def test_where_agents_begin(small):
    state, timestep = jax.device_get(
        reset(small, jax.random.split(jax.random.key(0), GAMES))
    )
    layout = small.layout
    (inside,) = layout.inside
    assert (state.position[:, 0] == inside).all()
    others = np.sort(state.position[:, 1:], axis=1)
    assert (np.diff(others) > 0).all()
    places, counts = np.unique(others, return_counts=True)
    np.testing.assert_array_equal(places, layout.outside)
    share = counts / counts.sum()
    error = np.sqrt(share.mean() / counts.sum())
    assert np.abs(share - share.mean()).max() < 4 * error
    headings = np.bincount(state.heading.flat) / state.heading.size
    assert np.abs(headings - 1 / 4).max() < 4 * np.sqrt(3 / 16 / state.heading.size)
    assert state.apple.all()
    planes = small.unflatten(timestep.observation)
    assert (planes[:, :, -1] == 1).all()
    assert (planes[:, :, 4, 9, 5] == 1).all() and planes[:, :, 4].sum() == 4 * GAMES


def test_both_inside_points_are_anyones():
    env = commons_harvest(TINY, 3)
    keys = jax.random.split(jax.random.key(0), GAMES)
    position = np.asarray(reset(env, keys)[0].position)
    first = np.isin(position[:, :2], env.layout.inside)
    assert first.all() and (position[:, 0] != position[:, 1]).all()
    share = (position[:, 0] == env.layout.inside[0]).mean()
    assert abs(share - 1 / 2) < 2 / np.sqrt(GAMES)
    assert np.isin(position[:, 2], env.layout.outside).all()


def test_invariants_of_random_play(small):
    keys = jax.random.split(jax.random.key(1), (16, 201))
    chances = jnp.array([1, 6, 1, 1, 1, 2, 2, 4]) / 18
    state, reward = jax.device_get(random_play(small, keys, chances))
    layout = small.layout
    out = state.position == -1
    np.testing.assert_array_equal(out, state.out > 0)
    assert 0 < out.mean() < 1
    assert not layout.wall[state.position[~out]].any()
    for one, other in zip(*np.triu_indices(small.num_agents, 1), strict=True):
        same = state.position[..., one] == state.position[..., other]
        assert not (same & ~out[..., one]).any()
    # Nobody stands on an apple, and an apple has no label.
    there = state.position[..., None] == layout.site
    assert not (there & state.apple[..., None, :]).any()
    assert (state.label[state.apple] == -1).all()
    assert ((state.cooldown >= 0) & (state.cooldown <= 2)).all()
    assert ((state.out >= 0) & (state.out <= 5)).all()
    assert set(np.unique(reward)) == {0, 1}
    # What was eaten is what there was, less what there is, and what grew back.
    grown = (state.apple[1:] & ~state.apple[:-1]).sum((0, 2))
    begun = layout.site.size - reward[0].sum(-1)
    eaten = reward[1:].sum((0, 2))
    left = state.apple[-1].sum(-1)
    assert (begun + grown - eaten <= left).all()
    assert (state.apple.sum(-1) >= 0).all()


def test_the_end_comes_by_chance():
    """With 0.15 after 1099, 1199, ... steps; a game still on is cut off after 5000."""
    env = commons_harvest(TINY, 2, end_probability=0.15)
    assert env.episode_length is None and env.num_steps == 5000
    state = reset(env, jax.random.split(jax.random.key(0), 1))[0]
    state = jax.tree.map(lambda x: x[0], state)

    @jax.jit
    @jax.vmap
    def step(key, time):
        return env.step(key, state._replace(time=time), jnp.zeros(2, jnp.int32))[1]

    # Each time once, and 160 times each at which it may end.
    due = np.arange(1098, 4999, 100)
    times = np.concatenate([np.arange(5000), np.repeat(due, 160)]).astype(np.int32)
    keys = jax.random.split(jax.random.key(1), times.size)
    timestep = jax.device_get(step(keys, jnp.asarray(times)))
    over = timestep.discount == 0
    np.testing.assert_array_equal(timestep.last, over | (times == 4999))
    assert set(times[over]) == set(due)
    share = over[5000:].reshape(due.size, -1)
    assert abs(share.mean() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / share.size)
    error = np.sqrt(0.15 * 0.85 / share.shape[1])
    assert np.abs(share.mean(1) - 0.15).max() < 4 * error


def test_hyperparameters_can_be_mapped():
    """Environments that differ in numbers alone are played at once."""
    rewards = jnp.array([1.0, 2.0])
    waits = jnp.array([2, 7], jnp.int32)

    @jax.jit
    @jax.vmap
    def zap_and_eat(reward, wait):
        env = commons_harvest(
            TINY, 2, apple_reward=reward, time_out=wait, cooldown=wait
        )
        state, _ = env.reset(jax.random.key(0))
        # At (2, 1), facing the apple at (2, 2); the other beyond it.
        state = state._replace(
            position=jnp.array([11, 13], jnp.int32), heading=jnp.ones(2, jnp.int32)
        )
        key = jax.random.key(1)
        state, eats = env.step(key, state, jnp.array([1, 0], jnp.int32))
        state, _ = env.step(key, state, jnp.array([7, 0], jnp.int32))
        return eats.reward, state.out, state.cooldown

    reward, out, cooldown = zap_and_eat(rewards, waits)
    np.testing.assert_array_equal(reward, [[1, 0], [2, 0]])
    np.testing.assert_array_equal(out, [[0, 2], [0, 7]])
    np.testing.assert_array_equal(cooldown, [[2, 0], [7, 0]])


def test_boards():
    env = commons_harvest(TINY, 2)
    state = jax.jit(env.reset)(jax.random.key(0))[0]
    state = state._replace(
        position=jnp.array([11, -1], jnp.int32),
        heading=jnp.array([1, 0], jnp.int32),
        apple=jnp.array([True, False]),
        grass=jnp.array([True, False]),
        beam=state.beam.at[0, 0].set(13),
    )
    assert board(env, state).split("\n") == [
        "# # # # #",
        "# o . . #",
        "# A>_ * #",
        "# . . . #",
        "# # # # #",
    ]
    crowd = commons_harvest(num_agents=27)
    with pytest.raises(ValueError, match="num_agents is 27: at most 26"):
        board(crowd, state)


# Means and standard deviations on Melting Pot's engine, of so many games: apples eaten
# by all after 100 steps and after 1000, and apples left then.
MEASURED = {
    "anything": (
        [1 / 8] * 8,
        48,
        [(12.9, 7.8), (143.0, 32.6), (49.5, 8.1)],
    ),
    "anything but zaps": (
        [1 / 7] * 7 + [0],
        48,
        [(16.7, 8.0), (184.6, 33.0), (28.6, 9.1)],
    ),
    "walks and turns": (
        [0, 0.6, 0, 0, 0, 0.2, 0.2, 0],
        176,
        [(30.4, 9.0), (251.6, 34.4), (23.4, 9.0)],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_random_play_eats_what_it_does_on_the_engine(name):
    probabilities, games, measured = MEASURED[name]
    keys = jax.random.split(jax.random.key(7), (128, 1001))
    env = commons_harvest()
    state, reward = random_play(env, keys, jnp.array(probabilities, jnp.float32))
    eaten = np.asarray(reward).sum(-1).cumsum(0)
    left = np.asarray(state.apple[-1]).sum(-1)
    for x, (mean, deviation) in zip(
        (eaten[99], eaten[999], left), measured, strict=True
    ):
        error = np.sqrt(deviation**2 / games + x.var() / x.size)
        assert abs(x.mean() - mean) < 2 * error
