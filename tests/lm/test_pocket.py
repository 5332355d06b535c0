"""A pocket model is a checkpoint folder like any other, and learns what it is shown."""

import concurrent.futures
import math
import os
import re
import threading
import time

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from aajax import lm
from aajax.dialogue import pocket
from aajax.dialogue.pocket import PocketConfig, pocket_folder, train_pocket
from aajax.envs.dialogues import KINDS, exchange
from aajax.envs.public_goods.pocket import contribution, ruled_contributions
from aajax.envs.split.pocket import ruled_items
from aajax.envs.trust_and_split import HANDS
from aajax.envs.trust_and_split.pocket import (
    ruled_coins,
    ruled_hands,
    ruled_winnings,
)
from aajax.errors import DivergenceError
from aajax.lm.checkpoints.weights import load_params, read_config
from aajax.lm.sampling.sampler import Sampler, Sampling
from aajax.lm.text.chat import find_template
from aajax.lm.text.pocket_tokenizer import pocket_tokenizer
from aajax.lm.text.tokens import load_tokenizer

TINY = {"hidden_size": 16, "layers": 1, "heads": 2, "batch": 4, "steps": 12}
DIALOGUES = PocketConfig(**TINY, length=256, learning_rate=0.03)
TEXT = "you ask, I answer; you keep, I keep. " * 9
MESSAGES = [{"role": "user", "content": "Answer <A> or <B>."}]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory):
    """A folder, and (step, loss) as reported, and the loss at the end."""
    folder, seen = tmp_path_factory.mktemp("pocket") / "new" / "dialogues", []
    loss = train_pocket(folder, DIALOGUES, lambda *report: seen.append(report))
    return folder, seen, loss


@pytest.fixture(scope="module")
def llama(tmp_path_factory, book):
    """The other family, a learned vocabulary, and a text."""
    folder = tmp_path_factory.mktemp("llama")  # there, and empty
    config = PocketConfig(
        **{**TINY, "steps": 80},
        **{"family": "llama", "vocab_size": 280, "length": 32},
        **{"text": book, "learning_rate": 0.03},
    )
    return folder, config, train_pocket(folder, config)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_losses_are_reported_and_fall(dialogues):
    _, seen, loss = dialogues
    steps, losses = zip(*seen, strict=True)
    assert steps == tuple(range(1, 13))
    assert losses[0] == pytest.approx(math.log(261), abs=0.1)  # of the bytes, any
    assert loss == pytest.approx(np.mean(losses[-2:]))
    assert loss < 0.8 * losses[0]


def test_a_text_is_learned(llama):
    """Better than by any model that knows how frequent tokens are, and no more."""
    folder, _, loss = llama
    tokens = load_tokenizer(folder)
    assert 261 < tokens.vocab_size <= 280
    count = np.unique(tokens.encode(TEXT), return_counts=True)[1]
    share = count / count.sum()
    assert loss < -np.sum(share * np.log(share))


def test_the_same_config_gives_the_same_files_even_after_an_interrupt(
    llama, tmp_path, monkeypatch
):
    folder, config, loss = llama
    with monkeypatch.context() as patch:
        patch.setattr(pocket, "_batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_pocket(tmp_path / "again", config)
    assert list(tmp_path.iterdir()) == []
    assert train_pocket(tmp_path / "again", config) == loss
    assert contents(tmp_path / "again") == contents(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def interrupt(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["dialogues", "llama"])
def test_transformers_reads_the_same_model(request, name):
    folder = request.getfixturevalue(name)[0]
    tokens, config = load_tokenizer(folder), read_config(folder)
    ids = find_template(tokens).opening(MESSAGES[0]["content"])
    theirs = AutoTokenizer.from_pretrained(folder)
    assert ids == theirs.apply_chat_template(
        MESSAGES, add_generation_prompt=True, return_dict=False
    )
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__.lower().startswith(config.family)
    assert {*model.generation_config.eos_token_id} == tokens.stop_ids
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits.numpy()
    params = load_params(folder)
    batch, positions = np.array([ids], np.int32), np.arange(len(ids), dtype=np.int32)
    hidden, _ = lm.forward(config, params, batch, positions[None])
    logits = lm.logits(config, params, hidden)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rules", [None, "split", "trust-and-split"])
def test_answers_alone_are_targets(tmp_path, rules):
    """Where the weight is 1 the targets are an answer's bytes and its end of turn."""
    tokens = pocket_tokenizer(tmp_path)
    template = find_template(tokens)
    config = PocketConfig(length=400, rules=rules)
    rows = pocket._dialogue_rows(np.random.default_rng(3), template, config)
    batch = pocket._batch([next(rows) for _ in range(8)], 400)
    assert batch.tokens.shape == (8, 400)
    np.testing.assert_array_equal(batch.targets[:, :-1], batch.tokens[:, 1:])
    assert (np.diff(batch.positions) >= 1).all()
    rng = np.random.default_rng(3)
    for row in range(8):
        said, read = [], tokens.tokenizer.decode(batch.tokens[row])
        whole = ""
        while len(whole) <= len(read):
            each = exchange(rng, rules)
            rng.integers(2), rng.integers(pocket._GAP)  # of the positions
            asked = f"<|user|>{each.request}<|done|><|assistant|>"
            whole += f"{asked}{each.answer}<|done|>"
            said.append(f"{each.answer}<|done|>")
        assert whole.startswith(read)
        targets = batch.targets[row][batch.weights[row] == 1]
        assert "".join(said).startswith(tokens.tokenizer.decode(targets))
        assert len(targets) == batch.weights[row].sum() > 0


@pytest.mark.parametrize(
    "kind",
    [
        *(*KINDS, ruled_items, ruled_coins, ruled_winnings, ruled_hands),
        *(contribution, ruled_contributions),
    ],
    ids=lambda kind: kind.__name__,
)
def test_answers_are_well_formed_and_equally_likely(kind):
    rng = np.random.default_rng(0)
    drawn = [kind(rng) for _ in range(12_000)]
    assert all(re.fullmatch(each.pattern, each.answer) for each in drawn)
    assert len({each.request for each in drawn}) > 20
    assert max(len(each.request) for each in drawn) < 250  # what a row has room for
    for nats in {each.nats for each in drawn} - {0.0}:
        answers = [each.answer for each in drawn if each.nats == nats]
        counts = np.unique(answers, return_counts=True)[1]
        size = round(math.exp(nats))
        # Chi-square with size - 1 degrees of freedom, answers never seen included.
        mean = len(answers) / size
        square = (counts**2).sum() / mean - len(answers)
        assert abs(square - (size - 1)) < 4 * math.sqrt(2 * (size - 1))


def kept_by_rule(rule, own, other, took):
    """Of one item, by what is said in the request."""
    more, less = own > other, own < other
    valued = 10 * more + 5 * (own == other)
    return {
        "Keep all.": 10,
        "Keep nothing.": 0,
        "Keep half.": 5,
        "Keep what you value more.": valued,
        "Keep what they value more.": 10 * less + 5 * (own == other),
        "Keep all if they took yours, or nothing.": 10 * took,
        "Keep nothing if they took yours, or all.": 10 * (not took),
        "Keep all if they took yours, or what you value more.": 10 if took else valued,
        "Keep what you value more if they took yours, or all.": valued if took else 10,
    }.get(rule)


@pytest.mark.parametrize(
    ("game", "honesty", "num_rules"),
    [
        ("split", None, 9 + 4 + 3),
        ("trust-and-split", None, 9 + 3),
        ("trust-and-split", 0.9, 9 + 3),
        ("public-goods", None, 9),
    ],
)
def test_answers_follow_their_rules(game, honesty, num_rules):
    rng, seen = np.random.default_rng(0), set()
    wins = {("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")}
    for each in (exchange(rng, game, honesty) for _ in range(6000)):
        request, _, rule = each.request.rpartition("\n")
        answer = [int(number) for number in re.findall(r"\d+", each.answer)]
        if each.nats > 0 or not rule.endswith("."):
            continue
        if rule.startswith("Say "):
            own = re.findall(r"You:? (\w+)", request)[0]
            (said,) = (hand for hand in HANDS if hand in each.answer)
            wanted = {
                "Say yours.": said == own,
                "Say what it beats.": (own, said) in wins,
                "Say what beats it.": (said, own) in wins,
            }
            assert wanted[rule]
        elif "Give?" in request:
            (gave,) = re.findall(r"^They gave (\w+)", request)
            same = {"nothing": 0, "little": 3, "much": 7, "all": 10}[gave]
            wanted = {
                "Give all.": 10,
                "Give nothing.": 0,
                "Give half.": 5,
                "Give as they did.": same,
                "Give the rest of what they gave.": 10 - same,
                "Give all if they gave something, or nothing.": 10 * (same > 0),
                "Give nothing if they gave something, or all.": 10 * (same == 0),
                "Give all if they gave much or all, or nothing.": 10 * (same > 5),
                "Give nothing if they gave much or all, or all.": 10 * (same < 5),
            }
            assert answer == [wanted[rule]]
        elif "Coins?" in request:
            if game == "split":
                own, other = re.findall(r"You (\w+), they (\w+)\.", request)[0]
                won, lost = (own, other) in wins, (other, own) in wins
            else:
                (winner,) = re.findall(r"Winner: (you|they|nobody)\.", request)
                won, lost = winner == "you", winner == "they"
            took = "They took yours\n" in request
            wanted = {
                "Keep all if you win, or nothing.": 10 * won,
                "Keep all if they win, or nothing.": 10 * lost,
                "Keep all if they took yours or you win.": 10 * (took or won),
                "Keep nothing if they took yours or you win.": 10 * (not (took or won)),
            }
            assert answer == [wanted.get(rule, kept_by_rule(rule, 0, 0, took))]
        else:
            before, values = request.split("\n")
            pairs = re.findall(r"(\d+) ([<=>]) (\d+)", values)
            assert all(
                sign == "<=>"[1 + (int(own) > int(other)) - (int(own) < int(other))]
                for own, sign, other in pairs
            )
            assert answer == [
                kept_by_rule(rule, int(own), int(other), before == "They took yours")
                for own, _, other in pairs
            ]
        seen.add(rule)
    assert len(seen) == num_rules


@pytest.mark.parametrize("honesty", [0.0, 0.9])
def test_hands_are_told_as_honestly_as_asked_for(honesty):
    rng = np.random.default_rng(0)
    free = [ruled_hands(rng, honesty=honesty) for _ in range(8000)]
    free = [each for each in free if each.request.endswith("Say?")]
    hands = [re.findall(r"You (\w+)\. Say", each.request)[0] for each in free]
    own = [hand in each.answer for hand, each in zip(hands, free, strict=True)]
    assert np.mean(own) == pytest.approx(honesty, abs=0.03)
    other = (1 - honesty) / 2
    entropy = -sum(p * math.log(p) for p in (honesty, other, other) if p)
    assert free[0].nats == pytest.approx(entropy)


def test_a_cached_folder_is_made_once(tmp_path, monkeypatch):
    made = []

    def train(folder, config, on_step):
        folder.mkdir(parents=True)
        made.append((folder, config))

    monkeypatch.setattr(pocket, "_train_into", train)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = pocket_folder()
    assert pocket_folder() == pocket_folder(tmp_path / "aajax") == folder
    assert folder.parent == tmp_path / "aajax"
    assert pocket_folder(tmp_path / "own").parent == tmp_path / "own"
    other = pocket_folder(config=PocketConfig(seed=1))
    assert other != folder
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pocket_folder().parent == tmp_path / ".cache" / "aajax"
    assert [config.seed for _, config in made] == [0, 0, 1, 0]


def test_a_cached_model_of_a_text_is_that_of_its_words(tmp_path, monkeypatch):
    monkeypatch.setattr(pocket, "_train_into", lambda folder, *_: folder.mkdir())
    folders = []
    for text in ("one", "two", "one"):
        (tmp_path / "text").write_text(text)
        config = PocketConfig(text=tmp_path / "text")
        folders.append(pocket_folder(tmp_path, config))
    assert folders[0] == folders[2] != folders[1]


@pytest.mark.parametrize("is_made", [True, False])
def test_another_process_may_be_faster(tmp_path, monkeypatch, is_made):
    def train(folder, config, on_step):
        if is_made:
            folder.mkdir()
        raise OSError("not empty")

    monkeypatch.setattr(pocket, "_train_into", train)
    if is_made:
        assert pocket_folder(tmp_path).is_dir()
    else:
        with pytest.raises(OSError, match="not empty"):
            pocket_folder(tmp_path)


def test_of_two_that_want_one_model_one_trains_it(tmp_path, monkeypatch, caplog):
    made, under_way = [], threading.Event()

    def train(folder, config, on_step):
        made.append(folder)
        under_way.set()
        while len(caplog.messages) < 2:  # until the other one waits
            time.sleep(0.01)
        folder.mkdir()

    monkeypatch.setattr(pocket, "_train_into", train)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        first = threads.submit(pocket_folder, tmp_path)
        under_way.wait()
        second = threads.submit(pocket_folder, tmp_path)
    assert first.result() == second.result() == made[0]
    assert len(made) == 1 and list(tmp_path.iterdir()) == made
    told, line = caplog.messages
    assert told.startswith("a pocket model is trained, once: 600 steps; kept in ")
    assert line.startswith(f"pocket model is {made[0]}: process {os.getpid()} on ")
    assert line.endswith("; waiting until it ends")


def test_how_far_it_is_is_told_now_and_then(tmp_path, monkeypatch, caplog):
    times = iter([0.0, 10.0, 25.0, 25.0, 40.0, 46.0, 46.0])

    def train(folder, config, on_step):
        for step in range(1, 5):
            on_step(step, 1 / step)
        folder.mkdir()

    monkeypatch.setattr(pocket, "_train_into", train)
    monkeypatch.setattr(pocket.time, "monotonic", lambda: next(times))
    pocket_folder(tmp_path, PocketConfig(steps=4))
    _, *lines = caplog.messages
    assert lines == [
        "pocket model: step 2/4  loss 0.500",
        "pocket model: step 4/4  loss 0.250",
    ]


def test_two_may_not_train_into_one_folder(tmp_path):
    folder = tmp_path / "model"

    def second(step, loss):
        with pytest.raises(
            ValueError, match=f"^folder is '{folder}': process {os.getpid()}"
        ):
            train_pocket(folder, config)

    config = PocketConfig(steps=1, batch=1, hidden_size=8, layers=1, heads=1)
    train_pocket(folder, config, second)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_that_diverges_is_not_saved(tmp_path):
    config = PocketConfig(
        steps=4, batch=1, hidden_size=8, layers=1, heads=1, learning_rate=1e38
    )
    with pytest.raises(DivergenceError, match=r"^the pocket model diverged at step \d"):
        train_pocket(tmp_path / "model", config)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(dialogues, tmp_path):
    folder, _, _ = dialogues
    before = contents(folder)
    with pytest.raises(ValueError, match=f"folder is '{folder}': one that is new"):
        train_pocket(folder, DIALOGUES)
    assert contents(folder) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="^folder is '.*file': one that is new"):
        train_pocket(tmp_path / "file", DIALOGUES)


@pytest.mark.parametrize("content", [b"", b"a", b"caf\xe9"])
def test_a_text_must_be_one(tmp_path, content):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"text is {path}: ") as caught:
        train_pocket(tmp_path / "model", PocketConfig(text=path, length=8))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "gpt2"}, "family is 'gpt2': one of qwen3, llama"),
        ({"layers": 0}, "layers is 0: at least 1"),
        ({"hidden_size": 62, "heads": 3}, "hidden_size is 62: an even number for each"),
        ({"vocab_size": -1}, "vocab_size is -1: at least 0"),
        ({"seed": -1}, "seed is -1: a whole number in"),
        ({"seed": 10**20}, "seed is 100000000000000000000: a whole number in"),
        ({"honesty": 0.5}, "honesty is 0.5: None is needed without rules of trust"),
        ({"honesty": 0.5, "rules": "split"}, "honesty is 0.5: None is needed without"),
        ({"rules": "chess"}, "rules is 'chess': one of split, trust-and-split, public"),
        (
            {"honesty": 2.0, "rules": "trust-and-split"},
            r"honesty is 2.0: a number in \[0, 1\]",
        ),
        ({"length": 255}, "length is 255: at least 256"),
        ({"length": 1, "text": "book"}, "length is 1: at least 2"),
        ({"learning_rate": math.nan}, "learning_rate is nan: a number above 0"),
    ],
)
def test_bad_configs(options, message):
    with pytest.raises(ValueError, match=message):
        PocketConfig(**options)


@pytest.mark.slow
def test_the_default_answers_in_the_right_format(tmp_path):
    """95 in 100 sampled answers, in each of four turns, at a loss near the entropy."""
    loss = train_pocket(tmp_path / "model")
    tokens, config = load_tokenizer(tmp_path / "model"), read_config(tmp_path / "model")
    params, template = load_params(tmp_path / "model"), find_template(tokens)
    rng, batch = np.random.default_rng(1), 200
    stop = np.isin(np.arange(config.vocab_size), [*tokens.stop_ids])
    sampler = Sampler(config)
    session, stopped, asked = sampler.start(batch), None, []
    for turn in range(4):
        exchanges = [exchange(rng) for _ in range(batch)]
        asked += exchanges
        requests = [
            template.opening(each.request)
            if turn == 0
            else template.next_turn(each.request, bool(stopped[row]))
            for row, each in enumerate(exchanges)
        ]
        session = sampler.append(session, params, requests)
        session, sample = sampler.generate(
            session, params, jax.random.key(turn), Sampling(max_tokens=130, stop=stop)
        )
        stopped = sample.stopped
        fits = [
            sample.stopped[row]
            and re.fullmatch(each.pattern, tokens.decode(sample.tokens[row]))
            is not None
            for row, each in enumerate(exchanges)
        ]
        assert np.mean(fits) > 0.95
    num_tokens = sum(len(each.answer) + 1 for each in asked)
    entropy = sum(each.nats for each in asked) / num_tokens
    assert entropy - 0.01 < loss < entropy + 0.02
