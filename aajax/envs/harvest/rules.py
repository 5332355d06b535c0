"""Rules of Commons Harvest, one pure function each.

Measured on Melting Pot's engine (https://arxiv.org/abs/2211.13746). Who is out of the
game stands on cell `OUT`. Headings are 0 north, 1 east, 2 south, 3 west. Chance comes
in as words u32[...], so that every rule is a function.
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
    """Headings after a turn, i32[N]; other actions do not turn."""
    quarters = jnp.where(action == TURN_LEFT, 3, jnp.where(action == TURN_RIGHT, 1, 0))
    return (heading + quarters) & 3


def move(
    layout: Layout, words: Array, position: Array, heading: Array, action: Array
) -> Array:
    """Cells after all have moved, one after the other in the order of their words.

    A move onto a wall, or onto a cell that is taken at that moment, fails: two never
    swap, and one follows another only if that other went first.

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

    Each column of a beam ends on the first agent, whom it hits, or before the first
    wall. All beams are of one moment: who is hit has fired too.

    Args:
      position, heading: i32[N], after moving.
      fires: bool[N].

    Returns:
      cells: i32[N, 9], what each beam lights, `OUT` in place of what it does not; where
        it hits somebody it lights nothing.
      hit: bool[N], who is hit.
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
    """Puts those who are due on uniformly random free points, as long as there are.

    Args:
      points: i32[P], cells in rising order.
      num_cells: H · W.
      words: u32[N], uniform.
      position: i32[N]; those who are due are `OUT`.
      due: bool[N].

    Returns:
      Cells i32[N], and who was placed, bool[N].
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
    """How many apples there are around each site, 3 standing for more; i32[K]."""
    number = jnp.asarray(layout.neighbours) @ apple.astype(jnp.float32)
    return jnp.minimum(number.astype(jnp.int32), 3)


def sprouts(words: Array, label: Array, probabilities: Array) -> Array:
    """Where apples grow back, bool[K].

    Args:
      words: u32[K], uniform.
      label: i32[K], number of apples around, or `UNLABELLED`: none can grow there.
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
    """The place of each word in rising order, i32[N]; of equals, the first first."""
    seat = np.arange(words.size)
    before, after = words[None], words[:, None]
    earlier = (before < after) | ((before == after) & (seat < seat[:, None]))
    return jnp.sum(earlier.astype(jnp.int32), axis=1)


def _free_point(taken: Array, rank: Array) -> Array:
    """The number of the free point of a rank, i32[], given the taken ones or −1.

    A taken point comes before it exactly if at most `rank` free points come before
    the taken one.
    """
    there = taken >= 0
    before = jnp.sum(
        (there[None] & (taken[None] < taken[:, None])).astype(jnp.int32), axis=1
    )
    return rank + jnp.sum((there & (taken - before <= rank)).astype(jnp.int32))


def _offset(layout: Layout, heading: int, right: int, ahead: int) -> int:
    """From the shooter's cell to another, in numbers of cells."""
    down, across = [(-ahead, right), (right, ahead), (ahead, -right), (-right, -ahead)][
        heading
    ]
    return down * layout.width + across
