"""`aajax bench lm`: what it measures, in small, and what it says about it."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import torch

from aajax import cli, lm
from aajax.bench import lm as bench
from aajax.bench import lm_torch, lm_work, timing
from aajax.commands import bench_lm
from aajax.lm.checkpoints.weights import save_params

TINY = dataclasses.replace(
    bench.SMALL,
    vocab_size=40,
    hidden_size=16,
    intermediate_size=24,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
)
WORK = lm_work.Work(
    TINY, None, "float32", batch=2, rounds=2, turn=3, prompt=8, training_batch=2,
    training_length=8,
)  # fmt: skip
DEVICE = {"bandwidth": 6e9, "flops": 5e12}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def one_process(monkeypatch):
    def run(measure, repeats):
        return {**measure(repeats), "peak_bytes": 5_000_000}

    monkeypatch.setattr(bench, "in_new_process", run)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    save_params(path, TINY, lm.init_params(TINY, jax.random.key(0)))
    return str(path)


def test_all_is_measured_on_one_checkpoint(one_process, folder):
    work = dataclasses.replace(WORK, folder=folder)
    record = bench.measure(work, tuple(bench.OURS), 2, beside_torch=True)
    by = {what: list(each) for what, each in record["results"].items()}
    assert by == {
        "dialogue": ["aajax", "torch, generate", "torch, cache kept"],
        "decode": ["aajax"],
        "prefill": ["aajax", "torch"],
        "training": ["aajax", "torch"],
    }
    for each in record["results"].values():
        for rate in each.values():
            assert rate["unit"] == "tokens/s"
            assert len(rate["all"]) == 2
            assert min(rate["all"]) > 0
            assert rate["median"] == pytest.approx(np.median(rate["all"]))
    # Hearing takes its time.
    results = record["results"]
    assert results["dialogue"]["aajax"]["median"] < results["decode"]["aajax"]["median"]
    assert min(record["device"]["bandwidth"], record["device"]["flops"]) > 0


def test_torch_reads_the_whole_history_or_what_is_new(folder, monkeypatch):
    """Tokens that the model is given in every call, by way of its embedding."""
    work, given = dataclasses.replace(WORK, folder=folder), []
    make = lm_torch._model
    threads = torch.get_num_threads()

    def watched(work):
        model = make(work)
        embedding = model.get_input_embeddings()
        embedding.register_forward_hook(lambda m, x, y: given.append(x[0].shape[1]))
        return model

    monkeypatch.setattr(lm_torch, "_model", watched)
    lm_torch.measure_again(1, work)
    again, given[:] = list(given), []
    lm_torch.measure_kept(1, work)
    torch.set_num_threads(threads)
    # Twice, of which the first is not counted: 3 tokens heard and 3 sampled, the last
    # of which is read in the next round only, if at all.
    assert again == 2 * [3, 1, 1, 9, 1, 1]
    assert given == 2 * [3, 1, 1, 4, 1, 1]


def test_bounds_are_bytes_and_operations():
    # Of a layer: query, key, value, output with biases of three; gate, up and down;
    # two norms.
    layer = 16 * (16 + 8 + 8 + 16) + 16 + 8 + 8 + 3 * 16 * 24 + 2 * 16
    # Keys and values of 6 tokens, in the mean, of each of 2 sequences.
    read = 4 * (2 * layer + 40 * 16 + 2 * 6 * 2 * 2 * 8)
    bounds = lm_work.bounds(WORK, DEVICE)
    token = 2 * 2 * layer + 4 * 2 * 16 * 4.5
    assert bounds["decode"] == pytest.approx(2 * 6e9 / read)
    # Of dialogues of 12 tokens, with the logits of each.
    decoded = 2 * 2 * layer + 4 * 2 * 16 * 6.5 + 2 * 40 * 16
    slow = lm_work.bounds(WORK, {**DEVICE, "flops": 1e6})["decode"]
    assert slow == pytest.approx(1e6 / decoded)
    tuned = lm_work.bounds(dataclasses.replace(WORK, train="adapters"), DEVICE)
    both = 2 * (token + 2 * 40 * 16) + 4 * 2 * 16 * 4.5 + token
    assert tuned["training"] == pytest.approx(5e12 / both)
    half = dataclasses.replace(WORK, dtype="bfloat16")
    faster = lm_work.bounds(half, DEVICE)["decode"]
    assert faster == pytest.approx(2 * bounds["decode"])
    assert bounds["prefill"] == pytest.approx(5e12 / token)
    assert bounds["training"] == pytest.approx(5e12 / (3 * (token + 2 * 40 * 16)))


def test_a_published_size_needs_no_torch(one_process, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench_lm, "find_config", {"small": TINY}.__getitem__)
    monkeypatch.setattr(bench_lm.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(lm_work, "measure_device", lambda repeats, work: dict(DEVICE))
    rate = timing.rates([2.0, 4.0], 8, "tokens/s", 3.0)
    run = {"prefill": lambda repeats, work: {"prefill": rate, "device_peak_bytes": 7e9}}
    monkeypatch.setattr(bench, "OURS", run)
    out = tmp_path / "new" / "lm.json"
    options = ["--model", "small", "--only", "prefill", "--out", str(out)]
    assert cli.main(["bench", "lm", *options]) == 0
    record = json.loads(out.read_text())
    assert record["results"] == {"prefill": {"aajax": rate | {"peak_bytes": 7e9}}}
    assert record["machine"]["packages"]["jax"] == jax.__version__
    printed = capsys.readouterr().out
    assert "6 GB/s, 5000 GFLOP/s measured" in printed
    row = next(line for line in printed.splitlines() if "prefill" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        *("prefill", "aajax", "3", "2 to 4", "", "0%", "7 GB"),
    ]


def test_a_folder_trains_an_adapter_and_is_reported(
    one_process, folder, tmp_path, capsys
):
    out, report = tmp_path / "lm.json", tmp_path / "new" / "lm.md"
    small = {"batch": 2, "rounds": 1, "turn": 2, "prompt": 4, "training-batch": 2}
    small |= {"training-length": 4, "rank": 2, "repeats": 1}
    words = [x for name, n in small.items() for x in (f"--{name}", str(n))]
    words += ["--model", folder, "--random-weights", "--out", str(out)]
    assert cli.main(["bench", "lm", *words, "--report", str(report)]) == 0
    record = json.loads(out.read_text())
    assert record["work"]["model"] == folder and record["work"]["dtype"] == "float32"
    assert {what: list(by) for what, by in record["results"].items()} == {
        name: ["aajax"] for name in ("dialogue", "decode", "prefill", "training")
    }
    lines = report.read_text().splitlines()
    assert [line.split(" | ")[:2] for line in lines[-4:]] == [
        [f"| {name}", "aajax"] for name in ("dialogue", "decode", "prefill", "training")
    ]
    assert f"model {folder}, random_weights True" in report.read_text()
    assert f"jax {jax.__version__}" in report.read_text()


def test_torch_is_asked_for_where_it_is_needed(monkeypatch, capsys):
    monkeypatch.setattr(bench_lm.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["bench", "lm"]) == 2
    assert "torch is not installed: pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "0"], "batch is 0: at least 1 is needed"),
        (["--repeats", "0"], "repeats is 0: at least 1 is needed"),
        (["--rounds", "683"], "rounds is 683: at most 682 is needed"),
        (["--model", "gpt"], "model is 'gpt': one of qwen2.5-0.5b,"),
        (["--prompt", "32769"], "prompt is 32769: at most 32768 is needed"),
        (["--train", "adapters"], "train is 'adapters': 'params' is needed with torch"),
        (
            ["--model", "smollm2-135m", "--rank", "577"],
            "rank is 577: at most the hidden size, 576, is needed",
        ),
        (["--report", "."], "report is '.'"),
    ],
)
def test_bad_options_are_refused(options, message, capsys):
    assert cli.main(["bench", "lm", *options]) == 2
    assert message in capsys.readouterr().err
