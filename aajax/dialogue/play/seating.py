"""Matchups of a training iteration: the learner against itself, past selves or guests.

A past self is a snapshot of the learner's adapter from an earlier iteration; a guest is
another player that does not learn (scripted, or a model behind an endpoint).
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from aajax.dialogue.play.lockstep import Matchup, Seat
from aajax.errors import InputError
from aajax.schema import Share, check

LEARNER = "model"  # the player whose adapter 0 learns; its others are past selves
GUEST = "guest"  # a player that does not learn

Learners = Literal["both", "alternate", "first"]
PastPer = Literal["match", "group"]


@dataclasses.dataclass(frozen=True)
class Seating:
    """Who sits in which seat.

    An opponent, a past self or a guest, takes all seats but the learner's.

    Attributes:
      learners: seats that are learned from. both: the learner sits in both (in all N),
        and learns from all of them. first: seat 0 alone. alternate: seat 0 in one
        group, seat 1 in the next, and so on in turn. In the others is the learner, a
        past self or a guest
      past_share: fraction of matches in which a past self is the opponent, once there
        is one; nothing is learned from its seats
      past_per: draw the opponent for each match, or for each group, so that returns
        that share a baseline are against the same opponent
      guest_share: fraction of matches in which the guest is the opponent; past_share
        is of the others
    """

    learners: Learners = "both"
    past_share: Share = 0.0
    past_per: PastPer = "match"
    guest_share: Share = 0.0

    __post_init__ = check


def matchups(
    seating: Seating,
    rng: np.random.Generator,
    num_matches: int,
    group_size: int,
    past: Sequence[int] = (),
    first_number: int = 0,
    *,
    num_seats: int,
) -> list[Matchup]:
    """Draws the matchups of an iteration.

    Where there is an opponent, the learner takes seat g mod N in group g, or seat 0
    with learners "first", and the opponent the N − 1 others. What is drawn does not
    depend on N.

    Args:
      seating: rules.
      rng: random generator.
      num_matches: M.
      group_size: number of consecutive matches with the same environment seed.
      past: indices of past selves' adapters, above 0.
      first_number: number of the first match.
      num_seats: N, of the game.

    Raises:
      InputError: if groups do not add up to the matches.
    """
    if group_size < 1 or num_matches % group_size:
        raise InputError(
            f"group_size is {group_size}: a divisor of the {num_matches} matches is "
            "needed"
        )
    num_groups = num_matches // group_size
    seeds = rng.integers(0, 2**31, num_groups)
    drawn = _opponents(seating, rng, num_matches, past)
    if seating.past_per == "group":
        of_group = _opponents(seating, rng, num_groups, past)
        drawn = [of_group[m // group_size] for m in range(num_matches)]
    matches = []
    for m, opponent in enumerate(drawn):
        group = m // group_size
        mine = group % num_seats if seating.learners != "first" else 0
        seats = [Seat(LEARNER, 0)] * num_seats
        trained = [True] * num_seats
        if opponent is not None or seating.learners != "both":
            seats = [opponent or Seat(LEARNER, 0)] * num_seats
            seats[mine] = Seat(LEARNER, 0)
            trained = [seat == mine for seat in range(num_seats)]
        matches.append(
            Matchup(
                first_number + m, group, int(seeds[group]), tuple(seats), tuple(trained)
            )
        )
    return matches


def _opponents(
    seating: Seating, rng: np.random.Generator, count: int, past: Sequence[int]
) -> list[Seat | None]:
    """The opponent in each match, a past self or guest; None for the learner itself."""
    guests = rng.random(count) < seating.guest_share
    earlier = rng.random(count) < seating.past_share
    which = rng.integers(0, max(len(past), 1), count)
    return [
        Seat(GUEST)
        if guests[i]
        else Seat(LEARNER, past[which[i]])
        if earlier[i] and past
        else None
        for i in range(count)
    ]


def num_rows(seating: Seating, num_matches: int, num_seats: int) -> int:
    """Upper bound of the number of seats that are trained on in an iteration."""
    return num_matches * (num_seats if seating.learners == "both" else 1)


def num_spoken(seating: Seating, num_matches: int, num_seats: int) -> int:
    """Upper bound of the number of seats that the model speaks for in an iteration."""
    return num_matches * (1 if seating.guest_share == 1.0 else num_seats)
