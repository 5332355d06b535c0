"""Matches of the closing evaluation: every environment from every seat."""

import pytest

from aajax.dialogue.play.lockstep import Seat
from aajax.training.lm_config import Evaluation, LmConfig
from aajax.training.lm_evaluation import _matchups

ME, BASE, OTHER = Seat("model", 0), Seat("model", -1), Seat("tit_for_tat")


def planned(num_seats, count=6, seed=3):
    config = LmConfig(seed=seed, eval=Evaluation(count))
    return _matchups(config, [ME, None, OTHER], num_seats)


@pytest.mark.parametrize("num_seats", [2, 3, 5])
def test_each_environment_is_played_from_every_seat(num_seats):
    matches, own = planned(num_seats)
    assert [match.number for match in matches] == list(range(18))
    assert own.shape == (18, num_seats) and own[:12].all()
    for match in matches[:6]:
        assert match.seats == (ME,) * num_seats
    for match in matches[6:12]:
        assert match.seats == (BASE,) * num_seats
    for m, match in enumerate(matches[12:]):
        expected = [OTHER] * num_seats
        expected[m % num_seats] = ME
        assert match.seats == tuple(expected)
        assert own[12 + m].tolist() == [seat == ME for seat in expected]
    seeds = [match.env_seed for match in matches]
    assert seeds[:6] == seeds[6:12] == seeds[12:]
    groups = [m // num_seats for m in range(6)]
    assert [match.group for match in matches[:6]] == groups
    assert len(set(zip(groups, seeds[:6], strict=True))) == len(set(groups))


def test_what_earlier_runs_were_evaluated_in():
    seeds = [match.env_seed for match in planned(2)[0]]
    assert seeds[:6] == [s for s in (1497918927, 1701314862, 467137627) for _ in "ab"]
