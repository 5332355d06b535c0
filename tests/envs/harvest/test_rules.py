"""Rules of Commons Harvest on drawn maps; all were measured on Melting Pot's engine."""

import numpy as np
import pytest
from drawn import ALWAYS, GAMES, cell, drawn, play

ROOM = """
#######
#.....#
#.....#
#.#...#
#.....#
#.....#
#######
"""


def room(*agents):
    """The room with agents at (row, column)."""
    rows = [list(row) for row in ROOM.split()]
    for row, column, heading in agents:
        assert rows[row][column] == "."
        rows[row][column] = heading
    return "\n".join("".join(row) for row in rows)


def row(picture):
    return ROOM.replace("#.....#", f"#{picture}#", 1)


def near(share, expected=0.5):
    return abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / GAMES)


def moved(picture, *moves):
    """Who is elsewhere after one step, bool[GAMES, N]."""
    env, state = drawn(picture)
    states, _ = play(env, state, *moves)
    return states.position[:, 0] != state.position


def test_of_two_who_step_into_a_gap_exactly_one_moves():
    moves = moved(row(">.<.."), "F", "F")
    assert (moves.sum(1) == 1).all()
    assert near(moves[:, 0].mean())


def test_two_never_swap():
    assert not moved(row("..><."), "F", "F").any()


def test_one_follows_another_only_if_that_goes_first():
    moves = moved(row(".>>.."), "F", "F")
    assert moves[:, 1].all()
    assert near(moves[:, 0].mean())


def test_no_cycle_turns():
    cycle = room((1, 2, ">"), (1, 3, "v"), (2, 2, "^"), (2, 3, "<"))
    assert not moved(cycle, *"FFFF").any()


@pytest.mark.parametrize("heading", "^>v<")
def test_moves_are_as_seen_by_who_moves(heading):
    env, state = drawn(room((2, 3, heading), (5, 5, "^")))
    quarter = "^>v<".index(heading)
    compass = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    walks = {"F": 0, "R": 1, "B": 2, "L": 3}
    for move, turned in walks.items():
        states, _ = play(env, state, move, ".")
        down, across = compass[(quarter + turned) % 4]
        assert (states.position[:, 0, 0] == cell(env, 2 + down, 3 + across)).all()
        assert (states.heading[:, 0, 0] == quarter).all()
    for move, turned in (("l", -1), ("r", 1), (".", 0), ("Z", 0)):
        states, _ = play(env, state, move, ".")
        assert (states.position[:, 0, 0] == cell(env, 2, 3)).all()
        assert (states.heading[:, 0, 0] == (quarter + turned) % 4).all()


def test_walls_stop():
    env, state = drawn(room((1, 1, "^"), (3, 1, "^")))
    states, _ = play(env, state, "FLLF", "RLRL")
    assert (states.position == state.position).all()


def hits(picture, *moves, games=GAMES):
    """Who is out after one step; chance has no say."""
    env, state = drawn(picture)
    states, _ = play(env, state, *moves, games=games)
    out = states.out[:, 0] > 0
    assert (out == out[0]).all()
    np.testing.assert_array_equal(states.position[0, 0] == -1, out[0])
    return "".join("x" if x else "." for x in out[0])


def test_a_beam_hits_the_nearest_of_a_column():
    column = room((1, 5, "v"), (2, 5, "v"), (3, 5, "v"), (4, 5, "^"))
    assert hits(column, *"...Z") == "..x."


def test_a_beam_reaches_nine_cells():
    """Three ahead, and three on either side from the shooter's own row on."""
    open_ = "#########\n" + 6 * "#.......#\n" + "#########\n"
    rows = [list(line) for line in open_.split()]
    rows[5][4] = "^"
    reached = set()
    for r, c in np.ndindex(8, 9):
        if rows[r][c] == ".":
            rows[r][c] = "v"
            moves = (".", "Z") if (r, c) < (5, 4) else ("Z", ".")
            if "x" in hits("\n".join(map("".join, rows)), *moves, games=32):
                reached.add((r - 5, c - 4))
            rows[r][c] = "."
    ahead = {(-1, 0), (-2, 0), (-3, 0)}
    sides = {(-up, side) for up in range(3) for side in (-1, 1)}
    assert reached == ahead | sides


def test_a_wall_or_body_beside_the_shooter_shuts_that_side():
    assert hits(room((2, 2, "v"), (3, 3, "^")), ".", "Z") == ".."
    assert hits(room((2, 4, "v"), (3, 3, "^")), ".", "Z") == "x."
    assert hits(room((2, 4, "v"), (3, 3, "^"), (3, 4, "v")), *".Z.") == "..x"
    assert hits(room((1, 2, "v"), (4, 2, "^")), ".", "Z") == ".."  # through a wall


def test_a_beam_lights_what_it_passes_and_not_whom_it_hits():
    env, state = drawn(room((1, 3, "v"), (3, 3, "^")))
    states, _ = play(env, state, "..", "Z.")
    lit = set(states.beam[0, 0].flat) - {-1}
    right = {cell(env, 3, 4), cell(env, 2, 4), cell(env, 1, 4)}
    assert lit == right | {cell(env, 2, 3)}
    assert (states.beam[:, 1] == -1).all()


def test_two_who_zap_each_other_are_both_out():
    assert hits(row(">.<.."), "Z", "Z") == "xx"


def test_a_beam_meets_who_has_moved():
    picture = room((2, 1, ">"), (3, 4, "^"))
    assert hits(picture, "Z", "F") == ".x"
    assert hits(picture, "Z", ".") == ".."
    assert hits(room((2, 1, ">"), (2, 4, "^")), "Z", "R") == ".."


def ready(env, timesteps):
    """What agents are shown of their readiness in the first game, [T, N]."""
    plane = np.asarray(env.unflatten(timesteps.observation[0]))[:, :, -1]
    assert (plane == plane[..., :1, :1]).all()
    return plane[..., 0, 0]


def test_zaps_need_two_steps_between_them():
    env, state = drawn(room((1, 1, ">"), (5, 5, "^")))
    states, timesteps = play(env, state, "ZZZZZZZ", ".......")
    fired = (states.beam[0, :, 0] != -1).any(-1)
    np.testing.assert_array_equal(np.flatnonzero(fired), [0, 3, 6])
    seen = ready(env, timesteps)
    np.testing.assert_array_equal(seen[:, 0], [0, 0.5, 1, 0, 0.5, 1, 0])
    assert (seen[:, 1] == 1).all()


def test_who_is_zapped_comes_back_after_five_steps():
    env, state = drawn(row(">.<.."))
    states, timesteps = play(env, state, "Z......", "FFFFFFF")
    out = states.position[:, :, 1] == -1
    np.testing.assert_array_equal(out, np.tile([1, 1, 1, 1, 1, 0, 0], (GAMES, 1)))
    np.testing.assert_array_equal(timesteps.observation[0, :, 1].any(-1), ~out[0])
    np.testing.assert_array_equal(ready(env, timesteps)[:, 1], ~out[0])
    # Anywhere outside, facing anywhere.
    places, counts = np.unique(states.position[:, 5, 1], return_counts=True)
    np.testing.assert_array_equal(places, env.layout.outside)
    assert all(near(count / GAMES, 1 / 5) for count in counts)
    counts = np.bincount(states.heading[:, 5, 1])
    assert all(near(count / GAMES, 1 / 4) for count in counts)


def test_the_cooldown_waits_while_its_agent_is_out():
    env, state = drawn(row(">..<."))
    _, timesteps = play(env, state, "Z.......", "Z.......")
    seen = ready(env, timesteps)
    np.testing.assert_array_equal(seen[:, 1], [0, 0, 0, 0, 0, 0, 0.5, 1])


def test_who_finds_no_room_waits():
    env, state = drawn("###### #oiv.# #.s>i# ######")
    onto = cell(env, 2, 2)
    position = np.array([-1, onto], np.int32)
    state = state._replace(position=position, out=np.array([2, 0], np.int32))
    states, _ = play(env, state, ".....", "...F.")
    np.testing.assert_array_equal(states.out[0, :, 0], [1, 1, 1, 0, 0])
    assert (states.position[:, 3:, 0] == onto).all()


def test_those_who_come_back_together_find_different_points():
    env, state = drawn(row("^^^.."))
    back = np.array([1, 1, 1], np.int32)
    state = state._replace(position=-back, out=back)
    states, _ = play(env, state, *"...")
    places = np.sort(states.position[:, 0], axis=1)
    assert (np.diff(places) > 0).all()
    assert np.isin(places, env.layout.outside).all()
    _, counts = np.unique(places, axis=0, return_counts=True)
    assert len(counts) == 10
    assert all(near(count / GAMES, 1 / 10) for count in counts)


def test_an_apple_grows_back_two_steps_after_it_was_eaten():
    env, state = drawn(row(">oo.<"), ALWAYS)
    states, timesteps = play(env, state, "FB.", "...")
    assert (timesteps.reward[:, :, 0] == [1, 0, 0]).all()
    assert (states.apple[:, :, 0] == [False, False, True]).all()


def test_an_apple_that_grows_back_under_somebody_is_eaten():
    env, state = drawn(row(">oo.<"), ALWAYS)
    _, timesteps = play(env, state, "F.....", "......")
    assert (timesteps.reward[:, :, 0] == [1, 0, 1, 0, 1, 0]).all()


def test_a_lone_apple_never_grows_back():
    env, state = drawn(row(">...<"), ALWAYS)
    (site,) = env.layout.site  # in the room below
    position = np.array([site + 1, site + 3], np.int32)
    state = state._replace(position=position, heading=np.array([3, 3], np.int32))
    states, timesteps = play(env, state, "FB......", "........")
    assert (timesteps.reward.sum(1) == [1, 0]).all()
    assert not states.apple.any()
    assert (states.grass[:, :, 0] == [1, 0, 0, 0, 0, 0, 0, 0]).all()


def test_growth_goes_by_the_neighbours_of_the_step_before():
    # Agent 1 eats the neighbour at once, or one step later.
    env, state = drawn(row(">oo<."), ALWAYS)
    states, _ = play(env, state, "FBBB", "FBBB")
    assert not states.apple[:, 1:].any()
    states, _ = play(env, state, "FB..", ".FB.")
    assert (states.apple[:, :, 0] == [False, False, True, True]).all()


def test_who_eats_and_is_hit_keeps_the_apple():
    env, state = drawn(row(">oo.<"))
    states, timesteps = play(env, state, "F", "Z")
    assert (timesteps.reward[:, 0] == [1, 0]).all()
    assert (states.out[:, 0] == [5, 0]).all()


@pytest.mark.parametrize("number", range(6))
def test_growth_goes_by_how_many_apples_are_near(number):
    """Twelve cells count; the more of them have apples, the sooner one grows back."""
    chances = (0.1, 0.3, 0.5, 0.9)
    env, state = drawn(
        "######### #...o...# #..ooo..# #.oo_oo.# #..ooo..# #...o...# #.......#"
        " #>.....<# #########",
        chances,
    )
    middle, sites = 6, env.layout.site.size
    assert env.layout.neighbours[middle].sum() == 12 == sites - 1
    others = np.delete(np.arange(sites), middle)
    apple = np.zeros(sites, bool)
    apple[np.random.default_rng(number).choice(others, number, replace=False)] = True
    # The first step says by how much it may grow back, the second whether it does.
    states, _ = play(env, state._replace(apple=apple), "..", "..")
    assert not states.apple[:, 0, middle].any()
    label = states.label[:, 0, middle]
    assert (label == min(number, 3)).all()
    assert near(states.apple[:, 1, middle].mean(), chances[min(number, 3)])
