"""What is measured of meta-games."""

from aajax.envs.meta_matrix.env import MetaMatrixGame
from aajax.types import Array, Episodes


def measures(env: MetaMatrixGame, episodes: Episodes) -> dict[str, Array]:
    """What the naive learner earned, and both in the last step."""
    del env
    learner = episodes.state.reward[1:]
    own = episodes.trajectory.reward[..., 0]
    return {
        "reward of the naive learner": episodes.mean(learner),
        "reward in the last step": own[-1].mean(),
        "reward of the naive learner in the last step": learner[-1].mean(),
    }
