"""Scripted players of Commons Harvest, on drawn windows and among their like."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.envs.harvest import commons_harvest, rules
from aajax.envs.harvest import players as harvest
from aajax.envs.harvest.observe import PLANES
from aajax.envs.harvest.players import players
from aajax.rollout import begin, rollout

DRAWS = 600
ENV = commons_harvest("small", view=(4, 2, 3, 3))
LETTERS = {"#": "wall", "o": "apple", "x": "other"}
NAMES = ("wait", *"FBLRlrZ")


def observation(picture, ready=1.0):
    """A window drawn with o apples, # walls, x others, and S the observer."""
    rows = picture.split()
    assert (len(rows), len(rows[0])) == (7, 7) and rows[4][3] == "S"
    planes = np.zeros((len(PLANES), 7, 7), np.float32)
    for row, line in enumerate(rows):
        for column, letter in enumerate(line):
            if letter in LETTERS:
                planes[PLANES.index(LETTERS[letter]), row, column] = 1
    planes[PLANES.index("self"), 4, 3] = 1
    planes[PLANES.index("ready")] = ready
    return jnp.asarray(planes.reshape(-1))


@jax.jit
def act(params, observation):
    observation = jnp.broadcast_to(observation, (DRAWS, *observation.shape))
    return harvest.scripted(ENV).act(params, jax.random.key(0), observation, ())


def check(name, picture, expected, ready=1.0):
    """Does what is expected, {action: probability}, at its log-prob."""
    output = act(harvest.scripted_params(name), observation(picture, ready))
    counts = np.bincount(output.action, minlength=len(NAMES))
    done = {NAMES[i] for i in np.flatnonzero(counts)}
    assert done == set(expected)
    for action, share in expected.items():
        took = output.action == NAMES.index(action)
        error = np.sqrt(share * (1 - share) / DRAWS)
        assert abs(took.mean() - share) <= 4 * error
        np.testing.assert_allclose(
            output.log_prob[took], np.log(share), rtol=1e-5, atol=1e-6
        )


def surely(action):
    return {action: 1.0}


WANDER = {"F": 0.6, "l": 0.2, "r": 0.2}
TURN = {"l": 0.5, "r": 0.5}
EMPTY = "....... ....... ....... ....... ...S... ....... ......."


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("....... ....... ...o... ....... ...S... ....... .......", surely("F")),
        ("....... ....... ....... ....... ...S... ....... ...o...", surely("B")),
        ("....... ....... ....... ....... o..S... ....... .......", surely("L")),
        ("....... ....... ....... ....... ...S.o. ....... ..o....", surely("R")),
        # The nearest of two, and either of two ways.
        (
            "o...... ....... ....... ....... ...S... ....o.. .......",
            {"B": 0.5, "R": 0.5},
        ),
        # Around a wall or another, if need be.
        ("....... ....... ....o.. ...#... ...S... ....... .......", surely("R")),
        (
            "....... ....... ...o... ...x... ..#S... ....... .......",
            {"B": 0.5, "R": 0.5},
        ),
        # Nothing to be seen.
        (EMPTY, WANDER),
        ("....... ....... ....... ...#... ...S... ....... .......", TURN),
    ],
)
def test_walks_to_apples(picture, expected):
    check("pacifist", picture, expected)
    check("greedy", picture, expected, ready=0.5)


@pytest.mark.parametrize(
    ("picture", "zaps"),
    [
        ("....... ...x... ....... ....... ...S... ....... .......", True),
        ("....... ....... ..x.... ....... ...S... ....... .......", True),
        ("....... ....... ....... ....... ...Sx.. ....... .......", True),
        # Too far, to the side, or behind.
        ("...x... ....... ....... ....... ...S... ....... .......", False),
        ("....... ..x.... ....... ....... ...S... ....... .......", False),
        ("....... ....... ....... .x..... ...S... ...x... .......", False),
        # Behind a wall.
        ("....... ...x... ...#... ....... ...S... ....... .......", False),
        ("....... ....... ....x.. ....... ...S#.. ....... .......", False),
    ],
)
def test_whom_the_greedy_zap(picture, zaps):
    check("greedy", picture, surely("Z") if zaps else WANDER)
    check("greedy", picture, WANDER, ready=0.5)
    check("pacifist", picture, WANDER)
    check("sustainable", picture, WANDER)


@pytest.mark.parametrize(
    ("picture", "sustainable"),
    [
        # Three others near, or two.
        ("...o... ..oo... ...o... ....... ...S... ....... .......", surely("F")),
        ("....... ..oo... ...o... ....... ...S... ....... .......", WANDER),
        # The poor are not even stepped on.
        ("....... ....... ....... ...o... ...S... ....... .......", TURN),
        (
            "ooo.... .oo.... ....... ...o... ...S... ....... .......",
            surely("L"),
        ),
    ],
)
def test_the_sustainable_leave_what_feeds_the_others(picture, sustainable):
    check("sustainable", picture, sustainable)
    check("pacifist", picture, surely("F"))


def test_the_random_do_anything():
    check("random", EMPTY, dict.fromkeys(NAMES, 1 / 8))


@functools.partial(jax.jit, static_argnums=1)
def meet(params, num_steps):
    """Rewards [T, B, N] of four alike on the small map, and apples left [B]."""
    env = commons_harvest("small")
    policy = harvest.scripted(env)
    begin_key, key = jax.random.split(jax.random.key(0))
    tables = begin(begin_key, env, policy, 8)
    tables, played = rollout(key, env, policy, params, tables, num_steps)
    return played.reward, tables.state.apple.sum(-1), (played.action == rules.ZAP).sum()


def test_greed_ends_and_restraint_lasts():
    rewards, left, zaps = {}, {}, {}
    for name in harvest.SCRIPTED:
        reward, apples, count = meet(harvest.scripted_params(name), 200)
        rewards[name], left[name] = reward[-100:].sum(), apples
        zaps[name] = count
    assert rewards["greedy"] == rewards["pacifist"] == 0
    assert not left["greedy"].any() and not left["pacifist"].any()
    assert rewards["sustainable"] > 100
    assert left["sustainable"].min() > 0
    assert zaps["greedy"] > 0
    assert zaps["pacifist"] == zaps["sustainable"] == 0


def test_players_by_name():
    there = players(commons_harvest("small"))
    assert there.names == harvest.SCRIPTED
    assert there.policy.evaluate is None
    assert there.params("pacifist") == 1
    with pytest.raises(ValueError, match="player is 'grim': one of greedy"):
        there.params("grim")
    with pytest.raises(ValueError, match="scripted_params"):
        there.policy.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"view is \(1, 1, 0, 1\)"):
        harvest.scripted(commons_harvest("small", view=(1, 1, 0, 1)))
