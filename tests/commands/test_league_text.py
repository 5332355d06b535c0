"""`aajax league --text`, as a user meets it."""

import dataclasses
import io
import json
import sys

import jax
import numpy as np
import pytest
from dialogue import fake_endpoint as fake
from rich.console import Console

from aajax import cli, lm
from aajax.api import text_leagues, text_players
from aajax.api.league_progress import LeagueProgress
from aajax.api.text_voices import find_config
from aajax.commands import league_text
from aajax.dialogue import registry
from aajax.dialogue.endpoints import endpoint as endpoints
from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.play.matches import load_matches
from aajax.dialogue.play.seating import LEARNER
from aajax.dialogue.players.language_model import LanguageModel
from aajax.keys import stream
from aajax.lm.checkpoints.peft_folder import save_peft
from aajax.lm.checkpoints.weights import save_params
from aajax.lm.model import lora
from aajax.lm.text.pocket_tokenizer import pocket_tokenizer
from aajax.tournament.text_league import Entrant, pairs_of
from aajax.training.config import RunConfig
from aajax.training.lm_assemble import make_game
from aajax.training.lm_config import LmConfig, Lora, Speaking
from aajax.training.run import open_folder


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where the models of these tests are."""

    config: LmConfig
    runs: tuple
    other: object
    strange: LmConfig
    stranger: object


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs on a random model, each with a random adapter, and one of chicken."""
    root = tmp_path_factory.mktemp("models")
    tokens = pocket_tokenizer(root / "model")
    decoder = lm.DecoderConfig(
        "llama", vocab_size=tokens.vocab_size, hidden_size=16, intermediate_size=16,
        num_layers=1, num_heads=2, num_kv_heads=2, head_dim=8,
    )  # fmt: skip
    save_params(root / "model", decoder, lm.init_params(decoder, jax.random.key(0)))
    config = LmConfig(
        game="ipd",
        options=("num_rounds=1",),
        prompts="short",
        model=root / "model",
        speaking=Speaking(max_tokens=8, free_tries=3),
        lora=Lora(rank=2, alpha=4.0),
    )
    runs = tuple(root / name for name in ("first", "second"))
    for seed, run in enumerate(runs):
        write_run(run, config, decoder, seed)
    other = root / "chicken"
    write_run(other, dataclasses.replace(config, game="chicken"), decoder, 1)
    strange = root / "strange"
    pocket_tokenizer(strange)
    template = without_template(strange)
    decoder = dataclasses.replace(decoder, hidden_size=24)
    save_params(strange, decoder, lm.init_params(decoder, jax.random.key(1)))
    config_of = dataclasses.replace(config, model=strange, chat_template=str(template))
    stranger = root / "stranger"
    write_run(stranger, config_of, decoder, 2)
    return Folders(config, runs, other, config_of, stranger)


def write_run(folder, config, decoder, seed):
    """A finished run's folder, with a random adapter."""
    open_folder(folder, "lm-ipd", config, resume=False)
    own = config.lora_config
    adapter = lora.init_adapters(decoder, own, jax.random.key(seed))
    noise = jax.tree.map(
        lambda x: jax.random.normal(jax.random.key(seed), x.shape), adapter.weights
    )
    adapter = adapter._replace(weights=noise)
    save_peft(folder / "adapter", decoder, own, adapter, "random")


def without_template(folder):
    """Takes the chat template of a tokenizer's folder into a file of its own."""
    path = folder / "tokenizer_config.json"
    record = json.loads(path.read_text())
    file = folder.parent / "template.jinja"
    file.write_text(record.pop("chat_template"))
    path.write_text(json.dumps(record))
    return file


def played(out, *arguments):
    """What league.json holds."""
    words = ["league", "--text", *map(str, arguments), "--out", str(out)]
    assert cli.main(words) == 0
    return json.loads((out / "league.json").read_text())


def refused(capsys, *arguments):
    """The one line of a command that is refused, after what it may say of progress."""
    assert cli.main(["league", "--text", *map(str, arguments)]) == 2
    *before, line = capsys.readouterr().err.splitlines()
    label = "aajax league --text: "
    assert line.startswith(label) and not any(label in other for other in before)
    return line.removeprefix(label)


def test_scripted_players(tmp_path, capsys):
    players = "always_defect", "tit_for_tat"
    arguments = (
        *players, "--game", "ipd", "--options", "num_rounds=2", "--num-matches", "3"
    )  # fmt: skip
    table = played(tmp_path, *arguments)
    assert [x["reward"] for x in table["line_ups"]] == [
        [1, 1], [3, 0.5], [0.5, 3], [3, 3],
    ]  # fmt: skip
    assert (table["game"], table["num_matches"], table["seed"]) == ("ipd", 3, 0)
    assert (tmp_path / "league.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "ipd: reward per round, with 95 % intervals over matches" in printed
    assert "3.000 ± 0.000" in printed and "C|CD" in printed
    assert "not in form" not in printed  # all is
    matches = list(load_matches(tmp_path / "matches.jsonl.gz"))
    assert [match.players for match in matches[::3]] == [
        (first, second) for first in players for second in players
    ]
    assert played(tmp_path, *arguments) == table
    line = refused(capsys, *arguments, "--seed", 1, "--out", tmp_path)
    assert line.endswith("(seed is 0 there and 1 here); choose another folder")


def test_one_among_copies_in_a_game_of_three(tmp_path, capsys):
    players = "always_keep", "always_contribute"
    words = "--options", "num_rounds=2", "num_messages=1", "--num-matches", "3"
    table = played(tmp_path, *players, "--game", "public-goods", *words)
    assert table["num_seats"] == 3
    assert [x["reward"] for x in table["line_ups"]] == [
        [10, 10], [20, 10], [5, 15], [15, 15],
    ]  # fmt: skip
    printed = " ".join(capsys.readouterr().out.split())
    assert "all other seats" in printed and "among copies of it" in printed
    assert "gives: share of its coins" in printed and "C|CD" not in printed
    assert cli.main(["transcript", str(tmp_path), "--text"]) == 0
    printed = capsys.readouterr().out
    assert "seat 2: always_contribute; earns +30 in all" in printed
    assert '| Player B says: "I give 10."' in printed
    assert cli.main(["transcript", str(tmp_path)]) == 0
    assert "public-goods" in (tmp_path / "transcript.html").read_text()


def test_an_average_is_over_all_whom_a_player_met(tmp_path, capsys):
    players = "always_defect", "always_cooperate", "random"
    words = "--game", "ipd", "--options", "num_rounds=2", "--num-matches", "4"
    table = played(tmp_path / "all", *players, *words)
    averages = {each["player"]: each["reward"] for each in table["averages"]}
    for name, (mean, interval) in averages.items():
        met = [x for x in table["face_offs"] if x["player"] == name]
        rewards = [x["measures"]["reward"][0] for x in met]
        np.testing.assert_allclose(mean, np.mean(rewards))
        assert interval > 0  # as all meet who is random
    words = (*words, "--pairs", "always_cooperate:always_defect")
    table = played(tmp_path / "one", *players, *words)
    assert table["averages"] == [
        {"player": "always_defect", "reward": [5, 0]},
        {"player": "always_cooperate", "reward": [0, 0]},
    ]
    assert "Average reward per round against all whom" in capsys.readouterr().out


def test_a_league_of_some_pairs(tmp_path, capsys):
    """They play the very matches that they play among all."""
    players = "random", "tit_for_tat", "always_defect"
    words = *players, "--game", "ipd", "--options", "num_rounds=2", "--num-matches", "4"
    whole = played(tmp_path / "whole", *words)
    some = *words, "--pairs", "tit_for_tat:random", "random:random"
    table = played(tmp_path / "some", *some)
    assert [x["players"] for x in table["line_ups"]] == [
        ["random", "random"], ["random", "tit_for_tat"], ["tit_for_tat", "random"],
    ]  # fmt: skip
    assert all(line_up in whole["line_ups"] for line_up in table["line_ups"])
    assert all(face_off in whole["face_offs"] for face_off in table["face_offs"])
    assert (tmp_path / "some" / "league.png").exists()
    # The same pairs in other words; then all of them.
    again = *words, "--pairs", "random:random", "random:tit_for_tat"
    assert played(tmp_path / "some", *again) == table
    line = refused(capsys, *words, "--out", tmp_path / "some")
    assert "(pairs is [['random', 'random'], ['random', 'tit_for_tat']] there" in line
    for pair in ("random", "random:nobody", ":", "random:"):
        line = refused(capsys, *words, "--pairs", pair, "--out", tmp_path / "bad")
        names = ", ".join(players)
        assert line == f"pairs has {pair!r}: A:B is needed, two of {names}"
    assert not (tmp_path / "bad").exists()


def test_pairs_of_names_with_colons(tmp_path):
    names = "api:http://localhost:8000/v1#a", "tit_for_tat"
    entrants = text_players.entrants(names, LmConfig(), registry.make("ipd"))
    assert [entrant.name for entrant in entrants] == ["a", "tit_for_tat"]
    for first in (names[0], "a"):
        for text in (f"{first}:tit_for_tat", f"tit_for_tat:{first}"):
            options = text_leagues.TextLeague(players=names, pairs=(text,))
            assert text_leagues._only(options, entrants) == [["a", "tit_for_tat"]]


def test_progress_tells_matches_steps_and_what_compiles(folders):
    model, scripted = Entrant("run", Seat(LEARNER, 0)), Entrant("grim", Seat("grim"))
    pairs = pairs_of([model, scripted], num_matches=3, seed=0, num_seats=2)
    out = io.StringIO()
    progress = LeagueProgress(Console(file=out, width=20), pairs, hidden=False)
    with progress:
        progress.on_step(pairs[3], 0, 0, 8)
        assert out.getvalue() == ""  # it has not been long
        for played_pair, _ in progress.counted([(pairs[3], [None] * 3)]):
            assert played_pair is pairs[3] and progress.num_pairs == 1
        progress._told -= 60
        progress.on_step(pairs[0], 0, 0, 8)
        progress.on_step(pairs[0], 0, 1, 8)
        progress.on_compile("reading", None)
        progress.on_compile("reading", 41.2)
    assert out.getvalue() == (
        "3/12 matches  run - run: step 1/8\ncompiling reading\n"
        "compiled in 41 s: reading\n"
    )
    progress._told -= 60
    progress.on_step(pairs[0], 2, 7, 8)
    assert out.getvalue().endswith("\n5/12 matches  run - run: step 8/8\n")


def test_nothing_is_told_beside_a_person():
    pairs = pairs_of([Entrant("run", Seat(LEARNER, 0))], 1, seed=0, num_seats=2)
    out = io.StringIO()
    progress = LeagueProgress(Console(file=out), pairs, hidden=True)
    progress._told -= 60
    progress.on_step(pairs[0], 0, 0, 8)
    progress.on_compile("reading", None)
    assert out.getvalue() == ""


def test_help_says_which_values_hold(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["league", "--text", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (
        "most tokens of an answer (default: as in the runs; without a run: 400)" in said
    )
    assert Speaking().max_tokens == 400 and Speaking().temperature == 1.0
    assert "without a run: 1.0)" in said


def test_shuffled_messages_are_of_no_use(tmp_path, capsys):
    arguments = ("welfare", "--game", "trust-and-split", "--options", "messages=hands")
    told = played(tmp_path / "told", *arguments)
    shuffled = played(tmp_path / "shuffled", *arguments, "--shuffle-messages")
    (first, second) = (sum(x["line_ups"][0]["reward"]) for x in (told, shuffled))
    assert first == 100 and second < 85
    for wrong, reason in [
        (
            ("welfare", "--game", "split"),
            "shuffle_messages is True: a game with messages is needed, and split has "
            "none",
        ),
        (
            (*arguments, "--num-matches", 1),
            "num_matches is 1: at least 2 are needed to shuffle messages",
        ),
        (
            (*arguments, "--batch", 1),
            "batch is 1: at least 2 are needed to shuffle messages",
        ),
    ]:
        line = refused(capsys, *wrong, "--shuffle-messages", "--out", tmp_path / "new")
        assert line == reason


@pytest.mark.slow
def test_matches_at_a_time(folders, tmp_path, capsys):
    """They are those of the runs, and change no match; a resumption may have others."""
    first = str(folders.runs[0])
    assert text_leagues._batch(text_leagues.TextLeague(("random",))) == 32
    assert text_leagues._batch(text_leagues.TextLeague((first, "base"))) == 64
    assert text_leagues._batch(text_leagues.TextLeague((first,), batch=3)) == 3
    words = first, "random", "--options", "num_rounds=2", "--num-matches", 5
    found = [
        played(tmp_path / str(size), *words, "--batch", size)["face_offs"]
        for size in (5, 2)
    ]
    assert found[0] == found[1]
    assert played(tmp_path / "2", *words)["face_offs"] == found[0]
    # Messages are dealt out among those that are played at the same time.
    words = "welfare", "--game", "trust-and-split", "--options", "messages=hands"
    words = *words, "--num-matches", 8, "--shuffle-messages"
    out = tmp_path / "shuffled"
    table = played(out, *words, "--batch", 4)
    capsys.readouterr()
    line = refused(capsys, *words, "--out", out)
    assert "batch is 4 there and 8 here" in line
    assert played(tmp_path / "whole", *words)["face_offs"] != table["face_offs"]
    assert played(out, *words, "--batch", 4) == table
    # A league from before there were batches was played in one.
    config = tmp_path / "whole" / "config.json"
    stored = json.loads(config.read_text())
    assert stored.pop("batch") == 8
    config.write_text(json.dumps(stored))
    played(tmp_path / "whole", *words)


def test_adapters_of_one_model(folders, tmp_path):
    names = [*map(str, folders.runs), "base", "always_defect"]
    config = find_config(names, {}, {})
    assert config.speaking == Speaking(max_tokens=8, free_tries=0)
    assert (config.game, config.model) == ("ipd", folders.config.model)
    game = registry.make("ipd", "short", num_rounds=1)
    found = text_players.entrants(names, config, game)
    assert [(x.name, x.seat) for x in found] == [
        ("first", Seat(LEARNER, 0)),
        ("second", Seat(LEARNER, 1)),
        ("base", Seat(LEARNER)),
        ("always_defect", Seat("always_defect")),
    ]
    players = text_players.line_up(names, config, game)
    assert set(players) == {LEARNER, "always_defect"}
    assert isinstance(players[LEARNER], LanguageModel)
    assert len(players[LEARNER].adapters.scale) == 2

    run = str(folders.runs[1])
    out = tmp_path / "league"
    arguments = (run, "base", "always_defect", "--num-matches", 1)
    table = played(out, *arguments)
    assert table["players"] == ["second", "base", "always_defect"]
    for line_up in table["line_ups"]:
        assert line_up["measures"]["invalid_answers"]["both"][0] == 0
    matches = {m.players: m for m in load_matches(out / "matches.jsonl.gz")}
    assert len(matches) == 9
    spoken = matches["second", "base"]
    assert spoken.adapters == (0, -1)
    assert matches["base", "always_defect"].turns[1][0].tokens is None
    assert table["line_ups"][0]["measures"]["answer_tokens"]["both"][0] >= 3

    # As a guest the run speaks as it does in a league, whatever its adapter's number.
    guests = {
        name: text_players.make_guest(folders.config)(name, game)
        for name in (run, "base")
    }
    seats = Seat(run), Seat("base")
    matchup = Matchup(spoken.number, 0, spoken.env_seed, seats)
    (again,) = play(game, guests, [matchup], stream(0, "league in words: answers"))
    for seat in (0, 1):
        here, there = (match.turns[seat][0].tokens for match in (again, spoken))
        assert here.ids == there.ids
        np.testing.assert_allclose(here.log_prob, there.log_prob, rtol=1e-4)
    first, second = (spoken.turns[seat][0].tokens for seat in (0, 1))
    assert first.prompt == second.prompt
    assert abs(first.log_prob[1] - second.log_prob[1]) > 1e-3


def test_players_of_another_model(folders, tmp_path):
    """Each speaks with its own model, which is read once, whatever the league's."""
    model, template = folders.strange.model, folders.strange.chat_template
    alone = f"model:{model},chat_template={template}"
    adapted = f"model:{model},adapter={folders.stranger}"
    first, stranger = str(folders.runs[0]), str(folders.stranger)
    names = first, stranger, alone, adapted, "base"
    config = find_config(names, {"model": folders.config.model}, {})
    game = make_game(config)
    found = text_players.entrants(names, config, game)
    assert [(x.name, x.seat) for x in found] == [
        ("first", Seat(LEARNER, 0)),
        ("stranger", Seat("model 1", 0)),
        ("strange", Seat("model 1")),
        ("strange+stranger", Seat("model 2", 0)),  # of another template: there is none
        ("base", Seat(LEARNER)),
    ]
    names = [name for name in names if name != adapted]
    players = text_players.line_up(names, config, game)
    assert set(players) == {LEARNER, "model 1"}
    widths = [players[name].sampler.config.hidden_size for name in players]
    assert widths == [16, 24]

    # The other way round they say the same.
    told = talk(players, found[0].seat, found[1].seat, game)
    given = {"model": model, "chat_template": template}
    config = find_config([first, "base", stranger], given, {})
    found = text_players.entrants([first, "base", stranger], config, game)
    assert [x.seat for x in found] == [
        Seat("model 0", 0), Seat(LEARNER), Seat(LEARNER, 0)
    ]  # fmt: skip
    again = text_players.line_up([first, "base", stranger], config, game)
    assert talk(again, found[0].seat, found[2].seat, game) == told
    assert told != talk(again, found[0].seat, found[1].seat, game)


def talk(players, one, other, game):
    """What the two say in a match, and with which probabilities."""
    matchup = Matchup(0, 0, 3, (one, other))
    (match,) = play(game, players, [matchup], jax.random.key(0))
    tokens = [turn.tokens for turns in match.turns for turn in turns]
    return [(x.prompt, x.ids, np.round(x.log_prob, 3).tolist()) for x in tokens]


def test_a_league_with_another_model(folders, tmp_path, capsys, monkeypatch):
    model, template = folders.strange.model, folders.strange.chat_template
    alone = f"model:{model},chat_template={template}"
    names = str(folders.runs[0]), alone, "--num-matches", 1, "--pairs", "first:strange"
    out = tmp_path / "league"
    table = played(out, *names)
    assert table["players"] == ["first", "strange"]
    stored = json.loads((out / "config.json").read_text())
    assert stored["models"][alone]["model"] == str(model)
    assert stored["model"] == str(folders.config.model)
    stored = {name: x for name, x in stored.items() if name != "models"}
    (out / "config.json").write_text(json.dumps(stored))
    assert "(models is {} there" in refused(capsys, *names, "--out", out)
    # A run's guest is found from other folders.
    monkeypatch.chdir(model.parent)
    config = LmConfig(guest="model:strange,chat_template=gemma,adapter=stranger")
    place = model.parent.resolve()
    assert config.to_json()["guest"] == (
        f"model:{place}/strange,chat_template=gemma,adapter={place}/stranger"
    )


def test_other_models_that_cannot_play(folders, tmp_path, capsys):
    out = "--game", "ipd", "--out", tmp_path / "league"
    own, model = folders.config.model, folders.strange.model
    form = "model:MODEL[,chat_template=NAME][,adapter=FOLDER] is needed"
    for wrong in ("model:", "model:a,b", "model:a,adapter=", "model:a,temperature=1"):
        assert refused(capsys, wrong, *out) == f"player is {wrong!r}: {form}"
    wrong = f"model:{own},adapter={own}"
    line = refused(capsys, wrong, *out)
    assert line.startswith(f"player is {wrong!r}: an adapter that is a folder with ada")
    line = refused(capsys, "model:nowhere", *out)
    assert line.startswith("model is 'nowhere': a folder, a .gguf file, smollm2 or")
    line = refused(capsys, f"model:{model}", *out)
    assert "chat_template" in line or "chat template" in line
    line = refused(capsys, "base", f"model:{own}", "--model", own, *out)
    assert line == (
        f"players has 'base' and 'model:{own}': they are one, and each is needed once"
    )
    line = refused(capsys, f"model:{own},adapter={folders.stranger}", *out)
    assert line.startswith("player is") or "hidden" in line
    line = refused(capsys, folders.runs[0], folders.stranger, "base", *out)
    assert "runs that agree are needed, or an option that decides, and model is" in line
    assert not (tmp_path / "league").exists()


def test_an_endpoint_is_paid_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("no_proxy", "*")
    answers = iter("AB" * 20)

    def behave(number, request):
        if number == 5:
            return fake.status(400)
        return fake.answer(f"<{next(answers)}>")

    with fake.serving(behave) as (endpoint, url):
        arguments = (
            f"api:{url}#clever", "always_cooperate", "--game", "ipd", "--options",
            "num_rounds=1", "--num-matches", "2", "--api.key-variable", "None",
        )  # fmt: skip
        out = tmp_path / "league"
        words = ["league", "--text", *arguments, "--out", str(out)]
        assert cli.main(words) == 2
        assert "400" in capsys.readouterr().err
        asked = len(endpoint.requests)
        table = played(out, *arguments)
        # 4 + 2 + 2 answers, and one that failed.
        assert asked >= 6 and len(endpoint.requests) == 9
        assert table["players"] == ["clever", "always_cooperate"]
        assert played(out, *arguments) == table
        assert len(endpoint.requests) == 9


@pytest.fixture
def no_pauses(monkeypatch):
    """Between requests of which some fail."""
    monkeypatch.setattr(endpoints, "_pause", lambda config, attempt: 0.0)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")


def against(url, *more):
    return (
        f"api:{url}#clever", "always_cooperate", "--game", "ipd", "--options",
        "num_rounds=1", "--num-matches", "2", *map(str, more),
    )  # fmt: skip


def test_what_is_paid_for_counts_however_often_a_league_goes_on(
    tmp_path, no_pauses, capsys
):
    out = tmp_path / "league"
    failing = fake.status(500, b"key sk-very-secret is wrong")
    with fake.serving(lambda number, request: failing) as (endpoint, url):
        for _ in range(3):
            line = refused(capsys, *against(url, "--api.max-requests", 4, "--out", out))
            assert line.startswith("max_requests is 4: all were sent")
            assert len(endpoint.requests) == 4
        endpoint.behave = lambda number, request: fake.answer("<A>")
        needed = 4 + 2 + 2  # it plays itself, and in both seats
        line = refused(capsys, *against(url, "--api.max-requests", 7, "--out", out))
        assert line.startswith("max_requests is 7: all were sent")
        played(out, *against(url, "--api.max-requests", 4 + needed))
        assert len(endpoint.requests) == 4 + needed
    capsys.readouterr()
    for file in out.rglob("*"):
        assert file.is_dir() or b"secret" not in file.read_bytes()


def test_a_league_goes_on_with_endpoints_asked_as_before(tmp_path, no_pauses, capsys):
    out = tmp_path / "league"
    with fake.serving(lambda number, request: fake.answer("<A>")) as (endpoint, url):
        asked = "--api.temperature", 0.5, "--out", out
        line = refused(capsys, *against(url, "--api.max-requests", 3, *asked))
        assert line.startswith("max_requests is 3")
        config = out / "config.json"
        before = json.loads(config.read_text())
        assert before["api.temperature"] == 0.5 and "secret" not in config.read_text()
        for option, value, there in [
            ("temperature", 1.0, 0.5), ("max_tokens", 9, 1024), ("tries", 1, 3),
            ("reasoning_effort", "low", None),
        ]:  # fmt: skip
            flag = f"--api.{option.replace('_', '-')}"
            given = [flag, value, *(asked if option != "temperature" else asked[2:])]
            line = refused(capsys, *against(url, *given))
            assert f"(api.{option} is {there!r} there and {value!r} here)" in line
        assert len(endpoint.requests) == 3
        # What no answer depends on may be another.
        free = "--api.concurrency", 1, "--api.timeout", 9
        played(out, *against(url, *asked[:2], *free))
        assert json.loads(config.read_text()) == before
        assert len(endpoint.requests) == 8

        # Leagues of which this was not written down go on with what is given.
        old = {name: x for name, x in before.items() if not name.startswith("api.")}
        config.write_text(json.dumps(old))
        played(out, *against(url, *asked[:2]))
        assert json.loads(config.read_text()) == before


@pytest.mark.parametrize(
    ("player", "more", "reason"),
    [
        ("api:http://me:sk-very-secret@a#b", (), "url has more than an address"),
        ("api:http://a?key=sk-very-secret", (), "player is 'api:...': api:URL#MODEL"),
        ("api:http://[bad#b", (), "url is 'http://[bad': one like https://api.ope"),
        ("api:http://a:99999/v1#b", (), "url is 'http://a:99999/v1': one like"),
        ("api:http://a#b", ("--api.tries", 0), "api.tries is 0: at least 1 is needed"),
        ("api:http://a#b", ("--api.key-variable", "sk-very-secret"), "api.key_variab"),
        ("random", ("--api.max-requests", 4), "api.max_requests is 4: a player api:U"),
        ("random", ("--api.key-variable", "secret"), "api.key_variable is given: a pl"),
    ],
)
def test_endpoints_that_cannot_be_asked(player, more, reason, tmp_path, capsys):
    out = tmp_path / "league"
    line = refused(capsys, player, "--game", "ipd", *more, "--out", out)
    assert line.startswith(reason) and "secret" not in line
    assert not (out / "config.json").exists()


def test_a_league_of_an_earlier_version_goes_on(tmp_path):
    """An option that is younger had its default; others are called otherwise now."""
    out, words = tmp_path / "league", ("random", "--game", "ipd", "--num-matches", 2)
    table = played(out, *words)
    record = json.loads((out / "config.json").read_text())
    record["speaking"]["piece"] = record["speaking"].pop("prefill_chunk")
    del record["speaking"]["free_tries"], record["pocket"]["honesty"]
    (out / "config.json").write_text(json.dumps(record))
    assert played(out, *words) == table
    assert json.loads((out / "config.json").read_text())["speaking"]["free_tries"] == 0


def test_an_interrupt_is_told(tmp_path, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(text_players, "line_up", stop)
    out = tmp_path / "league"
    words = ["league", "--text", "random", "--game", "ipd", "--out", str(out)]
    assert cli.main(words) == 130
    assert (
        "0 of 1 pairs are played; the same command goes on" in capsys.readouterr().err
    )


def test_players_that_cannot_meet(folders, tmp_path, capsys):
    first = str(folders.runs[0])
    out = ("--out", tmp_path / "league")
    line = refused(capsys, "base", "greedy", *out)
    assert line.startswith("players is ['base', 'greedy'] and game None: the folder")
    line = refused(capsys, "nobody", "--game", "ipd", *out)
    assert line.startswith("player is 'nobody': one of always_cooperate, ")
    line = refused(capsys, "random", "random", "--game", "ipd", *out)
    assert line.startswith("players is ['random', 'random']: one or more, each once")
    for same in (f"{first}/", f"{first}/../first", f"{first}/adapter"):
        line = refused(capsys, first, "base", same, *out)
        assert line == (
            f"players has {first!r} and {same!r}: they are one, and each is needed once"
        )
    one, other = "api:http://localhost/v1#a/b", "api:http://localhost/v1#a_b"
    line = refused(capsys, one, other, "--game", "ipd", *out)
    assert line.startswith(f"players has {one!r} and {other!r}: endpoints are needed")
    line = refused(capsys, first, folders.other, *out)
    assert "game is ipd of one and chicken of the other" in line
    line = refused(capsys, "api:http://localhost", "--game", "ipd", *out)
    assert line.startswith("player is 'api:http://localhost': api:URL#MODEL is needed")
    unfinished, small = tmp_path / "unfinished", tmp_path / "small"
    open_folder(unfinished, "lm-ipd", folders.config, resume=False)
    line = refused(capsys, unfinished, *out)
    assert line.startswith(f"player is {str(unfinished)!r}: a run that is finished")
    open_folder(small, "ipd", RunConfig(), resume=False)
    line = refused(capsys, small, *out)
    assert line.startswith(f"player is {str(small)!r}: a run of `aajax train lm-...`")
    line = refused(capsys, "random", "--game", "ipd", "--out", tmp_path)
    assert "it holds files that are no league of words" in line
    assert not (tmp_path / "league").exists()


def test_what_is_given_counts_whatever_runs_say(folders):
    names = [str(folders.runs[0]), str(folders.other)]
    config = find_config(names, {"game": "stag-hunt"}, {"max_tokens": 5})
    assert config.game == "stag-hunt"
    assert config.speaking.max_tokens == 5
    assert config.options == ("num_rounds=1",)


def test_guests(folders):
    game = registry.make("ipd")
    make_guest = text_players.make_guest(folders.config)
    assert make_guest("tit_for_tat", game).game is game
    with pytest.raises(ValueError, match="^guest is .*chicken'?: one of ipd is needed"):
        make_guest(str(folders.other), game)
    with pytest.raises(
        ValueError, match="^player is 'nobody': one of always_cooperate"
    ):
        make_guest("nobody", game)


def test_a_table_of_behaviour_leaves_out_what_is_nothing():
    measures = {"reward": (2.5, 0.1), "cooperation": (0.0, 0.0), "deals": (None, None)}
    measures |= {"invalid_answers": (0.0, 0.0), "retried_answers": (0.25, 0.1)}
    measures |= {"valid_free_answers_message": (None, None)}  # none was free
    measures |= {"valid_free_answers_action": (0.0, 0.0)}
    face_off = {"player": "a", "opponent": "b", "measures": measures}
    table = league_text.behaviour_table({"face_offs": [face_off]})
    assert [*table.keys, *table.values] == [
        "player",
        "against",
        "reward",
        "C",
        "tried again",
        "free action in form",
    ]


def test_scripted_players_have_no_free_answers_beside_a_model():
    """Whom a model never met has none, and they are a column of the others."""
    free = {"reward": (2.5, 0.1), "valid_free_answers_choice": (0.75, 0.1)}
    face_offs = [
        {"player": "run", "opponent": "grim", "measures": free},
        {"player": "grim", "opponent": "grim", "measures": {"reward": (3.0, 0.0)}},
    ]
    table = league_text.behaviour_table({"face_offs": face_offs})
    assert table.values == ["reward", "free choice in form"]
    assert [row[2:] for row in table.rows] == [["2.50", "0.75"], ["3.00", "-"]]


def test_without_transformers(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "aajax.commands.league_text")
    assert refused(capsys, "random").startswith("transformers is not installed: pip")
