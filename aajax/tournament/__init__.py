"""Round-robin evaluation of policies with confidence intervals; their responses."""

from aajax.tournament.match import Group, play_line_ups
from aajax.tournament.responses import cooperation_after, outcome_names
from aajax.tournament.table import LineUp, against_copies, round_robin, with_itself

__all__ = [
    "Group",
    "LineUp",
    "against_copies",
    "cooperation_after",
    "play_line_ups",
    "outcome_names",
    "round_robin",
    "with_itself",
]
