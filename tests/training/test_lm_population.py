"""Populations: members are what they would be alone, and do not touch one another."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from lm_folders import matches_of, rows_of, run, weights_of
from tiny_speech import LORA, TINY, tiny_folder

from aajax.api import dry_runs
from aajax.api.lm_training import _settings
from aajax.dialogue.play.seating import Seating
from aajax.errors import DivergenceError, InputError
from aajax.lm.mesh.sharding import make_mesh
from aajax.lm.planning.compile import bytes_of
from aajax.training import divergence, lm_population
from aajax.training.lm_config import (
    LmConfig,
    Lora,
    PastSelves,
    Speaking,
    Sweep,
    member_names,
)
from aajax.training.lm_iteration import iterate
from aajax.training.lm_population import assemble_population, shared_config
from aajax.training.lm_programs import Programs

SWEEP = Sweep(algorithm=("naive", "advantage_alignment"), learning_rate=(0.05, 0.01))


def small(model, **changes):
    config = LmConfig(
        model=model,
        options=("num_rounds=2",),
        prompts="short",
        speaking=Speaking(max_tokens=8, cache_size=64),
        lora=Lora(LORA.rank, LORA.alpha, LORA.targets),
        beta=0.5,
        reward_scale=5.0,
        num_matches=4,
        group_size=2,
        num_iterations=4,
        seating=Seating("alternate", past_share=0.7),
        past_selves=PastSelves(every=1, most=2),
        learning_rate=0.05,
        final_learning_rate=0.005,
        kl=0.01,
        entropy_bonus=0.02,
        save_every=2,
        matches_every=1,
        seed=11,
        seeds=2,
        sweep=SWEEP,
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def population(model):
    """One that plays in one batch, as on accelerators."""
    found = assemble_population(small(model))
    assert not found.one_batch
    return dataclasses.replace(found, one_batch=True)


@pytest.fixture(scope="module")
def whole(population, tmp_path_factory):
    """The folder of a run that nothing stopped."""
    with jax.numpy_dtype_promotion("standard"):
        return run(tmp_path_factory.mktemp("runs") / "whole", population)


def assert_same(left, right):
    assert rows_of(left) == rows_of(right)
    assert weights_of(left) == weights_of(right)
    for number in range(4):
        assert matches_of(left, number) == matches_of(right, number)


@pytest.mark.parametrize("member", [0, pytest.param(3, marks=pytest.mark.slow), 6])
def test_a_member_is_as_it_would_be_alone(population, whole, tmp_path, member):
    """Its worlds, opponents and answers exactly, its numbers but for rounding."""
    own = population.configs[member]
    alone = run(tmp_path / "alone", assemble_population(own))
    setting, seed = population.lane(member)
    for number, (row, lone) in enumerate(
        zip(rows_of(whole), rows_of(alone), strict=True)
    ):
        matches = [m for m in matches_of(whole, number) if m.member == member]
        for match, other in zip(matches, matches_of(alone, number), strict=True):
            assert match.env_seed == other.env_seed
            assert match.adapters == other.adapters
            assert match.trained == other.trained
            assert said(match) == said(other)
            np.testing.assert_allclose(match.credits, other.credits, atol=1e-5)
        for name, x in lone.items():
            if name == "update":
                continue
            here = row[name][setting][seed]
            assert here == (x if x is None else pytest.approx(x, rel=2e-3, abs=2e-5))


def test_one_after_another_a_member_is_exactly_as_alone(population, tmp_path):
    """As on CPUs; but for the learning rate, which is the program's where all agree."""
    sweep = Sweep(algorithm=("naive", "advantage_alignment"))
    config = dataclasses.replace(population.config, sweep=sweep, num_iterations=2)
    together = run(tmp_path / "together", assemble_population(config))
    for member, own in enumerate(config.members):
        alone = run(tmp_path / str(member), assemble_population(own))
        for row, lone in zip(rows_of(together), rows_of(alone), strict=True):
            k, s = divmod(member, 2)
            here = {name: x[k][s] for name, x in row.items() if name != "update"}
            assert {"update": row["update"], **here} == lone
        for number in range(2):
            matches = [m for m in matches_of(together, number) if m.member == member]
            matches = [dataclasses.replace(m, member=0) for m in matches]
            assert matches == matches_of(alone, number)


def test_members_have_learning_rates_of_the_critic(model, tmp_path):
    sweep = Sweep(critic_learning_rate=(0.05, 0.01))
    config = small(model, baseline="critic", sweep=sweep, seeds=1, num_iterations=2)
    together = run(tmp_path / "together", assemble_population(config))
    for member, own in enumerate(config.members):
        alone = run(tmp_path / str(member), assemble_population(own))
        for row, lone in zip(rows_of(together), rows_of(alone), strict=True):
            loss = lone["critic_loss"]
            assert row["critic_loss"][member][0] == pytest.approx(loss, rel=1e-4)
    first, second = (x["critic_loss"] for x in rows_of(together))
    assert first[0] == first[1] and second[0] != second[1]


ON_A_MESH = """
import sys
from pathlib import Path
from test_lm_population import run, small
from aajax.training.lm_population import assemble_population

config = small(Path(sys.argv[1]), data=2, fsdp=2, tensor=2, num_iterations=2)
population = assemble_population(config)
assert population.mesh.size == 8 and population.one_batch
run(Path(sys.argv[2]), population)
"""


@pytest.mark.slow
def test_on_a_mesh_members_are_the_same(model, whole, tmp_path):
    """Of eight devices, over which adapters, base and sequences are sharded."""
    here, folder = Path(__file__).parent, tmp_path / "mesh"
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    path = os.pathsep.join([str(here), str(here.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", ON_A_MESH, str(model), str(folder)],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for row, other in zip(rows_of(folder), rows_of(whole)[:2], strict=True):
        for name, x in row.items():
            here, there = (np.array(y, float) for y in (x, other[name]))
            np.testing.assert_allclose(here, there, rtol=2e-2, atol=2e-4, err_msg=name)
    for number in range(2):
        pairs = zip(matches_of(folder, number), matches_of(whole, number), strict=True)
        assert all(said(one) == said(other) for one, other in pairs)


def said(match):
    return [[turn.answer for turn in seat] for seat in match.turns]


def test_what_a_population_leaves(population, whole):
    names = member_names(population.config)
    assert names[0] == "algorithm_naive_learning_rate_0.05_seed_11"
    assert len(set(names)) == 8
    assert {path.name for path in (whole / "members").iterdir()} == set(names)
    # Each its own last adapter, and past ones of each iteration.
    assert len(weights_of(whole)) == 8 * (4 + 1)
    assert len(set(weights_of(whole).values())) == 8 * 4
    for row in rows_of(whole):
        for name, x in row.items():
            assert name == "update" or np.shape(x) == (4, 2)


@pytest.mark.slow
def test_interrupted_and_resumed_is_uninterrupted(population, whole, tmp_path):
    """So is the run that goes on without one of its members, further below."""
    folder = tmp_path / "parts"

    def stop(done, row):
        if done in (1, 3):
            signal.raise_signal(signal.SIGINT)

    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            run(folder, population, resume, on_iteration=stop)
    assert_same(run(folder, population, resume=True), whole)


def spoilt(lost, number):
    """`iterate`, which spoils the weights of members in an iteration.

    Args:
      lost: config of a member → whether it is one of them.
      number: of the iteration.
    """

    def iteration(members, states, stack, now, *rest):
        found = iterate(members, states, stack, now, *rest)
        if now != number:
            return found
        states = list(found.states)
        for m, parts in enumerate(members):
            if not lost(parts.config):
                continue
            policy = states[m].policy
            weights = jax.tree.map(lambda x: x * np.nan, policy.weights)
            states[m] = states[m]._replace(policy=policy._replace(weights=weights))
        return found._replace(states=states)

    return iteration


@pytest.mark.parametrize(
    "one_batch", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_a_member_that_diverges_stops_alone(
    population, whole, tmp_path, monkeypatch, caplog, one_batch
):
    population = dataclasses.replace(population, one_batch=one_batch)
    fifth = population.configs[5]
    monkeypatch.setattr(lm_population, "iterate", spoilt(lambda x: x == fifth, 2))
    folder = run(tmp_path / "run", population)
    (line,) = caplog.messages
    assert line.startswith(
        "seed 12 with algorithm=advantage_alignment, learning_rate=0.05 diverged at "
        "iteration 3: policy/weights/"
    )
    assert line.endswith("is not finite; all others go on")
    assert list(divergence.noted(folder)) == [(2, 1)]
    for number, (row, before) in enumerate(
        zip(rows_of(folder), rows_of(whole), strict=True)
    ):
        for name, x in row.items():
            if name == "update":
                continue
            for m in range(8):
                k, s = population.lane(m)
                expected = None if m == 5 and number > 2 else before[name][k][s]
                if expected is not None:
                    expected = pytest.approx(expected, rel=2e-3, abs=2e-5)
                assert x[k][s] == expected
    # What it plays with is that of the checkpoint before.
    place = f"members/{member_names(population.config)[5]}"
    weights = weights_of(folder)
    adapter = weights[f"{place}/adapter/adapter_model.safetensors"]
    assert adapter == weights[f"{place}/past/000002/adapter_model.safetensors"]
    again = tmp_path / "again"

    def stop(done, row):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(again, population, on_iteration=stop)
    monkeypatch.undo()
    with jax.numpy_dtype_promotion("standard"):
        assert_same(run(again, population, resume=True), folder)


def test_all_members_diverge(population, tmp_path, monkeypatch):
    monkeypatch.setattr(lm_population, "iterate", spoilt(lambda config: True, 0))
    line = r"and 5 more, see diverged.json; there was no checkpoint before$"
    for resume in (False, True):
        with pytest.raises(DivergenceError, match=line):
            run(tmp_path / "run", population, resume)
        assert len(divergence.noted(tmp_path / "run")) == 8


def test_settings_have_the_same_names_whoever_diverged(population):
    """Of the first of four settings both seeds, and of the last one."""
    measured = {
        "itself": {"reward": 1.0, "cooperation": 0.5},
        "base": {"reward": 2.0, "cooperation": None},
    }
    found = _settings(population, [{}, {}, *[measured] * 5, {}])
    assert [setting["mean_reward"] for setting in found] == [
        *([None, None], [1.0, 1.0], [1.0, 1.0], [1.0, None])
    ]
    first, *_, last = found
    assert first["measures"] == {"cooperation": [None, None]}
    assert last["league"] == {"base": [2.0, None]}
    assert first["against"] == last["against"] == {"base": {"cooperation": [None] * 2}}
    assert first["league"] == {"base": [None, None]}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"sweep": Sweep(kl=(0.0, 0.1)), "final_kl": 0.005},
            "final_kl is 0.005: a number from 0 to kl (0) is needed",
        ),
        (
            {"sweep": Sweep(group_size=(2, 3))},
            "group_size is 3: a divisor of num_matches (4) is needed",
        ),
        (
            {"seed": 2**32 - 1},
            "seed is 4294967295: at most 4294967294 is needed, so that all 2 seeds are "
            "below 2^32",
        ),
        (
            {"guest": "api:http://here/v1#model"},
            "guest is 'api:http://here/v1#model': a player of this machine is needed "
            "with 8 members, whose matches have equal numbers",
        ),
    ],
)
def test_refused(model, changes, line):
    with pytest.raises(InputError) as caught:
        small(model, **changes)
    assert str(caught.value) == line


def test_a_dry_run_counts_all_members(model):
    """Sequences and adapters of all are played with; one member learns at a time."""
    config = small(model, sweep=Sweep(beta=(0.0, 1.0, 2.0, 3.0)))
    (alone, *_), mesh = config.members, make_mesh()
    one, all_ = (dry_runs._load(x, TINY, mesh) for x in (alone, config))
    assert (all_.members, one.members) == (8, 1)
    assert (all_.rows, all_.evaluated) == (one.rows, one.evaluated)
    assert (all_.players, all_.num_adapters) == (8 * one.players, 8 * 3)
    assert one.num_adapters == 3
    chip = SimpleNamespace(memory=1e9)
    each = [
        Programs(shared_config(x.members), TINY, load, mesh, chip)
        for x, load in ((alone, one), (config, all_))
    ]
    # The stack of adapters, and the states of all but the one that learns.
    _, together = each
    policy, _ = together._states()
    stack = bytes_of(together._adapters(24)) - bytes_of(together._adapters(3))
    for name in ("learn", "read"):
        kept = [x.others(name) for x in each]
        assert kept[1] - kept[0] == stack + 7 * bytes_of(policy)
