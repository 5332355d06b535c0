"""Runs of a tiny language model: resumed bit for bit, and they learn."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from lm_folders import matches_of, rows_of, run, weights_of
from reference import alignment, speech
from tiny_speech import LORA, TINY, tiny_folder

from aajax.dialogue.learning.batch import places_of, speech_batch
from aajax.dialogue.learning.learner import Restriction, score_speech
from aajax.dialogue.play.seating import Seating
from aajax.errors import DivergenceError, InputError
from aajax.lm import compilation
from aajax.lm.checkpoints.peft_folder import load_peft, save_peft
from aajax.lm.model import lora
from aajax.lm.model.decoder import Adapters
from aajax.training import checkpoint, lm_evaluation, lm_population, metrics
from aajax.training.lm_assemble import assemble
from aajax.training.lm_config import (
    Evaluation,
    LmConfig,
    Lora,
    PastSelves,
    Speaking,
)
from aajax.training.lm_iteration import iterate
from aajax.training.lm_population import assemble_population
from aajax.training.lm_run import train_lm
from aajax.training.run import open_folder


def small(model, **changes):
    config = LmConfig(
        model=model,
        options=("num_rounds=2",),
        prompts="short",
        speaking=Speaking(max_tokens=8),
        lora=Lora(LORA.rank, LORA.alpha, LORA.targets),
        beta=0.5,
        gamma=0.9,
        reward_scale=5.0,
        num_matches=4,
        group_size=2,
        num_iterations=4,
        seating=Seating("alternate", past_share=0.7),
        past_selves=PastSelves(every=1, most=4),
        learning_rate=0.05,
        critic_learning_rate=0.05,
        kl=0.01,
        save_every=2,
        matches_every=1,
        seed=11,  # in the last iteration everybody plays
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """Parts and folder of a run that nothing stopped."""
    parts = assemble_population(small(model))
    # As for tests in this folder; a fixture of the module is made before.
    with jax.numpy_dtype_promotion("standard"):
        return parts, run(tmp_path_factory.mktemp("runs") / "whole", parts)


def assert_same(left, right):
    assert rows_of(left) == rows_of(right)
    assert [row["update"] for row in rows_of(left)] == [1, 2, 3, 4]
    assert weights_of(left) == weights_of(right)
    for number in range(4):
        assert matches_of(left, number) == matches_of(right, number)


def stop_after(iterations):
    def on_iteration(done, row):
        if done == iterations:
            signal.raise_signal(signal.SIGINT)

    return on_iteration


def saved(folder, parts):
    like = jax.eval_shape(parts.members[0].init, jax.random.key(0))
    return checkpoint.restore_latest(folder / "checkpoints", like)


def test_what_a_run_leaves(whole):
    parts, folder = whole
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "metrics.jsonl", "matches", "past", "checkpoints"}
    record = json.loads((folder / "config.json").read_text())
    assert record.pop("preset") == "test"
    assert LmConfig.from_json(record) == parts.config
    assert len(weights_of(folder)) == len(set(weights_of(folder).values())) + 1 == 5
    numbers = [[match.number for match in matches_of(folder, n)] for n in range(4)]
    assert sum(numbers, []) == list(range(16))
    steps = [row["weight"] for row in rows_of(folder)]
    assert steps == [4 * 2 * 4] * 4  # seats, rounds, tokens
    for row in metrics.read_rows(folder / "metrics.jsonl"):
        # What did not happen has no share.
        known = [x for x in row.values() if x is not None]
        assert np.isfinite(known).all()
        # Nothing is trained between sampling and learning.
        assert row["ratio"] == pytest.approx(1, abs=1e-4)
    done, state = saved(folder, parts)
    assert done == int(state.policy.step) == 4
    found, adapter = load_peft(folder / "adapter", TINY)
    assert found == parts.config.lora_config
    jax.tree.map(np.testing.assert_array_equal, adapter.weights, state.policy.weights)


def test_everybody_spoke_with_the_adapter_that_is_noted(whole):
    """In the last iteration the learner and three past selves, loaded from disk."""
    parts, folder = whole
    past = [load_peft(folder / "past" / f"{n:06d}", TINY)[1] for n in (1, 2, 3)]
    # The learner was then what the third iteration made of it.
    adapters = lora.stack([past[2], *past])
    matches = matches_of(folder, 3)
    places = places_of(matches, trained_only=False)
    assert len(places) == 8
    ids = [matches[place.match].adapters[place.seat] for place in places]
    assert set(ids) == {0, 1, 2, 3}
    batch = speech_batch(matches, places)
    batch = batch._replace(adapter_id=np.array(ids, np.int32))
    player = parts.model

    @jax.jit
    def scores(batch, adapters):
        return score_speech(
            TINY,
            player.params,
            batch,
            adapters,
            Restriction(player.grammar, player.stop),
        ).log_prob

    found = np.asarray(scores(batch, adapters))
    np.testing.assert_allclose(found, batch.log_prob, atol=1e-5)
    others = batch._replace(adapter_id=np.zeros(8, np.int32))
    off = np.abs(np.asarray(scores(others, adapters)) - batch.log_prob).max(1)
    assert ((off > 1e-4) == (np.array(ids) % 3 > 0)).all()


def test_credits_of_a_run_are_those_of_its_matches(whole):
    _, folder = whole
    for number in range(4):
        file = folder / "matches" / f"iteration_{number:06d}.jsonl.gz"
        records = speech.read(file)
        advantages = speech.advantages(records, 0.9, 5.0, "group")
        for record, advantage in zip(records, advantages, strict=True):
            expected = alignment.alignment_credit(advantage, 0.9, 0.5)
            np.testing.assert_allclose(record["advantages"], advantage, atol=1e-5)
            np.testing.assert_allclose(record["credits"], expected, atol=1e-5)


def test_interrupted_and_resumed_is_uninterrupted(whole, tmp_path):
    parts, folder = whole
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", parts, on_iteration=stop_after(1))
    # Saved first, although no checkpoint was due.
    assert saved(tmp_path / "parts", parts)[0] == 1
    assert len(rows_of(tmp_path / "parts")) == 1
    assert_same(run(tmp_path / "parts", parts, resume=True), folder)


def test_killed_and_resumed_is_uninterrupted(whole, model, tmp_path):
    parts, folder = whole
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "import jax\n"
        "from test_lm_run import assemble_population, run, small\n"
        "jax.config.update('jax_compilation_cache_dir', sys.argv[3])\n"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
        "def die(done, row):\n"
        "    if done == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "population = assemble_population(small(Path(sys.argv[2])))\n"
        "run(Path(sys.argv[1]), population, on_iteration=die)\n"
    )
    here = Path(__file__).parent
    # Programs of this process, which may not be written by two.
    programs = tmp_path / "programs"
    shutil.copytree(jax.config.jax_compilation_cache_dir, programs)
    killed = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", program, str(killed), str(model), str(programs)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(here), str(here.parent), *sys.path]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # The third iteration was noted, and is played again from the second.
    assert len(rows_of(killed)) == 3
    assert (killed / "past" / "000003").exists()
    assert saved(killed, parts)[0] == 2
    assert_same(run(killed, parts, resume=True), folder)


def test_which_place_a_past_self_has_changes_nothing(model, tmp_path):
    """With room for two, a run that is resumed reads them into other places."""
    changes = {"past_selves": PastSelves(every=1, most=2), "num_iterations": 6}
    seating = Seating("alternate", past_share=1.0)
    parts = assemble_population(small(model, seating=seating, num_matches=8, **changes))
    folder = run(tmp_path / "whole", parts)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", parts, on_iteration=stop_after(4))
    resumed = run(tmp_path / "parts", parts, resume=True)
    assert rows_of(resumed) == rows_of(folder)
    assert weights_of(resumed) == weights_of(folder)
    played = set()
    for number in range(6):
        matches = matches_of(folder, number)
        assert matches_of(resumed, number) == matches
        past = {max(match.adapters) for match in matches}
        assert len(past) <= 2
        assert past <= (set(range(1, number + 1)) or {0})
        played |= past
    assert max(played) > 2
    # Nobody but the learner: measured is what it did against past selves.
    assert [row["reward"] is None for row in rows_of(folder)] == [False] + [True] * 5
    assert all(row["reward_against_others"] is not None for row in rows_of(folder)[1:])


def test_a_damaged_checkpoint_is_stepped_over(whole, tmp_path, caplog):
    parts, folder = whole
    run_folder = tmp_path / "run"
    shutil.copytree(folder, run_folder)
    newest = run_folder / "checkpoints" / "4"
    largest = max(newest.rglob("*"), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    assert_same(run(run_folder, parts, resume=True), folder)
    (line,) = caplog.messages
    assert line.startswith(f"checkpoint is {newest}: it is damaged (")
    assert saved(run_folder, parts)[0] == 4
    for step in ("2", "4"):
        shutil.rmtree(run_folder / "checkpoints" / step)
        (run_folder / "checkpoints" / step).mkdir()
    with pytest.raises(InputError, match=r"^checkpoints is .*: a whole checkpoint is"):
        run(run_folder, parts, resume=True)


@pytest.mark.parametrize("what", ["loss", "reward_against_others", "weights"])
def test_a_run_that_diverges_ends_before_it_is_saved(
    whole, tmp_path, monkeypatch, what
):
    parts, folder = whole

    def spoilt(members, states, stack, number, *rest):
        found = iterate(members, states, stack, number, *rest)
        if number < 2:
            return found
        ((metrics,), (state,)) = found.metrics, found.states
        if what != "weights":
            assert what in metrics
            return found._replace(metrics=[{**metrics, what: float("inf")}])
        policy = state.policy
        first, *others = jax.tree.leaves(policy.weights)
        leaves = [first.at[(0,) * first.ndim].set(np.nan), *others]
        weights = jax.tree.unflatten(jax.tree.structure(policy.weights), leaves)
        state = state._replace(policy=policy._replace(weights=weights))
        return found._replace(states=[state])

    monkeypatch.setattr(lm_population, "iterate", spoilt)
    lines = []
    for resume in (False, True):
        with pytest.raises(DivergenceError) as caught:
            run(tmp_path / "run", parts, resume)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]
    quantity = (
        r"policy/weights/\S+ is not finite" if what == "weights" else f"{what} is inf"
    )
    assert re.fullmatch(
        rf"seed {parts.config.seed} diverged at iteration 3: {quantity}; the state "
        rf"after iteration 2 is kept in {tmp_path / 'run' / 'checkpoints'}/",
        lines[0],
    )
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    rows = [json.loads(x, parse_constant=pytest.fail) for x in text.splitlines()]
    assert [row["update"] for row in rows] == [1, 2, 3]
    assert what == "weights" or rows[2][what] is None
    assert saved(tmp_path / "run", parts)[0] == 2
    assert not (tmp_path / "run" / "past" / "000003").exists()
    monkeypatch.undo()
    with jax.numpy_dtype_promotion("standard"):
        assert_same(run(tmp_path / "run", parts, resume=True), folder)


def test_a_checkpoint_that_holds_what_diverged(whole, tmp_path):
    """Of a run that was made before anybody looked."""
    parts, folder = whole
    run_folder = tmp_path / "run"
    shutil.copytree(folder, run_folder)
    _, state = saved(folder, parts)
    policy = state.policy
    weights = jax.tree.map(lambda x: jax.numpy.full_like(x, np.nan), policy.weights)
    state = state._replace(policy=policy._replace(weights=weights))
    for step in (2, 4):
        checkpoint.save(run_folder / "checkpoints", step, state)
    with pytest.raises(InputError, match=r"4: policy/weights/\S* is not finite; "):
        run(run_folder, parts, resume=True)


def test_a_run_with_a_critic_is_resumed_too(whole, model, tmp_path, monkeypatch):
    config = small(model, baseline="critic", algorithm="sum_of_rewards")
    parts = assemble_population(config)
    monkeypatch.setattr(compilation, "PATIENCE", -1.0)
    compiled = set()
    with compilation.heard(lambda program, seconds: compiled.add(program)):
        folder = run(tmp_path / "whole", parts)
    learning = {
        "the learner's step of",
        "the critic's values of",
        "the critic's step of",
    }
    said = {re.sub(r" \d+ x \d+ tokens$", "", program) for program in compiled}
    assert said >= learning and said - learning <= {"reading", "sampling in"}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", parts, on_iteration=stop_after(3))
    assert_same(run(tmp_path / "parts", parts, resume=True), folder)
    losses = [row["critic_loss"] for row in rows_of(folder)]
    assert np.isfinite(losses).all()
    critic = saved(folder, parts)[1].critic
    assert np.abs(critic.weights["head"]).max() > 0
    # Both seats of a match are paid alike, and the critic matters.
    first = matches_of(folder, 0)[0].credits
    assert first != matches_of(whole[1], 0)[0].credits


def test_an_adapter_to_begin_with(whole, tmp_path):
    parts, folder = whole
    config = dataclasses.replace(parts.config, initial_adapter=folder / "adapter")
    (own,) = parts.members
    begun = dataclasses.replace(own, config=config).init(jax.random.key(0))
    _, adapter = load_peft(folder / "adapter", TINY)
    jax.tree.map(np.testing.assert_array_equal, begun.policy.weights, adapter.weights)
    other = dataclasses.replace(config, lora=Lora(2, 6.0, LORA.targets))
    with pytest.raises(ValueError, match=r"^initial_adapter is .* 3 is needed, not 2$"):
        dataclasses.replace(own, config=other).init(jax.random.key(0))


def test_an_adapter_of_fewer_ranks_and_targets_to_begin_with(model, tmp_path):
    """It has its effect, and what it lacks can be learned: not both A and B are 0."""
    less = lora.LoraConfig(rank=1, alpha=2.0, targets=("query", "down"))
    drawn = lora.init_adapters(TINY, less, jax.random.key(1))
    weights = jax.tree.map(lambda x: x + 0.5, drawn.weights)
    save_peft(tmp_path, TINY, less, drawn._replace(weights=weights), "tiny")
    config = small(model, initial_adapter=tmp_path)
    weights = assemble(config).init(jax.random.key(0)).policy.weights
    pairs = lora.pairs_of(Adapters(weights, np.ones(1)))
    assert set(pairs) == set(LORA.targets)
    for name, pair in pairs.items():
        own = less.rank if name in less.targets else 0
        assert pair["a"].shape[-1] == LORA.rank
        assert np.abs(pair["a"]).max((0, 1, 2)).all()
        assert (pair["b"][:, :, :own] == 0.5).all()
        assert not pair["b"][:, :, own:].any()


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"rank": 3, "alpha": 6.0}, "one of rank 2 or less is needed, not 3"),
        (
            {"targets": ("query", "gate")},
            "one of query, value, output, down alone is needed, and it has gate too",
        ),
    ],
)
def test_a_larger_adapter_to_begin_with_is_refused(model, tmp_path, more, line):
    larger = dataclasses.replace(LORA, **more)
    save_peft(
        tmp_path, TINY, larger, lora.init_adapters(TINY, larger, jax.random.key(1)), "t"
    )
    with pytest.raises(InputError) as refused:
        assemble(small(model, initial_adapter=tmp_path))
    assert str(refused.value) == f"initial_adapter is {str(tmp_path)!r}: {line}"


def test_another_run_is_refused(whole):
    parts, folder = whole
    other = dataclasses.replace(parts.config, beta=2.0)
    with pytest.raises(ValueError, match=r"beta is 0\.5 there and 2\.0 here"):
        open_folder(folder, "test", other, resume=True)


def test_a_guest_that_is_nobody(model):
    seating = Seating("first", guest_share=1.0)
    with pytest.raises(ValueError, match="^guest is None: a player is .*--guest"):
        assemble_population(small(model, seating=seating))
    with pytest.raises(ValueError, match="^guest is 'nobody': one of"):
        assemble_population(small(model, seating=seating, guest="nobody"))


@pytest.mark.parametrize(
    ("algorithm", "choice"), [("naive", "<B>"), ("sum_of_rewards", "<A>")]
)
def test_a_learner_learns_what_pays(model, tmp_path, algorithm, choice):
    """Defection pays oneself, cooperation both; at first it is one or the other."""
    config = small(
        model, algorithm=algorithm, seating=Seating(), num_matches=16, group_size=16,
        num_iterations=20, learning_rate=0.02, kl=0.0, save_every=20, matches_every=1,
    )  # fmt: skip
    folder = run(tmp_path / algorithm, assemble_population(config))

    def share(numbers):
        said = [
            turn.answer
            for number in numbers
            for match in matches_of(folder, number)
            for seat in match.turns
            for turn in seat
        ]
        return sum(answer == choice for answer in said) / len(said)

    assert 0.2 < share([0]) < 0.8  # before the first step
    assert share(range(17, 20)) > 0.9


@pytest.mark.parametrize(
    ("game", "options", "more"),
    [
        ("ipd", (), set()),
        pytest.param(
            *("trust-and-split", ("messages=hands",), {"shuffled"}),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_measured_in_the_end(model, tmp_path, game, options, more):
    options += ("num_rounds=1",)
    speaking, few = Speaking(max_tokens=48), Evaluation(matches=6)
    config = small(model, game=game, options=options, speaking=speaking, eval=few)
    population = assemble_population(dataclasses.replace(config, num_iterations=1))
    open_folder(tmp_path, "test", population.config, False)
    (state,), _ = train_lm(tmp_path, population)
    (parts,) = population.members
    heard = []
    found = lm_evaluation.evaluate_lm(parts, state, lambda *x: heard.append(x))
    total = 6 * len(found)
    assert heard[-1] == (total, total) and len(heard) > len(found)
    # In one batch the matches are the same.
    at_once = dataclasses.replace(parts.config, num_matches=64)
    again = lm_evaluation.evaluate_lm(dataclasses.replace(parts, config=at_once), state)
    for name in found.keys() - {"shuffled"}:
        assert found[name] == pytest.approx(again[name]), name
    scripted = {"always_cooperate", "always_defect"}
    assert set(found) == {"base", "itself", *scripted, *more}
    for measures in found.values():
        assert measures["invalid_answers"] == 0 and np.isfinite(measures["reward"])
