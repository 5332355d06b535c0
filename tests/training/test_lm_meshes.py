"""Large presets on meshes: parts of a batch divide among the devices."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
from jax.sharding import AbstractMesh

from aajax.api.dry_runs import waste
from aajax.dialogue.play.seating import num_rows
from aajax.errors import InputError
from aajax.lm.mesh.sharding import AXES
from aajax.lm.planning.compile import Report
from aajax.lm.planning.hlo import Collective, Counts
from aajax.lm.planning.hlo_text import arrays_of
from aajax.training.lm_assemble import num_microbatches, run_mesh
from aajax.training.lm_config import LmConfig
from aajax.training.lm_presets import LM_PRESETS, MODELS, SIZED
from aajax.training.run import open_folder

LARGE = [LM_PRESETS[name][1] for (_, size), name in SIZED.items() if size in MODELS]
SPLIT = LM_PRESETS["lm-split-aa-qwen2.5-7b"][1]


def mesh_of(data, fsdp, tensor):
    return AbstractMesh((data, fsdp, tensor), AXES)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 4, 1), (1, 8, 1), (1, 16, 1), (1, 4, 4), (2, 4, 2)]
)
def test_parts_of_large_presets_divide_among_devices(shape):
    parts = shape[0] * shape[1]
    for config in LARGE:
        rows = num_rows(config.seating, config.num_matches, config.num_seats)
        number = num_microbatches(config, mesh_of(*shape))
        assert rows % (number * parts) == 0
        assert rows // number == parts  # one sequence for each
        assert config.fsdp is None and config.remat


def test_without_a_mesh_there_is_one_sequence_at_a_time():
    assert num_microbatches(SPLIT, None) == 64
    assert num_microbatches(dataclasses.replace(SPLIT, num_microbatches=8), None) == 8


@pytest.mark.parametrize(
    ("number", "shape", "message"),
    [
        (
            64,
            (1, 8, 1),
            "parts of 1 sequences do not divide among data x fsdp = 8; a d",
        ),
        (
            32,
            (2, 4, 1),
            "parts of 2 sequences do not divide among data x fsdp = 8; a d",
        ),
        (
            1,
            (1, 48, 1),
            "parts of 64 sequences do not divide among data x fsdp = 48; a",
        ),
    ],
)
def test_parts_that_do_not_divide_are_refused(number, shape, message):
    config = dataclasses.replace(SPLIT, num_microbatches=number)
    with pytest.raises(InputError) as error:
        num_microbatches(config, mesh_of(*shape))
    assert str(error.value).startswith(f"num_microbatches is {number}: {message}")


def test_parts_that_divide_are_as_given():
    config = dataclasses.replace(SPLIT, num_microbatches=8)
    assert num_microbatches(config, mesh_of(1, 8, 1)) == 8
    assert num_microbatches(config, mesh_of(1, 1, 8)) == 8


def test_all_devices_may_be_one():
    assert run_mesh(LmConfig()) is None
    assert run_mesh(dataclasses.replace(SPLIT, num_matches=64)) is None


SCORES = "jit(update)/while/body/layers/attention/bknd,bksd->bkns/dot_general"
OUTPUT = "jit(update)/while/body/layers/attention/output/dot_general"


def moving(kind, array, source):
    return Collective(kind, arrays_of(array), 1e9, 2.0, source, "")


@pytest.mark.parametrize(
    ("each", "turn", "found"),
    [
        (
            moving("all-reduce", "f32[1,64,64]{2,1,0}", SCORES),
            None,
            ["attention scores"],
        ),
        (moving("all-reduce", "bf16[1,64,64]{2,1,0}", OUTPUT), None, []),
        (moving("all-reduce", "f32[1,64]{1,0}", SCORES), None, []),
        (None, moving("all-gather", "bf16[1,16,32]{2,1,0}", OUTPUT), ["whole weights"]),
        (None, moving("all-gather", "bf16[1,16,8]{2,1,0}", OUTPUT), []),
        (moving("all-gather", "bf16[1,16,32]{2,1,0}", OUTPUT), None, []),
    ],
)
def test_what_is_moved_and_should_not_be(each, turn, found):
    """Scores of 64 tokens by 64; weights of 16 by 32, but only for every token."""
    counts = Counts(
        each=() if each is None else (each,),
        turn=None if turn is None else Counts(each=(turn,)),
    )
    decoder = SimpleNamespace(hidden_size=16, intermediate_size=32)
    programs = SimpleNamespace(decoder=decoder, load=SimpleNamespace(length=64))
    planned = SimpleNamespace(programs=programs, axes={"tensor": 1})
    lines = waste(planned, Report(1.0, None, 0, counts))
    assert [line[: len(x)] for line, x in zip(lines, found, strict=True)] == found
    assert all("2 GB" in line for line in lines)


def test_a_run_goes_on_with_another_mesh_and_other_parts(tmp_path):
    """Of a preset as it was before its devices and parts were left open."""
    folder = tmp_path / "run"
    before = dataclasses.replace(SPLIT, fsdp=1, num_microbatches=64, remat=False)
    open_folder(folder, "lm-split-aa-qwen2.5-7b", before, False)
    again = open_folder(folder, "lm-split-aa-qwen2.5-7b", SPLIT, True)
    assert (again.fsdp, again.num_microbatches, again.remat) == (None, None, True)
    record = json.loads((folder / "config.json").read_text())
    assert record["num_microbatches"] is None
    with pytest.raises(InputError, match="holds another run .*beta"):
        other = dataclasses.replace(SPLIT, beta=9.0)
        open_folder(folder, "lm-split-aa-qwen2.5-7b", other, True)
