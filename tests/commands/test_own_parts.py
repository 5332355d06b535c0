"""A user's own past, network, algorithm and player, by reference."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aajax
from aajax import cli, nets
from aajax.references import load
from aajax.training.assemble import make_env, make_policy, make_trainer
from aajax.training.config import RunConfig
from aajax.training.lm_config import LmConfig

FILE = Path(__file__).parent.parent / "data" / "own_parts.py"
TINY = ("--num-updates", "4", "--num-games", "8", "--seeds", "1")


@pytest.fixture
def main(capsys):
    def main(*words):
        capsys.readouterr()
        with jax.numpy_dtype_promotion("standard"):
            code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return main


def test_all_of_them_train_and_are_found_again(main, tmp_path, monkeypatch):
    shutil.copy(FILE, tmp_path / "parts.py")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    own = ("--past", "parts.py:halved", "--policy", "parts.py:Network")
    code, _, said = main("train", "ipd-critic", *TINY, *own, "--out", "run")
    assert code == 0, said
    record = json.loads(Path("run/config.json").read_text())
    assert record["past"] == f"{tmp_path}/parts.py:halved"
    assert record["policy"] == f"{tmp_path}/parts.py:Network"
    monkeypatch.chdir(tmp_path / "elsewhere")
    own = ("--past", "../parts.py:halved", "--policy", "../parts.py:Network")
    train = ("train", "ipd-critic", *TINY, *own, "--out", "../run")
    code, _, said = main(*train, "--resume")
    assert code == 0, said
    scripted = "../parts.py:second"
    code, _, said = main(
        *("league", "../run", "--scripted", "always_cooperate", scripted),
        *("--out", "league"),
    )
    assert code == 0, said
    table = json.loads(Path("league/league.json").read_text())
    assert set(table["players"]) == {"run", "always_cooperate", scripted}
    rewards = {tuple(x["players"]): x["reward"] for x in table["line_ups"]}
    assert rewards[scripted, "always_cooperate"] == [0, -3]
    code, shown, said = main("play", "ipd", "--seat", "../run", scripted)
    assert code == 0, said
    assert "after 16 steps" in shown
    episodes = aajax.play([scripted, "tit_for_tat"], game="ipd", num_steps=3)
    np.testing.assert_array_equal(episodes.trajectory.action[:, 0, 0], 1)


def test_text_games_have_own_players(main, tmp_path):
    second = f"{FILE}:second"
    words = ("league", "--text", "always_cooperate", second, "--game", "ipd")
    code, _, said = main(*words, "--num-matches", "2", "--out", tmp_path / "league")
    assert code == 0, said
    table = json.loads((tmp_path / "league" / "league.json").read_text())
    rewards = {tuple(x["players"]): x["reward"] for x in table["line_ups"]}
    assert rewards[second, "always_cooperate"] == [5, 0]


def trained(**changes):
    config = RunConfig(num_games=8, **changes)
    trainer = make_trainer(config)({"past": jnp.int32(9)} if "sweep" in changes else {})
    with jax.numpy_dtype_promotion("standard"):  # of optax
        once = jax.jit(lambda key: trainer.update(trainer.init(key)))
        return config, jax.device_get(once(jax.random.key(0)))


def test_an_own_algorithm_is_what_it_does():
    _, (own, _) = trained(algorithm=f"{FILE}:SELFISH")
    _, (naive, _) = trained(algorithm="naive")
    jax.tree.map(
        np.testing.assert_array_equal, own.learners[0].params, naive.learners[0].params
    )


def test_the_guides_algorithm_is_for_the_sum_of_rewards():
    example = FILE.parents[2] / "docs" / "examples" / "parts.py"
    _, (own, _) = trained(algorithm=f"{example}:TOGETHER")
    _, (other, _) = trained(algorithm="sum_of_rewards")
    _, (naive, _) = trained(algorithm="naive")
    own, other, naive = (x.learners[0].params["actor"] for x in (own, other, naive))
    jax.tree.map(np.testing.assert_array_equal, own, other)
    assert np.any(own != naive)


def test_a_goal_of_ones_own_for_language_models(tmp_path, monkeypatch):
    example = FILE.parents[2] / "docs" / "examples" / "parts.py"
    own = LmConfig(algorithm=f"{example}:fair", past_gamma=0.5)
    reward = jnp.array([[3.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(own.goal.share(reward), [[1.5, 0.0], [1.0, 1.0]])
    # Of seat 0 with seat 1: A_1 + γ · γ A_0 · B_1, where β is 1.
    found = own.goal.credit(jnp.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_allclose(found[1], [3 + 0.25 * 1 * 4, 4 + 0.25 * 2 * 3])
    monkeypatch.chdir(example.parent)
    typed = LmConfig(algorithm="parts.py:fair", model=Path("../examples"))
    record = typed.to_json()
    assert record["algorithm"] == f"{example}:fair"
    assert record["model"] == str(example.parent)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("Y = 3", "a function LmConfig -> Goal called 'X' is needed in"),
        ("def X(config): return 3", "-> Goal is needed (AttributeError: 'int' object"),
        (
            "from aajax.dialogue.learning.credit import Goal\n"
            "def X(config): return Goal(lambda r: r.sum(-1), lambda a: a)",
            "keep shapes, and of [4, 2] they make [4] and [4, 2]",
        ),
    ],
)
def test_a_goal_that_is_none(content, line, main, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    code, _, said = main("train", "lm-ipd", "--algorithm", "mine.py:X", "--out", "run")
    assert code == 2 and line in said and len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_setting_that_is_no_field(main, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from aajax.training.algorithms import Algorithm\n"
        "X = Algorithm('x', 'y', lambda *a: 3, settings={'nonsense': 1})"
    )
    monkeypatch.chdir(tmp_path)
    code, _, said = main("train", "ipd", "--algorithm", "mine.py:X", "--out", "run")
    assert code == 2 and len(said.splitlines()) == 1
    assert "settings of algorithm 'x' has 'nonsense': a field of RunConfig" in said


def test_a_table_reads_one_hot_observations(main, tmp_path):
    code, _, said = main(
        "train", "coin", "--policy", "tabular", "--out", tmp_path / "run"
    )
    assert code == 2 and len(said.splitlines()) == 1
    assert "policy is 'tabular': 'mlp' or 'gru' is needed in coin, whose obser" in said
    assert not (tmp_path / "run").exists()


def test_an_own_past_is_used_in_sweeps_too():
    _, (own, _) = trained(past=f"{FILE}:halved")
    sweep = RunConfig.from_json({"sweep": {"past": ["mean", f"{FILE}:halved"]}}).sweep
    _, (swept, _) = trained(sweep=sweep)
    _, (other, _) = trained()
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
        own.learners[0].params["actor"],
        swept.learners[0].params["actor"],
    )
    assert np.any(own.learners[0].params["actor"] != other.learners[0].params["actor"])


def test_a_cell_remembers_within_episodes():
    cell = load(f"{FILE}:Recurrent", "policy", "a class")
    network = nets.flax_network(cell, 3, 2)
    params = network.init(jax.random.key(0))
    seen = jax.random.normal(jax.random.key(1), (6, 2, 1, 3))
    last = jnp.zeros((6, 2), bool).at[2, 0].set(True)
    memory = network.initial_memory((2, 1))
    scores, value = network.unroll(params, seen, last, memory)
    kernel = params["actor"]["params"]["Dense_0"]["kernel"]
    since = jnp.cumsum(seen[:, 0, 0], 0) - seen[:3, 0, 0].sum(0)[None]
    expected = jnp.where(
        jnp.arange(6)[:, None] > 2, since, jnp.cumsum(seen[:, 0, 0], 0)
    )
    np.testing.assert_allclose(scores[:, 0, 0], expected @ kernel, atol=1e-5)
    for t in range(6):
        found, worth, memory = network.step(params, seen[t], memory)
        np.testing.assert_allclose(found[1], scores[t, 1], atol=1e-5)
        np.testing.assert_allclose(worth[1], value[t, 1], atol=1e-5)


def test_a_network_trains_with_action_values_and_memory():
    for changes in (
        {"policy": f"{FILE}:Recurrent", "baseline": "critic"},
        {"policy": f"{FILE}:Network", "algorithm": "loqa"},
    ):
        config, (_, metrics) = trained(**changes)
        assert all(np.isfinite(x).all() for x in metrics.values())
        env = make_env(config)
        policy = make_policy(config, env)
        memory = policy.initial_memory((4, 2))
        output = policy.act(
            policy.init(jax.random.key(0)),
            jax.random.key(1),
            jnp.zeros((4, 2, 5)),
            memory,
        )
        assert output.action.shape == (4, 2)


@pytest.mark.parametrize(
    ("option", "content", "line"),
    [
        (
            "past",
            "X = 3",
            "a function (a_t[T, ...], gamma, last_t[T]) -> [T, ...] called",
        ),
        ("past", "def X(a): return a", "-> [T, ...] is needed (TypeError: X() takes 1"),
        ("past", "def X(a, g, l): return a.sum()", "and of [4, 2] it makes []"),
        ("policy", "X = 3", "a function num_outputs -> flax.linen.Module called 'X' "),
        ("policy", "def X(n): return n", "is needed, and it returns int"),
        ("policy", "def X(): return 3", "-> flax.linen.Module is needed (TypeError: "),
        (
            "policy",
            "import flax.linen as nn\ndef X(n): return nn.Dense(7)",
            "a module that reads f32[R, 5] and returns f32[R, num_outputs] is needed",
        ),
        ("algorithm", "X = 3", "an Algorithm called 'X' is needed in"),
        ("algorithm", "Y = 3", "an Algorithm called 'X' is needed in"),
        (
            "algorithm",
            "from aajax.training.algorithms import Algorithm\nX = Algorithm('x', '')",
            "algorithm is 'mine.py:X': an Algorithm with either a learner or a trainer",
        ),
        *(
            (
                "algorithm",
                "from aajax.training.algorithms import Algorithm, descending\n"
                f"X = Algorithm('x', 'y', {fields})",
                line,
            )
            for fields, line in (
                (
                    "lambda parts, policy, seats: 3",
                    "Learner is needed, and it retu",
                ),
                (
                    "lambda parts: 3",
                    "(parts, policy, seats) -> Learner is",
                ),
                (
                    "descending(lambda parts: None)",
                    "parts -> Objective is needed",
                ),
                ("descending(lambda parts: 1 / 0)", "(ZeroDivisionError: di"),
                (
                    "trainer=lambda parts, policies: 5",
                    "-> Trainer is needed, and",
                ),
            )
        ),
        ("policy", "import no_such_package", "cannot be imported (ModuleNotFoundErr"),
    ],
)
def test_what_is_wrong_is_said_before_it_trains(
    option, content, line, main, tmp_path, monkeypatch
):
    (tmp_path / "mine.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    out = ("--out", tmp_path / "run")
    code, _, said = main("train", "ipd", f"--{option}", "mine.py:X", *out)
    assert code == 2 and len(said.splitlines()) == 1
    assert f"{option} is 'mine.py:X': " in said or f"{tmp_path}" in said
    assert line in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("X = 3", "a function env -> Policy called 'X' is needed"),
        ("def X(env): return 1 / 0", "(ZeroDivisionError: division by zero)"),
        (
            "def X(env): return 1",
            "a function env -> Policy is needed, and it retu",
        ),
    ],
)
def test_a_player_that_is_none(content, line, main, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    for words in (
        ("play", "ipd", "--seat", "mine.py:X", "random"),
        ("league", "--game", "ipd", "--scripted", "mine.py:X", "--out", "x"),
        ("league", "--text", "mine.py:X", "--game", "ipd", "--out", "y"),
    ):
        code, _, said = main(*words)
        assert code == 2 and line in said and len(said.splitlines()) == 1
