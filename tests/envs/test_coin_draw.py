"""Pictures of coin games, by their pixels."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image, ImageSequence

from aajax.envs.coin.draw import COLOURS, CoinRecord, coin_animation, coin_strip


def record(num_moments, num_agents=2, height=3, width=3, **changed):
    """A game in which agent i stays on cell i and its coin lies on the last cell."""
    agents = np.tile(np.arange(num_agents), (num_moments, 1))
    game = CoinRecord(
        height,
        width,
        tuple(f"player_{i}" for i in range(num_agents)),
        position=agents,
        coin=np.full((num_moments, 1), height * width - 1),
        owner=np.zeros((num_moments, 1), int),
        reward=np.zeros((num_moments, num_agents)),
    )
    return game._replace(**changed)


def frames_of(path):
    with Image.open(path) as image:
        return [
            np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)
        ]


def durations_of(path):
    with Image.open(path) as image:
        return [frame.info["duration"] for frame in ImageSequence.Iterator(image)]


def in_colour(picture, seat):
    """Where a picture has the colour of a seat, bool[height, width]."""
    colour = 255 * np.asarray(to_rgb(COLOURS[seat]))
    return np.abs(picture[..., :3].astype(float) - colour).max(-1) < 12


def middle(picture, seat):
    """The middle of a seat's colour, x and y, below the title and above the captions.

    A frame is about as wide as the board, which begins below a title line.
    """
    y, x = np.nonzero(in_colour(picture[: picture.shape[1]], seat))
    return np.array([x.mean(), y.mean()])


def test_an_animation_has_a_frame_per_moment_and_lingers_on_the_last(tmp_path):
    coin_animation(record(5), tmp_path / "game.gif")
    frames = frames_of(tmp_path / "game.gif")
    assert len(frames) == 5
    *first, last = durations_of(tmp_path / "game.gif")
    assert len(set(first)) == 1
    assert last > first[0]


def test_agents_and_coins_are_where_the_record_says(tmp_path):
    """A at its coin's left, B walking; the torus is drawn with row 0 at the top.

    B . .      . . .
    . . .  ->  . . B
    . A a      . A a
    """
    position = np.array([[7, 0], [7, 5]])
    game = record(2, position=position, coin=np.array([[8], [8]]))
    coin_animation(game, tmp_path / "game.gif")
    before, after = frames_of(tmp_path / "game.gif")
    np.testing.assert_allclose(middle(after, 0), middle(before, 0), atol=1)
    move = middle(after, 1) - middle(before, 1)
    np.testing.assert_allclose(move, [150, 75], atol=4)  # cells are 75 pixels wide
    # The middle of A's colour: between the agent and, of less paint, its coin.
    offset = middle(before, 0) - middle(before, 1)
    assert 75 < offset[0] < 150
    assert offset[1] == pytest.approx(150, abs=4)


def test_whose_the_coin_is_gives_its_colour(tmp_path):
    game = record(2, owner=np.array([[0], [1]]))
    coin_animation(game, tmp_path / "game.gif")
    before, after = frames_of(tmp_path / "game.gif")
    ring = [
        [in_colour(frame[:-50, -100:], seat).sum() for seat in (0, 1)]
        for frame in (before, after)
    ]
    assert ring[0][0] > 100 > 10 > ring[0][1]
    assert ring[1][1] > 100 > 10 > ring[1][0]


def test_all_on_one_cell_are_seen(tmp_path):
    """Six agents and a coin share a cell: nobody hides another."""
    position = np.zeros((1, 6), int)
    coin = np.zeros((1, 1), int)
    game = record(1, num_agents=6, position=position, coin=coin)
    coin_strip(game, tmp_path / "game.png")
    (picture,) = frames_of(tmp_path / "game.png")
    board = picture[: -6 * 40]  # without the names, which are coloured too
    areas = [in_colour(board, seat).sum() for seat in range(6)]
    assert min(areas) > 20


@pytest.mark.parametrize(("num_moments", "num_boards"), [(1, 1), (4, 4), (60, 10)])
def test_a_strip_has_up_to_ten_boards(tmp_path, num_moments, num_boards):
    coin_strip(record(num_moments), tmp_path / "game.png")
    (picture,) = frames_of(tmp_path / "game.png")
    # Along one line through all boards' tiles, which the page between is not.
    line = picture[len(picture) // 3].astype(int)
    is_board = (line < 250).any(-1)
    assert np.sum(is_board[1:] & ~is_board[:-1]) == num_boards


def test_captions_add_up_the_rewards(tmp_path):
    """The last moment's caption is that of a game of the same sums, and no other."""

    def last_frame(rewards):
        game = record(3, reward=np.array(rewards, float))
        coin_animation(game, tmp_path / "game.gif")
        return frames_of(tmp_path / "game.gif")[-1]

    steps = last_frame([[0, 0], [1, -2], [1, 0]])
    at_once = last_frame([[0, 0], [0, 0], [2, -2]])
    other = last_frame([[0, 0], [0, 0], [1, 0]])
    assert (steps == at_once).all()
    assert (steps != other).any()


def test_large_boards_and_long_names_stay_on_the_page(tmp_path):
    game = record(2, height=40, width=30, names=("a/very/long/path" * 9, "b"))
    coin_animation(game, tmp_path / "game.gif")
    coin_strip(game, tmp_path / "game.png")
    for name in ("game.gif", "game.png"):
        with Image.open(tmp_path / name) as image:
            assert max(image.size) < 1500
