"""In which precision matrices are multiplied, beside the dtype of arrays."""

import contextlib
from typing import Literal

import jax

MatmulPrecision = Literal["float32", "bfloat16"]


def matmuls_in(precision: MatmulPrecision | None) -> contextlib.AbstractContextManager:
    """Products that are traced inside have factors of this precision.

    It is `jax.default_matmul_precision`, which CPUs obey here too: they round factors
    of float32 to bfloat16 and sum up in float32. None leaves it as it is.
    """
    if precision is None:
        return contextlib.nullcontext()
    return jax.default_matmul_precision(precision)


def is_rounded() -> bool:
    """Whether factors of products are rounded to bfloat16."""
    return jax.config.jax_default_matmul_precision in ("bfloat16", "BF16_BF16_F32")  # pyright: ignore[reportAttributeAccessIssue]
