"""Our environments as PettingZoo's, against its own tests."""

import jax
import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

import aajax
from aajax import envs
from aajax.envs.adapters.pettingzoo import to_pettingzoo

NUM_STEPS = 4


def made(name, **options):
    spec = envs.find_spec(name)
    env = spec.build(num_steps=NUM_STEPS, **options)
    if spec.view is None:
        return to_pettingzoo(env)
    return to_pettingzoo(env, spec.view(env), "ansi")


@pytest.mark.parametrize("name", envs.names())
def test_their_own_tests_pass(name):
    game = made(name)
    parallel_api_test(game, num_cycles=3 * NUM_STEPS)
    game.reset(seed=0)
    assert game.render()
    observation, _ = game.reset()
    for agent in game.agents:
        assert observation[agent] in game.observation_space(agent)


def test_a_seed_decides_all_that_follows():
    parallel_seed_test(lambda: made("coin"), num_cycles=2 * NUM_STEPS)
    one, other = made("coin"), made("coin")
    seen = [(game.reset(seed=3), game.reset()) for game in (one, other)]
    jax.tree.map(np.testing.assert_array_equal, *seen)
    (first, _), (second, _) = seen[0]
    assert any((first[agent] != second[agent]).any() for agent in first)


@pytest.mark.parametrize("ends", [False, True])
def test_ends_and_cuts_are_told_apart(ends):
    game = made("ipd", ends=ends)
    agents = game.possible_agents
    _, infos = game.reset(seed=0)
    assert infos == dict.fromkeys(agents, {"discount": 1.0})
    for step in range(1, NUM_STEPS + 1):
        seen, rewards, terminated, truncated, infos = game.step(
            {"agent_0": 0, "agent_1": 1}
        )
        over = step == NUM_STEPS
        assert rewards == {"agent_0": -3.0, "agent_1": 0.0}
        assert terminated == dict.fromkeys(agents, over and ends)
        assert truncated == dict.fromkeys(agents, over and not ends)
        discount = 0.0 if over and ends else 1.0
        assert infos == dict.fromkeys(agents, {"discount": discount})
        # The last observation too is what the step led to: cooperated, defected.
        assert seen["agent_0"].tolist() == [0, 0, 1, 0, 0]
    assert game.agents == []
    assert game.render().splitlines() != []


def test_spaces():
    split, negotiation = made("split"), made("negotiation")
    assert split.action_space("agent_0").nvec.tolist() == [11, 11, 11]
    box = negotiation.action_space("agent_1")
    assert (box.shape, box.low.min(), box.high.max()) == ((3,), 0, 5)
    negotiation.reset(seed=0)
    actions = dict.fromkeys(negotiation.agents, [1.0, 2.0, 3.0])
    assert len(negotiation.step(actions)) == 5


@pytest.mark.parametrize(
    ("action", "line"),
    [
        ({"agent_0": 0}, "actions has no agent_1: one of Discrete(2) is needed"),
        (
            {"agent_0": 0, "agent_1": 2},
            "action of agent_1 is 2: one of Discrete(2) is needed",
        ),
        (
            {"agent_0": 0.5, "agent_1": 0},
            "action of agent_0 is 0.5: one of Discrete(2) is needed",
        ),
        (
            {"agent_0": "up", "agent_1": 0},
            "action of agent_0 is 'up': one of Discrete(2) is needed",
        ),
        (
            {"agent_0": [0, 1], "agent_1": 0},
            "action of agent_0 is [0, 1]: one of Discrete(2) is needed",
        ),
    ],
)
def test_bad_actions_are_one_line(action, line):
    game = made("ipd")
    game.reset(seed=0)
    with pytest.raises(ValueError) as raised:
        game.step(action)
    assert str(raised.value) == line


def test_bad_input_is_one_line():
    env = aajax.make("ipd", num_steps=1)
    with pytest.raises(ValueError, match="^render_mode is 'human': None is needed$"):
        to_pettingzoo(env, render_mode="human")
    view = envs.find_spec("ipd").view(env)
    with pytest.raises(ValueError, match="^render_mode is 'human': None or 'ansi' is"):
        to_pettingzoo(env, view, "human")
    with pytest.raises(ValueError, match="^env is AutoReset: an environment without"):
        to_pettingzoo(envs.AutoReset(env))
    game = to_pettingzoo(env, view, "ansi")
    for call in (game.render, lambda: game.step({})):
        with pytest.raises(ValueError, match="^there is no episode: reset"):
            call()
    game.reset()
    game.step({"agent_0": 0, "agent_1": 0})
    with pytest.raises(ValueError, match="^there is no episode: reset"):
        game.step({"agent_0": 0, "agent_1": 0})
    assert to_pettingzoo(env).render() is None
