"""The learner protocol: a pair of pure functions `(init, update)`."""

from collections.abc import Callable
from typing import NamedTuple

from aajax.types import Array, PRNGKey, PyTree, Trajectory

Metrics = dict[str, Array]


class LearnerState(NamedTuple):
    """What a learner carries from update to update.

    Attributes:
      params: of the policy.
      opt_state: of the optimiser.
      target: parameters of the target network, an exponential moving average of the
        critic's; None without one.
    """

    params: PyTree
    opt_state: PyTree
    target: PyTree = None

    @property
    def acting(self) -> PyTree:
        """Parameters for rollouts: the policy's, with the target critic if any."""
        if self.target is None:
            return self.params
        return {**self.params, "critic": self.target}


class Learner(NamedTuple):
    """A learning algorithm as a pair of pure functions.

    Attributes:
      init: `key -> LearnerState`.
      update: `(key, state, trajectory) -> (state, metrics)`, metrics being scalars by
        name. The trajectory holds all seats, but its `memory` only the learning
        policy's.
    """

    init: Callable[[PRNGKey], LearnerState]
    update: Callable[[PRNGKey, LearnerState, Trajectory], tuple[LearnerState, Metrics]]
