"""Parts of an advantage that are owed to each agent's action.

A_i^j is what agent i gains by what agent j did, over what j was to be expected to do.
The advantage of the joint action is the sum of these parts, of parts that only several
actions together explain, and of chance.
"""

import chex
import jax.numpy as jnp

from aajax.types import Array


def least_squares_parts(advantage: Array, feature: Array, ridge: float = 1e-3) -> Array:
    """A_i^j of M samples, by linear regression of advantages on all agents' actions.

        A_i^j = w_ij · (x_j − mean x_j),
        w = argmin Σ_m (A_i − mean A_i − Σ_j A_i^j)² + ridge · M · |w|²

    All actions are regressed on at once, so that an action gets no credit for others
    that tend to go with it. Parts are exactly 0 where an agent's actions are all equal.

    Args:
      advantage: f[M, N], of each agent.
      feature: f[M, N, F], of each agent's action, such as a one-hot vector.
      ridge: penalty on weights, in units of a feature's variance: an action is
        explained by half of its effect where its variance is no larger.

    Returns:
      f[M, N, N], A_i^j in row i and column j.
    """
    chex.assert_rank([advantage, feature], [2, 3])
    chex.assert_equal_shape_prefix([advantage, feature], 2)
    chex.assert_type([advantage, feature], float)
    num_samples, num_agents, size = feature.shape
    # From the first member, so that equal ones are exactly 0.
    offset = feature - feature[:1]
    centred = offset - jnp.mean(offset, axis=0, keepdims=True)
    table = centred.reshape(num_samples, num_agents * size)
    outcome = advantage - jnp.mean(advantage, axis=0, keepdims=True)
    square = table.T @ table / num_samples
    square += ridge * jnp.eye(len(square), dtype=square.dtype)
    weight = jnp.linalg.solve(square, table.T @ outcome / num_samples)
    weight = weight.reshape(num_agents, size, num_agents)
    return jnp.einsum("mjf,jfi->mij", centred, weight)
