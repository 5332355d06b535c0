"""Matches as language models might play them, made up, for tests of transcripts.

Trust-and-Split: each round both say something in turn, then both ask for coins.
"""

import dataclasses
import json
import math
import random
import re

from aajax.dialogue.play.matches import Match, Turn
from aajax.dialogue.players.base import Tokens

HANDS = ("rock", "paper", "scissors")
HOSTILE = "<script>window.hacked = true</script><img src=x onerror='window.hacked = 1'>"
RULES = """\
You play {rounds} rounds with {other}. In every round ten coins are divided.

Each of you draws a hand of rock, paper or scissors, which the other does not see.
Rock loses to paper, paper to scissors, scissors to rock. A coin is worth 10 points to
whom has the stronger hand, and 1 point to the other.

First you talk, in turn, one message of at most 200 characters each. Then both say at
once how many coins they ask for, from 0 to 10. If that is more than ten together, the
coins are divided in proportion to what was asked.
"""
SAYINGS = (
    "My hand is {hand}. What is yours?",
    "I have {hand} this time. If it beats yours I take all ten, else you do. Deal?",
    "{hand} here 🙂 — same rule as before.",
    "Trust me: I hold {hand}, and you kept your word last round, so I keep mine.",
)


class Vocabulary:
    """Words, spaces and bytes as tokens, numbered as they come.

    Attributes:
      end: id of the token that ends an answer.
    """

    end = 0

    def __init__(self):
        self.ids, self.spelled = {}, {}

    def encode(self, text):
        pieces = []
        for piece in re.findall(r" ?\w+|\s+|[^\w\s]", text):
            is_short = piece.isascii()
            pieces += (
                [piece.encode()] if is_short else [bytes([b]) for b in piece.encode()]
            )
        ids = [self.ids.setdefault(piece, 1 + len(self.ids)) for piece in pieces]
        self.spelled.update(zip(ids, pieces, strict=True))
        return ids

    def token_bytes(self, token):
        return self.spelled.get(token)


def match(number, vocabulary, num_rounds=8, iteration=0, hostile=False, num_seats=2):
    """One made-up match; all chance follows from its number and iteration."""
    rng = random.Random(1000 * iteration + number)
    honest = [rng.random() < 0.5 + iteration / 400 for _ in range(num_seats)]
    names = ["learner", rng.choice(["learner", "past_000120", "greedy"])]
    names = (names + ["guest"] * num_seats)[:num_seats]
    scripted = [name == "greedy" for name in names]
    turns = [[] for _ in range(num_seats)]
    actions, rewards, facts = [], [], []

    def say(seat, told, kind, text, action, valid=True, tries=1):
        tokens = None if scripted[seat] else sampled(rng, vocabulary, told, text)
        step = len(turns[seat])
        turns[seat].append(Turn(step, told, kind, text, valid, tries, tokens))
        actions[-1][seat] = action

    for t in range(num_rounds):
        hands = [rng.randrange(3) for _ in range(num_seats)]
        wins = [(hands[0] - hands[1]) % 3 == 1, (hands[0] - hands[1]) % 3 == 2]
        wins = (wins + [False] * num_seats)[:num_seats]
        values = [10.0 if won else 1.0 for won in wins]
        facts.append({"hand": [HANDS[hand] for hand in hands], "coin_value": values})
        said = None
        for speaker in (0, 1) if t % 2 == 0 else (1, 0):
            actions.append([-1] * num_seats)
            for seat in range(num_seats):
                told = (
                    f"{RULES.format(rounds=num_rounds, other='Bob')}\n"
                    if not turns[seat]
                    else ""
                )
                told += f"Round {t + 1}. Your hand is {HANDS[hands[seat]]}."
                if seat != speaker:
                    turns[seat].append(Turn(len(turns[seat]), told))
                    continue
                hand = hands[seat] if honest[seat] else rng.randrange(3)
                text = rng.choice(SAYINGS).format(hand=HANDS[hand])
                if scripted[seat]:
                    text = HANDS[hand]
                if hostile and t == 1:
                    text = HOSTILE
                told += f"\nThe other says: {said}" if said else "\nYou speak first."
                say(seat, told, "message", text, hand, tries=1 + (rng.random() < 0.03))
                said = text
        actions.append([-1] * num_seats)
        asked = []
        for seat in range(num_seats):
            coins = 10 if wins[seat] or not honest[seat] else rng.choice([0, 0, 0, 5])
            is_broken = rng.random() < 0.03
            text = "I want all of them!" if is_broken else f"<<{coins}>>"
            coins = 0 if is_broken else coins
            told = "How many coins do you ask for? Answer <<n>>, n from 0 to 10."
            say(
                seat,
                told,
                "proposal",
                text,
                coins,
                not is_broken,
                3 if is_broken else 1,
            )
            asked.append(coins)
        total = max(10, sum(asked))
        rewards.append([10 * a / total * v for a, v in zip(asked, values, strict=True)])
    advantages = [
        [learnt(rng, x, own) for x, own in zip(row, scripted, strict=True)]
        for row in rewards
    ]
    credits = [
        [None if a is None else a + rng.gauss(0, 0.4) for a in row]
        for row in advantages
    ]
    return Match(
        game="trust_and_split",
        number=number,
        group=number // 4,
        env_seed=7919 * (number // 4) % 65536,
        players=tuple(names),
        adapters=tuple({"learner": 0, "past_000120": 1}.get(n, -1) for n in names),
        turns=tuple(map(tuple, turns)),
        actions=actions,
        rewards=rewards,
        facts=facts,
        advantages=advantages,
        credits=credits,
        trained=tuple(name == "learner" for name in names),
    )  # fmt: skip


def learnt(rng, reward, is_scripted):
    return None if is_scripted else (reward - 38) / 40 + rng.gauss(0, 0.1)


def sampled(rng, vocabulary, told, text):
    ids = [*vocabulary.encode(text), vocabulary.end]
    size = len(ids)
    return Tokens(
        prompt=vocabulary.encode(told),
        ids=ids,
        log_prob=[math.log(rng.random() ** rng.choice([0.05, 0.2, 2])) for _ in ids],
        state=[0] * size,
        remaining=list(range(400, 400 - size, -1)),
    )


def record(one, iteration=None):
    """As a page takes it, and as JSON reads what was saved."""
    return json.loads(json.dumps(dataclasses.asdict(one))) | {"iteration": iteration}
