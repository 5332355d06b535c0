"""What breaks the contract is told apart, in one line each."""

import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import cli, envs
from aajax.envs import Discrete, EnvSpec, Players, TextSpec
from aajax.envs.base import environment
from aajax.envs.check import check_environment
from aajax.envs.text import Ask, Parsed, TextGame
from aajax.envs.view import plain_view
from aajax.policies.base import PolicyOutput, player_number, scripted_policy
from aajax.references import load

FILE = Path(__file__).parent.parent / "data" / "own_game.py"
RULES = load(f"{FILE}:LowerNumber", "game", "a class")
COUNTER = itertools.count()


def changed(**changes):
    """The time step of `step` with other fields."""

    def step(self, key, state, action):
        state, timestep = RULES.step(self, key, state, action)
        return state, timestep._replace(**{k: f(timestep) for k, f in changes.items()})

    return {"step": step}


def with_state(change):
    def step(self, key, state, action):
        state, timestep = RULES.step(self, key, state, action)
        return change(key, state), timestep

    return {"step": step}


def with_reward(reward):
    def step(self, key, state, action):
        state, timestep = RULES.step(self, key, state, action)
        return state, timestep._replace(reward=reward(key, state, timestep.reward))

    return {"step": step}


def begins(**changes):
    def reset(self, key):
        state, timestep = RULES.reset(self, key)
        return state, timestep._replace(**{k: f(timestep) for k, f in changes.items()})

    return {"reset": reset}


def twice(key, state, reward):
    return reward + jax.random.normal(key, (2,)) + jax.random.uniform(key, (2,))


def hidden(key, state, reward):
    return reward + next(COUNTER)


def not_batched(key, state, reward):
    shape = jax.ShapeDtypeStruct((2,), jnp.float32)
    return jax.pure_callback(lambda x: np.asarray(x), shape, reward)


def asks_values(key, state, reward):
    return reward if reward[0] > 0 else -reward


RULE_BREAKERS = {
    "agents": ({"num_agents": 0}, "num_agents is 0: a whole number of at least 1 is"),
    "spaces": ({"action_spaces": (3, 3)}, "action_spaces is (3, 3): a tuple of 2, "),
    "one action": ({"action_spaces": (Discrete(1),) * 2}, "at least 2 actions are"),
    "unequal seats": (
        {"action_spaces": (Discrete(2), Discrete(3))},
        "is_symmetric is True: False is needed with seats that act differently",
    ),
    "planes as observations": (
        {"observation_shape": (2, 1)},
        "observation_shape is (2, 1): one axis, of at least one number, is needed",
    ),
    "length": ({"episode_length": 2.5}, "episode_length is 2.5: a whole number from"),
    "dtype": (
        changed(reward=lambda x: x.reward.astype(jnp.float16)),
        "reward of step is float16[2]: float32[2] is needed",
    ),
    "shape": (
        changed(observation=lambda x: x.observation[:, :1]),
        "observation of step is float32[2, 1]: float32[2, 2] is needed",
    ),
    "last": (
        changed(last=lambda x: x.last.astype(jnp.float32)),
        "last of step is float32[]: bool[] is needed",
    ),
    "final observation": (
        begins(final_observation=lambda x: x.observation),
        "final_observation of reset is given: None is needed",
    ),
    "state's structure": (
        with_state(lambda key, state: (*state, 0)),
        "one structure is needed",
    ),
    "state's type": (
        with_state(lambda key, state: (state[0], state[1].astype(jnp.float32))),
        "state[1] is int32[] after reset and float32[] after step",
    ),
    "no pair": (
        {"reset": lambda self, key: 3},
        "reset returns no pair (state",
    ),
    "no time step": (
        {"reset": lambda self, key: (jnp.zeros(2), {"reward": 1})},
        "reset returns dict of int32[] beside the state: an aajax.TimeStep is needed",
    ),
    "an array for a time step": (
        {"reset": lambda self, key: (jnp.zeros(2), jnp.zeros((2, 3)))},
        "reset returns float32[2, 3] beside the state: an aajax.TimeStep is needed",
    ),
    "a list for an array": (
        changed(reward=lambda x: list(x.reward)),
        "reward of step is list of float32[], float32[]: float32[2] is needed",
    ),
    "Python's if": (
        with_reward(asks_values),
        "step cannot be traced by jax.jit: TracerBoolConversionError",
    ),
    "not vmappable": (
        with_reward(not_batched),
        "games cannot be batched by jax.vmap: NotImplementedError",
    ),
    "key twice": (with_reward(twice), "a key is used twice"),
    "hidden state": (
        with_reward(hidden),
        "equal keys and actions gave two different games in step 1",
    ),
    "reward at reset": (begins(reward=lambda x: x.reward + 1), "reward of reset is"),
    "over at reset": (begins(last=lambda x: ~x.last), "last or discount of reset"),
    "not finite": (
        changed(reward=lambda x: x.reward / 0.0),
        "reward has numbers that are not finite",
    ),
    "discount of γ": (
        changed(discount=lambda x: x.discount * 0.9),
        "discount of step is not 0 or 1",
    ),
    "no end": (
        changed(last=lambda x: x.last & False),
        "an episode goes on after num_steps = 5",
    ),
    "end without last": (
        changed(discount=lambda x: jnp.where(x.last, 1.0, 0.0)),
        "discount is 0 where last is False",
    ),
    "discount at an end": (
        {
            **changed(last=lambda x: x.last | (x.observation.sum() > 4)),
            "episode_length": None,
        },
        "discount is 1 where an episode stops before num_steps = 5",
    ),
    "other length": ({"episode_length": 9}, "episodes are 5 to 5 steps long: 9, as"),
}


def broken(**overrides):
    return environment(type("Broken", (RULES,), overrides))


def lines_of(make, **parts):
    with jax.numpy_dtype_promotion("standard"), np.errstate(all="ignore"):
        return check_environment(EnvSpec("broken", "Broken.", make, **parts))


@pytest.mark.parametrize("name", RULE_BREAKERS)
def test_broken_rules_are_told_apart(name):
    overrides, line = RULE_BREAKERS[name]
    made = broken(**overrides)
    found = lines_of(lambda num_steps=8: made(num_steps=num_steps))
    assert any(line in each for each in found), found
    assert len(found) <= 2 and all(len(each.splitlines()) == 1 for each in found)


def test_nan_is_not_taken_for_chance():
    made = broken(**changed(reward=lambda x: x.reward * jnp.nan))
    found = lines_of(lambda num_steps=8: made(num_steps=num_steps))
    assert found == ["reward has numbers that are not finite"]


def test_what_cannot_be_made():
    assert lines_of(lambda: 3) == [
        "make has no option num_steps: steps until a cut are needed"
    ]
    assert lines_of(lambda num_steps=8: 1 / 0) == [
        "make fails: ZeroDivisionError: division by zero"
    ]
    (line,) = lines_of(lambda num_steps=8: 3)
    assert line.startswith("num_agents, action_spaces, observation_shape, episode_len")

    class Plain(RULES):
        pass

    (line,) = lines_of(lambda num_steps=8: Plain(num_steps, 3))
    assert line.startswith("it is no pytree: the decorator")


def always(action, dtype=jnp.int32, axes=()):
    def act(params, key, observation, memory):
        chosen = jnp.full(observation.shape[:-1], action, dtype)
        zeros = jnp.zeros((*observation.shape[:-1], *axes))
        return PolicyOutput(chosen, zeros, zeros, memory)

    names = ("one",)
    policy = scripted_policy(act)
    return lambda env: Players(policy, names, lambda name: player_number(name, names))


PART_BREAKERS = {
    "planes": ({"planes": lambda env: (1, 2, 2)}, "planes: (1, 2, 2) is not the (C, "),
    "a player's type": (
        {"players": always(0, jnp.float32)},
        "one plays float32[16,",
    ),
    "out of range": ({"players": always(3)}, "players: one plays what is not in Disc"),
    "log-probabilities": (
        {"players": always(0, axes=(2,))},
        "log_prob of one is of shape (16, 1, 2): (16, 1) is needed",
    ),
    "unknown player": (
        {
            "players": lambda env: always(0)(env)._replace(params=lambda name: 0),
        },
        "params of a name that is not there: InputError is needed",
    ),
    "opponents": (
        {"players": always(0), "opponents": ("two",)},
        "players: opponents has 'two', who is none of one",
    ),
    "measures": (
        {"measures": lambda env, x: {"named": x.trajectory.reward.mean((0, 1))}},
        "measures: 'named' is of shape (2,): one number is needed",
    ),
    "no dict": (
        {"training_measures": lambda env: lambda before, x: 3},
        "training_measures: it returns int: a dict of numbers is needed",
    ),
    "seats": (
        {"view": lambda env: plain_view(env)._replace(seats=("one",))},
        "view: seats are ('one',): 2 names are needed",
    ),
    "any answer": (
        {"view": lambda env: plain_view(env)._replace(read=lambda *_: np.int32(0))},
        "view: read takes '?!' for an answer of seat 0: InputError is needed",
    ),
    "exception": ({"view": lambda env: 1 / 0}, "view: it fails with ZeroDivisionErr"),
    "words": (
        {"words": TextSpec("x", "X.", lambda wording="full": 3)},
        "words: name, env, num_rounds, steps, patterns, invalid_rule, silent, ask",
    ),
}


@pytest.mark.parametrize("name", PART_BREAKERS)
def test_broken_parts_are_told_apart(name):
    parts, line = PART_BREAKERS[name]
    (found,) = lines_of(lambda num_steps=8: RULES(num_steps=num_steps), **parts)
    assert line in found and len(found.splitlines()) == 1


def verbatim(table):
    return "\n".join(word for words in table.words for word in words)


def test_own_games_words():
    spec = envs.find_spec("ipd_points")
    made = spec.words.make()

    def told(**changes):
        kind = type("Broken", (type(made),), changes)
        words = TextSpec("x", "X.", lambda: kind(**vars(made)))
        return check_environment(dataclasses.replace(spec, words=words))

    assert told() == []
    for name in ("facts", "templates", "scripted", "aliases", "tallies"):
        assert told(**{name: getattr(TextGame, name)}) == []  # where it is left out
    assert told(patterns={"choice": "("}) != []
    (line,) = told(parse=lambda self, kind, text: 1 / 0)
    assert line.startswith("words: parse of 'choice' fails for '': ZeroDivisionError")
    (line,) = told(say=lambda self, kind, action: "<C>")
    assert line == "words: say writes '<C>', which parse does not take for valid"
    (line,) = told(say=lambda self, kind, action: "<B>")
    assert line == "words: say writes '<B>' for 0, which parse reads as 1"
    exact = {"<A>": Parsed(np.int32(0), True), "<B>": Parsed(np.int32(1), True)}
    wrong = Parsed(np.int32(1), False)
    (line,) = told(parse=lambda self, kind, text: exact.get(text, wrong))
    assert line == (
        "words: parse reads ' <B>\\n' as another answer than '<B>': white space around "
        "it is not judged (envs.text.trimmed)"
    )
    (line,) = told(ask=lambda self, table, seat: Ask(verbatim(table), "choice"))
    assert line.startswith("words: ask shows 'hi\"\\nThe game says: \"', which a seat ")
    (line,) = told(ask=lambda self, table, seat: "Choose.")
    assert line.endswith("an Ask is needed")


def test_command(capsys):
    with jax.numpy_dtype_promotion("standard"):
        assert cli.main(["check", f"{FILE}:SPEC", "--options", "highest=4"]) == 0
        assert "lower_number keeps the contract" in capsys.readouterr().out
        assert cli.main(["check", f"{FILE}:SPEC", "--options", "highest=1"]) == 2
    said = capsys.readouterr()
    assert "at least 2 actions are needed" in said.out
    assert "1 violation of the contract, " in said.err
    assert cli.main(["check", f"{FILE}:SPEC", "--options", "lowest=1"]) == 2
    assert "has no such option" in capsys.readouterr().err
