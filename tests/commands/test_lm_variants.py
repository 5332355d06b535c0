"""Every preset of language models, shrunk, from the first word to the last figure.

Each run is interrupted after its first iteration and resumed. The model is a tiny one,
which mostly answers in form; matches are short and few.
"""

import contextlib
import csv
import json
import signal

import jax
import numpy as np
import pytest
from dialogue import fake_endpoint as fake
from tiny_speech import LORA, TINY, tiny_adapters, tiny_folder

import aajax
from aajax import cli
from aajax.api import lm_training
from aajax.api.runs import PLACES
from aajax.dialogue import registry
from aajax.errors import InputError
from aajax.lm.checkpoints.peft_folder import save_peft
from aajax.lm.model import lora
from aajax.report import lm_curves
from aajax.training import divergence, lm_assemble, lm_run
from aajax.training.lm_presets import LM_PRESETS, POCKET, PUBLISHED, SIZES, VARIANTS

GUESTS = "vs-frozen", "vs-api"
TOKENS = {
    "ipd": 8,
    "split": 40,
    "trust-and-split": 48,
    "public-goods": 8,
}  # that an answer may take
ROUNDS = {"ipd": 2, "split": 1, "trust-and-split": 1, "public-goods": 2}
LONGEST = 500  # tokens of a dialogue


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """A figure of two panels."""
    panels = {name: lm_curves.PANELS[name] for name in ("reward", "entropy")}
    monkeypatch.setattr(lm_curves, "PANELS", panels)


@pytest.fixture(autouse=True)
def assembled_once(monkeypatch):
    """What is resumed here has the parts, and the programs, that it had before."""
    assemble, made = lm_assemble.assemble, {}

    def known(config, make_guest=None):
        if (config.guest or "").startswith("api:"):
            return assemble(config, make_guest)
        if config not in made:
            made[config] = assemble(config, make_guest)
        return made[config]

    monkeypatch.setattr(lm_assemble, "assemble", known)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A PEFT folder."""
    folder = tmp_path_factory.mktemp("adapter")
    save_peft(folder, TINY, LORA, lora.take(tiny_adapters(1), 0), "tiny")
    return folder


def shrunk(preset, model, **changes):
    """Options that make a preset small, with changes to them."""
    config = LM_PRESETS[preset][1]
    others = [text for text in config.options if not text.startswith("num_rounds=")]
    alone = config.baseline == "batch" and config.group_size == 1
    options = {
        "model": model,
        "prompts": "short",
        "options": (f"num_rounds={ROUNDS[config.game]}", *others),
        "num-iterations": 2,
        "num-matches": 8,
        "group-size": 1 if alone else 2,
        "num-microbatches": 1,
        "lora.rank": LORA.rank,
        "lora.alpha": LORA.alpha,
        "lora.targets": LORA.targets,
        "speaking.max-tokens": TOKENS[config.game],
        # One size, as each compiles.
        "speaking.cache-size": LONGEST,
        "speaking.max-cache": LONGEST,
        "eval.matches": 2,
        "past-selves.every": 1,
        "past-selves.most": 2,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    words = []
    for name, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name}", *map(str, values)]
    return words


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


def strictly(text):
    return json.loads(text, parse_constant=refuse_constant)


@contextlib.contextmanager
def interrupted_after(iterations, monkeypatch):
    """A run under which somebody presses Ctrl-C."""
    train = lm_run.train_lm

    def train_lm(folder, parts, on_iteration, *more, **options):
        def pressed(done, row):
            on_iteration(done, row)
            if done == iterations:
                signal.raise_signal(signal.SIGINT)

        return train(folder, parts, pressed, *more, **options)

    with monkeypatch.context() as patched:
        patched.setattr(lm_run, "train_lm", train_lm)
        yield


def run(preset, out, arguments, monkeypatch, capsys):
    """Interrupts and resumes a run; what it leaves, checked as far as all leave it."""
    words = ["train", preset, *arguments, "--out", str(out)]
    with interrupted_after(1, monkeypatch):
        assert cli.main(words) == 130, capsys.readouterr().err
    assert "Saved after 1 of" in capsys.readouterr().err
    assert cli.main([*words, "--resume"]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    rows = [strictly(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    summary = strictly((out / "summary.json").read_text())
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    (last,) = {row["update"] for row in rows[-1:]}
    assert [row["update"] for row in rows] == list(range(1, last + 1))
    assert f"iteration {last}/{last}" in told and f"{preset}, seed 0" in told
    for row in rows:
        rewards = row.get("reward"), row.get("reward_against_others")
        assert any(x is not None for x in rewards)
    if rows[-1].get("reward_against_others") is not None:
        assert "against others" in told and "others, in training" in " ".join(
            told.split()
        )
    assert {"itself", "base", "always_cooperate", "always_defect"} <= set(
        summary["measures"]
    )
    for measures in summary["measures"].values():
        assert np.isfinite(measures["reward"])
    assert (out / "adapter" / "adapter_config.json").exists()
    return rows, summary


def said(game_name):
    """How an endpoint answers: what a scripted player would say."""
    game = registry.make(game_name, "short", num_rounds=1)
    if game_name == "ipd":
        return lambda number, request: fake.answer("<A>")

    def behave(number, request):
        answered = [m for m in request["messages"] if m["role"] == "assistant"]
        speaks = "message" in game.patterns and len(answered) % 2 == 0
        (acts,) = set(game.patterns) - {"message"}
        kind = "message" if speaks else acts
        return fake.answer(game.say(kind, np.broadcast_to(3, game.silent.shape)))

    return behave


@contextlib.contextmanager
def guest_of(variant, game, monkeypatch):
    """Options that name a variant's guest."""
    if variant not in GUESTS:
        yield {}
    elif variant == "vs-frozen":
        yield {"guest": "tit_for_tat"}
    else:
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        with fake.serving(said(game)) as (endpoint, url):
            yield {"guest": f"api:{url}#clever"}
            assert endpoint.requests


def check_variant(variant, rows):
    """Whether who sat opposite is who should."""
    if variant in GUESTS:
        assert all(row["reward"] is None for row in rows)
        assert all(row["reward_against_others"] is not None for row in rows)
    elif variant not in ("aa", "aa-no-group"):
        assert all("reward_against_others" not in row for row in rows)


# Each variant and each game once: split, and naive learners, are small chat models'.
QUICK = {
    "ipd": ("aa", "sum", "aa-no-buffer", "aa-no-group", "vs-api"),
    "trust-and-split": ("vs-frozen",),
}


def cases():
    """All presets of pocket models, most of which differ by a game or a variant."""
    for game in POCKET:
        for variant in VARIANTS:
            marks = [] if variant in QUICK.get(game, ()) else [pytest.mark.slow]
            yield pytest.param(game, variant, marks=marks)


@pytest.mark.parametrize(("game", "variant"), [*cases()])
def test_presets_of_pocket_models(game, variant, model, tmp_path, monkeypatch, capsys):
    preset = f"lm-{game}" if variant == "aa" else f"lm-{game}-{variant}"
    with guest_of(variant, game, monkeypatch) as guest:
        arguments = shrunk(preset, model, **guest)
        rows, _ = run(preset, tmp_path / "run", arguments, monkeypatch, capsys)
    check_variant(variant, rows)


def test_a_population(model, tmp_path, monkeypatch, capsys):
    """Interrupted, resumed, and what there is of each member afterwards."""
    sweep = ["--seeds", "2", "--sweep.algorithm", "naive", "advantage_alignment"]
    out = tmp_path / "run"
    words = ["train", "lm-ipd", *shrunk("lm-ipd", model), *sweep, "--out", str(out)]
    with interrupted_after(1, monkeypatch):
        assert cli.main(words) == 130, capsys.readouterr().err
    assert cli.main([*words, "--resume"]) == 0, capsys.readouterr().err
    told = " ".join(capsys.readouterr().out.split())
    assert "lm-ipd: means over 2 seeds" in told and "advantage_alignment" in told
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    summary = strictly((out / "summary.json").read_text())
    found = aajax.load(out)
    assert found.summary == summary
    assert found.settings == [
        {"algorithm": "naive"},
        {"algorithm": "advantage_alignment"},
    ]
    assert found.metrics["loss"].shape == (2, 2, 2)
    names = [name for setting in summary["settings"] for name in setting["members"]]
    assert sorted(names) == sorted(path.name for path in (out / "members").iterdir())
    for k, setting in enumerate(summary["settings"]):
        for s, name in enumerate(setting["members"]):
            own = found.member(k, s)
            assert own.folder == out / "members" / name
            measures = own.summary["measures"]
            for metric, numbers in found.metrics.items():
                if metric not in PLACES:
                    np.testing.assert_array_equal(
                        own.metrics[metric][0, 0], numbers[k, s]
                    )
            assert setting["mean_reward"][s] == measures["itself"]["reward"]
            for who, numbers in setting["league"].items():
                assert numbers[s] == measures[who]["reward"]
    assert cli.main(["plot", str(out), "--out", str(tmp_path / "again.png")]) == 0
    # In adapter/ is what was evaluated.
    own = found.member(1, 0)
    assert own.evaluate() == own.summary["measures"]
    with pytest.raises(InputError, match="goes on with the whole of it"):
        own.extend(3)
    with pytest.raises(InputError, match="goes on with the whole of it"):
        aajax.train("lm-ipd", out=own.folder, resume=True)
    check_exported(found, tmp_path / "numbers")
    member, other = (out / "members" / names[i] for i in (0, 3))
    assert cli.main(["plot", str(member)]) == 0
    assert cli.main(["transcript", str(member)]) == 2
    assert f"transcript {out} --member {names[0]}\n" in capsys.readouterr().err
    lost = divergence.Divergence(0, {}, 1, "loss", "nan", "iteration")
    divergence.note(member, {(0, 0): lost})
    words = ["transcript", str(out), "--member", names[3], "--text"]
    assert cli.main(words) == 0
    assert f"of {names[3]}, environment seed" in capsys.readouterr().out
    league = ["league", "--text", str(member), str(other), "--num-matches", "2"]
    assert cli.main([*league, "--out", str(tmp_path / "league")]) == 0
    told = capsys.readouterr()
    assert names[3] in told.out
    assert f"{member}: {lost}; it plays as it was before\n" in told.err
    # What is no adapter is refused where one is needed.
    assert cli.main(["league", "--text", str(out), "base"]) == 2
    assert "one of its 4 members is needed, such as" in capsys.readouterr().err
    with pytest.raises(InputError, match="as run.member"):
        _ = found.adapter


def check_exported(run, out):
    """A line per setting, seed and who sat opposite."""
    aajax.export(run, out)
    with (out / "summary.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == len(run.settings) * len(run.seeds) * 4
    for row in rows:
        setting = run.summary["settings"][int(row["setting"])]
        who, s = row["opposite"], run.seeds.index(int(row["seed"]))
        reward, tokens = (
            (setting["mean_reward"], setting["measures"]["answer_tokens"])
            if who == "itself"
            else (setting["league"][who], setting["against"][who]["answer_tokens"])
        )
        assert row["algorithm"] == setting["hyperparameters"]["algorithm"]
        assert float(row["reward"]) == reward[s]
        assert float(row["answer_tokens"]) == tokens[s]


@pytest.mark.parametrize(
    "game", ["split", pytest.param("trust-and-split", marks=pytest.mark.slow)]
)
def test_guests_that_are_adapters(game, model, adapter, tmp_path, monkeypatch, capsys):
    preset = f"lm-{game}-vs-frozen"
    arguments = shrunk(preset, model, guest=adapter)
    rows, _ = run(preset, tmp_path / "run", arguments, monkeypatch, capsys)
    check_variant("vs-frozen", rows)


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("lm-ipd-aa-qwen2.5-7b", {"dtype": "float32"}),
        pytest.param("lm-split-naive-llama3.1-8b", {}, marks=pytest.mark.slow),
        pytest.param(
            "lm-trust-and-split-aa-qwen2.5-7b",
            {"dtype": "float32", "past_per": "group"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_published_presets(preset, changes, model, tmp_path, monkeypatch, capsys):
    arguments = shrunk(preset, model, **{"num_microbatches": 2, **changes})
    run(preset, tmp_path / "run", arguments, monkeypatch, capsys)


def small_cases():
    """Presets of small chat models: one always, which leaves free tries open."""
    for game in POCKET:
        for variant in VARIANTS:
            quick = (game, variant) == ("split", "naive")
            marks = [] if quick else [pytest.mark.slow]
            yield pytest.param(game, variant, marks=marks)


@pytest.mark.parametrize(("game", "variant"), [*small_cases()])
def test_presets_of_small_chat_models(
    game, variant, model, tmp_path, monkeypatch, capsys
):
    preset, out = f"lm-{game}-{variant}-smollm2", tmp_path / "run"
    with guest_of(variant, game, monkeypatch) as guest:
        arguments = shrunk(preset, model, **guest)
        rows, _ = run(preset, out, arguments, monkeypatch, capsys)
    check_variant(variant, rows)
    found = strictly((out / "free_answers.json").read_text())
    tries = strictly((out / "config.json").read_text())["speaking"]["free_tries"]
    share = sum(found["valid"].values()) / sum(found["answers"].values())
    assert tries == (share >= 0.1)


def test_every_preset_is_one_of_these():
    """Those of pocket models are run above, of others one at least of each game."""
    pocket = {
        f"lm-{game}" if variant == "aa" else f"lm-{game}-{variant}"
        for game in POCKET
        for variant in VARIANTS
    }
    others = [name for name in LM_PRESETS if name not in pocket]
    assert pocket <= set(LM_PRESETS)
    assert all(name.endswith(SIZES) for name in others)
    assert {LM_PRESETS[name][1].game for name in others} == set(PUBLISHED)


ODD = {
    "past selves alone": {"past_share": 1},
    "few past selves, seldom": {
        "past_selves.every": 2,
        "past_selves.most": 2,
        "past_share": 1,
        "num_iterations": 4,
    },
    "a critic": {"baseline": "critic", "num_microbatches": 2},
    "everybody in turn": {
        "learners": "both",
        "past_share": 0.5,
        "guest_share": 0.5,
        "guest": "random",
    },
    "hardly ever saved": {"save_every": 100, "matches_every": 100},
    "free tries, groups, weights that fall": {
        "speaking.free_tries": 2,
        "past_per": "group",
        "group_size": 2,
        "baseline": "group",
        "past": "mean",
        "kl": 0.1,
        "final_kl": 0,
    },
}


# Learning with a critic is resumed in training/test_lm_run.py too.
LIKE_OTHERS = "past selves alone", "a critic"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LIKE_OTHERS else [])
        for name in ODD
    ],
)
def test_odd_combinations(name, model, tmp_path, monkeypatch, capsys):
    arguments = shrunk("lm-ipd", model, **ODD[name])
    rows, _ = run("lm-ipd", tmp_path / "run", arguments, monkeypatch, capsys)
    if "past_share" in ODD[name] and "guest" not in ODD[name]:
        every = ODD[name].get("past_selves.every", 1)
        assert [row["reward"] is None for row in rows] == [
            number >= every for number in range(len(rows))
        ]


def test_an_interrupt_after_training(model, tmp_path, monkeypatch, capsys):
    """While the learner plays with others: that alone is done again."""
    words = ["train", "lm-ipd", *shrunk("lm-ipd", model), "--out", str(tmp_path)]
    evaluate = lm_training.evaluate_lm

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return evaluate(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(lm_training, "evaluate_lm", pressed)
        for more in ([], ["--resume"]):
            assert cli.main([*words, *more]) == 130
            assert "Saved after 2 of 2 iterations" in capsys.readouterr().err
    before = (tmp_path / "metrics.jsonl").read_text()
    assert cli.main([*words, "--resume"]) == 0
    assert (tmp_path / "metrics.jsonl").read_text() == before
    assert (tmp_path / "summary.json").exists()


def test_a_run_is_a_guest_and_a_player(model, tmp_path, monkeypatch, capsys):
    """Whatever it was compared with while it learned."""
    first, arguments = tmp_path / "first", shrunk("lm-ipd", model)
    assert cli.main(["train", "lm-ipd", *arguments, "--out", str(first)]) == 0
    arguments = shrunk("lm-ipd-vs-frozen", model, guest=first)
    run("lm-ipd-vs-frozen", tmp_path / "second", arguments, monkeypatch, capsys)
    players = [first, tmp_path / "second", "tit_for_tat"]
    words = ["league", "--text", *players, "--num-matches", 1, "--out", tmp_path / "x"]
    assert cli.main([str(word) for word in words]) == 0, capsys.readouterr().err
    table = strictly((tmp_path / "x" / "league.json").read_text())
    assert table["players"] == ["first", "second", "tit_for_tat"]
