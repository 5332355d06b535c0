"""What players did in matches, in numbers.

Each measure is a total over a count, rounds in which a seat cooperated over all rounds
for instance, kept for every match and seat: so that any matches, seats or groups of
matches with equal worlds can be summed up, and intervals be had over them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from aajax.dialogue.games import TextGame
from aajax.dialogue.matches import Match
from aajax.dialogue.trust_and_split import NO_HAND
from aajax.envs.base import Environment
from aajax.envs.matrix import IteratedMatrixGame
from aajax.envs.negotiation import NegotiationGame
from aajax.envs.split import STOCK, Split
from aajax.envs.trust_and_split import HANDS, TrustAndSplit
from aajax.errors import InputError


def outcomes(num_agents: int) -> tuple[str, ...]:
    """Of the round before: who cooperated in it, oneself first: start, cc, cd, dc, dd.

    Which of the others it was does not matter, so that of N agents there are 1 + 2 N.
    """
    others = num_agents - 1
    return (
        "start",
        *(
            own + "c" * others_cooperating + "d" * (others - others_cooperating)
            for own in "cd"
            for others_cooperating in range(others, -1, -1)
        ),
    )


class Tally(NamedTuple):
    """A measure of M matches; what it is of some of them is Σ total / Σ count.

    Attributes:
      total: f64[M, N].
      count: f64[M, N], of what the total is over; 0 where nothing was.
    """

    total: np.ndarray
    count: np.ndarray

    def mean(self, seats: np.ndarray | None = None) -> float | None:
        """Σ total / Σ count over the seats bool[M, N] (all if None); None over none."""
        total, count = (
            float((x if seats is None else x[seats]).sum())
            for x in (self.total, self.count)
        )
        return total / count if count else None


def measure(
    game: TextGame,
    matches: Sequence[Match],
    seats: np.ndarray | None = None,
    by_seat: bool = True,
) -> dict[str, float | None]:
    """The measures of `tallies`, summed up over matches.

    Args:
      game: that was played.
      matches: M of them.
      seats: bool[M, N], which count, such as `[match.trained for match in matches]`;
        all if None.
      by_seat: whether there is NAME_seat_I for each seat beside NAME for all of them.

    Returns:
      Name → number, None where there was nothing to be measured.
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
    Of matrix games, where action 0 is to cooperate:
      cooperation, mutual_cooperation: share of rounds.
      cooperation_after_O: the same of rounds after the outcome O, see `outcomes`.
    Of games in which proposals are made:
      proposal_where_higher, proposal_where_lower: items asked for, of kinds that are
        worth more or less to oneself than to the other; kinds of equal worth are
        skipped.
      split_efficiency: what both earn in a round over the most they could, the mean
        over rounds.
      deals: share of rounds in which there is a deal, where one is needed.
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
    own = _OF_WORLDS.get(type(game.env), _nothing)
    return {
        "reward": _over_rounds(reward),
        **own(game, matches, reward),
        **_of_answers(matches),
    }


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


def _of_choices(game, matches, reward) -> dict[str, Tally]:
    del reward
    cooperates = _actions(game, matches)[:, :, -1] == 0  # [M, T, N]
    own, now, start = cooperates[:, :-1], cooperates[:, 1:], cooperates[:, :1]
    others = own.sum(-1, keepdims=True) - own  # who cooperated besides
    after = {"start": _share(start, np.ones_like(start))}
    for outcome in outcomes(cooperates.shape[-1])[1:]:
        where = (own == (outcome[0] == "c")) & (others == outcome[1:].count("c"))
        after[outcome] = _share(now, where)
    every = np.broadcast_to(cooperates.all(-1, keepdims=True), cooperates.shape)
    return {
        "cooperation": _over_rounds(cooperates),
        "mutual_cooperation": _over_rounds(every),
        **{f"cooperation_after_{outcome}": tally for outcome, tally in after.items()},
    }


def _of_splits(game, matches, reward) -> dict[str, Tally]:
    values = _facts(matches, "values")  # [M, T, N, I]
    asked = _actions(game, matches)[:, :, -1]
    best = STOCK * values.max(-2).sum(-1) / float(game.env.unit)
    return _of_proposals(asked, values) | _efficiency(reward, best)


def _of_trust(game, matches, reward) -> dict[str, Tally]:
    values = _facts(matches, "values")[..., None]  # [M, T, N, 1]
    actions = _actions(game, matches)  # [M, T, R, N]
    best = STOCK * values[..., 0].max(-1) / float(game.env.unit)
    measures = _of_proposals(actions[:, :, -1, :, None], values)
    measures |= _efficiency(reward, best)
    if game.env.num_messages:
        measures |= _of_messages(game, matches, actions)
    return measures


def _of_deals(game, matches, reward) -> dict[str, Tally]:
    values = _facts(matches, "values")
    stock = _facts(matches, "stock")
    asked = _actions(game, matches)[:, :, -1]
    best = (stock[..., 0, :] * values.max(-2)).sum(-1) / game.env.sampler.worth
    deal = (asked.sum(-2) == stock[..., 0, :]).all(-1)  # [M, T]
    return {
        **_of_proposals(asked, values),
        **_efficiency(reward, best),
        "deals": _over_rounds(np.repeat(deal[..., None], reward.shape[-1], -1)),
    }


def _of_proposals(asked: np.ndarray, values: np.ndarray) -> dict[str, Tally]:
    """What both ask for, [M, T, 2, I], by what it is worth."""
    higher, lower = values > values[..., ::-1, :], values < values[..., ::-1, :]
    return {
        f"proposal_where_{name}": Tally(
            (asked * where).sum((1, 3), dtype=float), where.sum((1, 3), dtype=float)
        )
        for name, where in (("higher", higher), ("lower", lower))
    }


def _efficiency(reward: np.ndarray, best: np.ndarray) -> dict[str, Tally]:
    """Both rewards, [M, T, N], over the best total, [M, T]."""
    share = reward.sum(-1) / best
    return {
        "split_efficiency": _over_rounds(
            np.repeat(share[..., None], reward.shape[-1], -1)
        )
    }


def _of_messages(game, matches, actions: np.ndarray) -> dict[str, Tally]:
    kinds = [
        [[turn.kind == "message" for turn in seat] for seat in match.turns]
        for match in matches
    ]
    spoke = np.moveaxis(np.array(kinds), 1, 2).reshape(actions.shape)
    hands = [
        [[HANDS.index(hand) for hand in facts["hands"]] for facts in match.facts]
        for match in matches
    ]
    named = spoke & (actions != NO_HAND)
    honest = named & (actions == np.array(hands)[:, :, None])
    messages, naming, true = (
        x.sum((1, 2), dtype=float) for x in (spoke, named, honest)
    )
    return {
        "messages_naming_a_hand": Tally(naming, messages),
        "honest_messages": Tally(true, naming),
    }


def _actions(game: TextGame, matches: Sequence[Match]) -> np.ndarray:
    """i64[M, T, R, N, ...], R being the steps of a round."""
    actions = np.array([match.actions for match in matches])
    lead = len(matches), game.num_rounds, len(game.steps)
    return actions.reshape(*lead, *actions.shape[2:])


def _facts(matches: Sequence[Match], name: str) -> np.ndarray:
    """f64[M, T, N, ...]."""
    return np.array([[facts[name] for facts in x.facts] for x in matches], float)


def _over_rounds(x: np.ndarray) -> Tally:
    """Of numbers [M, T, N] of each round."""
    return _share(x, np.ones(x.shape, bool))


def _share(x: np.ndarray, where: np.ndarray) -> Tally:
    """Of numbers [M, T, N] of those rounds."""
    return Tally((x * where).sum(1, dtype=float), where.sum(1, dtype=float))


def _nothing(game, matches, reward) -> dict[str, Tally]:
    del game, matches, reward
    return {}


_OF_WORLDS: dict[type[Environment], Callable[..., dict[str, Tally]]] = {
    IteratedMatrixGame: _of_choices,
    Split: _of_splits,
    TrustAndSplit: _of_trust,
    NegotiationGame: _of_deals,
}
