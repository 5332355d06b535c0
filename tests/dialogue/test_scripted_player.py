"""Scripted players say what they would do in the environment."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_words import TinyWords

from aajax.dialogue import registry
from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.players.base import Request, Row
from aajax.dialogue.players.scripted import scripted_names, scripted_player
from aajax.envs.trust_and_split import trust_and_split
from aajax.envs.trust_and_split.players import players as trust_players


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers(TinyWords):
    """Any environment, whose actions are said as numbers."""

    def scripted(self):
        return trust_players(self.env)

    def say(self, kind, action):
        return str(np.asarray(action).tolist())


def fixture(number, *names):
    return Matchup(number, number, number, tuple(map(Seat, names)))


def choices(match, seat):
    return "".join(turn.answer[1] for turn in match.turns[seat][1::2])


def test_players_of_the_prisoners_dilemma():
    game = TinyWords(num_rounds=4)
    names = ("tit_for_tat", "always_defect", "win_stay_lose_shift")
    at_table = {name: scripted_player(game, name) for name in names}
    matchups = [
        fixture(0, "tit_for_tat", "always_defect"),
        fixture(1, "always_defect", "win_stay_lose_shift"),
    ]
    first, second = play(game, at_table, matchups, jax.random.key(0))
    assert (choices(first, 0), choices(first, 1)) == ("ABBB", "BBBB")
    assert (choices(second, 0), choices(second, 1)) == ("BBBB", "ABAB")
    assert first.rewards == [[0, 5], [1, 1], [1, 1], [1, 1]]
    assert first.turns[0][0].answer == "<m>hello</m>"
    assert first.turns[1][0].answer is None


def test_a_row_plays_alike_whoever_plays_beside_it():
    game = TinyWords(num_rounds=20)
    player = {"random": scripted_player(game, "random")}
    matchups = [fixture(number, "random", "random") for number in (3, 8, 5)]
    together = play(game, player, matchups, jax.random.key(1))
    alone = [play(game, player, [one], jax.random.key(1))[0] for one in matchups]
    assert together == alone
    # Chance of its own in each seat of each match.
    said = {choices(match, seat) for match in together for seat in (0, 1)}
    assert len(said) == 6


def test_the_policy_acts_where_a_row_only_listens():
    env = trust_and_split(num_messages=1, num_steps=12)
    game, policy = Numbers(env=env), trust_players(env).policy
    player = scripted_player(game, "tit_for_tat")
    rows = [Row(0, 0), Row(0, 1), Row(1, 0), Row(1, 1)]
    batch, seats = (2, 2), range(4)
    act, env_step = jax.jit(policy.act), jax.jit(jax.vmap(env.step))
    state, step = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(2), 2))
    memory, expected = player.start(rows), policy.initial_memory(batch)
    moods = []
    for time in range(12):
        key = jax.random.fold_in(jax.random.key(3), time)
        observation = np.asarray(step.observation)
        listens = [(seat + time) % 3 == 0 for seat in seats]
        requests = [
            Request("", None if quiet else "choice", None, observation[i // 2, i % 2])
            for i, quiet in enumerate(listens)
        ]
        memory, replies = player.reply(memory, requests, jax.random.split(key, 4))
        output = act(player.params, key, step.observation, expected)
        expected = output.memory
        assert np.array_equal(memory, np.ravel(expected))
        assert [reply is None for reply in replies] == listens
        moods += np.ravel(memory).tolist()
        action = np.full(batch, 10, np.int32)  # greedy, which it does not forgive
        state, step = env_step(jax.random.split(key, 2), state, action)
    assert set(moods) == {True, False}


@pytest.mark.parametrize("name", tuple(registry.text_specs()))
def test_every_player_of_every_game_answers_in_form(name):
    game = registry.make(name, num_rounds=2)
    names = game.scripted().names
    at_table = {name: scripted_player(game, name) for name in names}
    others = names[-1:] * (game.env.num_agents - 1)
    matchups = [fixture(i, name, *others) for i, name in enumerate(names)]
    for match in play(game, at_table, matchups, jax.random.key(0)):
        turns = [turn for seat in match.turns for turn in seat]
        assert all(turn.valid and turn.tries <= 1 for turn in turns)
        assert any(turn.tries == 1 for turn in turns)


@pytest.mark.parametrize("game", ["split", "trust-and-split"])
def test_the_names_of_the_paper(game):
    game = registry.make(game)
    assert scripted_names(game)[-2:] == ("welfare", "greedy")
    for alias, name in [("welfare", "always_cooperate"), ("greedy", "always_defect")]:
        params = scripted_player(game, alias).params
        assert params == scripted_player(game, name).params


def test_no_rows():
    player = scripted_player(TinyWords(), "random")
    keys = jax.random.split(jax.random.key(0), 0)
    assert player.reply(player.start([]), [], keys)[1] == []


@pytest.mark.parametrize("name", ["greedy", "nobody"])
def test_players_that_are_not_there(name):
    with pytest.raises(ValueError, match=f"^player is '{name}': one of always_coop"):
        scripted_player(TinyWords(), name)
