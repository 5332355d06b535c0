"""Products of factors that are rounded to bfloat16, on CPUs with and without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.lm.model import layers, precision
from aajax.lm.model.layers import product
from aajax.lm.model.precision import cpu_has_bfloat16, matmuls_in


@pytest.fixture(params=[True, False], ids=["bfloat16", "float32"])
def multiplies_in(request, monkeypatch):
    """On a CPU that has instructions for it, and on one that has none."""
    monkeypatch.setattr(layers, "cpu_has_bfloat16", lambda: request.param)
    return jnp.bfloat16 if request.param else jnp.float32


def rounded(x):
    return np.asarray(x.astype(jnp.bfloat16), np.float64)


# Of few rows and of many, which are multiplied otherwise if the kernel is bfloat16.
@pytest.mark.parametrize("rows", [5, 70])
@pytest.mark.parametrize("kept_in", ["float32", "bfloat16"])
def test_products_are_of_rounded_factors_and_exact_sums(multiplies_in, rows, kept_in):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(rows, 9)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(9, 4)), kept_in)

    def found(x, kernel):
        with matmuls_in("bfloat16"):
            return product(x, kernel, jnp.float32)

    y = jax.jit(found)(x, kernel)
    np.testing.assert_allclose(y, rounded(x) @ rounded(kernel), rtol=1e-5, atol=1e-6)
    with matmuls_in("bfloat16"):
        turned = product(x, kernel.T, jnp.float32, is_transposed=True)
    np.testing.assert_allclose(turned, y, rtol=1e-5, atol=1e-6)
    exact = x @ kernel.astype(jnp.float32)
    assert np.abs(y - exact).max() > 1e-4


def test_gradients_are_of_rounded_factors(multiplies_in):
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((5, 9), (9, 4)))

    @jax.jit
    def gradients(x, kernel):
        with matmuls_in("bfloat16"):
            return jax.grad(lambda *pair: product(*pair, jnp.float32).sum(), (0, 1))(
                x, kernel
            )

    ones = np.ones((5, 4))
    of_x, of_kernel = gradients(x, kernel)
    np.testing.assert_allclose(of_x, ones @ rounded(kernel).T, rtol=1e-5)
    np.testing.assert_allclose(of_kernel, rounded(x).T @ ones, rtol=1e-5)
    # A product that a CPU emulates would be slower than the exact one.
    text = gradients.lower(x, kernel).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    name = "bf16" if multiplies_in == jnp.bfloat16 else "f32"
    assert products and all(f"x{name}>, tensor" in line for line in products)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("flags\t: fpu avx2 avx512f avx512_bf16 fma\n", True),
        ("flags\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t: fpu avx2 fma\n", False),
        (None, False),
    ],
)
def test_what_the_system_says_of_the_cpu(text, has, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(precision, "_CPU", file)
    assert cpu_has_bfloat16.__wrapped__() == has
