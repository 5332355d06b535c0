"""Whether answers are worth sampling without the grammar: a probe before training.

A model that cannot keep to the form of answers wastes every free answer, which takes as
long as the one under the grammar that follows it.
"""

import dataclasses
from typing import Any, NamedTuple, cast

import jax

from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.play.measures import free_answers
from aajax.dialogue.play.seating import LEARNER, matchups
from aajax.keys import numpy_stream, stream
from aajax.lm.mesh.hosts import first_row, processes, rows_of_all
from aajax.lm.model.decoder import Adapters
from aajax.training.lm_assemble import LmParts
from aajax.training.lm_past import Numbered, make_stack

WORTH = 0.1  # least share of valid free answers with which they are sampled


class Found(NamedTuple):
    """What a probe found.

    Attributes:
      answers: kind → how many were sampled without the grammar.
      valid: kind → how many of these were valid.
    """

    answers: dict[str, int]
    valid: dict[str, int]

    @property
    def share(self) -> float:
        """Share of valid ones among all."""
        return sum(self.valid.values()) / max(sum(self.answers.values()), 1)

    @property
    def free_tries(self) -> int:
        """1 if `share` is WORTH or more, else 0."""
        return int(self.share >= WORTH)

    def __str__(self) -> str:
        each = ", ".join(
            f"{self.valid[kind]} of {count} ({kind})"
            for kind, count in self.answers.items()
        )
        then = f"speaking.free_tries is {self.free_tries} in this run"
        return f"answers that were valid without the grammar: {each}; {then}"


def probe(parts: LmParts) -> Found:
    """Plays the first round of a few matches of the model with itself, freely.

    It has the adapter that the run begins with, and as many rows as in the first
    iteration, so that programs are shared. All random numbers follow from the run's
    seed, and are other ones than those of training; guests are not asked.

    Args:
      parts: of the run.
    """
    config = parts.config
    state = parts.init(jax.random.key(config.seed))
    learner = Adapters(state.policy.weights, parts.scale)
    stack = make_stack([config], [learner], parts.mesh)
    players = parts.line_up(stack.adapters)
    model = dataclasses.replace(cast(Any, players[LEARNER]), free_tries=1)
    players = {LEARNER: Numbered(model, stack.places)}
    planned = _planned(parts)
    count = len(planned) // len(processes(parts.mesh))
    first = first_row(parts.mesh, count)
    key = stream(config.seed, "probe of free answers: answers")
    played = play(
        parts.game, players, planned[first : first + count], key, num_rounds=1
    )
    counts = {
        kind: (tally.count.sum(1), tally.total.sum(1))
        for kind, tally in free_answers(parts.game, played).items()
    }
    counts = rows_of_all(parts.mesh, counts)
    answers = {kind: int(each.sum()) for kind, (each, _) in counts.items()}
    valid = {kind: int(each.sum()) for kind, (_, each) in counts.items()}
    return Found(answers, valid)


def _planned(parts: LmParts) -> list[Matchup]:
    """Matches with as many rows of the model as in the first iteration."""
    config = parts.config
    rng = numpy_stream(config.seed, "probe of free answers: worlds")
    num_seats = parts.game.env.num_agents
    first = matchups(
        config.seating, rng, config.num_matches, config.group_size, num_seats=num_seats
    )
    rows = sum(seat.player == LEARNER for one in first for seat in one.seats)
    own = processes(parts.mesh)
    count = max(rows // num_seats // len(own), 1) * len(own)
    seeds = rng.integers(0, 2**31, count).tolist()
    seats = (Seat(LEARNER, 0),) * num_seats
    return [Matchup(number, number, seeds[number], seats) for number in range(count)]


def decided(parts: LmParts, found: Found) -> LmParts:
    """The parts of a run that samples as the probe says."""
    tries = found.free_tries
    speaking = dataclasses.replace(parts.config.speaking, free_tries=tries)
    return dataclasses.replace(
        parts,
        config=dataclasses.replace(parts.config, speaking=speaking),
        model=dataclasses.replace(parts.model, free_tries=tries),
    )
