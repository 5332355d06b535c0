"""Records play on Melting Pot's own engine, for `tests/envs/harvest/test_engine.py`.

    python record.py MELTINGPOT engine.npz

Needs dmlab2d 1.0.2 (Python 3.11), dm-env, dm-tree, ml_collections, immutabledict,
absl-py, reactivex and networkx, and a folder MELTINGPOT that holds the package
`meltingpot` (of dm-meltingpot 2.4.1, say), which need not be installed. No test needs
any of them.

Two stretches of 7 agents are recorded on the map of Commons Harvest: Open: "usual",
and "certain", in which apples grow back at once wherever they can.
"""

import sys
import types

import numpy as np

AGENTS = 7
RUNS = {
    "usual": ((0.0, 0.0025, 0.005, 0.025), 400, 20),
    "certain": ((0.0, 1.0, 1.0, 1.0), 150, 10),
}
# move, turn, fireZap of each action
ACTIONS = np.array(
    [(0, 0, 0), (1, 0, 0), (3, 0, 0), (4, 0, 0), (2, 0, 0), (0, -1, 0), (0, 1, 0)]
    + [(0, 0, 1)],
    np.int32,
)
SHARES = (0.05, 0.45, 0.05, 0.05, 0.05, 0.12, 0.12, 0.11)
# Layers of the observation `LAYER`, and numbers of sprites in them.
BACKGROUND, APPLES, BODIES, BEAMS = 2, 3, 4, 7
GRASS, APPLE, OUTSIDE, WALL = 45, 1, 49, 61
FIRST_OTHER, FIRST_SELF = 9, 57  # four headings of each of seven others; of oneself
# Windows are recorded as numbers of these bits, of the layers facing north whatever the
# agent's heading, and the first three of the pictures facing where the agent does.
BITS = ("wall", "apple", "beam", "grass", "self", "other")
COLOURS = ((152, 152, 152), (214, 88, 88), (252, 252, 106))


def substrate(folder: str):
    # The package's own __init__ asks for much that the engine does not need.
    package = types.ModuleType("meltingpot")
    package.__path__ = [f"{folder}/meltingpot"]
    sys.modules["meltingpot"] = package
    from meltingpot.configs.substrates import commons_harvest__open as config
    from meltingpot.utils.substrates import builder

    def build(probabilities, seed):
        config._ENABLE_DEBUG_OBSERVATIONS = True
        config.REGROWTH_PROBABILITIES = list(probabilities)
        return builder.builder(config.build(["default"] * AGENTS, None), env_seed=seed)

    rows = config.ASCII_MAP.split("\n")[1:-1]
    sites = [
        (r, c) for r, row in enumerate(rows) for c, x in enumerate(row) if x == "A"
    ]
    return build, np.array(sites)


def record(build, sites, probabilities, steps, every, seed):
    env, generator = build(probabilities, seed), np.random.default_rng(seed)
    rows = [see(env.reset().observation, sites)]
    actions = generator.choice(len(ACTIONS), (steps, AGENTS), p=SHARES)
    for action in actions:
        joint = {
            f"{agent + 1}.{name}": ACTIONS[action[agent], part]
            for agent in range(AGENTS)
            for part, name in enumerate(("move", "turn", "fireZap"))
        }
        rows.append(see(env.step(joint).observation, sites))
    data = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    for name in ("window", "picture"):
        data[name] = data[name][::every]
    return {**data, "action": actions.astype(np.int8)}


def see(observation, sites):
    each = {
        name: np.stack([observation[f"{agent + 1}.{name}"] for agent in range(AGENTS)])
        for name in ("POSITION", "ORIENTATION", "READY_TO_SHOOT", "REWARD")
        + ("LAYER", "RGB")
    }
    there = is_self(each["LAYER"][:, 9, 5, BODIES])
    position = np.where(there[:, None], each["POSITION"][:, ::-1], -1)
    world = observation["WORLD.RGB"].reshape(18, 8, 24, 8, 3).swapaxes(1, 2)
    cells = world[sites[:, 0], sites[:, 1]].reshape(len(sites), 64, 3).astype(int)
    apple = (cells == (214, 88, 88)).all(-1).any(-1).astype(np.int8)
    grass = (cells == (158, 194, 101)).all(-1).any(-1).astype(np.int8)
    hidden = (cells == (252, 252, 106)).all(-1).any(-1)
    occupied = (position[:, None] == sites[None]).all(-1).any(0)
    apple[hidden], grass[hidden | occupied] = -1, -1
    return {
        "position": position.astype(np.int8),
        "heading": each["ORIENTATION"].astype(np.int8),
        "ready": each["READY_TO_SHOOT"].astype(np.float32),
        "reward": each["REWARD"].astype(np.float32),
        "apple": apple,
        "grass": grass,
        "window": windows(each["LAYER"]),
        "picture": pictures(each["RGB"]),
    }


def is_self(bodies):
    return (bodies >= FIRST_SELF) & (bodies < FIRST_SELF + 4)


def pictures(rgb):
    cells = rgb.reshape(AGENTS, 11, 8, 11, 8, 3).swapaxes(2, 3)
    return sum(
        (cells == colour).all(-1).any((-1, -2)).astype(np.int8) << bit
        for bit, colour in enumerate(COLOURS)
    )


def windows(layer):
    """Bits, and from the bit after them on another's heading; i16."""
    bodies, beams = layer[..., BODIES], layer[..., BEAMS]
    other = (bodies >= FIRST_OTHER) & (bodies < FIRST_OTHER + 4 * AGENTS)
    planes = {
        "wall": bodies == WALL,
        "apple": layer[..., APPLES] == APPLE,
        "grass": layer[..., BACKGROUND] == GRASS,
        "self": is_self(bodies),
        "other": other,
        "beam": (beams > 0) & (beams != OUTSIDE),
    }
    bits = sum(planes[name].astype(np.int16) << bit for bit, name in enumerate(BITS))
    heading = (bodies - FIRST_OTHER) % 4
    return (bits + np.where(other, heading << len(BITS), 0)).astype(np.int16)


def main(folder: str, path: str) -> None:
    build, sites = substrate(folder)
    data = {}
    for seed, (name, (probabilities, steps, every)) in enumerate(RUNS.items(), start=1):
        run = record(build, sites, probabilities, steps, every, seed)
        data |= {f"{name}.{field}": x for field, x in run.items()}
    np.savez_compressed(path, **data)


if __name__ == "__main__":
    main(*sys.argv[1:])
