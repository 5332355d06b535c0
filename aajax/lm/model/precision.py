"""In which precision matrices are multiplied, beside the dtype of arrays."""

import contextlib
import functools
from pathlib import Path
from typing import Literal

import jax

MatmulPrecision = Literal["float32", "bfloat16"]

# What Linux calls a CPU's instructions for products of bfloat16, on x86 and on ARM.
_PRODUCTS = {"avx512_bf16", "amx_bf16", "bf16"}
_CPU = Path("/proc/cpuinfo")


def matmuls_in(precision: MatmulPrecision | None) -> contextlib.AbstractContextManager:
    """Products that are traced inside have factors of this precision.

    It is `jax.default_matmul_precision`, which CPUs obey here too: they round factors
    of float32 to bfloat16 and sum up in float32, whether or not they have instructions
    for it (see `cpu_has_bfloat16`). None leaves it as it is.
    """
    if precision is None:
        return contextlib.nullcontext()
    return jax.default_matmul_precision(precision)


def is_rounded() -> bool:
    """Whether factors of products are rounded to bfloat16."""
    return jax.config.jax_default_matmul_precision in ("bfloat16", "BF16_BF16_F32")  # pyright: ignore[reportAttributeAccessIssue]


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether this machine's CPU has instructions for products of bfloat16.

    Without them such products take up to twice the time of those of float32. Where the
    system does not say, a CPU is taken to have none.
    """
    try:
        text = _CPU.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return not _PRODUCTS.isdisjoint(text.split())
