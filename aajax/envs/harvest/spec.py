"""The record of the game, for the registry."""

from aajax.envs.harvest.env import commons_harvest
from aajax.envs.harvest.measures import of_episodes, while_training
from aajax.envs.harvest.players import players
from aajax.envs.harvest.view import view
from aajax.envs.spec import EnvSpec


def _draw(path, env, states, names, reward):
    # Of an optional package.
    from aajax.envs.harvest.draw import draw

    draw(path, env, states, names, reward)


SPEC = EnvSpec(
    "harvest",
    "Commons Harvest: Open: apples grow back only where some are left.",
    commons_harvest,
    players=players,
    planes=lambda env: env.plane_shape,
    measures=of_episodes,
    view=view,
    training_measures=while_training,
    draw=_draw,
    opponents=("random", "greedy", "pacifist", "sustainable"),
)
