"""Orthogonal weights without LAPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.nets.initializers import orthogonal


@pytest.mark.parametrize("shape", [(7, 7), (9, 4), (4, 9), (64, 1)])
def test_it_is_the_matrix_of_jax(shape):
    key = jax.random.key(3)
    actual = jax.jit(lambda k: orthogonal(2.0)(k, shape))(key)
    expected = jax.nn.initializers.orthogonal(2.0)(key, shape)
    np.testing.assert_allclose(actual, expected, atol=2e-5)
    assert actual.dtype == jnp.float32


def test_many_at_once_are_orthogonal():
    keys = jax.random.split(jax.random.key(0), 10)
    many = jax.jit(jax.vmap(lambda k: orthogonal()(k, (32, 32))))(keys)
    products = jnp.einsum("kij,kil->kjl", many, many)
    np.testing.assert_allclose(products, np.stack([np.eye(32)] * 10), atol=1e-5)
    assert not np.allclose(many[0], many[1])
