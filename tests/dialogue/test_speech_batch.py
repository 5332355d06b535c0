"""Matches as arrays: every place, target and padding by hand."""

import numpy as np
import pytest

from aajax.dialogue.learning.batch import Place, places_of, speech_batch
from aajax.dialogue.play.matches import Match, Turn
from aajax.dialogue.players.base import Tokens


def said(step, prompt, ids):
    """A turn whose log-probabilities and so on tell its tokens."""
    tokens = Tokens(
        prompt, ids, [-i / 8 for i in ids], [i + 1000 for i in ids],
        list(range(9, 9 - len(ids), -1)),
    )  # fmt: skip
    return Turn(step, "", "word", "", True, 1, tokens)


def match(*seats, trained=(True, True), rounds=2):
    return Match(
        game="", number=0, group=0, env_seed=0, players=("a",) * len(seats),
        adapters=(0,) * len(seats), turns=tuple(map(tuple, seats)), actions=[],
        rewards=[[0.0, 0.0]] * rounds, trained=trained,
    )  # fmt: skip


# Two rounds of two steps; seat 1 only listens at first, and is not asked in the end.
MATCH = match(
    [said(0, [10, 11, 12], [20, 21]), said(1, [13], [22]),
     said(2, [14, 15], [23, 24, 25]), said(3, [16], [26, 27])],
    [Turn(0, ""), said(1, [30, 31, 32, 33], [40, 41, 42]), Turn(2, ""), Turn(3, "")],
)  # fmt: skip


def test_a_seat_by_hand():
    credit = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    batch = speech_batch([MATCH], [Place(0, 0), Place(0, 1)], credit)
    tokens = [10, 11, 12, 20, 21, 13, 22, 14, 15, 23, 24, 25, 16, 26]  # 27 is left out
    targets = [20, 21, 22, 23, 24, 25, 26, 27]
    places = [2, 3, 5, 8, 9, 10, 12, 13]
    assert batch.tokens.shape == batch.positions.shape == (2, 16)
    assert batch.tokens[0, :14].tolist() == tokens
    assert batch.positions[0, :14].tolist() == list(range(14))
    assert not batch.tokens[0, 14:].any()
    assert (batch.positions[0, 14:] == -1).all()
    shown = {
        "targets": targets,
        "places": places,
        "log_prob": [-i / 8 for i in targets],
        "state": [i + 1000 for i in targets],
        "remaining": [9, 8, 9, 9, 8, 7, 9, 8],
        "round": [0, 0, 0, 1, 1, 1, 1, 1],
        "credit": [0, 0, 0, 2, 2, 2, 2, 2],
    }
    for name, expected in shown.items():
        values = getattr(batch, name)
        assert values.shape == (2, 16)
        assert values[0, :8].tolist() == expected, name
        padding = -1 if name == "targets" else 0
        assert (values[0, 8:] == padding).all(), name
        assert (values[1, 3:] == padding).all(), name
    assert batch.tokens[1, :6].tolist() == [30, 31, 32, 33, 40, 41]
    assert (batch.positions[1, 6:] == -1).all()
    assert batch.places[1, :3].tolist() == [3, 4, 5]
    assert batch.targets[1, :3].tolist() == [40, 41, 42]
    assert batch.credit[1, :3].tolist() == [1, 1, 1]
    # Before the first answer of each round; seat 1 has none in the second.
    assert batch.decisions.tolist() == [[2, 8], [3, -1]]
    assert batch.adapter_id.tolist() == [0, 0]
    for name, values in batch._asdict().items():
        floats = name in ("log_prob", "credit", "entropy_scale", "kl_scale")
        assert values.dtype == (np.float32 if floats else np.int32), name


def test_each_target_is_the_token_after_its_place():
    batch = speech_batch([MATCH], [Place(0, 0)])
    whole = [*batch.tokens[0, :14], 27]
    for place, target in zip(batch.places[0, :8], batch.targets[0, :8], strict=True):
        assert whole[place + 1] == target
    assert not batch.credit.any()


def test_an_answer_without_tokens_ends_what_was_read():
    """As where the grammar allows nothing: the prompt is read, nothing is learned."""
    empty = match([said(0, [1, 2], [3]), said(1, [4, 5], [])], [Turn(0, "")] * 2)
    batch = speech_batch([empty], [Place(0, 0)])
    assert batch.tokens[0, :5].tolist() == [1, 2, 3, 4, 5]
    assert (batch.positions[0] >= 0).sum() == 5
    assert batch.targets[0, :2].tolist() == [3, -1]
    assert batch.decisions.tolist() == [[1, 4]]


def test_seats_are_sorted_and_chosen():
    silent = match([said(0, [1], [2])], [Turn(0, "")], trained=(True, True))
    one = match([said(0, [1], [2])], [said(0, [1], [2])], trained=(False, True))
    matches = [MATCH, silent, one]
    assert places_of(matches) == [(0, 0), (1, 0), (0, 1), (2, 1)]
    everyone = [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1)]
    assert places_of(matches, trained_only=False) == everyone
    credit = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    batch = speech_batch([MATCH, MATCH, MATCH], [Place(2, 1), Place(1, 0)], credit)
    assert batch.credit[:, 0].tolist() == [9, 4]
    assert batch.credit[1, 7] == 6


@pytest.mark.parametrize(
    ("size", "padded"),
    [(16, 16), (17, 18), (64, 64), (65, 72), (97, 104), (129, 144), (257, 288)],
)
def test_few_lengths_are_compiled(size, padded):
    # The last of the sampled tokens is not read.
    long = match([said(0, list(range(1, size)), [7, 8])], [Turn(0, "")], rounds=1)
    assert speech_batch([long], [Place(0, 0)]).tokens.shape == (1, padded)
    talk = match([said(0, [1], [7] * size)], [Turn(0, "")], rounds=1)
    assert speech_batch([talk], [Place(0, 0)]).targets.shape == (1, padded)
    wide = speech_batch([MATCH], [Place(0, 0)], length=size, num_targets=size)
    assert wide.tokens.shape == wide.targets.shape == (1, padded)


def test_what_all_begin_with_is_taken_out():
    begun = list(range(100, 120))

    whole = match(
        [said(0, [*begun, 1], [7, 8])], [said(0, [*begun, 2, 3], [9])], rounds=1
    )
    places = [Place(0, 0), Place(0, 1)]
    plain = speech_batch([whole], places)
    batch = speech_batch([whole], places, with_opening=True)
    assert plain.opening.shape == (2, 0)
    assert batch.opening.tolist() == [begun[:16]] * 2
    assert batch.tokens[:, :6].tolist() == plain.tokens[:, 16:22].tolist()
    assert batch.positions[:, :6].tolist() == plain.positions[:, 16:22].tolist()
    real = plain.targets >= 0
    assert (batch.places[real] == plain.places[real] - 16).all()
    assert (batch.decisions == plain.decisions - 16).all()


def test_an_opening_ends_before_the_first_answer():
    short = match([said(0, [1, 2], [7] * 40)], [Turn(0, "")], rounds=1)
    assert speech_batch([short], [Place(0, 0)], with_opening=True).opening.size == 0
