"""Parts of one's own: a network, a past, algorithms, a scripted player."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from aajax.dialogue.learning.credit import Goal
from aajax.learners import presets
from aajax.ops.alignment import alignment_credit
from aajax.policies.base import PolicyOutput, scripted_policy
from aajax.training.algorithms import Algorithm, descending
from aajax.training.estimator import make_estimation


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
# --8<-- [start:algorithm]
def objective(parts):
    """Everybody for the sum of all rewards."""
    return presets.sum_of_rewards(
        **make_estimation(parts.config, parts.hyperparameters)
    )


TOGETHER = Algorithm("together", "Every agent for all.", learner=descending(objective))


# --8<-- [end:algorithm]
# --8<-- [start:goal]
def fair(config):
    """Each for its own reward less half of what it is ahead of the other."""

    def share(reward):
        ahead = jnp.maximum(reward - reward[..., ::-1], 0.0)
        return reward - 0.5 * ahead

    return Goal(share, partial(alignment_credit, gamma=config.past_gamma, beta=1.0))


# --8<-- [end:goal]
# --8<-- [start:player]
def second(env):
    """Takes action 1, whatever happened."""

    def act(params, key, observation, memory):
        zeros = jnp.zeros(observation.shape[:-1])
        return PolicyOutput(jnp.ones_like(zeros, jnp.int32), zeros, zeros, memory)

    return scripted_policy(act)


# --8<-- [end:player]
