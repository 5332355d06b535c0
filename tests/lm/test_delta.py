"""Gated DeltaNet in chunks against the recurrence, token by token in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.lm.model import delta


def recurrence(query, key, value, log_forget, write, state):
    batch, length, heads, _ = key.shape
    y, state = np.zeros(value.shape), state.copy()
    for b in range(batch):
        for h in range(heads):
            s = state[b, h]
            for t in range(length):
                k, v = key[b, t, h], value[b, t, h]
                s = np.exp(log_forget[b, t, h]) * s
                s = s + write[b, t, h] * np.outer(k, v - s.T @ k)
                y[b, t, h] = s.T @ query[b, t, h]
            state[b, h] = s
    return y, state


@pytest.mark.parametrize("length", [1, 20, 29])
def test_chunks_are_the_recurrence(length, monkeypatch):
    monkeypatch.setattr(delta, "CHUNK", 8)
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(2, length, 3, size)) for size in (4, 4, 5)]
    given[1] /= np.linalg.norm(given[1], axis=-1, keepdims=True)
    given.append(-rng.exponential(0.5, (2, length, 3)))
    given.append(rng.uniform(size=(2, length, 3)))
    given.append(rng.normal(size=(2, 3, 4, 5)))
    wanted, state = recurrence(*given)
    given = [jnp.asarray(x, jnp.float32) for x in given]
    found, after = jax.jit(delta.delta_rule)(*given)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(after, state, atol=2e-5)
