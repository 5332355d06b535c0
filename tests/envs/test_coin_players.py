"""Scripted players of the Coin Game, on drawn boards and against one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import coin as reference

from aajax.envs.coin import coin_game, pickups
from aajax.envs.coin import players as coin
from aajax.policies import seated
from aajax.policies.base import reset_memory
from aajax.rollout import begin, play_episodes, rollout

MOVES = "<>^vo"
DRAWS = 600
ONE = coin_game()
LONG = coin_game(height=2, width=5)
THREE = coin_game(height=3, width=4, num_agents=3)
EACH = coin_game(coins="each")
SWAP = str.maketrans("AaBb", "BbAa")


@jax.jit
def act(env, params, observation, memory):
    return coin.scripted(env).act(params, jax.random.key(0), observation, memory)


def draws(env, name, picture, memory=None):
    """What a player in every seat does on a board, many times over."""
    size = env.height, env.width
    position, where, owner = reference.drawn(picture)
    cells = [[divmod(cell, env.width) for cell in x] for x in (position, where)]
    observation = jnp.asarray(reference.observe(*cells, owner, *size), jnp.float32)
    observation = jnp.broadcast_to(observation, (DRAWS, *observation.shape))
    if memory is None:
        memory = coin.scripted(env).initial_memory((DRAWS, env.num_agents))
    return act(env, coin.scripted_params(name), observation, memory)


def check_moves(output, seat, expected):
    """All the moves in `expected`, as often as one another, and at their log-prob."""
    action, log_prob = output.action[:, seat], output.log_prob[:, seat]
    counts = np.bincount(action, minlength=len(MOVES))
    assert {MOVES[i] for i in np.flatnonzero(counts)} == set(expected)
    np.testing.assert_allclose(log_prob, -np.log(len(expected)), rtol=1e-6, atol=1e-7)
    share = 1 / len(expected)
    error = np.sqrt(share * (1 - share) / DRAWS)
    assert (np.abs(counts[counts > 0] / DRAWS - share) <= 4 * error).all()


@pytest.mark.parametrize(
    ("env", "board", "cooperative", "greedy"),
    [
        # Its own coin, beside it, around the edge, and across.
        (ONE, "A a .   . . .   . . B", ">", ">"),
        (ONE, "A . a   . . .   . . B", "<", "<"),
        (ONE, "A . .   . . .   a . B", "^", "^"),
        (ONE, "A . .   . a .   . . B", ">v", ">v"),
        (ONE, "A . .   . . .   . a B", ">^", ">^"),
        # The other's, from which a cooperator flees.
        (ONE, "A b .   . . .   . . B", "^v", ">"),
        (ONE, "A . .   . b .   . . B", "<^", ">v"),
        (ONE, ". . B   . b .   . A .", "<>", "^"),
        # It does not matter where the other is.
        (ONE, "A b .   . B .   . . .", "^v", ">"),
        (ONE, "AB b .   . . .   . . .", "^v", ">"),
        # Up and down are one on a board of two rows.
        (LONG, "A . a . .   . . B . .", ">", ">"),
        (LONG, "A . . a .   . . B . .", "<", "<"),
        (LONG, "A . . . .   . . a . B", ">^v", ">^v"),
        (LONG, "A . b . .   . . B . .", "^v", ">"),
        (LONG, "A . . . .   b . B . .", "<>", "^v"),
        # Two others are as one.
        (THREE, "A b . .   . . . .   B . C .", "<^v", ">"),
        (THREE, "A c . .   . . . .   B . C .", "<^v", ">"),
        (THREE, "A a . .   . . . .   B . C .", ">", ">"),
    ],
)
def test_moves_for_one_coin(env, board, cooperative, greedy):
    check_both_seats(env, board, cooperative, greedy)


@pytest.mark.parametrize(
    ("board", "cooperative", "greedy"),
    [
        ("A a .   . b .   . . B", ">", ">"),
        ("A b .   . . .   a . B", "^", ">^"),
        # Its own is on two ways: not over the other's coin, and further from it.
        ("A b .   . a .   . . B", "v", ">"),
        ("A . .   . a .   b . B", ">", "^"),
        # On its own coin, by staying, and off the other's that came back below it.
        ("Aa . .   . b .   . . B", "o", "o"),
        ("Ab a .   . . .   . . B", ">", "o>"),
        # The other's coin on its own is no hindrance.
        ("A ab .   . . .   . . B", ">", ">"),
    ],
)
def test_moves_for_a_coin_of_each(board, cooperative, greedy):
    check_both_seats(EACH, board, cooperative, greedy)


def check_both_seats(env, board, cooperative, greedy):
    boards = {0: board} if env.num_agents > 2 else {0: board, 1: board.translate(SWAP)}
    for seat, picture in boards.items():
        for name, expected in [
            ("always_cooperate", cooperative),
            ("always_defect", greedy),
            ("tit_for_tat", cooperative),
            ("random", MOVES[: len(env.action_names)]),
        ]:
            check_moves(draws(env, name, picture), seat, expected)


# Boards of one game, on which A is moved by hand, and what tit-for-tat would do as A.
GAMES = {
    "two agents": (
        ONE,
        [
            ("A . .   . a .   . B .", ">v"),
            ("b . A   . B .   . . .", ">"),  # B took a: A goes for b,
            ("b . .   . . A   . B .", ">^"),  # and still does,
            ("b . .   . A .   B . .", "<^"),
            ("B . a   . . .   . A .", ">v"),  # till B takes b.
            (". . a   B . .   . . A", "v"),
            (". . A   . b .   B . .", ">^"),  # A took a, and flees b.
            (". . .   . b .   . B A", ">v"),
            ("a . .   . B .   . A .", "<v"),  # B took b.
            ("a . .   B . .   . . A", ">v"),
            ("B . A   . . .   b . .", ">^"),  # B took a again.
        ],
    ),
    "both take A's": (
        ONE,
        [("A a B   . . .   . . .", ">"), (". AB .   . b .   . . .", "v")],
    ),
    "both take B's": (
        ONE,
        [
            ("A b B   . . .   . . .", "^v"),
            (". AB .   . a .   . . .", "v"),
            (". . B   . A .   . b .", "<>"),
        ],
    ),
    "B comes later to where a was": (
        ONE,
        [
            ("A a .   . B .   . . .", ">"),
            (". A .   . . .   . B b", "<v"),
            ("A B .   . . .   . . b", ">v"),
        ],
    ),
    "three agents": (
        THREE,
        [
            ("a B . .   A . . .   . . C .", "^"),
            ("B . . .   . A . .   . . b C", ">v"),  # B took a.
            (". . . c   AB . . .   . . C .", "<^"),  # C took b, and B is not forgiven.
            ("B . C c   . A . .   . . . .", "<>^"),
            (". . . C   AB . . .   . . a .", "<>v"),  # C took c.
            (". . . .   . B . .   A . a C", "<>"),
            (". . b .   . . B .   . . C A", "<v"),  # C took a too.
            (". . B .   . . C .   A . . c", "<"),  # B took b: now it is about C,
            (". . . .   . . . C   . A B c", "<>"),
            ("a . . .   . A . .   . B . C", "<^"),  # who took c.
            ("a A . .   . . . .   . . BC .", "<"),
            ("A b . .   . . B .   . . . C", "<^v"),  # A took a, and flees b.
        ],
    ),
    "two coins at once, of which one is A's": (
        EACH,
        [
            ("A . .   . . .   B ab .", "^>"),
            ("A . .   . a .   b B .", "^"),
            ("A . .   . a .   B b .", "v"),
        ],
    ),
}


@pytest.mark.parametrize("game", GAMES)
def test_tit_for_tat_goes_by_what_was_taken_last(game):
    env, boards = GAMES[game]
    memory = None
    for picture, expected in boards:
        output = draws(env, "tit_for_tat", picture, memory)
        check_moves(output, 0, expected)
        memory = output.memory


def test_a_grudge_ends_with_the_game():
    first, second = (picture for picture, _ in GAMES["two agents"][1][:2])
    output = draws(ONE, "tit_for_tat", first)
    fresh = coin.scripted(ONE).initial_memory((DRAWS, 2))
    memory = reset_memory(output.memory, fresh, jnp.ones(DRAWS, bool))
    check_moves(draws(ONE, "tit_for_tat", second, output.memory), 0, ">")
    check_moves(draws(ONE, "tit_for_tat", second, memory), 0, "^v")


@jax.jit
def meet(env, params):
    """Observations [T, B, N, O] and rewards [T, B, N] of two players, by number."""
    table = seated([coin.scripted(env)] * 2, [[0], [1]])
    begin_key, key = jax.random.split(jax.random.key(0))
    tables = begin(begin_key, env, table, 64)
    played = rollout(key, env, table, tuple(params), tables, 50)[1]
    return played.observation, played.reward


def rewards(env, *names):
    return meet(env, jnp.stack([coin.scripted_params(name) for name in names]))[1]


def taken(env, *names):
    """Coins that two players took, i32[T, B, N] of their own and of the other's."""
    table = seated([coin.scripted(env)] * 2, [[0], [1]])
    params = tuple(coin.scripted_params(name) for name in names)
    return pickups(play_episodes(jax.random.key(0), env, table, params, 64, 50).state)


def test_cooperators_never_take_the_others_coin():
    for names in [("always_cooperate",) * 2, ("tit_for_tat",) * 2]:
        own, other = taken(ONE, *names)
        assert not other.any()
        assert own.mean() > 0.1


def test_with_a_coin_of_each_cooperators_rob_only_where_their_own_lies_too():
    params = jnp.stack([coin.scripted_params("always_cooperate")] * 2)
    observation, reward = meet(EACH, params)
    coins = observation[:, :, 0].reshape(50, 64, 4, 9)[:, :, 2:]
    together = (coins.sum(2) == 2).any(-1)
    assert set(np.unique(reward[~together])) == {0, 1}
    assert reward[~together].mean() > 0.3
    assert (reward[together] < 0).any()


def test_a_defector_exploits_a_cooperator_from_either_seat():
    for names, defector in [
        (("always_defect", "always_cooperate"), 0),
        (("always_cooperate", "always_defect"), 1),
    ]:
        _, other = taken(ONE, *names)
        assert not other[..., 1 - defector].any()
        assert other[..., defector].mean() > 0.1
        mean = rewards(ONE, *names).mean((0, 1))
        assert mean[defector] > 0.2
        assert mean[1 - defector] < 0


def test_two_defectors_gain_nothing_together():
    reward = rewards(ONE, "always_defect", "always_defect")
    assert abs(reward.sum(-1).mean()) < 0.1
    kind = rewards(ONE, "always_cooperate", "always_cooperate")
    assert kind.sum(-1).mean() > 0.3


def test_tit_for_tat_loses_less_to_a_defector_than_a_cooperator_does():
    meek = rewards(ONE, "always_cooperate", "always_defect").mean((0, 1))
    firm = rewards(ONE, "tit_for_tat", "always_defect")
    assert firm.mean((0, 1))[0] > meek[0] + 0.1
    assert firm.mean((0, 1))[1] < meek[1] - 0.1
    assert taken(ONE, "tit_for_tat", "always_defect").other[..., 0].any()


def test_players_can_be_stacked():
    numbers = jnp.stack([coin.scripted_params(name) for name in coin.SCRIPTED])
    together = jax.vmap(lambda params: meet(ONE, params)[1])(
        jnp.stack([numbers, jnp.roll(numbers, 1)], axis=1)
    )
    for i, name in enumerate(coin.SCRIPTED):
        alone = rewards(ONE, name, coin.SCRIPTED[i - 1])
        np.testing.assert_array_equal(together[i], alone)
    assert len({float(reward.sum()) for reward in together}) == len(coin.SCRIPTED)


def test_scripted_players_have_nothing_to_learn():
    policy = coin.scripted(THREE)
    assert policy.evaluate is None
    memory = policy.initial_memory((4, 3))
    assert memory.coin.shape == (4, 3, 3)
    assert memory.robbed.shape == (4, 3, 2)
    value = policy.value(coin.scripted_params("random"), jnp.zeros((4, 3, 72)), memory)
    np.testing.assert_array_equal(value, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="scripted_params"):
        policy.init(jax.random.key(0))


def test_an_unknown_player_is_named():
    with pytest.raises(ValueError, match="player is 'grim'.*tit_for_tat"):
        coin.scripted_params("grim")
