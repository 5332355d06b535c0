"""`aajax bench lm-iteration`: what it measures, in small, and what it says about it."""

import json

import jax
import numpy as np
import pytest
import torch

from aajax import cli, lm
from aajax.bench import lm_iteration as bench
from aajax.bench import lm_iteration_torch
from aajax.commands import bench_lm_iteration
from aajax.dialogue.play.matches import Match, Turn
from aajax.dialogue.players.base import Tokens
from aajax.lm.checkpoints.weights import save_params
from aajax.lm.text.pocket_tokenizer import pocket_tokenizer


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    tokens = pocket_tokenizer(path)
    decoder = lm.DecoderConfig(
        "llama", vocab_size=tokens.vocab_size, hidden_size=16, intermediate_size=16,
        num_layers=1, num_heads=2, num_kv_heads=1, head_dim=8,
    )  # fmt: skip
    save_params(path, decoder, lm.init_params(decoder, jax.random.key(0)))
    return path


def test_both_do_the_same_iterations(folder, tmp_path, monkeypatch, capsys):
    """Torch reads, samples and learns from the tokens of ours."""
    read, learned, threads = [], [], torch.get_num_threads()
    make = lm_iteration_torch._adapted

    def watched(config, folder):
        model = make(config, folder)
        backbone = model.get_base_model().get_decoder()

        def seen(module, arguments, named, result):
            mask = named["attention_mask"]
            width = result.last_hidden_state.shape[1]
            into = learned if module.training else read
            into.append(int(mask[:, -width:].sum()))

        backbone.register_forward_hook(seen, with_kwargs=True)
        return model

    def run(measure, repeats):
        return {**measure(repeats), "peak_bytes": 5_000_000}

    device = {"bandwidth": 6e9, "flops": 5e12}
    monkeypatch.setattr(lm_iteration_torch, "_adapted", watched)
    monkeypatch.setattr(bench_lm_iteration, "in_new_process", run)
    monkeypatch.setattr(bench, "measure_device", lambda repeats, work: dict(device))
    monkeypatch.setenv("COLUMNS", "200")
    out, report = tmp_path / "new" / "it.json", tmp_path / "it.md"
    words = "--model", folder, "--prompts", "short", "--rounds", 2, "--num-matches", 2
    words = *words, "--repeats", 1, "--out", out, "--report", report
    try:
        assert cli.main(["bench", "lm-iteration", *map(str, words)]) == 0
    finally:
        torch.set_num_threads(threads)
    record = json.loads(out.read_text())
    names = ["aajax", "torch", "torch, bfloat16"]
    assert {part: list(by) for part, by in record["results"].items()} == {
        part: names for part in ("playing", "learning", "iteration")
    }
    tokens = record["tokens"]
    # Of two iterations, each done twice, the second is counted.
    calls = len(read) // 4
    assert sum(read[-calls:]) == sum(read[-2 * calls : -calls]) == tokens["playing"]
    assert learned[-1] == learned[-2] == tokens["learning"]
    # Both seats are played, and one is learned from; what all begin with is read once.
    assert tokens["playing"] > 1.5 * tokens["learning"]
    assert tokens["read"] < tokens["playing"] and tokens["learned"] < tokens["learning"]
    for by in record["results"].values():
        for rate in by.values():
            assert len(rate["all"]) == 1 and rate["median"] > 0
            assert rate["peak_bytes"] is None or rate["peak_bytes"] >= 0
    each = [record["results"][part]["torch"]["median"] for part in bench.PARTS]
    seconds = [tokens["playing"] / each[0], tokens["learning"] / each[1]]
    both = tokens["playing"] + tokens["learning"]
    assert sum(seconds) == pytest.approx(both / each[2])
    printed = capsys.readouterr().out
    assert f"an iteration of {tokens['playing']} tokens played and" in printed
    assert "s at best" in printed and "| iteration | torch |" in report.read_text()


def test_tokens_and_bounds_are_counted():
    """Two seats of one match, of which the first is learned from."""

    def turn(step, prompt, ids):
        said = Tokens(prompt, ids, [0.0] * len(ids), [0] * len(ids), [9] * len(ids))
        return Turn(step, "", "action", "A", True, 1, said)

    opening = list(range(20))
    first = turn(0, [*opening, 30], [40, 41]), turn(1, [31, 32], [42, 41])
    second = turn(0, [*opening, 33], [40, 41]), turn(1, [31, 32], [43, 41])
    match = Match(
        game="ipd", number=0, group=0, env_seed=0, players=("model", "model"),
        adapters=(0, 0), turns=(first, second), actions=[[0, 0]] * 2,
        rewards=[[1.0, 1.0]] * 2, facts=[{}, {}], trained=(True, False),
    )  # fmt: skip
    counts = bench.counted([match])
    # 21 + 2 + 2 + 2 tokens of each, the last of which nobody reads; 16 of an opening
    # are taken out of both. A sequence by itself is its own opening.
    assert counts == bench.Counts(52, 26, 36, 8, 26, 4, 26)
    config = lm.DecoderConfig(
        "llama", vocab_size=40, hidden_size=16, intermediate_size=24, num_layers=2,
        num_heads=2, num_kv_heads=1, head_dim=8,
    )  # fmt: skip
    found = bench.bounds(config, counts, 1e9)
    weights = 2 * 2 * (16 * (16 + 8 + 8 + 16) + 3 * 16 * 24 + 2 * 16)
    attention, logits = 4 * 2 * 16 * 13.5, 2 * 40 * 16
    playing = 36 * (weights + attention) + 8 * logits
    learning = 26 * (2 * weights + 3 * attention) + 2 * 4 * logits
    assert found["playing"] == pytest.approx(52 * 1e9 / playing)
    assert found["learning"] == pytest.approx(26 * 1e9 / learning)
    assert found["iteration"] == pytest.approx(78 * 1e9 / (playing + learning))


def test_rows_are_aligned():
    tokens, seen = lm_iteration_torch._aligned([[1, 2, 3], [], [4]])
    np.testing.assert_array_equal(tokens, [[1, 2, 3], [0, 0, 0], [0, 0, 4]])
    np.testing.assert_array_equal(seen, [[1, 1, 1], [0, 0, 0], [0, 0, 1]])


def test_torch_and_peft_are_asked_for(monkeypatch, capsys):
    there = lambda missing: lambda name: None if name == missing else object()  # noqa: E731
    for name in ("torch", "peft"):
        monkeypatch.setattr("importlib.util.find_spec", there(name))
        assert cli.main(["bench", "lm-iteration"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(f"{name} is not installed: pip install 'aajax[test]'")
