"""Strict JAX for every test: no silent promotion of dtypes or ranks."""

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(params=[False, True], ids=["plain", "jit"])
def maybe_jit(request):
    """The function as it is, and compiled."""
    return jax.jit if request.param else lambda function: function
