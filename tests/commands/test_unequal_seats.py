"""Games whose seats have different numbers of actions: a network for each seat."""

import json

import jax
import numpy as np
import pytest

from aajax import cli
from aajax.training.assemble import make_trainer
from aajax.training.config import NetworkConfig, RunConfig

# Seat 0 has two actions, seat 1 three; both earn most by (1, 2).
PAYOFF = "[[[0, 0, 0], [0, 0, 4]], [[0, 0, 0], [0, 0, 4]]]"
ALONE = RunConfig(
    payoff=PAYOFF,
    parameters="separate",
    algorithm="naive",
    num_games=64,
    num_updates=60,
    seeds=2,
)


def main(capsys, *words):
    capsys.readouterr()
    with jax.numpy_dtype_promotion("standard"):
        code = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_they_train_meet_and_are_played(capsys, tmp_path):
    run = tmp_path / "run"
    words = ["train", "ipd-naive", "--payoff", PAYOFF, "--num-updates", "60"]
    words += ["--num-games", "64", "--seeds", "2", "--out", run]
    code, _, said = main(capsys, *words)
    assert code == 2 and "parameters is 'shared': 'separate' is needed" in said
    code, _, said = main(capsys, *words, "--parameters", "separate")
    assert code == 0, said
    summary = json.loads((run / "summary.json").read_text())
    assert np.mean(summary["mean_reward"]) > 3
    assert summary["league"] == {} and "p_cooperate" not in summary
    code, _, said = main(capsys, "league", run, "--out", tmp_path / "league")
    assert code == 0, said
    (line_up,) = json.loads((tmp_path / "league/league.json").read_text())["line_ups"]
    assert min(line_up["reward"]) > 3
    code, shown, said = main(capsys, "play", "ipd", "--seat", run, f"{run}:1")
    assert code == 0, said
    assert "after 16 steps" in shown
    wanted = "Policy is needed; game 'ipd' has no scripted players"
    code, _, said = main(
        capsys, "league", run, "--scripted", "random", "--out", tmp_path / "other"
    )
    assert code == 2 and wanted in said


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": "mlp", "learner": "ppo", "baseline": "critic"},
        pytest.param(
            {"policy": "gru", "network": NetworkConfig(encoder_layers=0)},
            marks=pytest.mark.slow,
        ),
        {"algorithm": "lola", "num_games": 8},
    ],
    ids=lambda changes: changes.get("policy", "lola"),
)
def test_each_seat_has_as_many_scores_as_actions(changes):
    config = RunConfig(**{**vars(ALONE), "num_games": 16, **changes})
    trainer = make_trainer(config)({})
    with jax.numpy_dtype_promotion("standard"):  # of optax
        once = jax.jit(lambda key: trainer.update(trainer.init(key)))
        state, metrics = once(jax.random.key(0))
    assert all(np.isfinite(x).all() for x in metrics.values())
    widths = [
        {np.shape(x)[-1] for x in jax.tree.leaves(learner.params["actor"])}
        for learner in state.learners
    ]
    assert 2 in widths[0] and 3 in widths[1]


@pytest.mark.parametrize("algorithm", ["loqa", "lola_exact"])
def test_what_needs_equal_seats_says_so(algorithm):
    config = RunConfig(**{**vars(ALONE), "algorithm": algorithm})
    line = (
        f"^algorithm is '{algorithm}': a game whose seats have equally many actions "
        "is needed, which ipd is not$"
    )
    with pytest.raises(ValueError, match=line):
        make_trainer(config)({})
