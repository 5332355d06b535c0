"""Weight initialisers."""

import jax
import jax.numpy as jnp

from aajax.types import Array, PRNGKey


def orthogonal(scale: float = 1.0):
    """Random orthogonal initialiser: orthonormal rows or columns times `scale`.

    The distribution of `jax.nn.initializers.orthogonal`, by Gram-Schmidt in place of
    LAPACK: jaxlib's batched QR, as used when many seeds are initialised under `vmap`,
    can deadlock on CPUs with few cores.
    """

    def init(key: PRNGKey, shape: tuple[int, int], dtype=jnp.float32) -> Array:
        long, short = max(shape), min(shape)
        columns = jax.random.normal(key, (long, short), dtype)

        def orthogonalise(i, q):
            column = columns[:, i]
            for _ in range(2):  # once leaves rounding errors, twice is enough
                column = column - q @ (q.T @ column)
            return q.at[:, i].set(column / jnp.linalg.norm(column))

        q = jax.lax.fori_loop(0, short, orthogonalise, jnp.zeros_like(columns))
        return scale * (q if shape[0] >= shape[1] else q.T)

    return init
