"""Figures of a coin game: a GIF animation, or a strip of moments side by side."""

import io
import math
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from aajax.envs.coin.env import CoinGame, CoinState
from aajax.files import write_bytes

COLOURS = ("#c8373f", "#2f66b0", "#2a8a4a", "#a33b8a", "#1f9aa8", "#b58a17")  # of seats
TILES = ("#f6f3ec", "#ebe6da")
INK = "#3a3a3a"
MAX_MOMENTS = 10  # of a strip
FRAME_MS, LAST_FRAME_MS = 500, 2000
LINE, MARGIN = 0.24, 0.16  # inches
RADIUS = 0.38  # of an agent alone on its cell


class CoinRecord(NamedTuple):
    """A game of N agents and K coins, recorded at F moments.

    Attributes:
      height: H, rows of the torus.
      width: W, its columns.
      names: of the players, N of them.
      position: i[F, N], the cells of the agents, numbered row by row.
      coin: i[F, K], the cells of the coins.
      owner: i[F, K], the agents whose coins they are.
      reward: f[F, N], earned by the step that led to each moment; zeros at the first.
    """

    height: int
    width: int
    names: tuple[str, ...]
    position: np.ndarray
    coin: np.ndarray
    owner: np.ndarray
    reward: np.ndarray


def coin_animation(game: CoinRecord, path: Path) -> None:
    """Writes a GIF, one frame per moment, with the players' returns so far below.

    Agents are discs with letters, and coins are rings in the colour of their owner.
    """
    earned = np.cumsum(game.reward, axis=0, dtype=np.float64)
    last = len(game.position) - 1
    wide, high = _board_size(game, cell=0.75)
    below, page = LINE * len(game.names) + MARGIN, max(wide, 2.6) + 2 * MARGIN
    left = (page - wide) / 2
    frames = []
    for moment in range(last + 1):
        figure, canvas = _sheet(page, below + high + LINE + 2 * MARGIN, dpi=100)
        _draw_board(_panel(figure, left, below + MARGIN, wide, high), game, moment)
        top = below + high + MARGIN + LINE / 2
        _write(figure, page / 2, top, f"step {moment} of {last}", align="center")
        for seat, name in enumerate(game.names):
            y, colour = below - LINE * (seat + 0.5), _colour(seat)
            label = f"{_letter(seat)}  {_shortened(name, 24)}"
            _write(figure, MARGIN, y, label, colour)
            total = _total(earned[moment, seat])
            _write(figure, page - MARGIN, y, total, colour, align="right")
        canvas.draw()
        pixels = np.array(canvas.buffer_rgba())[..., :3]
        frames.append(Image.fromarray(pixels))
    durations = [FRAME_MS] * last + [LAST_FRAME_MS]
    options = {"append_images": frames[1:], "duration": durations, "loop": 0}
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, **options)
    write_bytes(path, content.getvalue())


def coin_strip(game: CoinRecord, path: Path) -> None:
    """Writes a PNG of up to 10 moments, evenly spread from the first to the last.

    Drawn as in `coin_animation`, with the players' returns so far below each board.
    """
    earned = np.cumsum(game.reward, axis=0, dtype=np.float64)
    last = len(game.position) - 1
    moments = np.linspace(0, last, min(MAX_MOMENTS, last + 1)).round().astype(int)
    labels = [f"{_letter(i)}  {_shortened(x, 24)}" for i, x in enumerate(game.names)]
    wide, high = _board_size(game, cell=0.42)
    wide = max(wide, 0.6)
    names = 2 * MARGIN + 0.085 * max(map(len, labels))
    below = LINE * len(labels) + MARGIN
    page = names + len(moments) * (wide + MARGIN)
    figure, _ = _sheet(page, below + high + LINE + 2 * MARGIN, dpi=150)
    for seat, label in enumerate(labels):
        _write(figure, MARGIN, below - LINE * (seat + 0.5), label, _colour(seat))
    for i, moment in enumerate(moments):
        left = names + i * (wide + MARGIN)
        middle = left + wide / 2
        _draw_board(_panel(figure, left, below + MARGIN, wide, high), game, moment)
        top = below + high + MARGIN + LINE / 2
        _write(figure, middle, top, f"step {moment}", align="center")
        for seat in range(len(labels)):
            y, total = below - LINE * (seat + 0.5), _total(earned[moment, seat])
            _write(figure, middle, y, total, _colour(seat), align="center")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_bytes(path, content.getvalue())


def _draw_board(axes: Axes, game: CoinRecord, moment: int) -> None:
    axes.set(xlim=(0, game.width), ylim=(game.height, 0), aspect="equal")
    axes.axis("off")
    cells = [[] for _ in range(game.height * game.width)]
    for owner, cell in zip(game.owner[moment], game.coin[moment], strict=True):
        cells[cell].append((owner, True))
    for agent, cell in enumerate(game.position[moment]):
        cells[cell].append((agent, False))
    for cell, things in enumerate(cells):
        row, column = divmod(cell, game.width)
        tile = TILES[(row + column) % 2]
        axes.add_patch(Rectangle((column, row), 1, 1, color=tile, linewidth=0))
        for (seat, is_coin), (x, y, scale) in zip(
            things, _places(len(things)), strict=True
        ):
            draw = _draw_coin if is_coin else _draw_agent
            draw(axes, seat, column + x, row + y, scale)


def _places(count: int) -> list[tuple[float, float, float]]:
    """Positions (x, y) within a cell, and scales, of `count` things on it."""
    if count < 2:
        return [(0.5, 0.5, 1.0)] * count
    scale = 0.48 * math.sin(math.pi / count) / (2 * RADIUS)  # neighbours touch
    angles = [math.tau * (i / count + 0.375) for i in range(count)]
    return [
        (0.5 + 0.24 * math.cos(angle), 0.5 + 0.24 * math.sin(angle), scale)
        for angle in angles
    ]


def _draw_agent(axes: Axes, seat: int, x: float, y: float, scale: float) -> None:
    axes.add_patch(Circle((x, y), RADIUS * scale, color=_colour(seat), linewidth=0))
    size = _cell_points(axes) * 0.42 * scale
    text = axes.text(x, y, _letter(seat), color="white", fontsize=size)
    text.set(ha="center", va="center_baseline", fontweight="bold")


def _draw_coin(axes: Axes, seat: int, x: float, y: float, scale: float) -> None:
    points = _cell_points(axes) * scale
    ring = {"edgecolor": _colour(seat), "facecolor": "#ffd95e"}
    axes.add_patch(Circle((x, y), 0.24 * scale, linewidth=0.09 * points, **ring))


def _cell_points(axes: Axes) -> float:
    """Side of a cell in points (1/72 inch)."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = axes.get_position().height * figure.get_figheight()
    return 72 * height / abs(np.subtract(*axes.get_ylim()))


def _board_size(game: CoinRecord, cell: float) -> tuple[float, float]:
    """Width and height of the board in inches; cells shrink to fit a page."""
    cell = min(cell, 9 * cell / max(game.height, game.width))
    return game.width * cell, game.height * cell


def _sheet(width: float, height: float, dpi: int) -> tuple[Figure, FigureCanvasAgg]:
    figure = Figure((width, height), dpi=dpi, facecolor="white")
    return figure, FigureCanvasAgg(figure)


def _panel(figure: Figure, left: float, low: float, width: float, height: float):
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, low / high, width / wide, height / high))


def _write(
    figure: Figure, x: float, y: float, text: str, colour: str = INK, align="left"
) -> None:
    """Text at (x, y) inches from the lower left corner."""
    wide, high = figure.get_size_inches()
    style = {"ha": align, "va": "center", "fontsize": 9, "color": colour}
    figure.text(x / wide, y / high, text, **style)


def _colour(seat: int) -> str:
    return COLOURS[seat % len(COLOURS)]


def _letter(seat: int) -> str:
    return string.ascii_uppercase[seat]


def _shortened(name: str, length: int) -> str:
    """The last `length` characters of a name: folders differ at the end."""
    return name if len(name) <= length else "…" + name[1 - length :]


def _total(number: float) -> str:
    return f"{number:+.3g}" if abs(number) > 1e-9 else "0"


def draw(
    path: Path,
    env: CoinGame,
    states: CoinState,
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
    game = CoinRecord(
        height=env.height,
        width=env.width,
        names=tuple(names),
        position=np.asarray(states.position),
        coin=np.asarray(states.coin),
        owner=np.asarray(states.owner),
        reward=reward,
    )
    made = {".gif": coin_animation, ".png": coin_strip}
    made[path.suffix.lower()](game, path)
