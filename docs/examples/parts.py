"""Parts of one's own: a network, and a way to sum up the past."""

import flax.linen as nn
import jax.numpy as jnp


# --8<-- [start:network]
class Network(nn.Module):
    """Reads observations f32[R, O]; returns f32[R, num_outputs]."""

    num_outputs: int

    @nn.compact
    def __call__(self, observation):
        hidden = nn.tanh(nn.Dense(16)(observation))
        return nn.Dense(self.num_outputs)(hidden)


# --8<-- [end:network]
# --8<-- [start:past]
def last_step(a_t, gamma, last_t=None):
    """γ a_{t−1}: only the step before counts, and not across episodes."""
    before = jnp.concatenate([jnp.zeros_like(a_t[:1]), a_t[:-1]])
    if last_t is not None:
        ended = jnp.concatenate([jnp.zeros_like(last_t[:1]), last_t[:-1]])
        before = jnp.where(ended.reshape(-1, *[1] * (a_t.ndim - 1)), 0.0, before)
    return gamma * before


# --8<-- [end:past]
