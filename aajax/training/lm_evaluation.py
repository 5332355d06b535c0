"""Evaluation of a trained adapter in self-play and against scripted players."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from aajax.dialogue.play.lockstep import Matchup, Seat, batches, play
from aajax.dialogue.play.matches import Match
from aajax.dialogue.play.measures import measure
from aajax.dialogue.play.seating import LEARNER, num_spoken
from aajax.dialogue.players.scripted import scripted_names, scripted_player
from aajax.keys import numpy_stream, stream
from aajax.lm.mesh.hosts import processes
from aajax.lm.model.decoder import Adapters
from aajax.training.lm_assemble import LmParts, LmState
from aajax.training.lm_config import LmConfig

ITSELF, BASE, SHUFFLED = "itself", "base", "shuffled"
_LEAST = 2  # matches at a time, between which messages can be permuted


def evaluate_lm(
    parts: LmParts,
    state: LmState,
    on_matches: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, float | None]]:
    """Measures of the learner's seats, by opponent.

    "base" is self-play of the model without its adapter. "shuffled", in games with
    messages, is self-play of the learner in which messages are permuted between the
    matches of a batch. Answers are sampled under the grammar. Random keys are derived
    from the run's seed, and differ from those of training.

    At most as many sequences are sampled at a time as in an iteration of training, so
    that no more memory is needed. What happens in a match does not depend on it, but
    for "shuffled". On a mesh over several processes each plays all matches.

    Args:
      parts: of the run.
      state: the adapter that plays.
      on_matches: called after every batch with the matches that were played, and all.
    """
    game, count = parts.game, parts.config.eval.matches
    names = scripted_names(game)
    names = [name for name in names if name in ("always_cooperate", "always_defect")]
    adapters = Adapters(state.policy.weights, parts.scale)
    players = parts.line_up(adapters)
    model = cast(Any, players[LEARNER])  # a language model
    players[LEARNER] = dataclasses.replace(model, free_tries=0)
    players |= {name: scripted_player(game, name) for name in names}
    opposite = {ITSELF: Seat(LEARNER, 0), BASE: None}
    opposite |= {name: Seat(name) for name in names}
    num_seats = game.env.num_agents
    matches, own = _matchups(parts.config, list(opposite.values()), num_seats)
    key = stream(parts.config.seed, "evaluation in words: answers")
    with_messages = "message" in game.patterns
    total = len(matches) + (count if with_messages else 0)
    done, size = 0, matches_at_once(parts.config, len(processes(parts.mesh)))

    def played(matches: list[Matchup], size: int = size, **options) -> list[Match]:
        nonlocal done
        found = []
        for batch in batches(matches, size, _LEAST):
            found += play(game, players, batch, key, **options)
            done += len(batch)
            on_matches(done, total)
        return found

    # N times as many where the model has one seat are as many sequences, and programs.
    all_played = played(matches[: 2 * count])
    all_played += played(matches[2 * count :], num_seats * size)
    found = {}
    for i, name in enumerate(opposite):
        those = slice(i * count, (i + 1) * count)
        found[name] = measure(game, all_played[those], own[those], by_seat=False)
    if with_messages:
        alone = played(matches[:count], shuffled=("message",))
        found[SHUFFLED] = measure(game, alone, by_seat=False)
    return found


def matches_at_once(config: LmConfig, num_processes: int = 1) -> int:
    """Matches in which the model has all seats that each process plays at a time.

    They are as many as an iteration has sequences for; an N-th of its matches where a
    guest has all seats but one.
    """
    num_seats = config.num_seats
    seats = num_spoken(config.seating, config.num_matches, num_seats)
    return max(seats // num_seats // num_processes, _LEAST)


def sequences_at_once(config: LmConfig, num_processes: int = 1) -> int:
    """Sequences of all processes that the closing evaluation samples at a time."""
    # All seats with itself and as the base, one each with two scripted players.
    most = min(matches_at_once(config, num_processes), 2 * config.eval.matches)
    return num_processes * config.num_seats * most


def _matchups(
    config: LmConfig, opposite: list[Seat | None], num_seats: int
) -> tuple[list[Matchup], np.ndarray]:
    """The matches with each opponent, and bool[M, N], which seats are the learner's.

    Each environment is played from every seat in turn, the last one from as many as
    there are matches left; the opponent takes all others.

    Args:
      config: of the run.
      opposite: opponents; None for the base in all seats.
      num_seats: N, of the game.
    """
    count = config.eval.matches
    rng = numpy_stream(config.seed, "evaluation in words: worlds")
    seeds = rng.integers(0, 2**31, -(-count // num_seats)).tolist()
    matches, own = [], []
    for index, other in enumerate(opposite):
        for m in range(count):
            group, mine = divmod(m, num_seats)
            seats = [other or Seat(LEARNER, -1)] * num_seats
            if other:
                seats[mine] = Seat(LEARNER, 0)
            every = other is None or other.player == LEARNER
            own.append([every or seat == mine for seat in range(num_seats)])
            number = index * count + m
            matches.append(Matchup(number, group, seeds[group], tuple(seats)))
    return matches, np.array(own)
