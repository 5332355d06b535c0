"""Jobs of two processes, started from two working directories by one command."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import aajax

COMMAND = ["train", "ipd", "--devices", "all", "--num-updates", "6"]
COMMAND += ["--num-games", "16", "--seeds", "4"]
PROGRAM = """
import sys
from aajax.cli import main

exec(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""
UNSEEN = "from aajax.lm.mesh import hosts; hosts._appears = lambda path: False"
FULL = """
from aajax.training import run

def save(*arguments):
    raise OSError(28, "No space left on device", "/full")

run.checkpoint.save = save
"""


def start(folder, number, address, program, arguments):
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
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    place = folder / f"host {number}"
    place.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, program, *arguments],
        cwd=place,
        env={**clean, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_two(folder, *arguments, second=""):
    """Exit codes, outputs and errors of both; the second one runs a program before."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    jobs = [
        start(folder, number, address, program, [*COMMAND, *arguments])
        for number, program in enumerate(("", second))
    ]
    try:
        found = [job.communicate(timeout=120) for job in jobs]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()
    codes = [job.returncode for job in jobs]
    outputs = [output for output, _ in found]
    errors = [
        [line for line in error.splitlines() if "aajax" in line] for _, error in found
    ]
    return codes, outputs, errors


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["seeds", "games"])
def test_two_processes_train_what_one_does(tmp_path, shard):
    """The folder is that of the first, and there alone; what speaks is the first."""
    codes, outputs, errors = run_two(tmp_path, "--shard", shard, "--out", "runs/two")
    assert codes == [0, 0], errors
    assert "P(C | CD)" in outputs[0]
    assert "P(C | CD)" not in outputs[1]
    assert not list((tmp_path / "host 1").iterdir())
    run = aajax.load(tmp_path / "host 0" / "runs" / "two")
    assert run.config.devices == "all"
    one = aajax.train("ipd", num_updates=6, num_games=16, seeds=4)
    for name in ("reward", "entropy"):
        np.testing.assert_allclose(run.metrics[name], one.metrics[name], atol=1e-5)
    # It goes on with one process, and with one device.
    longer = aajax.train(run.config, num_updates=7, out=run.folder, resume=True)
    assert longer.metrics["update"].tolist() == list(range(1, 8))


@pytest.mark.slow
def test_without_a_folder_that_all_share_all_end_with_one_line(tmp_path):
    codes, _, errors = run_two(tmp_path, "--out", "two", second=UNSEEN)
    assert codes == [2, 2]
    folder = tmp_path / "host 0" / "two"
    for (line,) in errors:
        assert line == (
            f"aajax train: out is {str(folder)!r}: a folder that all 2 processes share "
            "is needed, and process 1 does not see what process 0 writes there"
        )
    assert not folder.exists()


@pytest.mark.slow
def test_the_error_of_one_process_ends_all(tmp_path):
    codes, _, errors = run_two(tmp_path, "--out", "two", second=FULL)
    assert codes == [1, 2]
    (first,), (second,) = errors
    assert first.startswith("aajax: process 1 on ")
    assert first.endswith("No space left on device: '/full'): this process ends too")
    assert second == "aajax train: No space left on device: /full"


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket/run"])
def test_addresses_of_buckets_are_refused(address):
    for call in (
        lambda: aajax.load(address),
        lambda: aajax.train("ipd", out=address),
        lambda: aajax.evaluate(address),
        lambda: aajax.export("runs/x", out=address),
        lambda: aajax.league([address, "tit_for_tat"]),
        lambda: aajax.league(["tit_for_tat"], game="ipd", out=address),
        lambda: aajax.play([address, "tit_for_tat"]),
    ):
        with pytest.raises(aajax.InputError, match=f" (is|has) '{address}': a path of"):
            call()
