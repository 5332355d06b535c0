"""The Coin Game, played by hand on drawn boards and against a slow game."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import coin as reference

from aajax import envs
from aajax.envs import coin
from aajax.envs.coin import CoinState
from aajax.envs.coin.board import board
from aajax.envs.coin.env import random_numbers

ACTIONS = {"<": 0, ">": 1, "^": 2, "v": 3, "o": 4}
GAMES = [
    {},
    {"height": 2, "width": 5},
    {"height": 3, "width": 4, "num_agents": 3},
    {"height": 1, "width": 6, "num_agents": 5},
    {"coins": "each"},
    {"height": 2, "width": 5, "num_agents": 3, "coins": "each"},
]


def label(options):
    return "-".join(str(value) for value in options.values()) or "default"


def drawn(picture):
    """The state of a board drawn with agents A, B, ... and their coins a, b, ..."""
    position, *others = reference.drawn(picture)
    numbers = position, *others, 0, [0] * len(position)
    return CoinState(*(jnp.array(x, jnp.int32) for x in numbers))


@jax.jit
def step(env, key, state, action):
    return env.step(key, state, action)


@jax.jit
def step_all(env, keys, states, actions):
    return jax.vmap(env.step)(keys, states, actions)


@jax.jit
def reset_all(env, keys):
    return jax.vmap(env.reset)(keys)


def outcomes(env, picture, moves, draws=4000):
    """What may come of a move, states [draws, ...]."""
    action = jnp.array([ACTIONS[move] for move in moves], jnp.int32)
    states, actions = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (draws, *x.shape)), (drawn(picture), action)
    )
    keys = jax.random.split(jax.random.key(0), draws)
    return jax.device_get(step_all(env, keys, states, actions)[0])


def moved(env, picture, moves, key=0):
    action = jnp.array([ACTIONS[move] for move in moves], jnp.int32)
    return step(env, jax.random.key(key), drawn(picture), action)


def assert_board(env, state, picture):
    assert board(env, state).split() == picture.split()


@pytest.mark.parametrize(
    ("before", "moves", "after"),
    [
        ("A . .   . b .   . . B", "><", ". A .   . b .   . B ."),
        ("A . .   . b .   . . B", "vv", ". . B   A b .   . . ."),
        # Off the edges and in again on the other side.
        ("A . .   . b .   . . B", "<>", ". . A   . b .   B . ."),
        ("A . .   . b .   . . B", "^^", ". . .   . b B   A . ."),
        ("A . B   . b .   . . .", ">v", ". A .   . b B   . . ."),
        # Through each other, onto the same cell, and apart again.
        ("A B .   . . .   a . .", "><", "B A .   . . .   a . ."),
        ("A . .   . a .   B . .", "vv", "B . .   A a .   . . ."),
        ("A . B   . . .   . a .", "><", ". AB .   . . .   . a ."),
        (". AB .   . . .   . a .", "<>", "A . B   . . .   . a ."),
    ],
)
def test_moves(before, moves, after):
    env = coin.coin_game()
    state, timestep = moved(env, before, moves)
    assert_board(env, state, after)
    np.testing.assert_array_equal(timestep.reward, [0, 0])
    assert state.time == 1


def test_moves_on_a_board_that_is_not_square():
    env = coin.coin_game(height=2, width=4)
    state, _ = moved(env, "A . . .   . . b B", "<v")
    assert_board(env, state, ". . . AB   . . b .")
    state, _ = moved(env, "A . . .   . . b B", "^>")
    assert_board(env, state, ". . . .   AB . b .")


def test_on_a_single_row_up_and_down_lead_nowhere():
    env = coin.coin_game(height=1, width=4)
    state, _ = moved(env, "A . b B", "^v")
    assert_board(env, state, "A . b B")


@pytest.mark.parametrize(
    ("before", "moves", "reward", "agents", "owner"),
    [
        # Its own coin: a sweet for seat 0, and the next coin is seat 1's.
        ("A a .   . . .   . . B", ">^", (1, 0), ". A .   . . B   . . .", 1),
        ("B b .   . . .   . . A", "^>", (0, 1), ". B .   . . A   . . .", 0),
        # The other's coin: the owner pays.
        ("A b .   . . .   . . B", ">^", (1, -2), ". A .   . . B   . . .", 0),
        (". . .   . . A   B a .", "<>", (-2, 1), ". . .   . A .   . B .", 1),
        # Both: one of them pays for the other's taking, but gets its own.
        ("A a B   . . .   . . .", "><", (-1, 1), ". AB .   . . .   . . .", 1),
        ("A b B   . . .   . . .", "><", (1, -1), ". AB .   . . .   . . .", 0),
        # Around the torus.
        ("A . b   . . .   . B .", "<>", (1, -2), ". . A   . . .   . . B", 0),
        (". . B   . . .   A . b", "v^", (0, 1), "A . .   . . .   . . B", 0),
    ],
)
def test_taking(before, moves, reward, agents, owner):
    env = coin.coin_game()
    cells = agents.split()
    for key in range(8):
        state, timestep = moved(env, before, moves, key)
        np.testing.assert_array_equal(timestep.reward, reward)
        assert state.owner.tolist() == [owner]
        (place,) = state.coin.tolist()
        assert cells[place] == "."
        letter = "ab"[owner]
        expected = [letter if c == place else x for c, x in enumerate(cells)]
        assert_board(env, state, " ".join(expected))


def test_a_coin_that_is_left_does_not_stay_with_who_stood_beside_it():
    env = coin.coin_game()
    # Seat 0 was where the coin was drawn and leaves: only the new position counts.
    state, timestep = moved(env, "Ab . .   . . .   . . B", ">^")
    assert_board(env, state, "b A .   . . B   . . .")
    np.testing.assert_array_equal(timestep.reward, [0, 0])


@pytest.mark.parametrize(
    ("before", "moves", "reward", "owner"),
    [
        ("A b B .   . . C .", ">^^", (1, -2, 0), 2),
        ("A b B .   . C . .", ">^^", (1, -2, 1), 2),  # two take it; she pays once
        ("A b B .   . C . .", "><^", (1, -1, 1), 2),
        ("A c B .   . C . .", "><^", (1, 1, -1), 0),
        (". a B .   A C . .", "v<>", (-2, 1, 0), 1),
        (". c . A   B C . .", "vv^", (0, 0, 1), 0),
    ],
)
def test_three_agents(before, moves, reward, owner):
    env = coin.coin_game(height=2, width=4, num_agents=3)
    state, timestep = moved(env, before, moves)
    np.testing.assert_array_equal(timestep.reward, reward)
    assert state.owner.tolist() == [owner]
    assert state.coin[0] not in state.position


@pytest.mark.parametrize(
    ("before", "moves", "reward", "taken"),
    [
        ("A a .   . b .   . . B", "><", (1, 0), "a"),
        ("A b .   . a .   . . B", ">v", (1, -2), "b"),
        ("A a .   . . .   . b B", "><", (1, 1), "ab"),
        ("A b .   . . .   . a B", "><", (-1, -1), "ab"),
        ("A a B   . . .   . b .", "><", (-1, 1), "a"),
        # Two coins on one cell are two coins.
        ("A ab .   . . .   . . B", ">o", (2, -2), "ab"),
        ("A ab B   . . .   . . .", "><", (0, 0), "ab"),
        # A coin under one's feet is taken by staying, and left by leaving.
        ("Aa . .   . . .   . b B", "oo", (1, 0), "a"),
        ("Aa . .   . . .   . b B", ">o", (0, 0), ""),
    ],
)
def test_a_coin_of_each(before, moves, reward, taken):
    env = coin.coin_game(coins="each")
    _, timestep = moved(env, before, moves)
    np.testing.assert_array_equal(timestep.reward, reward)
    after = outcomes(env, before, moves)
    assert (after.owner == [[0, 1]]).all()
    for owner, letter in enumerate("ab"):
        if letter in taken:
            # Anywhere, even where the agents are.
            assert_uniform(np.bincount(after.coin[:, owner], minlength=9))
        else:
            assert (after.coin[:, owner] == drawn(before).coin[owner]).all()


def test_two_coins_come_back_independently():
    env = coin.coin_game(coins="each")
    after = outcomes(env, "A a .   . . .   . b B", "><")
    pairs = np.bincount(after.coin[:, 0] * 9 + after.coin[:, 1], minlength=81)
    assert_uniform(pairs)


def test_other_prices_and_prices_that_are_leaves():
    env = coin.coin_game(gain=3.0, loss=-0.5)
    _, timestep = moved(env, "A b B   . . .   . . .", "><")
    np.testing.assert_array_equal(timestep.reward, [3, 2.5])
    losses = jnp.array([0.0, -1.0, -4.0])
    games = jax.vmap(lambda loss: coin.coin_game(loss=loss))(losses)
    state = drawn("A b .   . . .   . . B")
    action = jnp.array([1, 0], jnp.int32)
    reward = jax.jit(jax.vmap(lambda env: step(env, jax.random.key(0), state, action)))(
        games
    )[1].reward
    np.testing.assert_array_equal(reward, [(1, 0), (1, -1), (1, -4)])


def test_it_is_cut_off_and_never_ends():
    env = coin.coin_game(num_steps=3)
    state, first = env.reset(jax.random.key(0))
    assert not first.last
    assert env.episode_length == 3
    for last in [False, False, True]:
        state, timestep = step(env, jax.random.key(1), state, jnp.zeros(2, jnp.int32))
        assert timestep.last == last
        assert timestep.discount == 1


def test_observations_by_hand():
    env = coin.coin_game(height=2, width=3)
    state, timestep = moved(env, "A . .   b . B", "><")
    assert_board(env, state, ". A .   b B .")
    a, b, coin_of_b = [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0]
    none = [0] * 6
    # The four planes of seat 0 are, to seat 1, in the order 1, 0, 3, 2.
    expected = [a + b + none + coin_of_b, b + a + coin_of_b + none]
    np.testing.assert_array_equal(timestep.observation, expected)


@jax.jit
def play(env, reset_keys, keys, action):
    def body(state, x):
        after = jax.vmap(env.step)(x[0], state, x[1])
        return after[0], after

    start = jax.vmap(env.reset)(reset_keys)
    played = jax.lax.scan(body, start[0], (keys, action))[1]
    return jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), start, played)


def random_play(env, num_games=8, num_steps=60):
    """States [1 + T, B], time steps [1 + T, B] and actions [T, B, N]."""
    shape = num_steps, num_games
    begin_key, key, action_key = jax.random.split(jax.random.key(0), 3)
    action = env.action_spaces[0].sample(action_key, (*shape, env.num_agents))
    begin_keys = jax.random.split(begin_key, num_games)
    played = play(env, begin_keys, jax.random.split(key, shape), action)
    return jax.device_get((*played, action))


@pytest.mark.parametrize("options", GAMES, ids=label)
def test_long_random_play_is_the_slow_game(options):
    env = coin.coin_game(**options)
    states, timesteps, actions = random_play(env)
    size = env.height, env.width
    pairs = [np.array(np.unravel_index(x, size)) for x in states[:2]]
    num_taken = 0
    for game in range(8):
        position, where = ([tuple(x) for x in pair[:, 0, game].T] for pair in pairs)
        owner = states.owner[0, game].tolist()
        if env.coins == "one":
            assert where[0] in reference.free_cells(position, *size)
        else:
            assert owner == list(range(env.num_agents))
        for t in range(60):
            position = [
                reference.move(cell, action, *size)
                for cell, action in zip(position, actions[t, game], strict=True)
            ]
            reward, taken = reference.take(position, where, owner)
            # Chance says where a coin comes back; the rules say where it may.
            where = [
                tuple(pairs[1][:, 1 + t, game, k]) if gone else cell
                for k, (cell, gone) in enumerate(zip(where, taken, strict=True))
            ]
            if env.coins == "one" and taken[0]:
                assert where[0] in reference.free_cells(position, *size)
                owner = [(owner[0] + 1) % env.num_agents]
            num_taken += sum(taken)
            seen = timesteps.observation[1 + t, game]
            np.testing.assert_array_equal(pairs[0][:, 1 + t, game].T, position)
            np.testing.assert_array_equal(pairs[1][:, 1 + t, game].T, where)
            np.testing.assert_array_equal(states.owner[1 + t, game], owner)
            np.testing.assert_array_equal(timesteps.reward[1 + t, game], reward)
            np.testing.assert_array_equal(
                seen, reference.observe(position, where, owner, *size)
            )
    assert num_taken > 50


@pytest.mark.parametrize("num_agents", [2, 3])
def test_seats_can_be_relabelled(num_agents):
    env = coin.coin_game(height=3, width=4, num_agents=num_agents)
    keys = jax.random.split(jax.random.key(5), 300)
    state, _ = reset_all(env, keys)
    action = env.action_spaces[0].sample(jax.random.key(6), (300, num_agents))
    renamed = state._replace(
        position=jnp.roll(state.position, -1, axis=1),
        owner=(state.owner - 1) % num_agents,
    )
    _, original = step_all(env, keys, state, action)
    _, timestep = step_all(env, keys, renamed, jnp.roll(action, -1, axis=1))
    for actual, expected in [
        (timestep.reward, original.reward),
        (timestep.observation, original.observation),
    ]:
        np.testing.assert_array_equal(actual, jnp.roll(expected, -1, axis=1))
    assert np.unique(original.reward, axis=0).shape[0] > num_agents


def assert_uniform(counts):
    """By Pearson's χ², up to six deviations of it above its mean."""
    expected = counts.sum() / counts.size
    statistic = np.sum((counts - expected) ** 2 / expected)
    freedom = counts.size - 1
    assert expected >= 5
    assert statistic < freedom + 6 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("before", "moves", "free"),
    [
        ("A a .   . . .   . . B", ">^", [0, 2, 3, 4, 6, 7, 8]),
        ("A a B   . . .   . . .", "><", [0, 2, 3, 4, 5, 6, 7, 8]),
        (". . .   . . B   A a .", ">>", [0, 1, 2, 4, 5, 6, 8]),
        (". . .   . . .   A a B", "><", [0, 1, 2, 3, 4, 5, 6, 8]),
        ("A . a   . . .   . B .", "<<", [0, 1, 3, 4, 5, 7, 8]),
    ],
)
def test_a_coin_comes_back_to_every_free_cell_equally_often(before, moves, free):
    env = coin.coin_game()
    after = outcomes(env, before, moves)
    counts = np.bincount(after.coin[:, 0], minlength=9)
    assert counts.sum() == counts[free].sum()
    assert_uniform(counts[free])


def test_among_many_agents_the_free_cells_are_few():
    env = coin.coin_game(height=2, width=4, num_agents=5)
    # All end up in pairs but one, on 1, 6 and 7.
    after = outcomes(env, "A a B E   . C . D", "><><^")
    np.testing.assert_array_equal(after.position[0], [1, 1, 6, 6, 7])
    counts = np.bincount(after.coin[:, 0], minlength=8)
    assert not counts[[1, 6, 7]].any()
    assert_uniform(counts[[0, 2, 3, 4, 5]])


def test_games_begin_everywhere():
    env = coin.coin_game()
    keys = jax.random.split(jax.random.key(4), 40_000)
    state, timestep = jax.device_get(reset_all(env, keys))
    first, second = state.position.T
    place, owner = state.coin[:, 0], state.owner[:, 0]
    assert_uniform(np.bincount((first * 9 + second) * 2 + owner, minlength=162))
    assert not np.any((place == first) | (place == second))
    apart = first != second
    # Every way to be apart with a coin elsewhere, and every way to be together.
    numbers = ((first * 9 + second) * 9 + place)[apart]
    assert_uniform(np.unique(numbers, return_counts=True)[1])
    assert len(np.unique(numbers)) == 9 * 8 * 7
    numbers = (first * 9 + place)[~apart]
    assert_uniform(np.unique(numbers, return_counts=True)[1])
    assert len(np.unique(numbers)) == 9 * 8
    assert (timestep.observation.sum(-1) == 3).all()


def test_with_a_coin_of_each_games_begin_anywhere():
    env = coin.coin_game(height=2, width=2, coins="each")
    keys = jax.random.split(jax.random.key(5), 20_000)
    state, _ = jax.device_get(reset_all(env, keys))
    cells = np.concatenate([state.position, state.coin], axis=1)
    assert_uniform(np.bincount(cells @ [64, 16, 4, 1], minlength=256))


@pytest.mark.parametrize(
    ("radices", "num_words"), [([9, 9, 2, 9], 1), ([300, 300], 2), ([70_000, 7], 2)]
)
def test_numbers_read_off_few_words_are_independent(radices, num_words):
    keys = jax.random.split(jax.random.key(6), 40_000)
    numbers = jax.device_get(jax.vmap(lambda key: random_numbers(key, radices))(keys))
    numbers[-1] = numbers[-1] % radices[-1]
    cell = 0
    for radix, number in zip(radices, numbers, strict=True):
        assert ((number >= 0) & (number < radix)).all()
        # In tens of equal shares where there are too many to count.
        share = radix // 10 if radix > 10 else 1
        cell = cell * (radix // share) + number.astype(int) // share
    sizes = [10 if radix > 10 else radix for radix in radices]
    assert_uniform(np.bincount(cell, minlength=np.prod(sizes)))
    traced = str(jax.make_jaxpr(lambda key: random_numbers(key, radices))(keys[0]))
    assert f"shape=({num_words},)" in traced


@pytest.mark.parametrize(
    "options",
    [{}, {"gain": 1.0, "loss": -1.0}, {"coins": "each"}, {"num_agents": 3}],
    ids=label,
)
def test_pickups_are_what_happened(options):
    """Whatever coins are worth: rewards are sums over those that were taken."""
    env = coin.coin_game(**options)
    states, timesteps, _ = random_play(env)
    own, other = coin.pickups(states)
    assert own.shape == other.shape == (60, 8, env.num_agents)
    assert own.sum() > 20 and other.sum() > 20
    own, other = np.asarray(own), np.asarray(other)
    gained = float(env.gain) * (own + other)
    # A coin that others take, one or several of them, is one loss of its owner.
    lost = (np.asarray(timesteps.reward[1:]) - gained) / float(env.loss)
    np.testing.assert_allclose(lost, np.round(lost), atol=1e-6)
    if env.num_agents == 2:
        np.testing.assert_allclose(lost, other[..., ::-1], atol=1e-6)
    # The last coin that each agent took is in the state.
    last = np.zeros((8, env.num_agents), int)
    for t in range(60):
        if env.coins == "one":
            last = np.where(own[t] > 0, 1, np.where(other[t] > 0, -1, last))
            np.testing.assert_array_equal(states.last_taken[t + 1], last)


def test_boards_are_drawn():
    env = coin.coin_game()
    assert board(env, drawn("A . .   . b .   . . B")) == (
        "A   .   .\n"  # every cell has room for all
        ".   b   .\n"
        ".   .   B"
    )
    assert board(env, drawn("AB . .   . . .   . . a")) == (
        "AB  .   .\n.   .   .\n.   .   a"
    )
    many = coin.coin_game(height=5, width=6, num_agents=27)
    with pytest.raises(ValueError, match="num_agents is 27"):
        board(many, many.reset(jax.random.key(0))[0])


def test_actions_have_names():
    names = ("left", "right", "up", "down")
    assert envs.make("coin").action_names == names
    assert envs.make("coin", coins="each").action_names == (*names, "stay")


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("height is 0", {"height": 0}),
        ("width is -1", {"width": -1}),
        ("num_steps is 0", {"num_steps": 0}),
        ("num_agents is 1", {"num_agents": 1}),
        (r"height \* width is 2:", {"height": 1, "width": 2}),
        (r"height \* width is 9:", {"num_agents": 9}),
        (r"height \* width is 2:", {"height": 1, "width": 2, "coins": "each"}),
        ("coins is 'two': one of one, each", {"coins": "two"}),
        ("gain is nan", {"gain": float("nan")}),
        ("loss is -inf", {"loss": -np.inf}),
        ("colour is 3: game 'coin' has no such option, only height", {"colour": 3}),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(argument, options):
    with pytest.raises(ValueError, match=argument):
        envs.make("coin", **options)
