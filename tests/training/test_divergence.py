"""Seeds that diverge: named, noted, set back; the others never know."""

import dataclasses
import functools
import json
import signal

import jax
import numpy as np
import pytest

from aajax.errors import DivergenceError, InputError
from aajax.training import RunConfig, Sweep, checkpoint, divergence, metrics, sweep
from aajax.training import run as runs
from aajax.training.run import diverged, load, open_folder, train

SWEPT = RunConfig(
    num_games=8,
    num_steps=4,
    num_updates=6,
    seeds=2,
    first_seed=7,
    sweep=Sweep(beta=(0.0, 1.5)),
)
LINE = "seed 8 with beta=1.5 diverged at update 4: "


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    with pytest.MonkeyPatch.context() as patch:
        for module, name in [
            (runs, "make_trainer"),
            (runs, "_template"),
            (sweep, "advance"),
        ]:
            patch.setattr(module, name, functools.cache(getattr(module, name)))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What becomes of a run in which nobody diverges."""
    # As for tests in this folder; a fixture of the module is made before.
    with jax.numpy_dtype_promotion("standard"):
        return run(tmp_path_factory.mktemp("runs") / "whole")


def run(folder, config=SWEPT, resume=False, **options):
    open_folder(folder, "test", config, resume)
    return train(folder, config, **options)[0]


@pytest.fixture
def poison(monkeypatch):
    """`poison(lanes, update, metric)`: what happens to them from this update on.

    A metric is NaN from there; without one, parameters are infinite after the chunk.
    """

    def spoil(lanes, update, metric=None):
        make = sweep.advance

        def advance(make_trainer, num_updates, *others):
            step = make(make_trainer, num_updates, *others)

            def run_and_spoil(hyperparameters, state):
                made = np.array(state.num_updates)
                state, numbers = step(hyperparameters, state)
                numbers = {name: np.array(x) for name, x in numbers.items()}
                learner = state.learners[0]
                actor = np.array(learner.params["actor"])
                for lane in lanes:
                    if made[lane] + num_updates >= update:
                        first = max(update - 1 - made[lane], 0)
                        if metric is None:
                            actor[lane][0] = -np.inf
                        else:
                            numbers[metric][(slice(first, None), *lane)] = np.nan
                params = {**learner.params, "actor": jax.numpy.asarray(actor)}
                learner = learner._replace(params=params)
                return state._replace(learners=(learner,)), numbers

            return run_and_spoil

        monkeypatch.setattr(sweep, "advance", advance)

    return spoil


def lane_of(state, lane):
    return jax.tree.map(lambda x: np.asarray(x[lane]), without_keys(state))


def without_keys(state):
    return state._replace(key=jax.random.key_data(state.key))


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, without_keys(left), without_keys(right))


def assert_others_as_in(state, whole, lost=(1, 1)):
    for lane in np.ndindex(2, 2):
        if lane != lost:
            jax.tree.map(
                np.testing.assert_array_equal,
                lane_of(state, lane),
                lane_of(whole, lane),
            )


def stop_after(num_updates):
    def on_chunk(done, row):
        assert np.isfinite(list(row.values())).all()
        if done == num_updates:
            signal.raise_signal(signal.SIGINT)

    return on_chunk


def noted(folder):
    text = (folder / divergence.FILE).read_text()
    return json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("metric", "what"),
    [
        ("gradient_norm", "gradient_norm is nan"),
        (None, "learner_0/params/actor is not"),
    ],
)
def test_one_diverges_and_the_others_never_know(
    whole, poison, tmp_path, caplog, metric, what
):
    folder = tmp_path / "run"
    poison([(1, 1)], 4, metric)
    state = run(folder)
    assert_others_as_in(state, whole)
    assert state.num_updates.tolist() == [[6, 6], [6, 3]]
    assert divergence.not_finite(state.learners) == {}
    (line,) = caplog.messages
    assert line.startswith(LINE + what) and line.endswith("; all others go on")
    (record,) = noted(folder)
    assert (record["lane"], record["seed"]) == ([1, 1], 8)
    assert (record["hyperparameters"], record["update"]) == ({"beta": 1.5}, 4)

    rows = metrics.read_rows(folder / "metrics.jsonl")
    text = (folder / "metrics.jsonl").read_text()
    [json.loads(row, parse_constant=pytest.fail) for row in text.splitlines()]
    for row in rows:
        numbers = {name: x for name, x in row.items() if isinstance(x, list)}
        for x in numbers.values():
            assert [y is None for y in (*x[0], *x[1])] == [
                *(False, False, False),
                row["update"] >= 4,
            ]
    # It is the very state before that update that is kept, in the checkpoint too.
    alone = dataclasses.replace(SWEPT, num_updates=3)
    third = lane_of(run(tmp_path / "third", alone), (1, 1))
    jax.tree.map(np.testing.assert_array_equal, lane_of(state, (1, 1)), third)
    _, config, loaded = load(folder)
    assert_same(loaded, state)
    lost = diverged(folder, config, loaded)
    assert list(lost) == [(1, 1)]
    assert str(lost[1, 1]).startswith(LINE + what)


def test_a_run_in_which_one_diverges_is_resumed_exactly(
    whole, poison, tmp_path, caplog
):
    poison([(1, 1)], 4, "policy_loss")
    state = run(tmp_path / "whole")
    for stop in (3, 5):
        folder = tmp_path / str(stop)
        with pytest.raises(KeyboardInterrupt):
            run(folder, on_chunk=stop_after(stop))
        assert_same(run(folder, resume=True), state)
        assert noted(folder) == noted(tmp_path / "whole")
        before, after = (
            [row["reward"] for row in metrics.read_rows(x / "metrics.jsonl")]
            for x in (folder, tmp_path / "whole")
        )
        assert before == after
        caplog.clear()
        # Once more, when all is done: nothing new.
        assert_same(run(folder, resume=True), state)
        assert caplog.messages == []
    # Back before it happened: it is found again.
    for step in ("5", "6"):
        saves = tmp_path / "whole" / "checkpoints"
        (saves / step / "_CHECKPOINT_METADATA").unlink()
    checkpoint.save(saves, 3, run(tmp_path / "3", resume=True))
    assert divergence.noted(tmp_path / "whole", 3) == {}


def test_where_all_diverge_the_run_ends_before_it_is_saved(poison, tmp_path, caplog):
    folder = tmp_path / "run"
    poison([(0, 0), (0, 1), (1, 0)], 4, "policy_loss")
    poison([(1, 1)], 5)
    lines = []
    for resume in (False, True, True):
        with pytest.raises(DivergenceError) as caught:
            run(folder, resume=resume)
        lines.append(str(caught.value))
    assert len(set(lines)) == 1 and "\n" not in lines[0]
    assert lines[0].startswith(
        "seed 7 with beta=0 diverged at update 4: policy_loss is"
    )
    assert lines[0].endswith(
        "and 1 more, see diverged.json; the state after update 4 is kept in "
        f"{folder / 'checkpoints'}/"
    )
    _, config, state = load(folder)
    assert int(state.num_updates.max()) == 4
    assert divergence.not_finite(state.learners) == {}
    assert len(diverged(folder, config, state)) == 3
    assert len(noted(folder)) == 4


def test_without_a_checkpoint_before(poison, tmp_path):
    one = dataclasses.replace(SWEPT, seeds=1, sweep=Sweep())
    poison([(0, 0)], 1, "entropy")
    for resume in (False, True):
        with pytest.raises(DivergenceError) as caught:
            run(tmp_path / "run", one, resume)
        line = "seed 7 diverged at update 1: entropy is nan; there was no checkpoint"
        assert str(caught.value) == f"{line} before"


def test_a_checkpoint_that_holds_what_diverged(whole, tmp_path):
    """Of a run that was made before anybody looked."""
    folder = tmp_path / "run"
    open_folder(folder, "test", SWEPT, False)
    actor = np.array(whole.learners[0].params["actor"])
    actor[0, 1] = np.nan
    params = {**whole.learners[0].params, "actor": jax.numpy.asarray(actor)}
    learner = whole.learners[0]._replace(params=params)
    checkpoint.save(folder / "checkpoints", 6, whole._replace(learners=(learner,)))
    _, config, state = load(folder)
    (found,) = diverged(folder, config, state).values()
    assert str(found) == (
        "seed 8 with beta=0 diverged at update 6: learner_0/params/actor is not finite"
    )
    run(folder, resume=True)
    assert noted(folder)[0]["lane"] == [0, 1]


def test_what_is_not_finite_is_found_by_its_path():
    tree = {"a": np.array([[1.0, np.inf], [0.0, 1.0]], np.float32), "b": np.arange(2)}
    found = divergence.not_finite(tree, num_axes=1)
    assert {name: x.tolist() for name, x in found.items()} == {"a": [True, False]}
    assert divergence.not_finite({"b": np.arange(2)}) == {}
    tree["c"] = jax.numpy.full(3, np.nan, jax.numpy.bfloat16)
    assert list(divergence.not_finite(tree)) == ["a", "c"]


RECORD = {
    "lane": [0, 1],
    "seed": 1,
    "hyperparameters": {"beta": 1.0},
    "update": 3,
    "quantity": "loss",
    "value": "nan",
}


@pytest.mark.parametrize(
    "records",
    [
        5,
        "rubbish",
        [None],
        [[1, 2]],
        [{**RECORD, "lane": [0]}],
        [{**RECORD, "lane": ["a", "b"]}],
        [{**RECORD, "lane": [0, -1]}],
        [{**RECORD, "lane": [True, 0]}],
        [{**RECORD, "lane": [0, 2]}],
        [{**RECORD, "update": "3"}],
        [{**RECORD, "hyperparameters": [1]}],
        [{**RECORD, "hyperparameters": {"beta": None}}],
        [{**RECORD, "quantity": None}],
        [{**RECORD, "other": 1}],
    ],
)
def test_records_that_are_none(records, tmp_path):
    file = tmp_path / divergence.FILE
    file.write_text(json.dumps([RECORD]))
    assert list(divergence.noted(tmp_path, lanes=(1, 2))) == [(0, 1)]
    file.write_text(json.dumps(records))
    with pytest.raises(InputError) as caught:
        divergence.noted(tmp_path, lanes=(1, 2))
    line = str(caught.value)
    assert line.startswith(f"file is {file}: ") and "lanes" in line
    assert "\n" not in line
