"""What a learner is: a pair of pure functions and a state that is a value."""

from collections.abc import Callable
from typing import NamedTuple

from aajax.types import Array, PRNGKey, PyTree, Trajectory

Metrics = dict[str, Array]


class LearnerState(NamedTuple):
    """All that a learner carries from update to update.

    Attributes:
      params: of the policy.
      opt_state: of the optimiser.
      target: a running average of the policy's critic, or None.
    """

    params: PyTree
    opt_state: PyTree
    target: PyTree = None

    @property
    def acting(self) -> PyTree:
        """The parameters that play: values are the target critic's, if there is one."""
        if self.target is None:
            return self.params
        return {**self.params, "critic": self.target}


class Learner(NamedTuple):
    """A pair of pure functions.

    Attributes:
      init: `key -> LearnerState`.
      update: `(key, state, trajectory) -> (state, metrics)`, metrics being scalars by
        name. The trajectory holds every seat; `memory` is that of the seats learned
        from.
    """

    init: Callable[[PRNGKey], LearnerState]
    update: Callable[[PRNGKey, LearnerState, Trajectory], tuple[LearnerState, Metrics]]
