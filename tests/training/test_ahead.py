"""Runs by programs that were compiled before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from tiny_speech import tiny_folder

from aajax import cli
from aajax.api import dry_runs
from aajax.commands import train_lm
from aajax.errors import InputError
from aajax.lm import ahead
from aajax.lm.model.constraints import AXES
from aajax.lm.planning import compile as compiling
from aajax.lm.planning.bounds import Rates
from aajax.lm.planning.topologies import Chip, Topology
from aajax.lm.sampling.sampler import num_programs
from aajax.training.lm_config import LmConfig, Speaking

SIZES = ahead.Sizes(
    slots=256, chunk=64, answer=16, length=256, targets=40, play_tensor=1
)
RUN = (
    "train lm-ipd --options num_rounds=2 --num-matches 4 --group-size 2 "
    "--lora.rank 2 --lora.alpha 4 --speaking.prefill-chunk 32 --past-share 0 "
    "--eval.matches 4"
)


@pytest.fixture(autouse=True)
def promotion_of_users():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def described(monkeypatch):
    """A topology of the processors that are there."""
    count = jax.device_count()
    topology = Topology("cpu", Chip("cpu", 1e10, Rates(1, 1, 1)), count, count, "")
    for module in (dry_runs, train_lm):
        monkeypatch.setattr(module, "find_topology", lambda name: topology)
    monkeypatch.setattr(dry_runs, "described", lambda topology: jax.devices())


def run(*words):
    assert cli.main([*RUN.split(), *map(str, words)]) == 0


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        {k: x for k, x in row.items() if x is not None and "seconds" not in k}
        for row in rows
    ]


def test_a_run_has_the_programs_that_were_saved_for_it(
    tmp_path, described, capsys, caplog
):
    """On all devices that there are, with the numbers of a run that compiles."""
    model = tiny_folder(tmp_path / "model")
    mesh = ["--tensor", "2", "--fsdp", "None"] if jax.device_count() > 1 else []
    run("--model", model, *mesh, "--dry-run", "--topology", "cpu", "--length", "256",
        "--save", tmp_path / "programs")  # fmt: skip
    assert f"programs are in {tmp_path}" in capsys.readouterr().out
    one = ["--model", model, *mesh, "--num-iterations", "1"]
    before = num_programs()
    run(*one, "--out", tmp_path / "ahead", "--programs", tmp_path / "programs")
    assert num_programs() == before
    assert "it is compiled" not in caplog.text
    run(*one, "--out", tmp_path / "plain")
    (found,), (plain,) = rows(tmp_path / "ahead"), rows(tmp_path / "plain")
    assert found == pytest.approx(plain, rel=1e-4, abs=1e-6)


def test_programs_are_known_by_all_that_they_do(caplog):
    x = jnp.arange(4.0)
    twice, thrice = jax.jit(lambda x: x * 2), jax.jit(lambda x: x * 3)
    made = twice.trace(x).lower()
    compiled = made.compile()
    with ahead.used({ahead.fingerprint(made): compiled}):
        again = jax.jit(lambda x: x * 2)
        np.testing.assert_array_equal(ahead.ready(again)(x), 2 * x)
        assert again._cache_size() == 0 and not caplog.text
        np.testing.assert_array_equal(ahead.ready(thrice)(x), 3 * x)
        assert "a program is not among the programs: it is compiled" in caplog.text
        np.testing.assert_array_equal(ahead.ready(again)(x[:2]), 2 * x[:2])
        assert again._cache_size() == 1
    assert ahead.ready(again) is again


def test_static_arguments_are_left_out():
    power = jax.jit(lambda n, x, by: x**n / by, static_argnums=0)
    x = jnp.arange(4.0)
    made = power.trace(2, x, by=jnp.float32(2)).lower()
    with ahead.used({ahead.fingerprint(made): made.compile()}):
        found = ahead.ready(power, 1)(2, x, by=jnp.float32(4))
        np.testing.assert_array_equal(found, x**2 / 4)
        assert power._cache_size() == 0
        np.testing.assert_array_equal(ahead.ready(power, 1)(3, x, by=1.0), x**3)


def test_widths_are_powers_of_two():
    assert SIZES.widths == [16, 32, 64]
    assert [SIZES.width(n) for n in (1, 16, 17, 64, 200)] == [16, 16, 32, 64, 64]
    assert SIZES._replace(chunk=8).widths == [8]
    assert SIZES._replace(chunk=100).widths == [16, 32, 64, 100]


def save_none(tmp_path, **mesh):
    """A file for a mesh, of no program."""
    about = {"mesh": dict.fromkeys(AXES, 1) | mesh, "sizes": SIZES._asdict()}
    compiling.save(tmp_path / "programs", {}, about)


def test_programs_of_another_mesh_are_refused(tmp_path):
    save_none(tmp_path, fsdp=4)
    with pytest.raises(InputError) as error:
        dry_runs.load_programs(tmp_path / "programs", LmConfig())
    assert str(error.value) == (
        f"programs is '{tmp_path}/programs': one for the run's mesh of data 1 x fsdp 1 "
        "x tensor 1 is needed, not for data 1 x fsdp 4 x tensor 1"
    )


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (LmConfig(play_tensor=2), "play_tensor is 2: 1"),
        (
            LmConfig(speaking=Speaking(prefill_chunk=32)),
            "speaking.prefill_chunk is 32: 64",
        ),
    ],
)
def test_options_that_programs_were_compiled_without_are_refused(
    tmp_path, config, line
):
    save_none(tmp_path)
    assert dry_runs.load_programs(tmp_path / "programs", LmConfig()).sizes == SIZES
    with pytest.raises(InputError, match=f"^{line}, as programs have it, or None is"):
        dry_runs.load_programs(tmp_path / "programs", config)


ORDER = [3, 1, 0, 2]


@pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")
def test_devices_of_a_mesh_keep_their_order(tmp_path):
    devices = np.array([jax.devices()[i] for i in ORDER]).reshape(2, 2)
    where = NamedSharding(Mesh(devices, ("a", "b")), P("a", "b"))
    x = jax.device_put(jnp.arange(16.0).reshape(4, 4), where)
    program = jax.jit(lambda x: x @ x).trace(x).lower().compile()
    compiling.save(tmp_path / "programs", {"square": program}, {})
    _, found = compiling.load(tmp_path / "programs")
    np.testing.assert_array_equal(found["square"](x), x @ x)


@pytest.mark.slow
def test_all_of_this_on_eight_devices():
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    )
    here = [sys.executable, "-m", "pytest", "-n", "0", str(Path(__file__))]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run(here, env=environment, check=True)
