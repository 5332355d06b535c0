"""Arguments that are one for all rows of a batch, or one for each."""

import jax
import jax.numpy as jnp
import numpy as np

from aajax.types import Array, PRNGKey


def per_row(name: str, value: Array | float, dtype: type, batch: int) -> np.ndarray:
    """`value`, one for all rows or one for each, as [B] and not shared."""
    value = np.asarray(value)
    if value.shape not in ((), (batch,)):
        raise ValueError(f"{name} has shape {value.shape}: () or ({batch},) is needed")
    return np.array(np.broadcast_to(value, (batch,)), dtype)


def pad(x: np.ndarray, rows: int, fill: float) -> np.ndarray:
    """[rows, ...], the last ones filled."""
    widths = [(0, rows - len(x))] + [(0, 0)] * (x.ndim - 1)
    return np.pad(x, widths, constant_values=fill)


def row_keys(key: PRNGKey, batch: int, padded: int) -> PRNGKey:
    """key[P]: one key folded with each row's number, or B keys as they are."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    row = np.arange(padded, dtype=np.int32)
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, row)
    if key.shape != (batch,):
        raise ValueError(f"key has shape {key.shape}: () or ({batch},) is needed")
    return key[np.minimum(row, batch - 1)]


def fold(keys: PRNGKey, number: int) -> PRNGKey:
    """Each row's key folded with the same number."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def power_of_two(number: int) -> int:
    """The least one that is not below `number`."""
    return 1 << max(number - 1, 0).bit_length()
