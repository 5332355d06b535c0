"""Published sizes, and whether they fit, from their shapes alone."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.ad_checkpoint import checkpoint_policies
from jax.sharding import AbstractDevice, AbstractMesh

from aajax import lm
from aajax.lm.model import decoder, lora
from aajax.lm.model.constraints import AXES
from aajax.lm.planning import dry_run, shapes
from aajax.lm.training import fit

SEVEN = shapes.find_shape("qwen2.5-7b")
JOB = dry_run.Job(batch=8, length=1024)

# Of the checkpoints' tensors, tied embeddings once; Gemma's without the image tower.
PARAMETERS = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "smollm3-3b": 3_075_098_624,
    "mistral-7b-v0.3": 7_248_023_552,
    "phi-4": 14_659_507_200,
    "olmo-2-1124-7b": 7_298_617_344,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2-27b": 27_227_128_320,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 3_880_263_168,
    "gemma-3-12b": 11_766_034_176,
    "gemma-3-27b": 27_009_346_304,
}


@pytest.fixture(scope="module")
def one():
    return dry_run.estimate(SEVEN, JOB)


@pytest.fixture(scope="module")
def eight():
    return dry_run.estimate(SEVEN, JOB, fsdp=8, memory_gb=16)


def test_published_sizes_have_as_many_parameters_as_published():
    found = {}
    for name, config in shapes.SHAPES.items():
        params = jax.eval_shape(partial(lm.init_params, config), jax.random.key(0))
        found[name] = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    assert found == PARAMETERS


def test_published_sizes_survive_their_config_files():
    for name, config in shapes.SHAPES.items():
        again = lm.config_from_hf(lm.config_to_hf(config))
        assert again == config, name


def test_parts_are_counted_by_hand(one):
    assert one.num_params == PARAMETERS["qwen2.5-7b"]
    assert one.params == (2 * one.num_params, 2 * one.num_params)
    # Rank 32: inputs and outputs of each linear layer.
    sums = 2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18_944)
    assert one.num_trained == 28 * 32 * sums
    assert one.adapters.per_device == one.gradient.per_device == 4 * one.num_trained
    assert (
        one.optimizer.per_device == 8 * one.num_trained + 4
    )  # two moments and a count
    lengths = 4 * 8
    assert one.cache.per_device == 2 * 2 * 28 * 8 * 1024 * 4 * 128 + lengths
    # The input of every layer in bfloat16, and little besides.
    kept = 2 * 28 * 8 * 1024 * 3584
    assert kept < one.activations.per_device < 1.3 * kept


def test_a_mesh_divides_what_it_splits(one, eight):
    for name in ("params", "adapters", "optimizer", "activations", "cache"):
        whole, each = getattr(one, name).per_device, getattr(eight, name).per_device
        assert each == pytest.approx(whole / 8, rel=0.01), name
    assert eight.activations.total == pytest.approx(one.activations.total)
    two = dry_run.estimate(SEVEN, JOB, fsdp=4, tensor=2)
    assert two.params.per_device == pytest.approx(one.params.per_device / 8, rel=0.01)
    assert two.cache.per_device == pytest.approx(one.cache.per_device / 8)
    # What layers keep, with recomputation, is split along tensor too.
    assert two.activations.per_device == pytest.approx(
        eight.activations.per_device, rel=0.02
    )
    assert two.activations.total == pytest.approx(one.activations.total, rel=0.02)


def test_a_mesh_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ValueError, match="^batch is 8: its 1 parts, of 8 sequences, "):
        dry_run.estimate(SEVEN, JOB, data=3)


def test_experts_take_memory_and_have_no_adapters():
    config = shapes.find_shape("qwen3-30b-a3b")
    found = dry_run.estimate(config, dataclasses.replace(JOB, num_adapters=2), fsdp=8)
    assert found.params.total == 2 * PARAMETERS["qwen3-30b-a3b"]
    assert found.params.per_device == pytest.approx(found.params.total / 8, rel=0.01)
    sums = 2 * (2048 + 4096) + 2 * (2048 + 512)
    assert found.num_trained == 48 * 32 * sums
    # A step gathers the layer's experts.
    assert found.working.per_device > 2 * 128 * 3 * 2048 * 768 * 2


def test_what_fits(one, eight):
    assert not dry_run.fits(one.training, 16)
    assert dry_run.fits(one.training, 141)
    assert dry_run.fits(eight.training, 16)
    assert dry_run.fits(eight.playing, 16)
    # Weights, moments and gradients in float32 are 15 GB for each of eight devices.
    all_params = dataclasses.replace(JOB, train="params")
    found = dry_run.estimate(SEVEN, all_params, fsdp=8)
    assert found.num_trained == found.num_params and found.adapters.per_device == 0
    assert not dry_run.fits(found.training, 16)
    assert dry_run.fits(90 * 10**8, 10) and not dry_run.fits(91 * 10**8, 10)


def test_the_closing_evaluation_is_counted():
    past = dataclasses.replace(JOB, num_adapters=4)
    alike = dry_run.estimate(SEVEN, past)
    assert (
        alike.evaluation.per_device == alike.cache.per_device + alike.reading.per_device
    )
    assert (
        alike.evaluating
        == alike.playing - alike.past.per_device - alike.copy.per_device
    )
    twice = dry_run.estimate(SEVEN, dataclasses.replace(past, evaluated=16))
    assert twice.evaluation.per_device == 2 * alike.evaluation.per_device
    assert twice.playing == alike.playing


def test_recomputation_and_parts_save_memory(eight):
    plain = dataclasses.replace(JOB, remat=False)
    assert dry_run.estimate(SEVEN, plain, fsdp=8).training > 2 * eight.training
    large = dataclasses.replace(JOB, batch=32)
    parts = dataclasses.replace(large, num_microbatches=4)
    whole = dry_run.estimate(SEVEN, large, fsdp=8)
    found = dry_run.estimate(SEVEN, parts, fsdp=8)
    assert found.activations == eight.activations
    assert whole.activations.per_device == pytest.approx(
        4 * found.activations.per_device, rel=0.01
    )
    assert found.cache == whole.cache


@pytest.mark.slow
@pytest.mark.parametrize("train", ["params", "adapters"])
@pytest.mark.parametrize("remat", [True, False])
def test_estimates_are_close_to_what_is_allotted(train, remat, monkeypatch):
    # On a CPU, where attention has scores.
    cpu = AbstractMesh((1, 1, 1), AXES, abstract_device=AbstractDevice("cpu", 1, "cpu"))
    monkeypatch.setattr(dry_run, "_ACCELERATOR", cpu)
    config = lm.DecoderConfig("qwen2", 4096, 256, 1024, 8, 8, 4, 32)
    job = dry_run.Job(
        batch=4,
        length=256,
        train=train,
        rank=8,
        remat=remat,
        dtype="float32",
        chunk_size=128,
    )
    with monkeypatch.context() as patch:
        if remat:  # Then a layer keeps all while it learns, on a CPU too.
            patch.setattr(decoder, "_KEPT", checkpoint_policies.everything_saveable)
        found = dry_run.estimate(config, job)

    def loss(*arguments, **options):
        return fit.token_loss(*arguments, **options, chunk_size=job.chunk_size)

    tuned = train == "adapters"
    step = fit.make_step(config, optax.adam(1e-3), loss, adapters=tuned, remat=remat)
    key = jax.random.key(0)
    params = jax.eval_shape(partial(lm.init_params, config), key)
    adapters = jax.eval_shape(
        lambda: lora.init_adapters(config, lora.LoraConfig(rank=8), key)
    )
    state = jax.eval_shape(step.init, adapters.weights if tuned else params)
    ids = jax.ShapeDtypeStruct((4, 256), jnp.int32)
    floats = jax.ShapeDtypeStruct((4, 256), jnp.float32)
    which = jax.ShapeDtypeStruct((4,), jnp.int32)
    batch = fit.TokenBatch(ids, ids, ids, floats, which)
    base = (params, adapters.scale) if tuned else ()
    with jax.numpy_dtype_promotion("standard"):  # of optax
        compiled = step.update.lower(state, batch, *base).compile()
    memory = compiled.memory_analysis()
    moment = (
        found.gradient.per_device
        + found.activations.per_device
        + found.working.per_device
    )
    assert moment == pytest.approx(memory.temp_size_in_bytes, rel=0.25)
    resident = found.training - moment
    assert resident == pytest.approx(memory.argument_size_in_bytes, rel=0.01)


# GB of each device, by libtpu 0.0.42 and XLA's CUDA compiler of jax 0.10.2, of programs
# of Qwen2.5-7B with adapters of rank 32: data x fsdp x tensor, sequences, their tokens,
# parts, the GB that devices have, and what was allotted to the gradient step and, with
# what stays from training, to playing with 29 adapters.
ALLOTTED = {
    "v5e-16, tensor": ((1, 4, 4), 128, 4096, 8, 16.9, 4.85, None),
    "v5e-16": ((1, 16, 1), 128, 4096, 8, 16.9, 5.35, None),
    "v5e-8, long": ((1, 8, 1), 64, 10_240, 8, 16.9, 11.77, None),
    "h200": ((1, 1, 1), 128, 4096, 64, 141, 20.95, None),
    "h100x8, long": ((1, 8, 1), 64, 10_240, 8, 80, 8.31, None),
    "h100x8, played": ((1, 8, 1), 128, 10_240, 16, 80, 8.31, 33.12),
}
QUICK = "v5e-16, tensor", "h200", "h100x8, played"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name, case in ALLOTTED.items()
    ],
)
def test_estimates_are_close_to_what_compilers_allot(case):
    mesh, batch, length, parts, memory, learning, playing = case
    job = dry_run.Job(
        batch=batch, length=length, num_microbatches=parts, num_adapters=29
    )
    axes = dict(zip(("data", "fsdp", "tensor"), mesh, strict=True))
    found = dry_run.estimate(SEVEN, job, **axes, memory_gb=memory)
    step = (found.training - found.past.per_device) / 1e9
    assert 0.9 * learning < step < 1.31 * learning
    if playing is not None:
        assert 0.85 * playing < found.playing / 1e9 < 1.15 * playing


def test_past_selves_are_not_trained(one):
    alone = one
    many = dry_run.estimate(SEVEN, dataclasses.replace(JOB, num_adapters=29))
    assert alone.past == (0, 0)
    assert many.past.per_device == 29 * alone.adapters.per_device
    for name in ("num_trained", "adapters", "optimizer", "gradient", "working"):
        assert getattr(many, name) == getattr(alone, name), name
    assert many.training == alone.training + many.past.per_device


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"batch": -1}, "batch is -1"),
        ({"batch": 8, "num_microbatches": 3}, "num_microbatches is 3: a divisor"),
    ],
)
def test_bad_jobs_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        dry_run.Job(**options)


def test_unknown_names_and_meshes_are_refused():
    with pytest.raises(ValueError, match="model is 'gpt-9': one of qwen2.5-0.5b"):
        shapes.find_shape("gpt-9")
    with pytest.raises(ValueError, match="fsdp is 0"):
        dry_run.estimate(SEVEN, JOB, fsdp=0)
    with pytest.raises(ValueError, match="tensor is -1"):
        dry_run.estimate(SEVEN, JOB, tensor=-1)
    with pytest.raises(ValueError, match="^fsdp is 3: a divisor of hidden_size, 3584"):
        dry_run.estimate(SEVEN, JOB, fsdp=3)
    heads = "^tensor is 5: a divisor of num_heads x head_dim, 3584, is needed"
    with pytest.raises(ValueError, match=heads):
        dry_run.estimate(SEVEN, JOB, tensor=5)
    with pytest.raises(ValueError, match="a divisor of intermediate_size, 18944, is"):
        dry_run.estimate(SEVEN, JOB, tensor=7)
