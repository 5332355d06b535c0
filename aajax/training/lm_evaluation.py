"""Evaluation of a trained adapter in self-play and against scripted players."""

import dataclasses
from typing import Any, cast

import numpy as np

from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.play.measures import measure
from aajax.dialogue.play.seating import LEARNER
from aajax.dialogue.players.scripted import scripted_names, scripted_player
from aajax.keys import numpy_stream, stream
from aajax.lm.model.decoder import Adapters
from aajax.training.lm_assemble import LmParts, LmState

MATCHES = 64  # with each player; half of them in each seat
ITSELF, BASE, SHUFFLED = "itself", "base", "shuffled"


def evaluate_lm(parts: LmParts, state: LmState) -> dict[str, dict[str, float | None]]:
    """Measures of the learner's seats, by opponent.

    "base" is self-play of the model without its adapter. "shuffled", in games with
    messages, is self-play of the learner in which messages are permuted between
    matches. Answers are sampled under the grammar. Random keys are derived from the
    run's seed, and differ from those of training.
    """
    game = parts.game
    names = scripted_names(game)
    names = [name for name in names if name in ("always_cooperate", "always_defect")]
    adapters = Adapters(state.policy.weights, parts.scale)
    players = parts.line_up(adapters)
    model = cast(Any, players[LEARNER])  # a language model
    players[LEARNER] = dataclasses.replace(model, free_tries=0)
    players |= {name: scripted_player(game, name) for name in names}
    opposite = {ITSELF: Seat(LEARNER, 0), BASE: None}
    opposite |= {name: Seat(name) for name in names}
    # Half as many environments as matches: each is played from both seats.
    rng = numpy_stream(parts.config.seed, "evaluation in words: worlds")
    seeds = rng.integers(0, 2**31, MATCHES // 2).tolist()
    matches, own = [], []
    for index, other in enumerate(opposite.values()):
        for m in range(MATCHES):
            mine = m % 2
            seats = [Seat(LEARNER, 0 if other else -1)] * 2
            if other:
                seats[1 - mine] = other
            both = other is None or other.player == LEARNER
            own.append([both or seat == mine for seat in range(2)])
            number = index * MATCHES + m
            matches.append(Matchup(number, m // 2, seeds[m // 2], tuple(seats)))
    key = stream(parts.config.seed, "evaluation in words: answers")
    played = play(game, players, matches, key)
    seats = np.array(own)
    found = {
        name: measure(
            game,
            played[i * MATCHES : (i + 1) * MATCHES],
            seats[i * MATCHES : (i + 1) * MATCHES],
            by_seat=False,
        )
        for i, name in enumerate(opposite)
    }
    if "message" in game.patterns:
        played = play(game, players, matches[:MATCHES], key, shuffled=("message",))
        found[SHUFFLED] = measure(game, played, by_seat=False)
    return found
