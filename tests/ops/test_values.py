"""Losses of value estimates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import values as reference

from aajax.ops import values

CLIP = 0.2


def slope(function, *arrays):
    """Derivative of the summed loss by the value."""
    return jax.jit(jax.grad(lambda *x: function(*x).sum()))(
        *(jnp.array(x) for x in arrays)
    )


@pytest.fixture
def arrays(normal):
    """Values, values when the data were collected, targets."""
    value = 2 * normal(8, 5)
    return value, value + normal(8, 5) / 4, normal(8, 5)


def test_squared_matches_the_loop(maybe_jit, dtype, assert_close, arrays):
    value, _, target = arrays
    actual = maybe_jit(values.squared)(
        jnp.asarray(value, dtype), jnp.asarray(target, dtype)
    )
    assert_close(actual, reference.squared(value, target))


@pytest.mark.parametrize("delta", [0.5, 1.0])
def test_huber_matches_the_loop(maybe_jit, dtype, assert_close, arrays, delta):
    value, _, target = arrays
    actual = maybe_jit(lambda v, g: values.huber(v, g, delta))(
        jnp.asarray(value, dtype), jnp.asarray(target, dtype)
    )
    assert_close(actual, reference.huber(value, target, delta))


def test_clipped_matches_the_loop(maybe_jit, dtype, assert_close, arrays):
    actual = maybe_jit(lambda *x: values.clipped(*x, CLIP))(
        *(jnp.asarray(x, dtype) for x in arrays)
    )
    assert_close(actual, reference.clipped(*arrays, CLIP))


def test_squared_pulls_with_the_error():
    np.testing.assert_allclose(
        slope(values.squared, [1.0, -2.0], [4.0, -2.5]), [-3.0, 0.5]
    )


def test_huber_pulls_with_the_error_up_to_delta():
    pull = slope(values.huber, [0.5, -0.5, 3.0, -3.0], [0.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(pull, [0.5, -0.5, 1.0, -1.0])
    # The two pieces meet at δ, from either side of it.
    around = values.huber(jnp.array([1.9999, 2.0001]), jnp.zeros(2), 2.0)
    np.testing.assert_allclose(around, 2.0, rtol=2e-4)


def test_clipped_is_never_below_squared_and_equals_it_within_the_clip(arrays):
    value, old, target = (jnp.asarray(x, jnp.float32) for x in arrays)
    bounded = values.clipped(value, old, target, CLIP)
    plain = values.squared(value, target)
    near = jnp.abs(value - old) < CLIP
    np.testing.assert_allclose(bounded[near], plain[near], rtol=1e-5, atol=1e-6)
    assert (bounded >= plain - 1e-5).all()
    assert (bounded > plain + 1e-3).any()


def test_a_value_gains_nothing_by_moving_further_than_the_clip():
    # Past the clip towards the target; past it and away; past the target by itself.
    pull = slope(
        lambda *x: values.clipped(*x, CLIP),
        [0.5, -0.5, 1.5],
        [0.0, 0.0, 0.0],
        [1.0, 1.0, 0.5],
    )
    np.testing.assert_allclose(pull, [0.0, -1.5, 1.0])


def test_arrays_of_different_shapes_are_refused():
    with pytest.raises(AssertionError):
        values.clipped(jnp.zeros(3), jnp.zeros(3), jnp.zeros(2), CLIP)
