"""The record of the game, for the registry."""

from aajax.envs.coin.env import coin_game
from aajax.envs.coin.measures import measures
from aajax.envs.coin.players import players
from aajax.envs.coin.view import view
from aajax.envs.spec import EnvSpec


def _draw(path, env, states, names, reward):
    # Of an optional package.
    from aajax.envs.coin.draw import draw

    draw(path, env, states, names, reward)


SPEC = EnvSpec(
    "coin",
    "On a torus every coin is worth taking, and most are another's.",
    coin_game,
    players=players,
    measures=measures,
    view=view,
    draw=_draw,
)
