"""Credits of what was said, recomputed from the matches on disk, one by one."""

import dataclasses
import functools
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from reference import alignment, speech
from tiny_words import TinyWords

from aajax.dialogue.learning import credit
from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.play.matches import save_matches
from aajax.dialogue.play.seating import Seating, matchups
from aajax.dialogue.players.base import Reply, Tokens
from aajax.envs.matrix import public_goods
from aajax.training.lm_assemble import LmParts
from aajax.training.lm_config import LmConfig
from aajax.training.lm_iteration import learn

ROUNDS, MATCHES = 4, 8


class Talker:
    """Answers at random, with tokens that no other has; `Dumb` ones have none."""

    tokens = True

    def start(self, rows):
        return [(row, 0) for row in rows]

    def reply(self, memory, requests, keys):
        replies = [None] * len(requests)
        for i, (row, step) in enumerate(memory):
            kind = requests[i].kind
            if kind is None:
                continue
            rng = np.random.default_rng([row.match, row.seat, step])
            text = "<m>a</m>" if kind == "word" else ("<A>", "<B>")[rng.integers(2)]
            first = 10_000 * row.match + 1000 * row.seat + 10 * step
            ids = [first + i for i in range(1 + int(rng.integers(3)))]
            count = len(ids)
            said = Tokens([1, 2], ids, [-0.5] * count, [0] * count, [9] * count)
            replies[i] = Reply(text, 1, said if self.tokens else None)
        return [(row, step + 1) for row, step in memory], replies


class Dumb(Talker):
    tokens = False


@functools.cache
def played(seating, num_seats=2):
    rng = np.random.default_rng(3)
    planned = matchups(seating, rng, MATCHES, 4, [1, 2], num_seats=num_seats)
    players = {"model": Talker(), "guest": Dumb()}
    game = TinyWords(ROUNDS, *([public_goods(num_seats)] if num_seats > 2 else []))
    return play(game, players, planned, jax.random.key(0))


class Student:
    """Stands in for the learner: keeps the batch that it is to learn from."""

    def update(self, state, batch, params, scale):
        self.batch = batch
        return state, {}


class Oracle:
    """Stands in for a critic: knows any values, and keeps what it is to learn."""

    def __init__(self):
        self.rng = np.random.default_rng(4)

    def value(self, state, params, batch):
        self.values = self.rng.normal(size=batch.decisions.shape).astype(np.float32)
        self.values = np.where(batch.decisions >= 0, self.values, np.float32(0))
        self.decisions = batch.decisions.copy()
        return self.values

    def update(self, state, params, batch, target):
        self.learned, self.target = batch, target
        return "wiser", 0.25


_programs = {}


def compiled(config):
    credit = jax.jit(jax.vmap(config.goal.credit))
    return _programs.setdefault((config.algorithm, config.past), credit)


def learned(config, matches, critic=None):
    """What `learn` makes of the matches, and what the stand-ins were given."""
    student = Student()
    sampler = types.SimpleNamespace(
        config=types.SimpleNamespace(recurring=()), sizes=None
    )
    model = types.SimpleNamespace(params=None, sampler=sampler)
    parts = LmParts(
        config, game=None, model=model, players={}, fit=student, critic=critic,
        scale=None, mesh=None, credit=compiled(config),
    )  # fmt: skip
    policy = types.SimpleNamespace(step=0)
    state = types.SimpleNamespace(policy=policy, critic="critic")
    state, matches, metrics = learn(parts, state, list(matches))
    assert state.policy is policy
    real, opening = student.batch.positions >= 0, student.batch.opening.shape[1]
    assert metrics["tokens"] == real.sum() + real.any(1).sum() * opening
    return matches, student.batch, state, metrics


def assert_paid(batch, records, credits):
    """Every token of the trained seats has its credit, seat 0 first, and no other."""
    expected = [
        (token, paid)
        for seat in range(credits[0].shape[1])
        for record, of_match in zip(records, credits, strict=True)
        for whose, token, paid in speech.paid_tokens(record, of_match)
        if whose == seat
    ]
    real = batch.targets >= 0
    assert batch.targets[real].tolist() == [token for token, _ in expected]
    np.testing.assert_allclose(
        batch.credit[real], [paid for _, paid in expected], rtol=1e-4, atol=1e-5
    )
    assert not batch.credit[~real].any()
    assert (batch.log_prob[real] == -0.5).all()


ALGORITHMS = [
    ("naive", "discounted"),
    ("sum_of_rewards", "discounted"),
    *(("advantage_alignment", past) for past in ("discounted", "strict", "inclusive")),
    *(("advantage_alignment", past) for past in ("summed", "mean", "clipped")),
]
SEATINGS = {
    "both": Seating(),
    "past": Seating(past_share=0.5),
    "alternate": Seating("alternate", 0.5, "group", guest_share=0.3),
    "first": Seating("first"),
}


def reference_past(name):
    if name == "clipped":
        return lambda a, gamma, last: np.clip(
            alignment.discounted_past(a, gamma, last), -1, 1
        )
    return getattr(alignment, f"{name}_past")


def make_config(algorithm, past, seating, **options):
    return LmConfig(
        algorithm=algorithm, past=past, seating=SEATINGS[seating], beta=0.7,
        past_gamma=0.8, gamma=0.9, reward_scale=2.0, num_matches=MATCHES, **options,
    )  # fmt: skip


@pytest.mark.parametrize(("algorithm", "past"), ALGORITHMS)
@pytest.mark.parametrize("seating", SEATINGS)
@pytest.mark.parametrize("baseline", ["group", "batch"])
def test_credits_are_those_of_the_matches_on_disk(
    tmp_path: Path, algorithm, past, seating, baseline
):
    assert_credits(tmp_path, algorithm, past, seating, baseline, num_seats=2)


@pytest.mark.parametrize(("algorithm", "past"), ALGORITHMS[1:3])
@pytest.mark.parametrize("seating", SEATINGS)
def test_credits_of_three_seats(tmp_path: Path, algorithm, past, seating):
    """Co-players' advantages are summed up."""
    assert_credits(tmp_path, algorithm, past, seating, "group", num_seats=3)


def assert_credits(tmp_path, algorithm, past, seating, baseline, num_seats):
    config = make_config(algorithm, past, seating, baseline=baseline, group_size=4)
    matches, batch, _, _ = learned(config, played(config.seating, num_seats))
    save_matches(tmp_path / "matches.jsonl.gz", matches)
    records = speech.read(tmp_path / "matches.jsonl.gz")
    shared = algorithm == "sum_of_rewards"
    advantages = speech.advantages(records, 0.9, 2.0, baseline, shared)
    credits = [
        speech.credits(one, algorithm, 0.8, 0.7, reference_past(past))
        for one in advantages
    ]
    for record, advantage, own in zip(records, advantages, credits, strict=True):
        assert_close(record["advantages"], advantage)
        assert_close(record["credits"], own)
    assert_paid(batch, records, credits)
    # Padded to as many rows as can be trained, whoever sits there.
    assert len(batch.tokens) == MATCHES * (
        num_seats if config.seating.learners == "both" else 1
    )
    if algorithm == "advantage_alignment":
        assert not np.allclose(np.stack(credits), np.stack(advantages), atol=0.1)


def assert_close(x, y):
    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "algorithm", ["naive", "sum_of_rewards", "advantage_alignment"]
)
@pytest.mark.parametrize("seating", ["both", "alternate"])
def test_credits_with_a_critic(tmp_path, algorithm, seating):
    config = make_config(
        algorithm,
        "discounted",
        seating,
        baseline="critic",
        group_size=4,
        gae_lambda=0.6,
    )
    oracle = Oracle()
    matches, batch, state, metrics = learned(config, played(config.seating), oracle)
    assert state.critic == "wiser"
    assert metrics["critic_loss"] == 0.25
    save_matches(tmp_path / "matches.jsonl.gz", matches)
    records = speech.read(tmp_path / "matches.jsonl.gz")
    shared = algorithm == "sum_of_rewards"
    # Who has no tokens keeps the advantage within its group.
    advantages = speech.advantages(records, 0.9, 2.0, "group", shared)
    spoken = [
        (m, seat)
        for seat in (0, 1)
        for m, record in enumerate(records)
        if any(turn["tokens"] for turn in record["turns"][seat])
    ]
    assert len(spoken) < 16 or seating == "both"
    assert len(oracle.learned.tokens) == 2 * MATCHES
    for row, (m, seat) in enumerate(spoken):
        value = oracle.values[row]
        own = speech.gae(records[m], seat, value, 0.9, 0.6, 2.0, shared)
        advantages[m][:, seat] = own
        assert_close(oracle.target[row], own + value)
        # Nobody learns what a seat is worth from seats that are not trained.
        is_trained = records[m]["trained"][seat]
        kept = oracle.decisions[row] if is_trained else [-1] * ROUNDS
        assert oracle.learned.decisions[row].tolist() == list(kept)
        assert (oracle.decisions[row] >= 0).all()
    assert (oracle.learned.decisions[len(spoken) :] == -1).all()
    credits = [
        speech.credits(one, algorithm, 0.8, 0.7, alignment.discounted_past)
        for one in advantages
    ]
    for record, advantage, own in zip(records, advantages, credits, strict=True):
        assert_close(record["advantages"], advantage)
        assert_close(record["credits"], own)
    assert_paid(batch, records, credits)


def test_who_is_compared_with_whom():
    (match,) = play(
        TinyWords(), {"a": Talker()}, [Matchup(0, 0, 0, (Seat("a"),) * 2)],
        jax.random.key(0),
    )  # fmt: skip
    both, first = (True, True), (True, False)
    groups = [(5, both), (5, first), (2, first), (2, both), (5, both)]
    matches = [dataclasses.replace(match, group=g, trained=t) for g, t in groups]

    def alike(baseline):
        """For each seat, the sets of matches with equal numbers."""
        compared = credit.comparable(matches, baseline)
        return [
            {tuple(np.flatnonzero(column == number)) for number in column}
            for column in compared.T
        ]

    assert alike("group") == [{(0, 1, 4), (2, 3)}, {(0, 4), (1,), (2,), (3,)}]
    assert alike("batch") == [{(0, 1, 2, 3, 4)}, {(0, 3, 4), (1, 2)}]


def test_a_match_like_no_other_has_no_advantage():
    reward = np.array([[[1.0, 0.0], [3.0, 2.0]]], np.float32)
    compared = np.zeros((1, 2), np.int32)
    advantage = credit.group_advantages(reward, compared, 0.5, 2.0)
    np.testing.assert_array_equal(advantage, np.zeros((1, 2, 2)))
    # Nor does it weigh in what its co-player is credited for.
    reward = 100 + np.arange(16.0, dtype=np.float32).reshape(4, 2, 2) % 5
    compared = np.zeros((4, 2), np.int32)
    compared[3, 1] = 1
    advantage = credit.group_advantages(reward, compared, 0.5, 1.0)
    goal = credit.advantage_alignment(0.5, 1.0)
    np.testing.assert_array_equal(advantage[3, :, 1], np.zeros(2))
    assert_close(goal.credit(advantage[3])[:, 0], np.asarray(advantage[3, :, 0]))
