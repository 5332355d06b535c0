"""Programs of runs, compiled for accelerators by their own compilers, and not run.

Those of all large presets take hours: `pytest -m slow -n 0` of this file, with `-k
h100x8` where the extra gpu-compiler is installed, `-k tpu` where tpu-compiler is.
Others are of one small decoder for TPUs.
"""

import dataclasses
import importlib.util

import jax
import pytest

from aajax.api import dry_runs
from aajax.lm.ahead import fingerprint
from aajax.lm.planning import shapes
from aajax.lm.planning.compile import Report, compiled
from aajax.training.lm_presets import LM_PRESETS, MODELS, PUBLISHED, VARIANTS
from aajax.training.lm_programs import EVALUATION_DECODE, EVALUATION_READ

pytestmark = pytest.mark.optimised


def needs(package: str, extra: str):
    """Skips where a compiler is missing."""
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"needs aajax[{extra}]")


TPU = needs("libtpu", "tpu-compiler")
GPU = needs("jax_cuda12_plugin", "gpu-compiler")

SMALL = dataclasses.replace(
    shapes.find_shape("qwen2.5-0.5b"),
    vocab_size=2048,
    hidden_size=512,
    intermediate_size=1024,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=128,
)
SPLIT = LM_PRESETS["lm-split-aa-qwen2.5-7b"][1]
REMATERIALISED = "Involuntary full rematerialization"


@pytest.fixture(autouse=True)
def promotion_of_users():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def plan(config, decoder, topology, length):
    speaking = dataclasses.replace(config.speaking, max_tokens=32)
    config = dataclasses.replace(config, num_matches=16, speaking=speaking)
    return dry_runs.plan(config, decoder, topology, length)


@TPU
def test_a_run_fits_and_moves_nothing_that_it_should_not(capfd):
    planned = plan(SPLIT, SMALL, "v5e-4", 256)
    found = {name: report for name, _, report in dry_runs.reports(planned)}
    evaluation = [EVALUATION_READ, EVALUATION_DECODE]
    assert list(found) == ["learn", "read", "decode", *evaluation]
    for name, report in found.items():
        assert report.fits(planned.topology, planned.programs.others(name)), name
        assert report.needed == report.memory.total < 1e9
        assert min(report.work.flops, report.work.bytes) > 0
        assert dry_runs.waste(planned, report) == [], name
    assert REMATERIALISED not in capfd.readouterr().err


# One that shows what TPUs make of them, and one whose compiler is quick.
TOPOLOGIES = [pytest.param("tpu", marks=TPU), pytest.param("h100x8", marks=GPU)]
# On which TPUs a model's runs fit. Those of others have twice as many numbers in their
# cache for a token: of 256 dialogues as long as may be, 21 GB and more on each chip.
TPUS = {"qwen2.5-7b": "v5e-16"}
LARGER_TPUS = "v6e-16"


@pytest.fixture(scope="module")
def each_program_once():
    """Presets that differ in their numbers alone have programs of the same text."""
    known: dict[tuple[str, str], Report] = {}

    def once(lowered, platform, *arguments, **options):
        text = fingerprint(lowered)
        if (platform, text) not in known:
            _, report = compiled(lowered, platform, *arguments, **options)
            known[platform, text] = report
        return None, known[platform, text]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dry_runs, "compiled", once)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("game", PUBLISHED)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_large_presets(
    game, model, variant, topology, each_program_once, capfd, record_property
):
    config = LM_PRESETS[f"lm-{game}-{variant}-{model}"][1]
    if topology == "tpu":
        topology = TPUS.get(model, LARGER_TPUS)
    planned = dry_runs.plan(config, dry_runs.decoder_of(config), topology)
    for name, _, report in dry_runs.reports(planned):
        others = planned.programs.others(name)
        # For tables, with --junitxml FILE -o junit_family=xunit1.
        record_property(
            f"{name}: bytes of {planned.topology.chip.memory}", report.needed
        )
        if report.counts is not None:
            record_property(f"{name}: seconds", report.bounds(planned.topology))
        assert report.fits(planned.topology, others), name
        assert dry_runs.waste(planned, report) == [], name
    assert REMATERIALISED not in capfd.readouterr().err
