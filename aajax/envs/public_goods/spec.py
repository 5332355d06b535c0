"""What the game is and has, in one record."""

from aajax.envs.public_goods.env import public_goods_amounts
from aajax.envs.public_goods.measures import measures, training_measures
from aajax.envs.public_goods.players import players
from aajax.envs.public_goods.view import view
from aajax.envs.public_goods.words import public_goods_words
from aajax.envs.spec import EnvSpec, TextSpec

SPEC = EnvSpec(
    "public_goods_amounts",
    "N agents each contribute 0 to 10 coins; the pot is multiplied, shared.",
    public_goods_amounts,
    players=players,
    measures=measures,
    training_measures=training_measures,
    view=view,
    words=TextSpec(
        "public-goods",
        "Three or more contribute to a pot, and may talk before.",
        public_goods_words,
    ),
)
