"""Exact values of memory-one policies in iterated matrix games.

A memory-one policy conditions on the last joint action alone. Play is then a Markov
chain over START and the A^N joint actions, and values solve a linear system.
"""

import chex
import jax.numpy as jnp

from aajax.types import Array


def joint_transitions(policies: Array) -> Array:
    """Transition matrix over START and joint actions, f[S, S], S = 1 + A^N.

    Args:
      policies: f[N, S, A], probability of each agent's action after START (row 0)
        and after each joint action, numbered in row-major order of
        (a_1, ..., a_N). The order is the same for all agents: no agent's own action
        comes first in its rows.
    """
    chex.assert_rank(policies, 3)
    num_agents, num_states, _ = policies.shape
    joint = policies[0]
    for agent in range(1, num_agents):
        joint = (joint[:, :, None] * policies[agent][:, None, :]).reshape(
            num_states, -1
        )
    chex.assert_shape(joint, (num_states, num_states - 1))
    return jnp.concatenate([jnp.zeros((num_states, 1), joint.dtype), joint], axis=1)


def memory_one_values(payoff: Array, policies: Array, gamma: Array | float) -> Array:
    """Discounted value of every state of the infinite game to every agent.

        V = (I − γ P)^−1 P r

    where P is `joint_transitions` and r the payoff of each joint action. It is
    differentiable with respect to `policies`, which gives exact policy gradients.

    Args:
      payoff: f[N, A, ..., A], one axis per agent.
      policies: f[N, S, A], as for `joint_transitions`.
      gamma: γ in [0, 1).

    Returns:
      f[S, N]; row 0 is the value at the start of the game.
    """
    num_agents = payoff.shape[0]
    transitions = joint_transitions(policies)
    reward = payoff.reshape(num_agents, -1).T
    reward = jnp.concatenate([jnp.zeros((1, num_agents), reward.dtype), reward])
    identity = jnp.eye(transitions.shape[0], dtype=transitions.dtype)
    return jnp.linalg.solve(identity - gamma * transitions, transitions @ reward)
