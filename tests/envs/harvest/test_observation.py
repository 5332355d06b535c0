"""What agents see of drawn maps, and its pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from aajax.envs.harvest import commons_harvest
from aajax.envs.harvest.observe import PLANES
from aajax.envs.harvest.paint import GROUND, OTHERS, SELF, paint

PICTURE = """
#########
#.o....v#
#..._...#
#.>..#..#
#.....<.#
#########
"""


@jax.jit
def observe(env, state):
    return env.unflatten(env.observe(state))


def planes(env, state):
    seen = observe(env, state)
    return [dict(zip(PLANES, np.asarray(x), strict=True)) for x in seen]


@pytest.fixture(scope="module")
def game():
    env, state = drawn(PICTURE)
    lit = np.full_like(state.beam, -1)
    lit[0, 0] = 3 * 9 + 3
    grass = np.array([True, False])
    return env, jax.tree.map(jnp.asarray, state._replace(beam=lit, grass=grass))


def test_planes_of_one_who_faces_east(game):
    """Agent 1, at (3, 2) facing east: ahead is right, and left is up."""
    env, state = game
    seen = planes(env, state)[1]
    lit = {name: set(zip(*map(list, np.nonzero(x)), strict=True))
           for name, x in seen.items()}  # fmt: skip

    def at(row, column):
        """Where the window shows a cell of the map."""
        return 9 - (column - 2), 5 + (row - 3)

    walls = [
        (row, column)
        for row, line in enumerate(PICTURE.split())
        for column, letter in enumerate(line)
        if letter == "#"
    ]
    window = {(r, c) for r in range(11) for c in range(11)}
    # The room below begins at row 6, with spawn points alone.
    below = {(6, 0), (6, 8), (7, 0), (7, 8), *((8, c) for c in range(9))}
    assert lit["wall"] == {at(*cell) for cell in (*walls, *below)} & window
    assert lit["apple"] == {at(1, 2)}
    assert lit["grass"] == set()
    assert lit["bare"] == {at(2, 4)}
    assert lit["self"] == {at(3, 2)} == {(9, 5)}
    # South is to the right of east, and west is behind it.
    assert lit["other"] == {at(1, 7), at(4, 6)}
    assert lit["faces right"] == {at(1, 7)}
    assert lit["faces back"] == {at(4, 6)}
    assert lit["faces ahead"] == lit["faces left"] == set()
    assert lit["beam"] == {at(3, 3)}
    assert (seen["ready"] == 1).all()


def test_planes_turn_with_the_observer(game):
    """The same map, turned by hand under an observer who turns."""
    env, state = game
    for seat in range(3):
        cells = {}
        for heading in range(4):
            turned = state._replace(heading=state.heading.at[seat].set(heading))
            cells[heading] = planes(env, turned)[seat]
        near = {
            heading: np.stack([x[8:11, 4:7] for x in seen.values()])
            for heading, seen in cells.items()
        }
        still = [PLANES.index(name) for name in PLANES if "faces" not in name]
        faces = [PLANES.index(name) for name in PLANES if "faces" in name]
        for heading in range(4):
            # To turn right turns what is seen left, and what others face too.
            after = near[(heading + 1) % 4]
            rotated = np.rot90(near[heading], axes=(1, 2))
            np.testing.assert_array_equal(after[still], rotated[still])
            shifted = np.roll(rotated[faces], -1, axis=0)
            np.testing.assert_array_equal(after[faces], shifted)


def test_who_is_out_sees_nothing_and_is_not_seen(game):
    env, state = game
    state = state._replace(
        position=state.position.at[0].set(-1), out=state.out.at[0].set(3)
    )
    seen = planes(env, state)
    assert not any(x.any() for x in seen[0].values())
    assert seen[1]["other"].sum() == 1
    assert not np.asarray(jax.jit(paint)(env, state))[0].any()


def test_views_of_other_sizes(game):
    """A narrower view is the middle of a wider one."""
    env, state = game
    narrow = commons_harvest(env.map, 3, view=(2, 1, 1, 3))
    assert narrow.observation_shape == (len(PLANES) * 4 * 5,)
    wide, few = planes(env, state), planes(narrow, state)
    for seat in range(3):
        for name in PLANES:
            middle = wide[seat][name][7:11, 4:9]
            np.testing.assert_array_equal(few[seat][name], middle)


def test_pictures(game):
    env, state = game
    pictures = np.asarray(jax.jit(paint)(env, state))
    assert pictures.shape == (3, 88, 88, 3) and pictures.dtype == np.uint8

    def colours(row, column):
        cell = pictures[1, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        return {tuple(map(int, pixel)) for pixel in cell.reshape(-1, 3)}

    def at(row, column):
        return 9 - (column - 2), 5 + (row - 3)

    assert colours(*at(3, 2)) >= {SELF, GROUND["floor"]}
    assert colours(*at(1, 7)) >= {OTHERS[0], GROUND["floor"]}
    assert colours(*at(4, 6)) >= {OTHERS[2], GROUND["floor"]}
    assert colours(*at(3, 3)) == {GROUND["beam"]}
    assert colours(*at(3, 5)) == {GROUND["wall"]}
    assert colours(*at(2, 4)) == {GROUND["floor"]}
    assert (214, 88, 88) in colours(*at(1, 2))
    assert colours(0, 0) == {GROUND["outside"]}
