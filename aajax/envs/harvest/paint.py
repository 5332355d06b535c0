"""RGB images of what each agent sees, 8 × 8 pixels a cell.

They show what Melting Pot's images show, in similar colours, but with other sprites: a
network trained on one cannot be expected to work on the other.
"""

import jax.numpy as jnp
import numpy as np

from aajax.envs.harvest import observe
from aajax.envs.harvest.env import CommonsHarvest, HarvestState
from aajax.envs.harvest.rules import OUT
from aajax.types import Array

SIZE = 8  # pixels along a cell
GROUND = {
    "outside": (0, 0, 0),
    "floor": (220, 205, 185),
    "wall": (109, 109, 109),
    "grass": (158, 194, 101),
    "apple": (158, 194, 101),  # under the apple itself
    "beam": (252, 252, 106),
}
APPLE, EYES = (214, 88, 88), (30, 30, 30)
SELF = (50, 100, 200)
OTHERS = (  # by seat; the ninth has the first one's again
    *((125, 50, 200), (200, 50, 125), (50, 200, 125), (200, 125, 50)),
    *((125, 200, 50), (50, 190, 190), (190, 60, 60), (90, 90, 90)),
)
APPLE_SHAPE = "........ ...oo... ..oooo.. .oooooo. .oooooo. ..oooo.. ...oo... ........"
BODY_SHAPE = "...oo... ..oooo.. .oeooeo. .oooooo. .oooooo. .oooooo. ..oooo.. ..o..o.."
TILES = list(GROUND)


def paint(env: CommonsHarvest, state: HarvestState) -> Array:
    """What each agent sees as RGB, u8[N, 8 H, 8 W, 3]; black for an agent that is out.

    Ahead is up. The observer has a colour of its own; others have those of their seats.
    A beam covers what is on its cells.
    """
    planes = dict(
        zip(
            observe.PLANES,
            jnp.moveaxis(env.unflatten(env.observe(state)) > 0, 1, 0),
            strict=True,
        )
    )
    inside, seat = _beyond_planes(env, state)
    tile = jnp.where(inside, TILES.index("floor"), TILES.index("outside"))
    for name in ("wall", "grass", "apple", "beam"):
        tile = jnp.where(planes[name], TILES.index(name), tile)
    body = jnp.where(planes["self"], 1, 0)
    for quarter, way in enumerate(("ahead", "right", "back", "left")):
        number = 2 + 4 * (seat % len(OTHERS)) + quarter
        body = jnp.where(planes[f"faces {way}"], number, body)
    body = jnp.where(planes["beam"], 0, body)
    bodies = jnp.asarray(_bodies())[body]
    pictures = jnp.asarray(_tiles())[tile]
    pictures = jnp.where(bodies.any(-1, keepdims=True), bodies, pictures)
    agents, height, width = tile.shape
    rows = pictures.swapaxes(2, 3)
    return rows.reshape(agents, height * SIZE, width * SIZE, 3)


def _beyond_planes(env: CommonsHarvest, state: HarvestState) -> tuple[Array, Array]:
    """Which cells of each window are on the map, and the agent on each; [N, H, W]."""
    layout, view = env.layout, env.view
    there = state.position != OUT
    position = jnp.where(there, state.position, 0)
    cells, _ = observe.look(layout, view, position, state.heading)
    inside = jnp.asarray(observe.pad(layout, view, np.ones_like(layout.wall)))
    agents = jnp.where(there, jnp.arange(env.num_agents), 0)
    seat = jnp.zeros(inside.shape, jnp.int32)
    seat = seat.at[observe.padded(layout, view, position)].max(agents)
    shape = env.num_agents, *observe.window(view)
    inside = inside[cells] & there[:, None]
    return inside.reshape(shape), seat[cells].reshape(shape)


def _shape(text: str, colours: dict[str, tuple[int, int, int]]) -> np.ndarray:
    """u8[8, 8, 3], black where the drawing has a dot."""
    colours = {".": (0, 0, 0), **colours}
    return np.array([[colours[x] for x in row] for row in text.split()], np.uint8)


def _tiles() -> np.ndarray:
    tiles = np.zeros((len(GROUND), SIZE, SIZE, 3), np.uint8)
    tiles[:] = np.array(list(GROUND.values()), np.uint8)[:, None, None]
    apple = _shape(APPLE_SHAPE, {"o": APPLE})
    under = tiles[TILES.index("apple")]
    tiles[TILES.index("apple")] = np.where(apple.any(-1, keepdims=True), apple, under)
    return tiles


def _bodies() -> np.ndarray:
    """Sprites: none, the observer, each other agent facing ahead, right, back, left."""
    nobody = np.zeros((SIZE, SIZE, 3), np.uint8)
    own, *others = (
        _shape(BODY_SHAPE, {"o": colour, "e": EYES}) for colour in (SELF, *OTHERS)
    )
    turned = [np.rot90(other, -quarter) for other in others for quarter in range(4)]
    return np.stack([nobody, own, *turned])
