"""Measures of matches, such as cooperation rates.

Each measure is a ratio of sums (rounds with cooperation over all rounds, for instance),
kept as sum and count for every match and seat, so that it can be aggregated over any
subset of matches and seats, with confidence intervals over groups of matches.
"""

from collections.abc import Sequence

import numpy as np

from aajax.dialogue.play.matches import Match
from aajax.envs.tallies import over_rounds
from aajax.envs.text import Tally, TextGame
from aajax.errors import InputError
from aajax.lm.sampling.grammar import FREE


def measure(
    game: TextGame,
    matches: Sequence[Match],
    seats: np.ndarray | None = None,
    by_seat: bool = True,
) -> dict[str, float | None]:
    """The measures of `tallies`, aggregated over matches.

    Args:
      game: that was played.
      matches: M of them.
      seats: bool[M, N], seats that count, such as
        `[match.trained for match in matches]`; None for all.
      by_seat: whether to add NAME_seat_I for each seat to NAME for all of them.

    Returns:
      Name → number, None if there is no data.
    """
    found = tallies(game, matches)
    shape = found["reward"].total.shape
    seats = np.ones(shape, bool) if seats is None else np.asarray(seats, bool)
    if seats.shape != shape:
        raise InputError(f"seats has shape {seats.shape}: {shape} is needed")
    measures = {name: tally.mean(seats) for name, tally in found.items()}
    if by_seat:
        for seat in range(shape[1]):
            own = seats & (np.arange(shape[1])[None] == seat)
            for name, tally in found.items():
                measures[f"{name}_seat_{seat}"] = tally.mean(own)
    return measures


def tallies(game: TextGame, matches: Sequence[Match]) -> dict[str, Tally]:
    """What is measured of each match and seat, by name.

    Of all games:
      reward: per round.
      invalid_answers: share of answers that are not of the form asked for.
      retried_answers: share of answers before which others were thrown away.
      answer_tokens: of answers whose tokens are known.
    Where a language model sampled answers without the grammar:
      valid_free_answers_KIND: share of valid ones among those, rejected ones included;
        for each kind of answer.
    Of matrix games, where action 0 is to cooperate:
      cooperation, mutual_cooperation: share of rounds.
      cooperation_after_O: the same of rounds after the outcome O, see
        `envs.matrix.words.outcomes`.
    Of games in which proposals are made:
      proposal_where_higher, proposal_where_lower: items asked for, of kinds that are
        worth more or less to oneself than to the other; kinds of equal worth are
        skipped.
      split_efficiency: what both earn in a round over the most they could, the mean
        over rounds.
      deals: share of rounds in which there is a deal, where one is needed.
    Of public goods:
      contribution: share of its coins that a player gives.
      contribution_after_start: the same of first rounds; contribution_after_nothing,
        _little, _much, _all: of rounds after one in which the others gave so much.
      efficiency: what all earn in a round over the most they could.
    Of games with hidden hands:
      messages_naming_a_hand: share of messages; counts the first hand that one names.
      honest_messages: share of those that name one's own hand.

    Raises:
      InputError: if there are no matches, or some are not of this game.
    """
    if not matches:
        raise InputError("matches is empty: at least one is needed")
    for match in matches:
        rounds = len(match.rewards)
        if match.game != game.name or rounds != game.num_rounds:
            raise InputError(
                f"matches has one of {match.game} with {rounds} rounds: {game.name} "
                f"with {game.num_rounds} is needed"
            )
    reward = np.array([match.rewards for match in matches], float)  # [M, T, N]
    free = free_answers(game, matches)
    if not any(tally.count.any() for tally in free.values()):
        free = {}
    return {
        "reward": over_rounds(reward),
        **game.tallies(matches, reward),
        **_of_answers(matches),
        **{f"valid_free_answers_{kind}": tally for kind, tally in free.items()},
    }


def free_answers(game: TextGame, matches: Sequence[Match]) -> dict[str, Tally]:
    """Of each kind of answer, which of those that were sampled freely were valid.

    Known of local language models alone. Of an answer that took n tries the first n − 1
    were free and not valid; the last one was free, and valid, or under the grammar.
    """
    shape = len(matches), len(matches[0].turns)
    counts = {kind: np.zeros((2, *shape)) for kind in game.patterns}
    for m, match in enumerate(matches):
        for i, turns in enumerate(match.turns):
            for turn in turns:
                if turn.tokens is None or turn.kind not in counts:
                    continue
                is_free = turn.tokens.state[:1] == [FREE]
                counts[turn.kind][:, m, i] += is_free, turn.tries - 1 + is_free
    return {kind: Tally(*each) for kind, each in counts.items()}


def _of_answers(matches: Sequence[Match]) -> dict[str, Tally]:
    shape = len(matches), len(matches[0].turns)
    answers, invalid, retried, spoken, tokens = np.zeros((5, *shape))
    for m, match in enumerate(matches):
        for i, turns in enumerate(match.turns):
            given = [turn for turn in turns if turn.kind is not None]
            lengths = [len(turn.tokens.ids) for turn in given if turn.tokens]
            answers[m, i] = len(given)
            invalid[m, i] = sum(not turn.valid for turn in given)
            retried[m, i] = sum(turn.tries > 1 for turn in given)
            spoken[m, i], tokens[m, i] = len(lengths), sum(lengths)
    return {
        "invalid_answers": Tally(invalid, answers),
        "retried_answers": Tally(retried, answers),
        "answer_tokens": Tally(tokens, spoken),
    }
