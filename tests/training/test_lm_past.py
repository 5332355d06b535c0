"""Past selves: drawn by number, read when they play, one place at a time."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_speech import LORA, TINY, tiny_adapters

from aajax.dialogue.play.seating import Seating
from aajax.dialogue.players.base import Row
from aajax.lm.checkpoints.peft_folder import save_peft
from aajax.lm.mesh.sharding import make_mesh, param_shardings, shard
from aajax.lm.model import lora
from aajax.training.lm_config import LmConfig, PastSelves
from aajax.training.lm_past import (
    Numbered,
    check_kept,
    drawn_numbers,
    kept_numbers,
    make_stack,
    most_at_once,
    past_folder,
    updated,
)

ALL = tiny_adapters(10)


def config_of(every=1, most=3, past_share=0.5):
    return LmConfig(
        seating=Seating("alternate", past_share=past_share),
        past_selves=PastSelves(every, most),
    )


def one(number):
    """The adapter of a past self; 0 is the learner."""
    return lora.take(ALL, number)


def loading(numbers):
    """A `Load` that notes which it is asked for."""

    def load(member, number):
        assert member == 0
        numbers.append(number)
        return one(number)

    return load


def assert_holds(stack, learner, numbers):
    wanted = {(0, number) for number in (0, *numbers)}
    assert set(stack.places) >= wanted
    for number in (0, *numbers):
        found = lora.take(stack.adapters, stack.places[0, number])
        expected = learner if number == 0 else one(number)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_who_changes_is_loaded_and_nobody_else():
    stack = make_stack([config_of()], [one(0)], None)
    assert len(stack.adapters.scale) == 4
    loaded = []
    for learner, wanted, new in [
        (0, {1, 2}, [1, 2]),
        (9, {2, 5}, [5]),  # beside 1, which stays
        (8, {1, 2, 5}, []),
        (8, {5, 6, 7}, [6, 7]),
        (8, set(), []),
        (7, {1}, [1]),
    ]:
        before = stack
        loaded.clear()
        stack = updated(stack, [one(learner)], [wanted], loading(loaded), None)
        assert loaded == new
        assert_holds(stack, one(learner), wanted)
        kept = set(before.places) & set(stack.places) - {(0, 0)}
        assert all(before.places[n] == stack.places[n] for n in kept)
        # The memory of the one before is taken, and the learner's is not.
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.adapters))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(ALL))


def test_without_past_selves_the_learner_is_all():
    for config in (config_of(past_share=0.0), config_of(every=0, past_share=0.0)):
        stack = make_stack([config], [one(0)], None)
        assert stack.places == {(0, 0): 0} and len(stack.adapters.scale) == 1
        learner = one(3)
        stack = updated(stack, [learner], [()], loading([]), None)
        assert stack.adapters is learner
        assert not kept_numbers(config, 100)


def test_room_is_for_those_who_ever_play_at_once():
    config = config_of(every=10, most=28)
    assert most_at_once(config) == 28
    for changes, most in [
        ({"num_matches": 8, "group_size": 4}, 8),
        # A run that is extended has the same programs as one that was longer at once.
        ({"num_iterations": 30}, 28),
        ({"seating": Seating()}, 0),
    ]:
        assert most_at_once(dataclasses.replace(config, **changes)) == most
    seating = Seating("alternate", past_share=0.5, past_per="group")
    assert most_at_once(dataclasses.replace(config, seating=seating)) == 64 // 8
    alone = dataclasses.replace(config, seating=Seating())
    stack = make_stack([alone], [one(0)], None)
    assert stack.places == {(0, 0): 0}


def test_members_have_places_of_their_own():
    """Of two, with equal numbers, one of which has no past selves."""
    asked = []

    def load(member, number):
        asked.append((member, number))
        return one(4 * member + number)

    configs = [config_of(most=2), config_of(past_share=0.0)]
    stack = make_stack(configs, [one(0), one(9)], None)
    assert stack.places == {(0, 0): 0, (1, 0): 3} and len(stack.adapters.scale) == 6
    stack = updated(stack, [one(0), one(8)], [{1, 2}, ()], load, None)
    stack = updated(stack, [one(0), one(8)], [{2}, {1}], load, None)
    assert asked == [(0, 1), (0, 2), (1, 1)]
    for (member, number), index in stack.places.items():
        expected = 8 * member if number == 0 else 4 * member + number
        found = lora.take(stack.adapters, index)
        jax.tree.map(np.testing.assert_array_equal, found, one(expected))


def test_on_a_mesh_places_lie_where_adapters_do():
    mesh = make_mesh(devices=jax.devices()[:1])
    stack = make_stack([config_of()], [shard(one(0), mesh)], mesh)
    for wanted in ({1, 2}, {2, 3}):
        stack = updated(stack, [shard(one(4), mesh)], [wanted], loading([]), mesh)
        assert_holds(stack, one(4), wanted)
        where = param_shardings(mesh, stack.adapters)
        jax.tree.map(
            lambda x, y: x.sharding.is_equivalent_to(y, x.ndim) or pytest.fail(),
            stack.adapters, where,
        )  # fmt: skip


def test_rows_name_adapters_by_number():
    class Noting:
        def start(self, rows):
            return rows

        def reply(self, memory, requests, keys):
            return memory, [requests, keys]

    player = Numbered(Noting(), {(0, 0): 0, (0, 40): 2, (0, 7): 1, (1, 40): 3})
    rows = player.start([Row(5, 1, 40), Row(5, 0, 0), Row(6, 0, 7), Row(6, 1, 40, 1)])
    assert rows == [Row(5, 1, 2), Row(5, 0, 0), Row(6, 0, 1), Row(6, 1, 3, 1)]
    assert player.reply("memory", "requests", "keys")[1] == ["requests", "keys"]


def test_which_past_selves_there_are():
    assert list(kept_numbers(config_of(every=3), 2)) == []
    assert list(kept_numbers(config_of(every=3), 9)) == [3, 6, 9]


def test_the_most_are_drawn_of_all():
    config, rng = config_of(every=2, most=3), np.random.default_rng(0)
    assert list(drawn_numbers(config, rng, 7)) == [2, 4, 6]
    drawn = [drawn_numbers(config, rng, 20) for _ in range(300)]
    for numbers in drawn:
        assert numbers == sorted(set(numbers)) and len(numbers) == 3
        assert all(type(number) is int for number in numbers)
    counts = np.bincount(np.concatenate(drawn), minlength=21)
    # Five deviations of 300 draws of 3 in 10.
    assert (np.abs(counts[2::2] - 90) < 40).all() and counts[1::2].sum() == 0


def test_a_past_self_that_is_gone(tmp_path):
    config = config_of(every=2)
    check_kept(config, tmp_path, 1)
    save_peft(past_folder(tmp_path, 2), TINY, LORA, one(1), "tiny")
    check_kept(config, tmp_path, 3)
    with pytest.raises(ValueError, match=r"^folder is .*/past/000004: an adapter of"):
        check_kept(config, tmp_path, 4)
    none = dataclasses.replace(config, seating=Seating())
    check_kept(none, tmp_path, 4)
    check_kept(dataclasses.replace(config, num_iterations=4), tmp_path, 4)
