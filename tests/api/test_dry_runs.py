"""What a dry run of a language model's run counts, without its compilers."""

import dataclasses

import jax
import pytest
from tiny_speech import TINY

from aajax.api import dry_runs
from aajax.dialogue.play.seating import Seating
from aajax.lm.mesh.sharding import make_mesh
from aajax.lm.planning.topologies import find_topology
from aajax.training import lm_assemble
from aajax.training.lm_config import Evaluation, LmConfig, Lora, PastSelves
from aajax.training.lm_evaluation import matches_at_once, sequences_at_once
from aajax.training.lm_programs import EVALUATION_DECODE, EVALUATION_READ, Programs

CONFIG = LmConfig(num_matches=16, lora=Lora(rank=2, alpha=4.0))
PAST = {"seating": Seating(past_share=0.5), "past_selves": PastSelves(every=1, most=3)}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def programs(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    mesh = make_mesh(devices=jax.devices()[:1])
    load = dry_runs._load(config, TINY, mesh)
    chip = find_topology("v5e-1").chip
    return Programs(config, TINY, load, mesh, chip)


@pytest.mark.parametrize(
    ("changes", "at_once", "sequences"),
    [
        ({}, 16, 32),
        ({"seating": Seating(guest_share=1.0)}, 8, 16),
        ({"eval": Evaluation(matches=2)}, 16, 8),
        ({"game": "public-goods"}, 16, 48),
        ({"game": "public-goods", "seating": Seating(guest_share=1.0)}, 5, 15),
        ({"num_matches": 1, "group_size": 1, "baseline": "batch"}, 2, 4),
    ],
)
def test_the_closing_evaluation_is_no_larger_than_training(changes, at_once, sequences):
    config = dataclasses.replace(CONFIG, **changes)
    assert matches_at_once(config) == at_once
    assert sequences_at_once(config) == sequences
    assert matches_at_once(config, 4) == max(at_once // 4, 2)
    load = programs(**changes).load
    assert load.evaluated == sequences <= max(load.players, 4)


def test_the_closing_evaluation_has_programs_of_its_own():
    assert [name for name, _ in programs()] == ["learn", "read", "decode"]
    names = [name for name, _ in programs(**PAST)]
    assert names == ["learn", "read", "decode", EVALUATION_READ, EVALUATION_DECODE]
    one_less = programs(eval=Evaluation(matches=2))
    assert EVALUATION_READ in dict(one_less)
    lowered = dict(programs(**PAST))[EVALUATION_DECODE]().args_info[0]
    model = lowered[0]
    assert len(model.adapters.scale.shape) == 1 and model.adapters.scale.shape[0] == 1


def test_what_stays_beside_each_program():
    plain, past = programs(), programs(**PAST)
    adapter = plain._adapters(1)
    one = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(adapter))
    assert plain.others("learn") == 0 and past.others("learn") == pytest.approx(4 * one)
    state = plain.others("read")
    assert state > 2 * one
    assert past.others("decode") == state + past.others("learn")
    assert past.others(EVALUATION_DECODE) == state
    critic = programs(baseline="critic")
    assert critic.others("learn") > 2 * one
    assert critic.others("critic") == state
    assert critic.others("read") == state + critic.others("learn")


def test_a_populations_cache_is_that_of_all_members(monkeypatch):
    """The mesh that it plays on has room for what they play in one batch."""
    asked = []

    def tensor(mesh, decoder, dtype, memory, longest):
        asked.append(longest)
        return 1

    monkeypatch.setattr(lm_assemble, "playing_tensor", tensor)
    assert programs().playing.size == programs(seeds=5).playing.size == 1
    alone, five = asked
    assert five.rows == 5 * alone.rows == 160 and five.slots == alone.slots


@pytest.mark.parametrize("name", ["learn", "read", "decode"])
def test_programs_have_the_precision_of_the_run(name):
    plain, rounded = (
        dict(programs(**x))[name]().as_text()
        for x in ({}, {"matmul_precision": "bfloat16"})
    )
    assert plain != rounded
