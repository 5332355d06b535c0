"""Who sits where and who learns, rule by rule."""

import collections

import numpy as np
import pytest

from aajax.dialogue.play.lockstep import Matchup, Seat
from aajax.dialogue.play.seating import Seating, matchups, num_rows, num_spoken

ME, GUEST = Seat("model", 0), Seat("guest", -1)


def past(number):
    return Seat("model", number)


def drawn(
    seating, num_matches=8, group_size=2, num_past=0, seed=0, num_seats=2, **options
):
    rng = np.random.default_rng(seed)
    past_selves = range(1, num_past + 1)
    return matchups(
        *(seating, rng, num_matches, group_size, past_selves),
        num_seats=num_seats,
        **options,
    )


def held(matches):
    return [(match.seats, match.trained) for match in matches]


def test_both_learn_from_each_other():
    matches = drawn(Seating(), num_past=3, first_number=40)
    assert held(matches) == [((ME, ME), (True, True))] * 8
    assert [match.number for match in matches] == list(range(40, 48))
    assert [match.group for match in matches] == [0, 0, 1, 1, 2, 2, 3, 3]
    seeds = [match.env_seed for match in matches]
    assert seeds[::2] == seeds[1::2]
    assert len(set(seeds)) == 4
    assert all(isinstance(seed, int) and 0 <= seed < 2**31 for seed in seeds)
    assert isinstance(matches[0], Matchup)


def test_the_learners_seat_alternates_from_group_to_group():
    """Opposite sits the learner too, but nobody learns there."""
    expected = [((ME, ME), (True, False)), ((ME, ME), (False, True))]
    assert held(drawn(Seating("alternate"), 4, 1)) == expected * 2
    first, second = expected
    assert held(drawn(Seating("alternate"), 6, 3)) == [first] * 3 + [second] * 3


def test_the_learners_seat_is_the_first():
    assert held(drawn(Seating("first"))) == [((ME, ME), (True, False))] * 8


@pytest.mark.parametrize("learners", ["both", "alternate", "first"])
def test_past_selves_sit_opposite_and_do_not_learn(learners):
    matches = drawn(Seating(learners, past_share=1.0), num_past=3)
    for match in matches:
        mine = match.group % 2 if learners != "first" else 0
        assert match.seats[mine] == ME
        assert match.seats[1 - mine] in [past(1), past(2), past(3)]
        assert match.trained == ((True, False) if mine == 0 else (False, True))
    # Without any there is nobody else than the learner.
    alone = drawn(Seating(learners, past_share=1.0))
    assert held(alone) == held(drawn(Seating(learners)))


def test_past_selves_are_those_that_there_are():
    seating, rng = Seating("first", past_share=1.0), np.random.default_rng(0)
    matches = matchups(seating, rng, 40, 1, [3, 40], num_seats=2)
    assert {match.seats[1] for match in matches} == {past(3), past(40)}


def test_how_often_past_selves_and_guests_sit_opposite():
    seating = Seating("alternate", past_share=0.5, guest_share=0.25)
    matches = drawn(seating, num_matches=4000, group_size=4, num_past=3)
    opposite = [match.seats[1 - match.group % 2] for match in matches]
    share = {seat: n / 4000 for seat, n in collections.Counter(opposite).items()}
    assert set(share) == {ME, GUEST, past(1), past(2), past(3)}
    # Five deviations of a mean of 4000.
    assert share[GUEST] == pytest.approx(0.25, abs=0.035)
    # Guests come first: half of the others.
    assert share[ME] == pytest.approx(0.375, abs=0.04)
    for number in (1, 2, 3):
        assert share[past(number)] == pytest.approx(0.125, abs=0.027)
    # Drawn match by match: groups are mixed.
    mixed = [len(set(opposite[m : m + 4])) > 1 for m in range(0, 4000, 4)]
    assert sum(mixed) > 700


def test_opponents_of_a_group():
    seating = Seating("both", past_share=0.5, past_per="group")
    matches = drawn(seating, num_matches=800, group_size=4, num_past=2)
    kinds = collections.Counter()
    for m in range(0, 800, 4):
        group = held(matches[m : m + 4])
        assert group == [group[0]] * 4
        kinds[group[0][0][1 - m // 4 % 2]] += 1
    assert set(kinds) == {ME, past(1), past(2)}
    assert kinds[ME] / 200 == pytest.approx(0.5, abs=0.18)


def test_a_guest_always():
    matches = drawn(Seating("first", past_share=1.0, guest_share=1.0), num_past=5)
    assert held(matches) == [((ME, GUEST), (True, False))] * 8


@pytest.mark.parametrize("past_per", ["match", "group"])
def test_all_follows_from_the_generator(past_per):
    seating = Seating("alternate", 0.5, past_per, 0.2)
    options = {"num_matches": 64, "num_past": 4}
    assert drawn(seating, seed=1, **options) == drawn(seating, seed=1, **options)
    assert drawn(seating, seed=1, **options) != drawn(seating, seed=2, **options)
    # The environments do not depend on who plays.
    plain = drawn(Seating(), seed=1, **options)
    again = drawn(seating, seed=1, **options)
    seeds = [[match.env_seed for match in one] for one in (plain, again)]
    assert seeds[0] == seeds[1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"past_share": 1.5}, "past_share is 1.5: a number in [0, 1] is needed"),
        ({"past_share": float("nan")}, "past_share is nan: a number in [0, 1]"),
        ({"guest_share": -0.1}, "guest_share is -0.1: a number in [0, 1] is needed"),
        ({"learners": "none"}, "learners is 'none': one of both, alternate, first is"),
        ({"past_per": "day"}, "past_per is 'day': one of match, group is needed"),
    ],
)
def test_rules_that_are_none(options, reason):
    with pytest.raises(ValueError) as error:
        Seating(**options)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize("group_size", [0, 3, 16])
def test_groups_that_do_not_add_up(group_size):
    with pytest.raises(ValueError, match=f"^group_size is {group_size}: a divisor of"):
        drawn(Seating(), group_size=group_size)


@pytest.mark.parametrize("num_seats", [2, 3, 5])
def test_how_many_seats_are_learned_from(num_seats):
    each = {"both": num_seats, "alternate": 1, "first": 1}
    for learners, count in each.items():
        seating = Seating(learners)
        assert num_rows(seating, 8, num_seats) == 8 * count
        matches = drawn(seating, num_seats=num_seats)
        assert sum(sum(match.trained) for match in matches) == 8 * count
        seats = [seat for match in matches for seat in match.seats]
        assert seats == [ME] * num_spoken(seating, 8, num_seats)
    seating = Seating("both", guest_share=1.0)
    matches = drawn(seating, num_seats=num_seats)
    seats = [seat for match in matches for seat in match.seats]
    assert seats.count(ME) == 8 == num_spoken(seating, 8, num_seats)


@pytest.mark.parametrize("learners", ["both", "alternate", "first"])
def test_an_opponent_takes_all_other_seats_of_three(learners):
    matches = drawn(Seating(learners, past_share=1.0), 24, num_past=3, num_seats=3)
    opposite = set()
    for match in matches:
        mine = match.group % 3 if learners != "first" else 0
        others = [seat for i, seat in enumerate(match.seats) if i != mine]
        assert match.seats[mine] == ME and others == [others[0]] * 2
        assert match.trained == tuple(seat == mine for seat in range(3))
        opposite |= set(others)
    assert opposite == {past(1), past(2), past(3)}
    alone = drawn(Seating(learners), 24, num_seats=3)
    assert {match.seats for match in alone} == {(ME, ME, ME)}
    if learners == "both":
        assert {match.trained for match in alone} == {(True, True, True)}
    else:
        assert [m.trained for m in alone] == [m.trained for m in matches]


def test_chance_is_the_same_for_any_number_of_seats():
    seating = Seating("first", 0.5, "match", 0.2)
    two, four = (drawn(seating, 64, num_past=4, num_seats=n) for n in (2, 4))
    assert [m.env_seed for m in two] == [m.env_seed for m in four]
    assert [m.seats[1] for m in two] == [m.seats[3] for m in four]


def test_what_earlier_runs_drew():
    """Runs of two seats go on as they were begun."""
    seating = Seating("alternate", 0.5, "match", 0.2)
    rng = np.random.default_rng(7)
    matches = matchups(seating, rng, 12, 3, [10, 20, 40], num_seats=2)
    seeds = [match.env_seed for match in matches[::3]]
    assert seeds == [2029167941, 1342382292, 1469265226, 1926751966]
    opposite = [match.seats[1 - match.group % 2] for match in matches]
    assert opposite == [ME] * 4 + [GUEST, ME] + [past(20)] * 2 + [ME] + [
        past(20)
    ] * 2 + [ME]
