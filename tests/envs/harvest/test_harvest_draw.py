"""Pictures of Commons Harvest, by their pixels."""

import numpy as np
from PIL import Image, ImageSequence

from aajax.envs.harvest import draw as boards
from aajax.envs.harvest.draw import CELL, HarvestRecord


def record(num_moments=3):
    """On 3 × 4 cells agent 0 walks along the second row, and agent 1 goes out."""
    wall = np.zeros(12, bool)
    wall[:4] = True
    apple = np.array([[1, 0], [0, 0], [0, 1]], bool)[:num_moments]
    position = np.array([[4, 11], [5, 11], [6, -1]])[:num_moments]
    beam = np.array([[-1, -1], [-1, -1], [7, -1]])[:num_moments]
    return HarvestRecord(
        height=3,
        width=4,
        names=("one", "two"),
        wall=wall,
        site=np.array([8, 9]),
        apple=apple,
        grass=np.array([[1, 1], [1, 0], [0, 0]], bool)[:num_moments],
        position=position,
        heading=np.ones_like(position),
        beam=beam,
        reward=np.array([[0, 0], [1, 0], [0, 2]], np.float32)[:num_moments],
    )


def centre(picture, cell):
    """The colour in the middle of a cell."""
    left = (picture.shape[1] - 4 * CELL) // 2
    top = boards.MARGIN + boards.LINE
    row, column = divmod(cell, 4)
    pixel = picture[top + row * CELL + CELL // 2, left + column * CELL + CELL // 2]
    return tuple(int(x) for x in pixel)


def near(one, other):
    return np.abs(np.subtract(one, other)).max() < 12  # a GIF has few colours


def frames_of(path):
    with Image.open(path) as image:
        return [np.asarray(x.convert("RGB")) for x in ImageSequence.Iterator(image)]


def test_an_animation_shows_where_everything_is(tmp_path):
    path = tmp_path / "game.gif"
    boards.harvest_animation(record(), path)
    first, second, third = frames_of(path)
    assert near(centre(first, 0), boards.WALL)
    assert near(centre(first, 8), boards.APPLE)
    assert near(centre(first, 9), boards.GRASS)
    assert near(centre(second, 9), boards.BARE)
    assert near(centre(third, 9), boards.APPLE)
    for frame, cell in zip((first, second, third), (4, 5, 6), strict=True):
        assert near(centre(frame, cell), boards.AGENTS[0])
    assert near(centre(second, 11), boards.AGENTS[1])
    assert near(centre(third, 11), boards.FLOOR)
    assert near(centre(third, 7), boards.BEAM)


def test_eyes_look_where_agents_head():
    for heading, (across, down) in enumerate([(0, -1), (1, 0), (0, 1), (-1, 0)]):
        game = record(1)
        game = game._replace(heading=np.full_like(game.heading, heading))
        picture = np.asarray(boards._page(game, 0))
        dark = np.argwhere((picture == boards.EYES).all(-1))
        left, top = (picture.shape[1] - 4 * CELL) // 2, boards.MARGIN + boards.LINE
        inside = dark[(dark[:, 1] < left + CELL) & (dark[:, 0] < top + 2 * CELL)]
        offset = inside.mean(0) - [top + 1.5 * CELL, left + CELL / 2]
        assert np.argmax(np.abs(offset)) == (0 if down else 1)
        assert np.sign(offset[0 if down else 1]) == (down or across)


def test_a_strip_has_its_moments_side_by_side(tmp_path):
    path = tmp_path / "game.png"
    boards.harvest_strip(record(), path)
    strip = np.asarray(Image.open(path))
    pages = [np.asarray(boards._page(record(), moment)) for moment in range(3)]
    np.testing.assert_array_equal(strip, np.concatenate(pages, axis=1))
