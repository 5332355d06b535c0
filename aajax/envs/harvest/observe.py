"""Observations: feature planes of an egocentric window, which turns with the agent.

Once per step the map is encoded as a bit set per cell, with a margin as wide as the
view. Each agent's window is then gathered at constant offsets from its own cell, and
the bits are expanded to planes. Most of a step's time on a CPU is spent here.
"""

import jax.numpy as jnp
import numpy as np

from aajax.envs.harvest.layout import Layout
from aajax.envs.harvest.rules import OUT
from aajax.types import AnyArray, Array

PLANES = (
    "wall",
    "apple",  # there to be eaten
    "grass",  # a site without an apple, where one may grow back
    "bare",  # a site without an apple and none near it: nothing grows
    "self",
    "other",
    "beam",
    *("faces ahead", "faces right", "faces back", "faces left"),  # others, as seen
    "ready",  # how near the observer is to zapping, all over the plane
)
NUM_BITS = len(PLANES) - 1
WALL, APPLE, GRASS, BARE, SELF, OTHER, BEAM = (1 << bit for bit in range(7))
FACES = 7  # the first of 16 bits: where an agent faces, for four headings of observers
NEVER = 31  # a bit that is never set

View = tuple[int, int, int, int]  # cells seen ahead, behind, to the left and right


def window(view: View) -> tuple[int, int]:
    """Height and width of the window."""
    ahead, behind, left, right = view
    return ahead + 1 + behind, left + 1 + right


def observe(
    layout: Layout,
    view: View,
    apple: Array,
    grass: Array,
    position: Array,
    heading: Array,
    beam: Array,
    ready: Array,
) -> Array:
    """Planes of each agent's window, f32[N, C · H · W] in the order of `PLANES`.

    The first row is the farthest ahead, the first column the leftmost. Planes are 0 for
    cells beyond the map, and for an agent that is out.

    Args:
      layout: of K sites.
      view: how far agents see.
      apple, grass: bool[K].
      position, heading: i32[N].
      beam: i32[M], lit cells or `OUT`.
      ready: f32[N], 1 if the agent can zap, less if it must wait, 0 if it is out.
    """
    base = pad(layout, view, layout.wall * WALL)
    # What an agent sees of its own cell is written behind the map.
    own_cell = base.size + np.arange(position.size, dtype=np.int32)
    bits = jnp.asarray(np.append(base, 0 * own_cell), jnp.int32)
    there, lit = position != OUT, beam != OUT
    position = jnp.where(there, position, 0)
    bits = bits.at[padded(layout, view, jnp.where(lit, beam, 0))].max(
        jnp.where(lit, BEAM, 0)
    )
    site = jnp.where(apple, APPLE, jnp.where(grass, GRASS, BARE))
    bits = bits.at[jnp.asarray(padded(layout, view, layout.site))].add(site)
    agent_cell = padded(layout, view, position)
    own = bits[agent_cell] | SELF
    agent = jnp.where(there, OTHER | _faces(heading), 0)
    bits = bits.at[jnp.concatenate([agent_cell, own_cell])].add(
        jnp.concatenate([agent, own])
    )

    cells, at_home = look(layout, view, position, heading)
    cells = jnp.where(at_home, own_cell[:, None], cells)
    seen = bits.at[cells].get(mode="promise_in_bounds")
    # A maximum that changes nothing, but keeps what was read in an array of its own
    # shape: from that of XLA's gather, planes are written at half the speed.
    seen = jnp.stack([seen, jnp.zeros_like(seen)], axis=-1).max(-1)
    shift = np.arange(NUM_BITS, dtype=np.int32)[None]
    shift = shift + jnp.where(shift >= FACES, 4, 0) * heading[:, None]
    shift = jnp.where(there[:, None], shift, NEVER)[..., None]
    planes = ((seen[:, None] >> shift) & 1).astype(jnp.float32)
    everywhere = jnp.broadcast_to(ready[:, None, None], (ready.size, 1, seen.shape[1]))
    return jnp.concatenate([planes, everywhere], axis=1).reshape(ready.size, -1)


def pad(layout: Layout, view: View, x: np.ndarray) -> np.ndarray:
    """A map [H · W] with a margin of zeros as wide as the view, flat."""
    return np.pad(x.reshape(layout.height, layout.width), max(view)).reshape(-1)


def padded(layout: Layout, view: View, cell: AnyArray) -> AnyArray:
    """Indices of cells in the padded map."""
    row, column = cell // layout.width + max(view), cell % layout.width + max(view)
    return row * (layout.width + 2 * max(view)) + column


def look(
    layout: Layout, view: View, position: Array, heading: Array
) -> tuple[Array, np.ndarray]:
    """Indices in the padded map of the cells of each agent's window.

    Args:
      layout: of the map.
      view: how far agents see.
      position, heading: i32[N].

    Returns:
      i32[N, H · W], the window row by row; and bool[1, H · W], the agent's own cell.
    """
    ahead, behind, left, right = view
    forward, across = np.meshgrid(
        np.arange(ahead, -behind - 1, -1, dtype=np.int32),
        np.arange(-left, right + 1, dtype=np.int32),
        indexing="ij",
    )
    forward, across = forward.reshape(1, -1), across.reshape(1, -1)
    width = layout.width + 2 * max(view)
    steps = jnp.array([-width, 1, width, -1], jnp.int32)
    to_front, to_right = steps[heading][:, None], steps[(heading + 1) & 3][:, None]
    own = jnp.asarray(padded(layout, view, position))[:, None]
    cells = own + forward * to_front + across * to_right
    return cells, (forward == 0) & (across == 0)


def _faces(heading: Array) -> Array:
    """An agent's heading relative to each of the four headings of an observer."""
    bits = jnp.zeros_like(heading)
    for observer in range(4):
        bits |= 1 << (FACES + 4 * observer + ((heading - observer) & 3))
    return bits
