"""Training, loading and extending runs in Python."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import aajax
from aajax import cli, schema
from aajax.api.text_voices import find_voice
from aajax.errors import InputError
from aajax.training import PRESETS, NetworkConfig, RunConfig
from aajax.training.lm_presets import LM_PRESETS

SMALL = {"num_games": 8, "num_steps": 4, "num_updates": 4, "seeds": 2}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with jax.numpy_dtype_promotion("standard"):
        out = tmp_path_factory.mktemp("runs") / "run"
        return aajax.train("ipd", beta=3, sweep={"past": ["mean"]}, out=out, **SMALL)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "sweep"
    values = {"beta": np.array([0.3, 1]), "past": ("mean", "clipped")}
    with jax.numpy_dtype_promotion("standard"):
        return aajax.train("ipd", out=out, sweep=values, **SMALL)


def test_every_public_name_is_there():
    for name in aajax.__all__:
        assert getattr(aajax, name) is not None
    assert set(aajax.__all__) <= set(dir(aajax))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = aajax.trian


def test_metrics_have_settings_seeds_and_updates(sweep):
    assert sweep.metrics["reward"].shape == (4, 2, 4)
    assert sweep.metrics["update"].tolist() == [1, 2, 3, 4]
    assert np.all(np.diff(sweep.metrics["seconds"]) >= 0)
    rows = [
        json.loads(line)
        for line in (sweep.folder / "metrics.jsonl").read_text().splitlines()
    ]
    np.testing.assert_array_equal(
        sweep.metrics["reward"][1, 1, 2], rows[2]["reward"][1][1]
    )


def test_hyperparameters_are_what_was_typed(sweep):
    assert sweep.settings == [
        {"beta": 0.3, "past": "mean"},
        {"beta": 0.3, "past": "clipped"},
        {"beta": 1.0, "past": "mean"},
        {"beta": 1.0, "past": "clipped"},
    ]
    assert [x["hyperparameters"] for x in sweep.summary["settings"]] == sweep.settings
    assert "0.30000001" not in (sweep.folder / "summary.json").read_text()


def test_params_are_those_of_each_seat(sweep):
    assert len(sweep.params) == len(sweep.policies) == sweep.env.num_agents == 2
    one = sweep.params_of(seat=1, setting=2, seed=1)
    np.testing.assert_array_equal(one["actor"], sweep.params[1]["actor"][2, 1])
    with pytest.raises(InputError, match="setting is 4: a whole number from 0 to 3 is"):
        sweep.params_of(setting=4)
    for number in (1.0, True, "1"):
        with pytest.raises(InputError, match=f"seed is {number!r}: a whole number"):
            sweep.params_of(seed=number)


def test_measures_are_those_of_the_summary(sweep):
    reward = [setting["mean_reward"] for setting in sweep.summary["settings"]]
    np.testing.assert_array_equal(sweep.measures["reward with itself"], reward)
    against = sweep.measures["reward against tit_for_tat"]
    assert against.shape == sweep.measures["P(C | CD)"].shape == (4, 2)


def test_exploration_is_off_unless_it_is_asked_for(run):
    params = jax.tree.map(lambda x: 30.0 * jax.numpy.sign(x), run.params_of())
    observation = jax.numpy.eye(5)[None, :1]

    def log_prob(policy):
        memory = policy.initial_memory((1, 1))
        return policy.act(params, jax.random.key(0), observation, memory).log_prob

    assert log_prob(run.policy) > -1e-3
    assert log_prob(run.exploring(1.0)) == pytest.approx(np.log(0.5))
    assert log_prob(run.exploring()) < -1e-3


def test_a_run_is_loaded_as_it_was_trained(run):
    again = aajax.load(run.folder)
    assert again.config == run.config and again.preset == "ipd"
    assert again.summary == run.summary
    for x, y in zip(
        jax.tree.leaves(again.params), jax.tree.leaves(run.params), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    assert aajax.evaluate(run.folder) == run.summary["settings"]


def test_without_a_folder_it_is_kept_until_python_ends():
    run = aajax.train("ipd", **SMALL | {"num_updates": 1})
    assert (run.folder / "summary.json").exists()
    assert aajax.load(run.folder).summary == run.summary


def test_a_finished_run_is_not_evaluated_again(run, monkeypatch, capsys):
    before = {p: p.read_bytes() for p in run.folder.rglob("*.json")}
    monkeypatch.setattr(
        "aajax.api.small_training.evaluate_state", lambda *_: pytest.fail("evaluated")
    )
    again = aajax.train(run.config, name="ipd", out=run.folder, resume=True)
    assert again.summary == run.summary
    words = "--num-games 8 --num-steps 4 --num-updates 4 --seeds 2 --beta 3"
    words = [*words.split(), "--sweep.past", "mean", "--out", str(run.folder)]
    assert cli.main(["train", "ipd", *words, "--resume"]) == 0
    assert "after training" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in run.folder.rglob("*.json")} == before


def test_rows_are_tidy(sweep):
    rows = list(sweep.rows())
    assert len(rows) == 4 * 2 * 4
    last = rows[-1]
    assert (last["setting"], last["beta"], last["past"]) == (3, 1.0, "clipped")
    assert (last["seed"], last["update"]) == (1, 4)
    assert last["reward"] == sweep.metrics["reward"][3, 1, 3]
    frame = pytest.importorskip("pandas") and sweep.to_pandas()
    assert frame.shape == (32, len(last))
    assert frame.groupby("beta").size().to_dict() == {0.3: 16, 1.0: 16}


def test_a_function_gets_every_row():
    heard = []
    run = aajax.train("ipd", log=[heard.append], **SMALL | {"num_updates": 2})
    assert [row["update"] for row in heard] == [1, 2]
    np.testing.assert_array_equal(heard[1]["reward"], run.metrics["reward"][:, :, 1])


OPTIONS = [
    ({"beta": 3}, lambda c: c.hyperparameters.beta, 3.0),
    ({"hyperparameters": {"beta": 2}}, lambda c: c.hyperparameters.beta, 2.0),
    ({"network": {"channels": [4]}}, lambda c: c.network.channels, (4,)),
    ({"network.blocks": np.int64(2)}, lambda c: c.network.blocks, 2),
    (
        {"network": NetworkConfig(blocks=2), "network.heads": 2},
        lambda c: c.network,
        NetworkConfig(blocks=2, heads=2),
    ),
    ({"options": {"ends": True}}, lambda c: c.options, ("ends=true",)),
    ({"sweep": {"beta": (0, 1)}}, lambda c: c.sweep.beta, (0.0, 1.0)),
    ({"lambda_": 0.5}, lambda c: c.hyperparameters.gae_lambda, 0.5),
]


@pytest.mark.parametrize(("changes", "read", "value"), OPTIONS)
def test_options_have_the_names_of_the_command_line(changes, read, value):
    found = read(schema.replaced(RunConfig(), changes))
    assert found == value and type(found) is type(value)


def test_flat_parts_of_a_language_models_run():
    config = LM_PRESETS["lm-ipd"][1]
    changed = schema.replaced(config, {"past_share": 0, "speaking": {"max_tokens": 3}})
    assert changed.seating.past_share == 0.0 and changed.speaking.max_tokens == 3
    assert (
        dataclasses.replace(changed, seating=config.seating, speaking=config.speaking)
        == config
    )


REFUSED = [
    ({"bata": 3}, "bata is 3: there is no option of that name; is beta meant?"),
    ({"blocks": 2}, "blocks is 2: there is no option of that name; is network.blocks "),
    (
        {"sweep": {"bta": (1,)}},
        "sweep.bta is (1,): there is no option of that name; is sweep.beta meant?",
    ),
    ({"xyzzy": 2}, "xyzzy is 2: there is no option of that name, only game, options, "),
    ({"network": {"bloks": 2}}, "network.bloks is 2: there is no option of that name;"),
    ({"network": 2}, "network is 2: an object is needed"),
    ({"beta": "3"}, "beta is '3': a number in [-1e+06, 1e+06] is needed"),
    ({"seeds": 0}, "seeds is 0: at least 1 is needed"),
    (
        {"beta": 1, "hyperparameters": {"beta": 2}},
        "hyperparameters.beta is given twice: once is needed",
    ),
    ({"options": {"width": 3}}, "options has width=3: game 'ipd' has no such option"),
    ({"payoff": [1, 2]}, "payoff has shape (2,): [N, A_1, ..., A_N] is"),
    ({"log": ["stdout"]}, "log has 'stdout': tensorboard, wandb or a function of a "),
    ({"resume": True}, "resume is True: a folder out is needed, to resume from"),
]


@pytest.mark.parametrize(("options", "line"), REFUSED)
def test_bad_options_are_told_in_one_line(options, line):
    with pytest.raises(InputError) as caught:
        aajax.train("ipd", **options)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_other_bad_input(run, tmp_path):
    with pytest.raises(InputError, match="preset is 'idp': .* is ipd meant?"):
        aajax.train("idp")
    with pytest.raises(InputError, match="run is 'nowhere': a folder with a run is"):
        aajax.load("nowhere")
    with pytest.raises(InputError, match="num_updates is 3: at least 4, which the"):
        run.extend(3)
    with pytest.raises(InputError, match="num_updates is 4.5: a whole number of at "):
        run.extend(4.5)
    with pytest.raises(InputError, match=r"epsilon is 2: a number in \[0, 1\] is"):
        run.exploring(2)
    with pytest.raises(InputError, match="it holds this run already"):
        aajax.train(run.config, name="ipd", out=run.folder)
    with pytest.raises(InputError, match="it holds another run .*beta is 3.0 there"):
        aajax.train("ipd", out=run.folder, resume=True, **SMALL)


def test_a_payoff_may_be_an_array(tmp_path):
    payoff = np.array([[[3, 0], [5, 1]], [[3, 5], [0, 1]]])
    run = aajax.train("ipd", payoff=payoff, **SMALL | {"num_updates": 1})
    np.testing.assert_array_equal(run.env.payoff, payoff)


def test_presets_are_listed():
    presets = aajax.presets()
    assert presets.keys() == {**PRESETS, **LM_PRESETS}.keys()
    assert presets["ipd"] == PRESETS["ipd"][0]


WRONG_KINDS = [
    (lambda run: aajax.load(3), "run is 3: a path is needed"),
    (lambda run: aajax.load(run), "run is SmallRun("),
    (lambda run: aajax.evaluate(3), "run is 3: a run, or a folder with one, is needed"),
    (lambda run: aajax.export(3), "run is 3: a run, or a folder with one, is needed"),
    (lambda run: aajax.play(run), "a list of players, one per seat, is needed"),
    (
        lambda run: aajax.play("grim"),
        "seats is 'grim': a list of players, one per seat",
    ),
    (lambda run: aajax.league("p/three"), "players is 'p/three': a list of them is"),
    (lambda run: aajax.league(3), "players is 3: a list of them is needed"),
    (
        lambda run: aajax.league([run, 3]),
        "players has 3: a run, or a folder with one, is",
    ),
    (lambda run: aajax.make("ipd", num_steps=2.5), "num_steps is 2.5: a whole number"),
    (lambda run: aajax.make("ipd", num_steps="3"), "num_steps is '3': a whole number"),
]


@pytest.mark.parametrize(("call", "line"), WRONG_KINDS)
def test_arguments_of_another_kind_are_told_in_one_line(run, call, line):
    with pytest.raises(InputError) as caught:
        call(run)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_all_of_its_files(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    shutil.rmtree(folder / "checkpoints")
    part = aajax.load(folder)
    assert part.summary == run.summary
    np.testing.assert_array_equal(part.metrics["reward"], run.metrics["reward"])
    with pytest.raises(InputError, match="it has no checkpoint yet"):
        _ = part.params
    (folder / "metrics.jsonl").unlink()
    (folder / "summary.json").write_text("{}")
    part = aajax.load(folder)
    with pytest.raises(InputError, match="metrics.jsonl: it is missing"):
        _ = part.metrics
    with pytest.raises(InputError, match="summary.json: preset is missing"):
        _ = part.summary


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda settings: settings.pop(), "settings has [2, 2, 2] seeds: 4 settings "),
        (
            lambda settings: settings[1].update(
                {"mean_reward": [1.0], "measures": {}, "league": {}, "p_cooperate": {}}
            ),
            "settings has [2, 1, 2, 2] seeds: 4 settings with 2 seeds each are needed",
        ),
        (
            lambda settings: settings[0].update(against={"base": {"tokens": [1.0]}}),
            "settings.0.against.base.tokens is (1.0,): a number for each of the 2 ",
        ),
    ],
)
def test_summaries_of_another_shape(sweep, tmp_path, change, line):
    shutil.copytree(sweep.folder, tmp_path / "run")
    file = tmp_path / "run" / "summary.json"
    record = json.loads(file.read_text())
    change(record["settings"])
    file.write_text(json.dumps(record))
    with pytest.raises(InputError) as caught:
        aajax.export(tmp_path / "run")
    assert str(caught.value).startswith(f"file is {file}: {line}")


def test_folders_of_a_league_and_of_small_networks(run, tmp_path):
    (tmp_path / "config.json").write_text('{"game": "ipd", "players": ["base"]}')
    with pytest.raises(InputError, match="and this is one of a league"):
        aajax.load(tmp_path)
    with pytest.raises(InputError, match="and it is one of small networks"):
        find_voice(str(run.folder))
