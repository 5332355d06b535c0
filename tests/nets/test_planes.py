"""Convolutions as products of patches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from aajax import nets
from aajax.nets.planes import patches

SHAPE = 3, 6, 5


def test_they_are_convolutions():
    x = np.random.default_rng(0).normal(size=(2, 4, np.prod(SHAPE)))
    x = x.astype(np.float32)
    planes = nets.Planes(SHAPE, (7, 2), jax.nn.relu)
    params = planes.init(jax.random.key(0), x)
    actual = planes.apply(params, x)
    assert actual.shape == (2, 4, 2 * 1 * 2)
    cells = np.moveaxis(x.reshape(2, 4, *SHAPE), 2, -1)
    for i, size in enumerate((7, 2)):
        dense = params["params"][f"Dense_{i}"]
        kernel = dense["kernel"].reshape(3, 3, cells.shape[-1], size)
        conv = nn.Conv(size, (3, 3), padding="VALID")
        variables = {"params": {"kernel": kernel, "bias": dense["bias"] + i}}
        cells = jax.nn.relu(conv.apply(variables, cells) - i)
    np.testing.assert_allclose(actual, cells.reshape(2, 4, -1), rtol=1e-4, atol=1e-5)


def test_a_patch_is_what_lies_around():
    x = jnp.arange(4 * 5 * 2.0).reshape(4, 5, 2)
    seen = patches(x)
    assert seen.shape == (2, 3, 18)
    np.testing.assert_array_equal(seen[1, 2], x[1:4, 2:5].reshape(-1))


def test_a_torso_of_planes_sees_where_things_are():
    """One thing moved by a cell changes what convolutions give, flat as it comes."""
    torso = nets.gru(4, 6, planes=nets.Planes(SHAPE, (3,)))
    network = nets.actor_critic(torso, int(np.prod(SHAPE)), 2)
    params = network.init(jax.random.key(0))
    shapes = jax.tree.map(jnp.shape, params["actor"]["encoder"]["params"])
    assert shapes["layers_0"]["Dense_0"]["kernel"] == (9 * SHAPE[0], 3)
    assert shapes["layers_1"]["Dense_0"]["kernel"] == (4 * 3 * 3, 6)
    x = np.zeros((2, *SHAPE), np.float32)
    x[0, 1, 2, 2] = x[1, 1, 2, 3] = 1
    memory = network.initial_memory((2,))
    scores, _, memory = network.step(params, x.reshape(2, -1), memory)
    assert np.abs(scores[0] - scores[1]).max() > 1e-5
    assert memory["actor"].shape == (2, 4)
