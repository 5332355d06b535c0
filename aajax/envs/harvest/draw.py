"""Figures of Commons Harvest: a GIF animation, or several moments on one page."""

import io
import math
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from aajax.envs.harvest.env import CommonsHarvest, HarvestState
from aajax.files import write_bytes

CELL = 16  # pixels along a cell
LINE, MARGIN = 14, 8  # pixels
FRAME_MS, LAST_FRAME_MS = 150, 2000
MAX_MOMENTS = 10  # of a strip
PER_ROW = 5  # of them side by side
PAPER, INK, EYES = (255, 255, 255), (58, 58, 58), (20, 20, 20)
FLOOR, WALL, GRASS = (236, 230, 218), (109, 109, 109), (158, 194, 101)
BARE, BEAM, APPLE = (201, 178, 140), (252, 222, 80), (214, 60, 60)
AGENTS = (  # by seat; the eighth has the first one's again
    *((50, 100, 200), (125, 50, 200), (200, 50, 125), (40, 150, 95)),
    *((200, 110, 30), (30, 150, 160), (90, 90, 90)),
)


class HarvestRecord(NamedTuple):
    """A game of N agents and K apple sites, recorded at F moments.

    Attributes:
      height: H, rows of the map.
      width: W, its columns.
      names: of the players, N of them.
      wall: bool[H · W].
      site: i[K], cells of the apple sites, numbered row by row.
      apple, grass: bool[F, K], whether there is an apple, and whether one may grow.
      position: i[F, N], the cells of the agents, −1 for one that is out.
      heading: i[F, N], 0 north, 1 east, 2 south, 3 west.
      beam: i[F, M], cells lit by beams, or −1.
      reward: f[F, N], earned by the step that led to each moment; zeros at the first.
    """

    height: int
    width: int
    names: tuple[str, ...]
    wall: np.ndarray
    site: np.ndarray
    apple: np.ndarray
    grass: np.ndarray
    position: np.ndarray
    heading: np.ndarray
    beam: np.ndarray
    reward: np.ndarray


def harvest_animation(game: HarvestRecord, path: Path) -> None:
    """Writes a GIF, one frame per moment, with the players' returns so far below.

    Agents are discs in the colours of their seats with a dark eye towards their
    heading, apples are red, sites green where an apple may grow back, and beams yellow.
    """
    frames = [_page(game, moment) for moment in range(len(game.position))]
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    options = {"append_images": frames[1:], "duration": durations, "loop": 0}
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, **options)
    write_bytes(path, content.getvalue())


def harvest_strip(game: HarvestRecord, path: Path) -> None:
    """Writes a PNG of up to 10 moments, evenly spread from the first to the last."""
    last = len(game.position) - 1
    moments = np.linspace(0, last, min(MAX_MOMENTS, last + 1)).round().astype(int)
    pages = [_page(game, moment) for moment in moments]
    wide, high = pages[0].size
    columns = min(PER_ROW, len(pages))
    sheet = Image.new(
        "RGB", (wide * columns, high * math.ceil(len(pages) / columns)), PAPER
    )
    for i, page in enumerate(pages):
        row, column = divmod(i, columns)
        sheet.paste(page, (column * wide, row * high))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    write_bytes(path, content.getvalue())


def _page(game: HarvestRecord, moment: int) -> Image.Image:
    """One moment: its number, the map, and a line for every player."""
    earned = game.reward[: moment + 1].sum(0, dtype=np.float64)
    lines = [
        f"{string.ascii_uppercase[seat]} {name[-20:]}: {total:g}"
        for seat, (name, total) in enumerate(zip(game.names, earned, strict=True))
    ]
    board = Image.fromarray(_ground(game, moment))
    wide = max(board.width, 160) + 2 * MARGIN
    top = MARGIN + LINE
    high = top + board.height + MARGIN + LINE * len(lines) + MARGIN
    page = Image.new("RGB", (wide, high), PAPER)
    page.paste(board, ((wide - board.width) // 2, top))
    draw = ImageDraw.Draw(page)
    left = (wide - board.width) // 2
    for seat, cell in enumerate(game.position[moment]):
        if cell >= 0:
            corner = left + cell % game.width * CELL, top + cell // game.width * CELL
            _draw_agent(draw, seat, *corner, game.heading[moment, seat])
    last = len(game.position) - 1
    draw.text((MARGIN, MARGIN // 2), f"step {moment} of {last}", INK)
    below = top + board.height + MARGIN
    for seat, line in enumerate(lines):
        draw.text((MARGIN, below + LINE * seat), line, _colour(seat))
    return page


def _ground(game: HarvestRecord, moment: int) -> np.ndarray:
    """The map without agents as RGB, u8[H · CELL, W · CELL, 3]."""
    cells = np.where(game.wall[:, None], WALL, FLOOR).astype(np.uint8)
    green = game.apple[moment] | game.grass[moment]
    cells[game.site] = np.where(green[:, None], GRASS, BARE)
    beam = game.beam[moment]
    cells[beam[beam >= 0]] = BEAM
    tiles = np.broadcast_to(cells[:, None, None], (len(cells), CELL, CELL, 3)).copy()
    offset = np.arange(CELL) - (CELL - 1) / 2
    disc = offset[:, None] ** 2 + offset**2 <= (0.3 * CELL) ** 2
    live = game.site[game.apple[moment]]
    tiles[live] = np.where(disc[..., None], np.asarray(APPLE, np.uint8), tiles[live])
    rows = tiles.reshape(game.height, game.width, CELL, CELL, 3).swapaxes(1, 2)
    return rows.reshape(game.height * CELL, game.width * CELL, 3)


def _draw_agent(draw: ImageDraw.ImageDraw, seat: int, x: int, y: int, heading: int):
    draw.ellipse((x + 1, y + 1, x + CELL - 2, y + CELL - 2), fill=_colour(seat))
    across, down = ((0, -1), (1, 0), (0, 1), (-1, 0))[heading]
    middle, reach, radius = (CELL - 1) / 2, 0.28 * CELL, 0.14 * CELL
    eye = x + middle + across * reach, y + middle + down * reach
    box = eye[0] - radius, eye[1] - radius, eye[0] + radius, eye[1] + radius
    draw.ellipse(box, fill=EYES)


def _colour(seat: int) -> tuple[int, int, int]:
    return AGENTS[seat % len(AGENTS)]


def draw(
    path: Path,
    env: CommonsHarvest,
    states: HarvestState,
    names: Sequence[str],
    reward: np.ndarray,
) -> None:
    """Draws one game as an animation (.gif) or a strip of moments (.png).

    Args:
      path: of the file to write.
      env: the environment.
      states: [1 + T], from reset on.
      names: of the players, by seat.
      reward: f32[1 + T, N], of the step that led to each state; zeros at reset.
    """
    game = HarvestRecord(
        height=env.layout.height,
        width=env.layout.width,
        names=tuple(names),
        wall=env.layout.wall,
        site=env.layout.site,
        apple=np.asarray(states.apple),
        grass=np.asarray(states.grass),
        position=np.asarray(states.position),
        heading=np.asarray(states.heading),
        beam=np.asarray(states.beam).reshape(len(states.beam), -1),
        reward=reward,
    )
    made = {".gif": harvest_animation, ".png": harvest_strip}
    made[path.suffix.lower()](game, path)
