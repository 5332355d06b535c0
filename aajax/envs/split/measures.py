"""Measures of Split."""

from aajax.envs.measures import efficiency
from aajax.envs.split.env import Split, best_total, values_seen
from aajax.types import Array, Episodes


def measures(env: Split, episodes: Episodes) -> dict[str, Array]:
    """Efficiency, the share of the best possible total reward."""
    values = values_seen(env, episodes.trajectory.observation[:, :, 0])
    return {"efficiency": efficiency(episodes, best_total(env, values))}
