"""Play recorded on Melting Pot's own engine, step by step against the rules.

The order of moves and where the zapped come back are chance: of many orders one must
lead where the engine's did, and from there on the recorded positions are taken over.
All else is compared: rewards, who is hit and when it comes back, readiness, apples,
grass, and what agents see. See `tests/data/harvest/record.py`.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.envs.harvest import commons_harvest
from aajax.envs.harvest.observe import PLANES

DATA = np.load(Path(__file__).parents[2] / "data" / "harvest" / "engine.npz")
ORDERS = 32
EVERY = {"usual": 20, "certain": 10}
BITS = ("wall", "apple", "beam", "grass", "self", "other")
NORTH_FIRST = ("ahead", "right", "back", "left")


@jax.jit
def try_orders(env, keys, state, action):
    return jax.vmap(env.step, (0, None, None))(keys, state, action)


@jax.jit
def observe(env, state):
    return env.unflatten(env.observe(state))


def world(name):
    # In "usual" the engine's own draws are taken over.
    chances = (0, 1, 1, 1) if name == "certain" else (0, 0, 0, 0)
    return commons_harvest(probabilities=jnp.array(chances, jnp.float32))


def cells(env, position):
    flat = position[..., 0].astype(np.int32) * env.layout.width + position[..., 1]
    return np.where(position[..., 0] < 0, -1, flat).astype(np.int32)


@pytest.mark.parametrize("name", ["usual", "certain"])
def test_the_engine_plays_by_these_rules(name):
    run = {key.split(".")[1]: DATA[key] for key in DATA if key.startswith(name)}
    env = world(name)
    state, _ = jax.jit(env.reset)(jax.random.key(0))
    where = cells(env, run["position"])
    state = state._replace(
        position=jnp.asarray(where[0]), heading=jnp.int32(run["heading"][0])
    )
    seen = {"hits": 0, "contests": 0, "returns": 0, "grown": 0, "bare": 0}
    check_windows(env, state, run["window"][0], run["picture"][0])
    for t, action in enumerate(run["action"]):
        keys = jax.random.split(jax.random.key(t), ORDERS)
        states, timesteps = jax.device_get(
            try_orders(env, keys, state, jnp.int32(action))
        )
        was_out = np.asarray(state.out) == 1
        fits = (states.position == where[t + 1]) | was_out
        assert fits.all(1).any(), f"step {t}: no order of moves leads there"
        seen["contests"] += not fits.all()
        chosen = int(np.argmax(fits.all(1)))
        played = jax.tree.map(lambda x, i=chosen: x[i], states)
        reward, label = timesteps.reward[chosen], np.asarray(state.label)

        np.testing.assert_array_equal(played.out > 0, where[t + 1] == -1)
        seen["hits"] += int((played.out == 5).sum())
        seen["returns"] += int(was_out.sum())
        there = ~(was_out & (played.out == 0))
        heading = run["heading"][t + 1].astype(np.int32)
        alive = played.out == 0
        np.testing.assert_array_equal(
            played.heading[there & alive], heading[there & alive]
        )
        if was_out.any():
            back = where[t + 1][was_out]
            assert np.isin(back, env.layout.outside).all()

        apple = run["apple"][t + 1]
        known = apple >= 0
        if name == "usual":
            # What grew back under somebody was eaten at once.
            on = where[t + 1][:, None] == env.layout.site[None]
            extra = run["reward"][t + 1] - reward
            finds = extra[:, None].astype(bool) & on
            assert set(np.unique(extra)) <= {0.0, 1.0}
            np.testing.assert_array_equal(finds.any(1), extra > 0)
            grown = known & (apple == 1) & ~played.apple
            assert (label[grown | finds.any(0)] > 0).all()
            seen["grown"] += int(grown.sum() + finds.sum())
            unlabelled = grown | finds.any(0)
            played = played._replace(
                apple=played.apple | grown,
                label=np.where(unlabelled, -1, played.label),
            )
        else:
            np.testing.assert_array_equal(reward, run["reward"][t + 1])
            grown = played.apple & ~np.asarray(state.apple)
            seen["grown"] += int(grown.sum())
        np.testing.assert_array_equal(played.apple[known], apple[known] == 1)
        grass = run["grass"][t + 1]
        known = (grass >= 0) & ~played.apple
        np.testing.assert_array_equal(played.grass[known], grass[known] == 1)
        seen["bare"] += int((grass[known] == 0).sum())

        state = jax.tree.map(jnp.asarray, played)._replace(
            position=jnp.asarray(where[t + 1]),
            heading=jnp.where(state.out > 0, heading, played.heading),
        )
        ready = observe(env, state)[:, PLANES.index("ready"), 0, 0]
        np.testing.assert_array_equal(ready, run["ready"][t + 1])
        if (t + 1) % EVERY[name] == 0:
            seen_then = (t + 1) // EVERY[name]
            check_windows(
                env, state, run["window"][seen_then], run["picture"][seen_then]
            )
    never = {"bare"} if name == "certain" else set()
    assert {event for event, count in seen.items() if not count} == never


def check_windows(env, state, windows, pictures):
    """What layers show, facing north, and pictures, facing where the agent does."""
    here = np.asarray(state.out) == 0
    planes = np.asarray(observe(env, state))
    assert not planes[~here].any()
    for seat in np.flatnonzero(here):
        facing = dict(zip(PLANES, planes[seat], strict=True))
        for bit, name in enumerate(BITS[:3]):
            there = pictures[seat] >> bit & 1
            if name == "apple":  # not to be seen under a beam
                there |= ((pictures[seat] >> 2) & facing["apple"].astype(np.int8)) & 1
            np.testing.assert_array_equal(facing[name], there, err_msg=name)
        north = state._replace(heading=state.heading.at[seat].set(0))
        facing = dict(zip(PLANES, np.asarray(observe(env, north))[seat], strict=True))
        recorded = windows[seat]
        for bit, name in enumerate(BITS):
            there = (recorded >> bit & 1).astype(bool)
            if name == "grass":  # which lies under apples too
                there &= ~facing["apple"].astype(bool)
            np.testing.assert_array_equal(facing[name].astype(bool), there, name)
        for quarter, way in enumerate(NORTH_FIRST):
            faces = facing["other"] * (recorded >> len(BITS) == quarter)
            np.testing.assert_array_equal(facing[f"faces {way}"], faces)
