"""What the game is and has, in one record."""

from aajax.envs.spec import EnvSpec, TextSpec
from aajax.envs.trust_and_split.env import trust_and_split
from aajax.envs.trust_and_split.measures import measures
from aajax.envs.trust_and_split.players import players
from aajax.envs.trust_and_split.view import view
from aajax.envs.trust_and_split.words import trust_and_split_words

SPEC = EnvSpec(
    "trust_and_split",
    "Two agents with hidden hands talk, and then divide ten coins.",
    trust_and_split,
    players=players,
    measures=measures,
    view=view,
    opponents=("always_cooperate", "always_defect", "tit_for_tat", "random"),
    words=TextSpec(
        "trust-and-split",
        "Two with hidden hands talk, and divide coins.",
        trust_and_split_words,
    ),
)
