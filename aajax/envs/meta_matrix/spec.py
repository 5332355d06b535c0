"""What the meta-game is and has, in one record."""

from aajax.envs.meta_matrix.env import meta_ipd
from aajax.envs.meta_matrix.measures import measures
from aajax.envs.meta_matrix.players import players
from aajax.envs.meta_matrix.view import view
from aajax.envs.spec import EnvSpec

SPEC = EnvSpec(
    "meta_ipd",
    "Set a policy of the prisoner's dilemma, step by step, against a naive learner.",
    meta_ipd,
    players=players,
    opponents=(),
    measures=measures,
    view=view,
)
