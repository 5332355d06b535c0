"""What the game is and has, in one record."""

from aajax.envs.spec import EnvSpec, TextSpec
from aajax.envs.split.env import split
from aajax.envs.split.measures import measures
from aajax.envs.split.players import players
from aajax.envs.split.view import view
from aajax.envs.split.words import split_words

SPEC = EnvSpec(
    "split",
    "Two agents divide ten of each item by simultaneous proposals, all in view.",
    split,
    players=players,
    measures=measures,
    view=view,
    words=TextSpec(
        "split",
        "Two divide items of known worth by simultaneous proposals.",
        split_words,
    ),
)
