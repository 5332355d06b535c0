"""Training, evaluation, leagues and pocket models: no two of them share chance."""

import copy
import dataclasses
import itertools
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tiny_speech import TINY

from aajax.dialogue import pocket, registry
from aajax.dialogue.play import Seat
from aajax.dialogue.play import lockstep as tables
from aajax.dialogue.play.seating import LEARNER
from aajax.dialogue.pocket import PocketConfig, train_pocket
from aajax.lm.model import lora
from aajax.lm.model.decoder import Adapters
from aajax.tournament import text_league
from aajax.tournament.text_league import Entrant, pairs_of, play_pairs
from aajax.training import lm_assemble, lm_evaluation, lm_iteration
from aajax.training.lm_assemble import LmParts
from aajax.training.lm_config import LmConfig
from aajax.training.lm_past import Stack

GAME = registry.make("ipd", "short", num_rounds=2)
SEEDS = 0, 1


class EnoughError(Exception):
    """What a test wants to know is known."""


def bits(keys):
    """Keys of any shape, as numbers."""
    return set(map(tuple, np.asarray(jax.random.key_data(keys)).reshape(-1, 2)))


@dataclasses.dataclass(frozen=True)
class Silent:
    """Stands in for a model, which is never asked."""

    free_tries: int = 1


class Heard:
    """Chance by what it is for: keys, environments, and first draws of generators."""

    def __init__(self):
        self.keys, self.worlds, self.draws = {}, {}, {}

    def play(self, name):
        """A `play` that notes what it would be played with."""

        def play(game, players, matchups, key, shuffled=(), on_step=None):
            numbers = np.array([matchup.number for matchup in matchups], np.uint32)
            seats = tables._match_keys(key, numbers, 2)
            steps = [bits(tables._step_keys(seats, np.uint32(t))) for t in range(3)]
            self.keys[name] = bits(key).union(*steps)
            self.worlds[name] = {matchup.env_seed for matchup in matchups}
            raise EnoughError

        return play

    def init(self, name):
        """An initializer that notes its key."""

        def init(config, *arguments, **options):
            (key,) = (
                x for x in (*arguments, *options.values()) if isinstance(x, jax.Array)
            )
            self.keys.setdefault(name, set())
            self.keys[name] |= bits(key) | bits(jax.random.split(key, 8))
            return Adapters({}, None)

        return init

    def generator(self, name, rng):
        self.draws[name] = {tuple(rng.integers(0, 2**62, 2).tolist())}


@pytest.fixture
def heard(monkeypatch, tmp_path):
    heard = Heard()
    for seed in SEEDS:
        listen(heard, seed, monkeypatch, tmp_path)
    return heard


def listen(heard, seed, monkeypatch, folder):
    """All that draws from a seed, as far as it draws."""
    config = LmConfig(
        options=("num_rounds=2",), num_matches=64, group_size=2, seed=seed,
        baseline="critic",
    )  # fmt: skip
    parts = SimpleNamespace(
        config=config, game=GAME, mesh=None, scale=None,
        line_up=lambda adapters: {LEARNER: Silent()},
    )  # fmt: skip
    state = SimpleNamespace(policy=SimpleNamespace(weights={}))
    for number in range(3):
        name = f"training {number} of {seed}"
        heard.generator(name, lm_assemble.random_numbers(config, number))
        monkeypatch.setattr(lm_iteration, "play", heard.play(name))
        with pytest.raises(EnoughError):
            stack = Stack(Adapters({}, None), ((),))
            lm_iteration.iterate([parts], [state], stack, number, None)
    model = SimpleNamespace(sampler=SimpleNamespace(config=TINY))
    own = LmParts(config, GAME, model, {}, None, "a critic", None, None, None)
    monkeypatch.setattr(lora, "init_adapters", heard.init(f"adapters of {seed}"))
    own._weights(jax.random.key(seed))
    assert len(heard.keys[f"adapters of {seed}"]) == 2 * 9  # policy and critic

    monkeypatch.setattr(lm_evaluation, "play", heard.play(f"evaluation of {seed}"))
    with pytest.raises(EnoughError):
        lm_evaluation.evaluate_lm(parts, state)
    monkeypatch.undo()

    monkeypatch.setattr(text_league, "play", heard.play(f"league of {seed}"))
    pairs = pairs_of([Entrant("me", Seat(LEARNER))], 64, seed, num_seats=2)
    with pytest.raises(EnoughError):
        next(play_pairs(GAME, dict, pairs, seed, folder / f"league-{seed}"))

    name = f"pocket of {seed}"

    def rows(rng, template, config):
        heard.generator(name, rng)
        return iter(())

    def init(config, key):
        heard.init(name)(config, key)
        raise EnoughError

    monkeypatch.setattr(pocket, "_dialogue_rows", rows)
    monkeypatch.setattr(pocket, "init_params", init)
    with pytest.raises(EnoughError):
        train_pocket(folder / f"pocket-{seed}", PocketConfig(seed=seed))
    monkeypatch.undo()


def test_no_two_uses_share_chance(heard):
    trained = [f"training {number} of {seed}" for seed in SEEDS for number in range(3)]
    others = [
        f"{what} of {seed}"
        for what in ("adapters", "evaluation", "league", "pocket")
        for seed in SEEDS
    ]
    assert set(heard.keys) == {*trained, *others}
    plain = {f"key {seed}": bits(jax.random.key(seed)) for seed in SEEDS}
    plain |= {
        f"split of {seed}": bits(jax.random.split(jax.random.key(seed), 64))
        for seed in SEEDS
    }
    seeds = set().union(*heard.worlds.values())
    worlds = {
        "worlds": {
            key
            for seed in seeds
            for step in range(3)
            for key in bits(tables._env_key(seed, np.uint32(step)))
        }
    }
    assert len(worlds["worlds"]) == 3 * len(seeds)
    assert_disjoint({**heard.keys, **plain, **worlds})
    assert len(heard.worlds) == len(trained) + 2 * len(SEEDS)
    generators = {
        f"generator {seed}": np.random.default_rng(seed) for seed in (*SEEDS, [0, 1])
    }
    drawn = {
        name: set(rng.integers(0, 2**31, 64).tolist())
        for name, rng in copy.deepcopy(generators).items()
    }
    assert_disjoint({**heard.worlds, **drawn})
    assert len(heard.draws) == len(trained) + len(SEEDS)
    for name, rng in generators.items():
        heard.generator(name, rng)
    assert_disjoint(heard.draws)


def assert_disjoint(sets):
    for (one, own), (other, found) in itertools.combinations(sets.items(), 2):
        assert own and found and not own & found, f"{one} and {other}"
