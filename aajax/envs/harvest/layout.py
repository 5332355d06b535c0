"""Maps of Commons Harvest, given as text, and constants derived from them.

    #  wall            o  apple site, with an apple at reset
    .  floor           i  spawn point of the first seats
                       s  spawn point of the other seats, and of all who come back

Cells are numbered row by row. A wall must enclose the map, so that no move and no beam
leaves it.
"""

import functools
from typing import NamedTuple

import numpy as np

from aajax.errors import InputError

FLOOR, WALL, SITE, INSIDE, OUTSIDE = ".#ois"
REACH = 2  # apples at most this far apart make each other grow back

# "Open" of Melting Pot (https://arxiv.org/abs/2211.13746): four diamonds of thirteen
# apples and two corners of six, too far apart to make one another grow back.
OPEN = """
########################
#ooo....o......o....ooo#
#oo....ooo....ooo....oo#
#o....ooooo..ooooo....o#
#......ooo....ooo......#
#.......o......o.......#
#..o................o..#
#.ooo..i........i..ooo.#
#ooooo............ooooo#
#.ooo..............ooo.#
#..o................o..#
#......................#
#......................#
#......................#
#..ssssssssssssssssss..#
#.ssssssssssssssssssss.#
#ssssssssssssssssssssss#
########################
"""

# Three patches for four, on a quarter of the cells.
SMALL = """
##############
#..o......o..#
#.ooo..i.ooo.#
#ooooo..ooooo#
#.ooo....ooo.#
#..o..oo..o..#
#....oooo....#
#.....oo.....#
#ssssssssssss#
##############
"""

# One patch for three, to learn on in minutes.
TINY = """
#########
#...o...#
#..ooo..#
#.ooooo.#
#..ooo..#
#...o...#
#sssssss#
#########
"""

MAPS = {"open": OPEN, "small": SMALL, "tiny": TINY}
SEATS = {"open": 7, "small": 4, "tiny": 3}


class Layout(NamedTuple):
    """A map as constants; K sites, I and O spawn points.

    Attributes:
      height: rows, H.
      width: columns, W.
      wall: bool[H · W].
      site: i32[K], the cell of each apple site, in rising order.
      site_of: i32[H · W], the number of the site on each cell; K where there is none.
      neighbours: f32[K, K], 1 for two different sites at most `REACH` apart, else 0.
      inside: i32[I], cells where the first seats start, in rising order.
      outside: i32[O], cells where all other seats start, and all come back.
    """

    height: int
    width: int
    wall: np.ndarray
    site: np.ndarray
    site_of: np.ndarray
    neighbours: np.ndarray
    inside: np.ndarray
    outside: np.ndarray


@functools.lru_cache
def parse(text: str) -> Layout:
    """The constants of a map in the format at the top of this module.

    Raises:
      InputError: if the map is not a rectangle of these letters enclosed by walls, or
        has no apple site or no outside spawn point.
    """
    rows = text.split()
    if not rows or len({len(row) for row in rows}) > 1:
        raise InputError(
            f"map is {text!r}: rows of one length, without blanks, are needed"
        )
    letters = np.array([list(row) for row in rows])
    strange = sorted(set(letters.flat) - {FLOOR, WALL, SITE, INSIDE, OUTSIDE})
    if strange:
        raise InputError(
            f"map is drawn with {''.join(strange)!r}: only "
            f"{' '.join([WALL, FLOOR, SITE, INSIDE, OUTSIDE])} are needed"
        )
    edge = np.concatenate([letters[[0, -1]].flat, letters[:, [0, -1]].flat])
    if np.any(edge != WALL):
        raise InputError(f"map is open at its edge: {WALL!r} all around is needed")
    for letter, what in ((SITE, "an apple site"), (OUTSIDE, "an outside spawn point")):
        if letter not in letters:
            raise InputError(f"map has no {letter!r}: {what} is needed")
    height, width = letters.shape
    cells = letters.reshape(-1)
    site = np.flatnonzero(cells == SITE).astype(np.int32)
    site_of = np.full(cells.size, site.size, np.int32)
    site_of[site] = np.arange(site.size)
    row, column = np.divmod(site, width)
    squared = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    return Layout(
        height,
        width,
        cells == WALL,
        site,
        site_of,
        ((squared > 0) & (squared <= REACH**2)).astype(np.float32),
        np.flatnonzero(cells == INSIDE).astype(np.int32),
        np.flatnonzero(cells == OUTSIDE).astype(np.int32),
    )
