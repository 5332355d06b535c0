"""Token batches of matches, with the ids that were read and sampled in play."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aajax.dialogue.play.matches import Match, Turn
from aajax.lm.sampling.session import shared_length
from aajax.types import AnyArray

_LEAST = 16  # tokens of a padded length


class SpeechBatch(NamedTuple):
    """S sequences, each the dialogue of one seat in a whole match; K sampled tokens.

    Attributes:
      opening: i32[S, O], what all sequences begin with, the same in all rows; its
        positions are 0, ..., O − 1.
      tokens: i32[S, L], prompts and answers after it.
      positions: i32[S, L], −1 for padding.
      places: i32[S, K], index in `tokens` of the token before each sampled one.
      targets: i32[S, K], sampled tokens, −1 for padding.
      log_prob: f32[S, K], log-probability when sampled, 0 for padding.
      round: i32[S, K], round of the game, 0 for padding.
      state: i32[S, K], grammar state before the token.
      remaining: i32[S, K], token budget before the token.
      credit: f32[S, K], 0 for padding.
      decisions: i32[S, T], index of the last prompt token before a seat's first answer
        in each round, where the critic reads; −1 if it did not answer.
      adapter_id: i32[S], which of the trained adapters is used.
      entropy_scale: f32[S], factor of the entropy's weight.
      kl_scale: f32[S], factor of the KL penalty's weight.
    """

    opening: AnyArray
    tokens: AnyArray
    positions: AnyArray
    places: AnyArray
    targets: AnyArray
    log_prob: AnyArray
    round: AnyArray
    state: AnyArray
    remaining: AnyArray
    credit: AnyArray
    decisions: AnyArray
    adapter_id: AnyArray
    entropy_scale: AnyArray
    kl_scale: AnyArray


class Place(NamedTuple):
    """A seat in a match whose tokens are recorded."""

    match: int  # in the sequence of matches
    seat: int


def places_of(matches: Sequence[Match], trained_only: bool = True) -> list[Place]:
    """All seats with recorded tokens, ordered by seat, then by match.

    Args:
      matches: M of them.
      trained_only: whether to leave out seats that are not trained on.
    """
    num_agents = len(matches[0].players)
    return [
        Place(b, i)
        for i in range(num_agents)
        for b, match in enumerate(matches)
        if any(turn.tokens for turn in match.turns[i])
        and (match.trained[i] or not trained_only)
    ]


def speech_batch(
    matches: Sequence[Match],
    places: Sequence[Place],
    credit: np.ndarray | None = None,
    *,
    length: int = 0,
    num_targets: int = 0,
    with_opening: bool = False,
) -> SpeechBatch:
    """The padded batch of the given seats.

    L and K are rounded up to 16, 18, 20, ..., 32, 36, 40, ..., 64, 72, ..., so that few
    programs are compiled.

    Args:
      matches: M of them, of T rounds.
      places: seats to include.
      credit: f32[M, T, N], of each round; 0 if None.
      length: lower bound of L.
      num_targets: lower bound of K.
      with_opening: whether what all sequences begin with is taken out of them, O being
        a multiple of 16.
    """
    rows = [_Row(matches[b].turns[i], len(matches[b].rewards)) for b, i in places]
    opening = _taken_out(rows) if with_opening else []
    longest = max(length, *(len(row.tokens) for row in rows))
    most = max(num_targets, *(len(row.targets) for row in rows))
    length, most = padded_length(longest), padded_length(most)
    rounds = _stack([row.rounds for row in rows], most, 0)
    targets = _stack([row.targets for row in rows], most, -1)
    paid = np.zeros(targets.shape, np.float32)
    if credit is not None:
        for s, (b, i) in enumerate(places):
            paid[s] = np.where(targets[s] >= 0, credit[b, rounds[s], i], 0.0)
    tokens = _stack([row.tokens for row in rows], length, -1)
    position = len(opening) + np.arange(length, dtype=np.int32)
    return SpeechBatch(
        opening=np.tile(np.array(opening, np.int32), (len(rows), 1)),
        tokens=np.maximum(tokens, 0),
        positions=np.where(tokens >= 0, position, -1).astype(np.int32),
        places=_stack([row.places for row in rows], most, 0),
        targets=targets,
        log_prob=_stack([row.log_prob for row in rows], most, 0.0, np.float32),
        round=rounds,
        state=_stack([row.state for row in rows], most, 0),
        remaining=_stack([row.remaining for row in rows], most, 0),
        credit=paid,
        decisions=np.array([row.decisions for row in rows], np.int32),
        adapter_id=np.zeros(len(rows), np.int32),
        entropy_scale=np.ones(len(rows), np.float32),
        kl_scale=np.ones(len(rows), np.float32),
    )


class _Row:
    """One seat's lists."""

    def __init__(self, turns: Sequence[Turn], num_rounds: int):
        self.tokens: list[int] = []
        self.places: list[int] = []
        self.targets: list[int] = []
        self.log_prob: list[float] = []
        self.rounds: list[int] = []
        self.state: list[int] = []
        self.remaining: list[int] = []
        self.decisions = [-1] * num_rounds
        for turn in turns:
            if turn.tokens is not None:
                self._add(turn, turn.step * num_rounds // len(turns))
        # The last sampled token is a target alone.
        if self.targets and self.places[-1] == len(self.tokens) - 2:
            self.tokens.pop()

    def _add(self, turn: Turn, round_: int) -> None:
        said = turn.tokens
        assert said is not None
        self.tokens += said.prompt
        if self.decisions[round_] < 0:
            self.decisions[round_] = len(self.tokens) - 1
        first = len(self.tokens) - 1
        self.places += range(first, first + len(said.ids))
        self.tokens += said.ids
        self.targets += said.ids
        self.log_prob += said.log_prob
        self.rounds += [round_] * len(said.ids)
        self.state += said.state
        self.remaining += said.remaining


def _taken_out(rows: Sequence[_Row]) -> list[int]:
    """What all rows begin with, before the first token that is read off."""
    first = min(min(row.places) for row in rows)
    size = min(shared_length([row.tokens for row in rows]), first - first % _LEAST)
    opening = rows[0].tokens[:size]
    for row in rows:
        row.tokens = row.tokens[size:]
        row.places = [place - size for place in row.places]
        row.decisions = [at if at < 0 else at - size for at in row.decisions]
    return opening


def _stack(rows: Sequence[list], size: int, fill, dtype: type = np.int32) -> np.ndarray:
    """[S, size]."""
    out = np.full((len(rows), size), fill, dtype)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return out


def padded_length(size: int) -> int:
    """The least of 16, 18, 20, ..., 32, 36, ..., 64, 72, ... not below `size`."""
    bucket = _LEAST
    while 2 * bucket < size:
        bucket *= 2
    step = bucket // 8
    return max(bucket, step * math.ceil(size / step))
