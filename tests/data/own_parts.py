"""Parts of somebody else's: a past, networks, an algorithm, a scripted player."""

import flax.linen as nn
import jax.numpy as jnp

from aajax.learners import presets
from aajax.policies.base import PolicyOutput, scripted_policy
from aajax.training.algorithms import Algorithm, descending
from aajax.training.estimator import make_estimation


def halved(a_t, gamma, last_t=None):
    """What a step earned counts half at the next, whatever γ is."""
    return jnp.concatenate([jnp.zeros_like(a_t[:1]), 0.5 * a_t[:-1]])


class Network(nn.Module):
    num_outputs: int

    @nn.compact
    def __call__(self, observation):
        hidden = nn.relu(nn.Dense(8)(observation))
        return nn.Dense(self.num_outputs)(hidden)


class Recurrent(nn.RNNCellBase):
    """Adds up what it saw."""

    num_outputs: int

    @nn.compact
    def __call__(self, carry, observation):
        carry = carry + observation
        return carry, nn.Dense(self.num_outputs)(carry)

    @property
    def num_feature_axes(self):
        return 1

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(input_shape)


def _objective(parts):
    return presets.naive(**make_estimation(parts.config, parts.hyperparameters))


SELFISH = Algorithm("selfish", "As naive.", learner=descending(_objective))


def second(env):
    """A player that takes action 1 whatever happened."""

    def act(params, key, observation, memory):
        zeros = jnp.zeros(observation.shape[:-1])
        return PolicyOutput(zeros.astype(jnp.int32) + 1, zeros, zeros, memory)

    return scripted_policy(act)
