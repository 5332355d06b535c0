"""Rules of Commons Harvest, one deterministic function each.

Measured on Melting Pot's engine (https://arxiv.org/abs/2211.13746). Agents that are out
of the game have position `OUT`. Headings are 0 north, 1 east, 2 south, 3 west.
Randomness is an argument: uniform random words u32[...].
"""

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.harvest.layout import Layout
from aajax.types import Array

ACTION_NAMES = (
    *("noop", "forward", "backward", "step left", "step right"),
    *("turn left", "turn right", "zap"),
)
NOOP, FORWARD, BACKWARD, STEP_LEFT, STEP_RIGHT, TURN_LEFT, TURN_RIGHT, ZAP = range(8)
OUT = -1
UNLABELLED = -1
# (right, ahead) of the shooter, nearest first; a beam is three such columns.
BEAM = (
    ((-1, 0), (-1, 1), (-1, 2)),
    ((0, 1), (0, 2), (0, 3)),
    ((1, 0), (1, 1), (1, 2)),
)
BEAM_CELLS = 9


def turn(heading: Array, action: Array) -> Array:
    """Headings after the action, i32[N]; only turns change them."""
    quarters = jnp.where(action == TURN_LEFT, 3, jnp.where(action == TURN_RIGHT, 1, 0))
    return (heading + quarters) & 3


def move(
    layout: Layout, words: Array, position: Array, heading: Array, action: Array
) -> Array:
    """Positions i32[N] after all moves, one after the other in the order of `words`.

    A move onto a wall or an occupied cell fails: two agents cannot swap, and one can
    follow another only if that other moved first.

    Args:
      words: u32[N], uniform, for a uniformly random order.
      position, heading, action: i32[N] each.
    """
    steps = np.array([-layout.width, 1, layout.width, -1], np.int32)
    sideways = jnp.where(action == STEP_LEFT, 3, jnp.where(action == STEP_RIGHT, 1, 0))
    quarters = jnp.where(action == BACKWARD, 2, sideways)
    moves = (action >= FORWARD) & (action <= STEP_RIGHT) & (position != OUT)
    step = jnp.where(moves, jnp.asarray(steps)[(heading + quarters) & 3], 0)
    target = position + step
    target = jnp.where(jnp.asarray(layout.wall)[target], position, target)
    rank = _ranks(words)

    def body(turn, position):
        mover = rank == turn
        goal = jnp.sum(jnp.where(mover, target, 0))
        # Who stays is in its own way.
        return jnp.where(mover & ~jnp.any(position == goal), target, position)

    return jax.lax.fori_loop(0, position.size, body, position)


def beams(
    layout: Layout, position: Array, heading: Array, fires: Array
) -> tuple[Array, Array]:
    """What the beams of one step reach.

    Each column of a beam ends on the first agent, which it hits, or before the first
    wall. All beams are fired simultaneously: an agent that is hit still fires its own.

    Args:
      position, heading: i32[N], after moving.
      fires: bool[N].

    Returns:
      cells: i32[N, 9], the cells that each beam lights; `OUT` for those that it does
        not, and for cells where it hits somebody.
      hit: bool[N], which agents are hit.
    """
    offsets = np.array(
        [[_offset(layout, h, *cell) for column in BEAM for cell in column]
         for h in range(4)],
        np.int32,
    )  # fmt: skip
    cells = position[:, None] + jnp.asarray(offsets)[heading]
    wall = jnp.asarray(layout.wall)[cells]
    stands = (cells[..., None] == position[None, None]) & ~wall[..., None]
    occupied = stands.any(-1)
    ends = (wall | occupied).reshape(-1, 3, 3)
    # A later cell is reached if no earlier one of its column ends the beam.
    first, second = ends[..., 0], ends[..., 1]
    shut = jnp.stack([jnp.zeros_like(first), first, first | second], axis=-1)
    reached = ~shut.reshape(wall.shape) & fires[:, None]
    hit = (stands & reached[..., None]).any((0, 1))
    return jnp.where(reached & ~wall & ~occupied, cells, OUT), hit


def settle(
    points: np.ndarray, num_cells: int, words: Array, position: Array, due: Array
) -> tuple[Array, Array]:
    """Places agents on uniformly random free spawn points, as long as there are any.

    Args:
      points: i32[P], cells in rising order.
      num_cells: H · W.
      words: u32[N], uniform.
      position: i32[N]; `OUT` for those that are due.
      due: bool[N], which agents are to be placed.

    Returns:
      Positions i32[N], and which agents were placed, bool[N].
    """
    order = np.full(num_cells, -1, np.int32)
    order[points] = np.arange(points.size)
    number, cells = jnp.asarray(order), jnp.asarray(points)
    seat = jnp.arange(position.size)

    def body(_, carry):
        position, waiting = carry
        chosen = seat == jnp.argmax(waiting)
        taken = jnp.where(position == OUT, -1, number[position])
        free = points.size - jnp.sum((taken >= 0).astype(jnp.int32))
        word = jnp.sum(jnp.where(chosen, words, 0), dtype=jnp.uint32)
        rank = word % jnp.maximum(free, 1).astype(jnp.uint32)
        point = cells[_free_point(taken, rank.astype(jnp.int32))]
        position = jnp.where(chosen & (free > 0), point, position)
        return position, waiting & ~chosen

    count = jnp.sum(due.astype(jnp.int32))
    position, _ = jax.lax.fori_loop(0, count, body, (position, due))
    return position, due & (position != OUT)


def crowding(layout: Layout, apple: Array) -> Array:
    """The number of apples around each site, clipped to 3; i32[K]."""
    number = jnp.asarray(layout.neighbours) @ apple.astype(jnp.float32)
    return jnp.minimum(number.astype(jnp.int32), 3)


def sprouts(words: Array, label: Array, probabilities: Array) -> Array:
    """Where apples grow back, bool[K].

    Args:
      words: u32[K], uniform.
      label: i32[K], number of apples around, or `UNLABELLED` if none can grow there.
      probabilities: f32[4], for 0, 1, 2, and 3 or more.
    """
    chance = jnp.zeros(label.shape)
    for number in range(4):
        chance = jnp.where(label == number, probabilities[number], chance)
    return uniform(words) < chance


def standing_on(layout: Layout, position: Array) -> Array:
    """Which agent stands on which site, bool[N, K]."""
    return position[:, None] == layout.site[None]


def uniform(words: Array) -> Array:
    """Numbers in [0, 1) from words u32[...]."""
    return (words >> 8).astype(jnp.float32) * 2.0**-24


def _ranks(words: Array) -> Array:
    """The rank of each word in ascending order, i32[N]; ties by index."""
    seat = np.arange(words.size)
    before, after = words[None], words[:, None]
    earlier = (before < after) | ((before == after) & (seat < seat[:, None]))
    return jnp.sum(earlier.astype(jnp.int32), axis=1)


def _free_point(taken: Array, rank: Array) -> Array:
    """The index of the free point of a rank, i32[], given the taken ones (−1 for none).

    It is `rank` plus the number of taken points before it, which are those with at most
    `rank` free points before them.
    """
    there = taken >= 0
    before = jnp.sum(
        (there[None] & (taken[None] < taken[:, None])).astype(jnp.int32), axis=1
    )
    return rank + jnp.sum((there & (taken - before <= rank)).astype(jnp.int32))


def _offset(layout: Layout, heading: int, right: int, ahead: int) -> int:
    """Offset in the flat map from an agent's cell to one `right` and `ahead` of it."""
    down, across = [(-ahead, right), (right, ahead), (ahead, -right), (-right, -ahead)][
        heading
    ]
    return down * layout.width + across
