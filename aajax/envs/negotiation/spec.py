"""What the game is and has, in one record."""

from aajax.envs.negotiation.env import negotiation
from aajax.envs.negotiation.measures import measures
from aajax.envs.negotiation.players import players
from aajax.envs.negotiation.view import view
from aajax.envs.negotiation.words import deal_or_no_deal
from aajax.envs.spec import EnvSpec, TextSpec

SPEC = EnvSpec(
    "negotiation",
    "Two agents divide items that they value differently, round after round.",
    negotiation,
    players=players,
    measures=measures,
    view=view,
    words=TextSpec(
        "deal-or-no-deal",
        "Two talk, and get something only where proposals fit.",
        deal_or_no_deal,
    ),
)
