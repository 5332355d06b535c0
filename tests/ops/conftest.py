"""Both precisions, and the comparison that suits each."""

from pathlib import Path

import jax
import numpy as np
import pytest

TOLERANCE = {"float32": 5e-6, "float64": 1e-12}


def pytest_collection_modifyitems(items):
    """Uncompiled functions run in single precision alone, which halves their cost:
    compiled ones trace the same code in both."""

    def is_wanted(item):
        params = item.callspec.params if hasattr(item, "callspec") else {}
        here = item.path.parent == Path(__file__).parent
        return not (
            here
            and params.get("maybe_jit") is False
            and params.get("dtype") == "float64"
        )

    items[:] = filter(is_wanted, items)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Name of the floating type that the test computes in."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def assert_close(dtype):
    """Same shape, the type of the test, and values equal up to its rounding.

    The absolute tolerance follows the largest expected entry, since sums that cancel
    are no more precise than their terms.
    """

    def check(actual, expected):
        assert actual.dtype == dtype
        assert actual.shape == np.shape(expected)
        finite = np.abs(np.where(np.isfinite(expected), expected, 0.0))
        scale = max(1.0, float(np.max(finite, initial=0.0)))
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(
            actual, expected, rtol=tolerance, atol=tolerance * scale
        )

    return check


@pytest.fixture
def normal():
    """`normal(*shape)`: the same standard normal draws in every run, of few bits, so
    that both precisions hold them exactly."""
    rng = np.random.default_rng(0)
    return lambda *shape: np.round(rng.normal(size=shape) * 1024) / 1024
