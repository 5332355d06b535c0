"""Which agent's action an advantage is owed to, for all seats of a trajectory.

An attribution maps advantages f32[T, B, N] and their trajectory to f32[T, B, N, N], the
part A_i^j of agent i's advantage that is owed to agent j's action in row i, column j.
"""

from collections.abc import Callable

import jax

from aajax.ops import attribution
from aajax.types import Array, Trajectory

Attribution = Callable[[Array, Trajectory], Array]


def by_regression(num_actions: int) -> Attribution:
    """Regresses advantages on the agents' actions, over all steps and games together.

    A_i^j is the mean effect of j's action on i's advantage, whatever the state; see
    `ops.attribution.least_squares_parts`. What an action does later on is part of its
    effect, as far as advantages have it.

    Args:
      num_actions: of the seat with most of them; actions are numbered.
    """

    def attribute(advantage: Array, trajectory: Trajectory) -> Array:
        num_steps, num_games, num_agents = advantage.shape
        feature = jax.nn.one_hot(trajectory.action, num_actions, dtype=advantage.dtype)
        parts = attribution.least_squares_parts(
            advantage.reshape(-1, num_agents),
            feature.reshape(-1, num_agents, num_actions),
        )
        return parts.reshape(num_steps, num_games, num_agents, num_agents)

    return attribute
