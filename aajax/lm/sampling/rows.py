"""Broadcasting and padding of per-row arguments of a batch."""

import jax
import jax.numpy as jnp
import numpy as np

from aajax.errors import InputError
from aajax.lm.model.cache import few_sizes, power_of_two
from aajax.types import AnyArray, Array, PRNGKey


def per_row(name: str, value: AnyArray | float, dtype: type, batch: int) -> np.ndarray:
    """`value`, a scalar or [B], as a new array [B]."""
    given = np.asarray(value)
    if given.shape not in ((), (batch,)):
        raise InputError(f"{name} has shape {given.shape}: () or ({batch},) is needed")
    return np.array(np.broadcast_to(given, (batch,)), dtype)


def pad(x: np.ndarray, rows: int, fill: float) -> np.ndarray:
    """Pads x along its first axis to [rows, ...] with `fill`."""
    widths = [(0, rows - len(x))] + [(0, 0)] * (x.ndim - 1)
    return np.pad(x, widths, constant_values=fill)


def row_keys(key: PRNGKey, batch: int, padded: int, first: int = 0) -> PRNGKey:
    """Keys of the rows, key[P]: a single key folded with row numbers, or B given keys.

    Rows are numbered from `first` on.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    row = np.arange(padded, dtype=np.int32)
    if key.ndim == 0:
        return _numbered(key, first + row)
    if key.shape != (batch,):
        raise InputError(f"key has shape {key.shape}: () or ({batch},) is needed")
    return key[np.minimum(row, batch - 1)]


@jax.jit
def fold(keys: PRNGKey, number: int) -> PRNGKey:
    """Each row's key folded with the same number."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


@jax.jit
def _numbered(key: PRNGKey, numbers: Array) -> PRNGKey:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)


def block_width(number: int) -> int:
    """Padded length for `number` tokens: 8, 12, 16, 20, 24, 28, 32, 40, ....

    Each length is compiled separately, hence few.
    """
    return max(8, few_sizes(number + -number % 4))


def room_of(number: int) -> int:
    """Room for an answer of `number` tokens: a power of two, at least 16."""
    return max(16, power_of_two(number))


def stop_rows(stop: AnyArray, batch: int, vocab: int) -> np.ndarray:
    """Masks of stop tokens, bool[1, V] for all sequences or bool[B, V]."""
    given = np.asarray(stop, bool)
    if given.shape == (vocab,):
        return given[None]
    if given.shape != (batch, vocab):
        raise InputError(
            f"stop has shape {given.shape}: ({vocab},) or ({batch}, {vocab}) is needed"
        )
    return given
