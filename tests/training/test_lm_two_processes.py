"""Two processes play, learn and save together what one does alone."""

import dataclasses
import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from tiny_speech import LORA, TINY, tiny_folder

from aajax.commands.transcript import main as transcript
from aajax.dialogue.play.matches import load_matches
from aajax.dialogue.play.seating import Seating
from aajax.lm.checkpoints.peft_folder import load_peft
from aajax.training import metrics
from aajax.training.lm_config import LmConfig, Lora, PastSelves, Speaking
from aajax.training.lm_population import assemble_population
from aajax.training.lm_run import train_lm
from aajax.training.run import open_folder

PROGRAM = """
import contextlib, json, os, signal, sys
from pathlib import Path
from aajax import files
from aajax.lm.mesh import sharding

sharding.start_distributed()

import dataclasses
import jax
from aajax.lm.mesh.hosts import in_first
from aajax.training.lm_population import assemble_population
from aajax.training.lm_config import LmConfig
from aajax.training.lm_run import check_processes, train_lm
from aajax.training.metrics import read_rows
from aajax.training.run import opened

folder, record = Path(sys.argv[1]), json.loads(sys.argv[2])
config = LmConfig.from_json(record)
found = {"processes": jax.process_count()}
for name, changes in {"odd": {"num_matches": 3}, "alone": {"data": 1}}.items():
    try:
        wrong = {"baseline": "batch", "group_size": 1, "num_microbatches": 1, **changes}
        check_processes(assemble_population(dataclasses.replace(config, **wrong)))
    except ValueError as error:
        found[name] = str(error)
parts = assemble_population(config)
stack = contextlib.ExitStack()
in_first(lambda: stack.enter_context(opened(folder / "two", "test", config, False)))
try:
    with files.locked(folder / "two" / files.LOCK, "out"):
        pass
except ValueError as error:
    found["held"] = str(error)
found["pid"] = os.getpid()


def stop(done, row):
    if jax.process_index() == 1:
        signal.raise_signal(signal.SIGINT)


try:
    train_lm(folder / "two", parts, stop)
except KeyboardInterrupt:
    found["stopped"] = len(read_rows(folder / "two" / "metrics.jsonl"))
train_lm(folder / "two", parts)
stack.close()
(folder / f"{jax.process_index()}.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return LmConfig(
        model=tiny_folder(tmp_path_factory.mktemp("tiny")),
        options=("num_rounds=2",),
        prompts="short",
        speaking=Speaking(max_tokens=8),
        lora=Lora(LORA.rank, LORA.alpha, LORA.targets),
        reward_scale=5.0,
        num_matches=4,
        group_size=2,
        num_iterations=2,
        # Processes hold as many matches, but not as many seats for the model.
        # In the second iteration both play with a past self.
        seating=Seating("alternate", past_share=0.6, guest_share=0.3),
        past_selves=PastSelves(every=1, most=2),
        seed=11,
        guest="always_cooperate",
        baseline="batch",
        learning_rate=0.05,
        critic_learning_rate=0.05,
        matches_every=1,
    )


def start(number, address, *arguments):
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SLURM_", "OMPI_", "TPU_"))
    }
    variables = {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(number),
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**clean, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_two(folder, config):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    record = json.dumps(dataclasses.replace(config, data=2).to_json())
    jobs = [start(n, address, str(folder), record) for n in range(2)]
    try:
        for job in jobs:
            _, errors = job.communicate(timeout=600)
            assert job.returncode == 0, errors[-3000:]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()
    return [json.loads((folder / f"{n}.json").read_text()) for n in range(2)]


def run_one(folder, config):
    open_folder(folder, "test", config, False)
    with jax.numpy_dtype_promotion("standard"):
        train_lm(folder, assemble_population(config))


def matches_of(folder, name):
    return list(load_matches(folder / "matches" / f"iteration_{name}.jsonl.gz"))


def plain(match):
    """Without what rounding changes, which is returned beside it."""
    numbers = [match.advantages, match.credits]
    turns = []
    for seat in match.turns:
        for turn in seat:
            if turn.tokens is not None:
                numbers.append([turn.tokens.log_prob])
                turn = dataclasses.replace(
                    turn, tokens=turn.tokens._replace(log_prob=[])
                )
            turns.append(turn)
    return dataclasses.replace(match, turns=turns, advantages=[], credits=[]), numbers


def assert_same(two, one):
    """Runs that went the same way, but for rounding."""
    num_seats, spoke = set(), []
    for number in ("000000", "000001"):
        parts = [matches_of(two, number), matches_of(two, f"{number}_1")]
        assert [len(part) for part in parts] == [2, 2]
        players = [[name for match in part for name in match.players] for part in parts]
        num_seats.add(tuple(names.count("model") for names in players))
        spoke.append([max(max(match.adapters) for match in part) for part in parts])
        whole = matches_of(one, number)
        for found, wanted in zip(sum(parts, []), whole, strict=True):
            (found, near), (wanted, exact) = plain(found), plain(wanted)
            assert found == wanted
            for x, y in zip(near, exact, strict=True):
                np.testing.assert_allclose(x, y, rtol=0, atol=1e-4)
    assert any(first != second for first, second in num_seats)
    assert spoke == [[0, 0], [1, 1]]
    rows = [metrics.read_rows(folder / "metrics.jsonl") for folder in (two, one)]
    assert [row["update"] for row in rows[0]] == [1, 2]
    for found, wanted in zip(*rows, strict=True):
        assert found.keys() == wanted.keys()
        for name in found:
            if not name.startswith("seconds"):
                assert found[name] == pytest.approx(wanted[name], abs=1e-4), name
    adapters = [load_peft(folder / "adapter", TINY)[1] for folder in (two, one)]
    moved = 0.0
    for x, y in zip(*map(jax.tree.leaves, adapters), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5)
        moved += float(np.abs(y).sum())
    assert moved > 0


@pytest.mark.slow
def test_two_processes_go_the_way_of_one(config, tmp_path):
    every = run_two(tmp_path, config)
    for own in every:
        assert own["processes"] == 2
        # The first one keeps others out, for both.
        assert own["held"].startswith(f"out: process {every[0]['pid']} on ")
        # An interrupt of one stops both, and they go on to what nothing stopped.
        assert own["stopped"] == 1
        assert own["odd"].startswith("num_matches is 3: a multiple of the 2 processes")
        assert own["alone"].startswith("mesh is data 1 x fsdp 1 x tensor 1: a product")
    run_one(tmp_path / "one", config)
    assert_same(tmp_path / "two", tmp_path / "one")
    pages = []
    for name in ("two", "one"):
        transcript([str(tmp_path / name)])
        pages.append((tmp_path / name / "transcript.html").read_text())
    # The same matches, from the files of both processes.
    assert [page.count('"seed":') for page in pages] == [8, 8]


@pytest.mark.slow
def test_critics_of_two_processes_are_that_of_one(config, tmp_path):
    config = dataclasses.replace(config, baseline="critic", num_microbatches=2)
    run_two(tmp_path, config)
    run_one(tmp_path / "one", config)
    assert_same(tmp_path / "two", tmp_path / "one")
