"""Two processes read a checkpoint, each its part, and train as one process does."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from aajax import lm
from aajax.lm import weights

pytestmark = pytest.mark.slow  # three processes, each of which compiles

PROGRAM = """
import sys
from aajax.lm import sharding

sharding.start_distributed()

import jax, numpy as np, optax
from jax.experimental.multihost_utils import process_allgather
from aajax import lm
from aajax.lm import fit, weights

folder, out = sys.argv[1:]
mesh = sharding.make_mesh(fsdp=-1)
config = weights.read_config(folder)

numbers_read, open_slices = 0, weights._open


class Counted:
    def __init__(self, inner):
        self.inner = inner
        self.get_shape, self.get_dtype = inner.get_shape, inner.get_dtype

    def __getitem__(self, index):
        global numbers_read
        block = self.inner[index]
        numbers_read += block.size
        return block


def open_counted(*arguments):
    return {name: Counted(x) for name, x in open_slices(*arguments).items()}


weights._open = open_counted
shapes = jax.eval_shape(lambda: lm.init_params(config, jax.random.key(0)))
shardings = sharding.param_shardings(mesh, shapes)
params = weights.load_params(folder, config, shardings=shardings)

rng = np.random.default_rng(0)
tokens = rng.integers(0, 64, (8, 13), dtype=np.int32)
whole = fit.TokenBatch(
    tokens[:, :-1], np.tile(np.arange(12, dtype=np.int32), (8, 1)), tokens[:, 1:],
    rng.uniform(0.5, 2, (8, 12)).astype(np.float32),
)
count, number = jax.process_count(), jax.process_index()
own = jax.tree.map(lambda x: np.split(x, count)[number], whole)
step = fit.make_step(config, optax.sgd(0.1), mesh=mesh)
state = step.init(params)
for _ in range(2):
    state, metrics = step.update(state, sharding.shard_batch(mesh, own))
after = process_allgather(state.weights, tiled=True)
leaves = {f"leaf{i}": x for i, x in enumerate(jax.tree.leaves(after))}
np.savez(
    f"{out}-{number}.npz", loss=metrics["loss"], read=numbers_read,
    devices=jax.device_count(), processes=count, **leaves,
)
"""
CONFIG = lm.DecoderConfig(
    family="llama",
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one process with one device found, and each of two with two."""
    place = tmp_path_factory.mktemp("distributed")
    params = lm.init_params(CONFIG, jax.random.key(0))
    # Of unit gain, so that rounding errors stay what they are.
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: x if path[-1].key == "scale" else 10 * x, params
    )
    weights.save_params(place / "model", CONFIG, params)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    jobs = [start(place, "one", 1, {})]
    for number in range(2):
        variables = {
            "JAX_COORDINATOR_ADDRESS": address,
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(number),
        }
        jobs.append(start(place, "two", 2, variables))
    try:
        for job in jobs:
            _, errors = job.communicate(timeout=180)
            assert job.returncode == 0, errors[-3000:]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()
    return [
        dict(np.load(place / f"{name}.npz")) for name in ("one-0", "two-0", "two-1")
    ]


def start(place, name, num_devices, variables):
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("JAX_", "SLURM_", "OMPI_", "TPU_"))
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(place / "model"), str(place / name)],
        env={**clean, **variables, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_train_as_one_does(results):
    one, *two = results
    assert (one["processes"], one["devices"]) == (1, 1)
    for found in two:
        assert (found["processes"], found["devices"]) == (2, 4)
        for name in one:
            if name.startswith(("leaf", "loss")):
                np.testing.assert_allclose(found[name], one[name], rtol=0, atol=1e-5)


def test_each_process_reads_its_part_of_the_weights(results):
    shapes = jax.eval_shape(lambda: lm.init_params(CONFIG, jax.random.key(0)))
    sizes = jax.tree_util.tree_map_with_path(
        lambda path, x: (x.size, x.size if path[-1].key == "scale" else x.size // 2),
        shapes,
    )
    leaves = jax.tree.leaves(sizes, is_leaf=lambda x: isinstance(x, tuple))
    whole, part = np.sum(leaves, axis=0)
    assert [int(found["read"]) for found in results] == [whole, part, part]
