"""Partition rules, meshes, and how processes learn that there are others."""

import importlib.util
import logging
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from aajax import lm
from aajax.lm.mesh import sharding
from aajax.lm.model import lora

CONFIG = lm.DecoderConfig(
    family="gemma3_text",
    vocab_size=64,
    hidden_size=16,
    intermediate_size=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    attention_bias=True,
    output_bias=True,
    mlp_bias=True,
    qk_norm=True,
    sandwich_norm=True,
)
MESH = AbstractMesh((2, 2, 2), sharding.AXES, axis_types=(AxisType.Auto,) * 3)


@pytest.fixture(scope="module")
def params():
    return jax.eval_shape(lambda: lm.init_params(CONFIG, jax.random.key(0)))


@pytest.fixture(scope="module")
def adapters():
    one = lora.LoraConfig(rank=2)
    return jax.eval_shape(lambda: lora.init_adapters(CONFIG, one, jax.random.key(0)))


def specs(mesh, tree):
    leaves = jax.tree_util.tree_leaves_with_path(sharding.param_shardings(mesh, tree))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.spec
        for path, leaf in leaves
    }


def test_every_weight_is_split_as_the_table_says(params):
    found = specs(MESH, params)
    assert found["embedding"] == found["head"] == P("tensor", "fsdp")
    for name in ("attention/query", "attention/key", "attention/value", "mlp/gate"):
        assert found[f"layers/{name}/kernel"] == P(None, "fsdp", "tensor")
        assert found[f"layers/{name}/bias"] == P(None, "tensor")
    for name in ("attention/output", "mlp/down"):
        assert found[f"layers/{name}/kernel"] == P(None, "tensor", "fsdp")
        assert found[f"layers/{name}/bias"] == P(None, None)
    norms = {path: spec for path, spec in found.items() if path.endswith("scale")}
    assert len(norms) == 7 and set(norms.values()) == {P()}


def test_every_leaf_has_a_rule(params, adapters):
    for tree in (params, adapters.weights):
        for path in specs(MESH, tree):
            patterns = [rule for rule, _ in sharding.PARTITION_RULES]
            assert any(re.search(rule, path) for rule in patterns), path


def test_adapters_are_split_over_all_that_is_not_rank(adapters):
    found = specs(MESH, adapters.weights)
    assert found["mlp/up/a"] == P(None, None, "fsdp", None)
    assert found["mlp/up/b"] == P(None, None, None, ("tensor", "fsdp"))
    assert found["mlp/down/a"] == P(None, None, ("tensor", "fsdp"), None)
    assert found["mlp/down/b"] == P(None, None, None, "fsdp")


@pytest.mark.parametrize("optimizer", [optax.adam(1.0), optax.adafactor(1.0)])
def test_optimisers_keep_moments_where_weights_are(params, optimizer):
    state = jax.eval_shape(optimizer.init, params)
    found = specs(MESH, state)
    moments = {
        path: spec for path, spec in found.items() if path.endswith("mlp/up/kernel")
    }
    assert P(None, "fsdp", "tensor") in moments.values()
    shapes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    for path, spec in found.items():
        assert len(spec) <= len(shapes[path]), path


def test_axes_that_do_not_divide_are_dropped():
    mesh = AbstractMesh((1, 4, 3), sharding.AXES, axis_types=(AxisType.Auto,) * 3)
    shapes = {
        "embedding": jax.ShapeDtypeStruct((64, 16), jnp.float32),
        "up": {"b": jax.ShapeDtypeStruct((2, 1, 2, 8), jnp.float32)},
    }
    assert specs(mesh, shapes) == {
        "embedding": P(None, "fsdp"),
        "up/b": P(None, None, None, "fsdp"),
    }


def test_batches_and_caches_are_split_over_sequences():
    batch = {"tokens": jax.ShapeDtypeStruct((8, 3), jnp.int32)}
    batch["odd"] = jax.ShapeDtypeStruct((6,), jnp.int32)
    batch["one"] = jax.ShapeDtypeStruct((), jnp.int32)
    found = sharding.batch_shardings(MESH, batch)
    assert found["tokens"].spec == P(("data", "fsdp"))
    assert found["odd"].spec == P("data")
    assert found["one"].spec == P()
    cache = jax.eval_shape(lambda: lm.init_cache(CONFIG, 8, 64))
    found = sharding.cache_shardings(MESH, cache)
    assert found.key.spec == P(None, ("data", "fsdp"), "tensor", None, None)
    assert found.key.shard_shape(cache.key.shape) == (2, 2, 1, 64, 8)
    assert found.length.spec == P(("data", "fsdp"))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((2, 2, 2), (2, 2, 2)),
        ((-1, 2, 1), (4, 2, 1)),
        ((1, -1, 4), (1, 2, 4)),
        ((1, 8, -1), (1, 8, 1)),
    ],
)
def test_one_axis_takes_what_is_left(sizes, expected):
    assert sharding.mesh_shape(8, *sizes) == expected


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2, 2, 1), "mesh is data 2 x fsdp 2 x tensor 1: a product of 8"),
        ((3, -1, 1), "mesh is data 3 x fsdp 2 x tensor 1"),
        ((16, -1, 1), "mesh is data 16 x fsdp 1 x tensor 1"),
        ((-1, -1, 1), "fsdp is -1: only one"),
        ((1, 0, 1), "fsdp is 0"),
        ((1, 1, -2), "tensor is -2"),
    ],
)
def test_meshes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        sharding.mesh_shape(8, *sizes)


def test_a_mesh_of_one_device_is_made_and_used():
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    assert dict(mesh.shape) == {"data": 1, "fsdp": 1, "tensor": 1}
    assert set(mesh.axis_types) == {AxisType.Auto}
    placed = sharding.shard({"up": {"kernel": np.ones((2, 4, 4), np.float32)}}, mesh)
    assert placed["up"]["kernel"].sharding.spec == P(None, "fsdp", "tensor")


ALONE = [
    {},
    {"SLURM_STEP_NUM_TASKS": "1"},
    {"SLURM_NTASKS": "4"},  # a batch script before srun
    {"OMPI_COMM_WORLD_SIZE": "1"},
    {"TPU_WORKER_HOSTNAMES": "localhost"},
    {"TPU_PROCESS_ADDRESSES": "local"},
]
TOGETHER = [
    {"SLURM_STEP_NUM_TASKS": "4"},
    {"OMPI_COMM_WORLD_SIZE": "2"},
    {"TPU_WORKER_HOSTNAMES": "a,b"},
    {"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"},
]


@pytest.fixture
def started(monkeypatch):
    """What `jax.distributed.initialize` is called with, in clean surroundings."""
    calls = []
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "TPU_", "MEGASCALE_", "JAX_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda **options: calls.append(options)
    )
    return calls


@pytest.mark.parametrize("environ", ALONE)
def test_a_process_alone_does_nothing_and_says_so(
    started, monkeypatch, caplog, environ
):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.INFO, "aajax.lm.mesh.sharding"):
        sharding.start_distributed()
    assert started == []
    assert "one process" in caplog.text


HEARTBEAT = {"heartbeat_timeout_seconds": 40}  # the others know within a minute


@pytest.mark.parametrize("environ", TOGETHER)
def test_clusters_are_left_to_jax(started, monkeypatch, environ):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    sharding.start_distributed()
    assert started == [HEARTBEAT]


def test_machines_with_a_tpu_ask_who_is_there(started, monkeypatch):
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    sharding.start_distributed()
    assert started == [HEARTBEAT]


def test_three_variables_or_arguments_say_who_is_there(started, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "host:1234")
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES is not set: all of"):
        sharding.start_distributed()
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "one")
    with pytest.raises(ValueError, match="JAX_PROCESS_ID is 'one': an integer"):
        sharding.start_distributed()
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    sharding.start_distributed(process_id=0)
    options = {"coordinator_address": "host:1234", "num_processes": 2}
    assert started == [{**HEARTBEAT, **options, "process_id": 0}]
