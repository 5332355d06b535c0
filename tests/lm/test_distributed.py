"""Two processes do what one does: read a checkpoint, train, sample and save.

Each reads its part of the weights, and has rows of its own in training and sampling.
"""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from aajax import lm
from aajax.lm.checkpoints import peft_folder, weights
from aajax.lm.model import lora

pytestmark = pytest.mark.slow  # three processes, each of which compiles

PROGRAM = """
import sys
from aajax.lm.mesh import sharding

sharding.start_distributed()

import jax, numpy as np, optax
from jax.experimental.multihost_utils import process_allgather
from aajax import lm
from aajax.lm.training import fit
from aajax.lm.sampling import grammar
from aajax.lm.model import lora
from aajax.lm.checkpoints import peft_folder, weights
from aajax.lm.sampling.sampler import Sampler, Sampling

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
weights._open = open_slices

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

# Some processes alone have long prompts, a large budget or rows that are tried again.
prompts = [[5, 6, 7], [8], [9, 10], [11] * 70, [12, 13], [14]]
budgets = np.array([3, 5, 0, 9, 2, 20])
ids = np.array([0, -1, 2, 1, 2, 0], np.int32)
tuned = lora.init_adapters(config, lora.LoraConfig(rank=2), jax.random.key(1), 3)
tuned = tuned._replace(weights=jax.tree.map(lambda x: x + 0.05, tuned.weights))
tuned = sharding.shard(tuned, mesh)
table, (start,) = grammar.compile_grammar(
    ["[a-d]{2,6}"], [None] * 4 + [bytes([97 + i]) for i in range(60)]
)
rows = slice(number * 6 // count, (number + 1) * 6 // count)
sampler = Sampler(config, mesh=mesh)
options = {"adapters": tuned, "adapter_id": ids[rows]}
session = sampler.append(
    sampler.start(6 // count), params, prompts[rows], **options
)
stop, free = np.arange(64) < 4, np.full(6 // count, grammar.FREE)
sampling = Sampling(budgets[rows], stop, 1.0, table, np.full(6 // count, start))
session, first, tries = sampler.generate_checked(
    session, params, jax.random.split(jax.random.key(2), 6)[rows], sampling,
    accepts=lambda row, _: number * 3 + row in (0, 1, 2, 5), num_tries=3, **options,
)
sampling = Sampling(budgets[::-1][rows], stop, 1.0, table, free)
session, second = sampler.generate(
    session, params, jax.random.key(3), sampling, **options,
)
for name, sample in ("first", first), ("second", second):
    for field, x in sample._asdict().items():
        if x.ndim == 2:
            fill = -1 if field == "tokens" else 0
            x = np.pad(x, [(0, 0), (0, 20 - x.shape[1])], constant_values=fill)
        leaves[f"{name}_{field}"] = x
leaves |= {"tries": tries, "total": session.length}
try:
    sampler.start(3 - number)
except ValueError as error:
    leaves["refused"] = str(error)

weights.save_params(f"{out}-saved", config, state.weights, max_shard_bytes=9e3)
one = lora.take(tuned, 1)
peft_folder.save_peft(f"{out}-peft", config, lora.LoraConfig(rank=2), one, "base")
saved = weights.load_params(f"{out}-saved")  # of all processes, once it is there
leaves["is_same"] = jax.tree.all(
    jax.tree.map(lambda x, y: np.array_equal(x, y), saved, after)
)
try:
    weights.save_params(folder + "/config.json/under", config, state.weights)
except OSError as error:
    leaves["failed"] = str(error)
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
            _, errors = job.communicate(timeout=600)
            assert job.returncode == 0, errors[-3000:]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()
    found = [
        dict(np.load(place / f"{name}.npz")) for name in ("one-0", "two-0", "two-1")
    ]
    return place, found


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
    _, (one, *two) = results
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
    assert [int(found["read"]) for found in results[1]] == [whole, part, part]


def test_each_process_samples_its_rows_as_one_does_all(results):
    _, (one, *two) = results
    names = [name for name in one if name.startswith(("first", "second"))]
    assert len(names) == 12
    names += ["tries", "total"]
    both = {name: np.concatenate([found[name] for found in two]) for name in names}
    for name, x in both.items():
        if name.endswith("log_prob"):
            np.testing.assert_allclose(x, one[name], rtol=0, atol=1e-5)
        else:
            np.testing.assert_array_equal(x, one[name], err_msg=name)
    np.testing.assert_array_equal(both["tries"], [1, 1, 1, 4, 4, 1])
    assert (both["second_length"] > 0).sum() >= 4


def test_sessions_have_as_many_rows_in_each_process(results):
    _, (one, *two) = results
    assert "refused" not in one
    for found, own in zip(two, (3, 2), strict=True):
        assert str(found["refused"]).startswith(f"batch is {own}, and 2 to 3 among")


def test_one_process_writes_what_all_have(results):
    place, found = results
    assert all(x["is_same"] for x in found)
    for name, (first, *_) in (("one", found), ("two", found[1:])):
        params = weights.load_params(place / f"{name}-saved")
        for i, leaf in enumerate(jax.tree.leaves(params)):
            np.testing.assert_array_equal(leaf, first[f"leaf{i}"])
        files = [path.name for path in (place / f"{name}-saved").iterdir()]
        assert len(files) > 5 and not any(file.startswith(".") for file in files)
    tuned = lora.init_adapters(CONFIG, lora.LoraConfig(rank=2), jax.random.key(1), 3)
    for name in ("one", "two"):
        _, adapter = peft_folder.load_peft(place / f"{name}-peft", CONFIG)
        wanted = jax.tree.map(lambda x: x[:, 1:2] + 0.05, tuned.weights)
        # Drawn here by programs that were compiled otherwise.
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-6),
            adapter.weights, wanted,
        )  # fmt: skip


def test_what_one_process_cannot_write_fails_in_all(results):
    _, (_, first, second) = results
    assert "Not a directory" in str(first["failed"])
    assert "process 0 could not write" in str(second["failed"])
