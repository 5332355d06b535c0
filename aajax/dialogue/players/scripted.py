"""Scripted players in text games.

They act on the array environment's observations, and their actions are written as text.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from aajax.dialogue.players.base import Reply, Request, Row
from aajax.envs.spec import own_player
from aajax.envs.text import TextGame
from aajax.errors import InputError
from aajax.references import is_reference
from aajax.types import AnyArray, Array, PRNGKey, PyTree


@dataclasses.dataclass(frozen=True, eq=False)
class ScriptedPlayer:
    """A `Player` that ignores prompts and acts on observations; see `scripted_player`.

    Its memory is the policy's, [R, ...]. The policy acts at every step, also when no
    answer is asked for, so that its memory is the same as in the array environment.

    Attributes:
      game: what it is played in.
      params: of the policy, which choose the player.
      initial_memory: `batch_shape -> memory`.
      act: `(params, key[R], observation f32[R, ...], memory) -> (action, memory)`.
    """

    game: TextGame
    params: PyTree
    initial_memory: Callable[[tuple[int, ...]], PyTree]
    act: Callable[[PyTree, PRNGKey, AnyArray, PyTree], tuple[Array, PyTree]]

    def start(self, rows: Sequence[Row]) -> PyTree:
        return self.initial_memory((len(rows),))

    def reply(
        self, memory: PyTree, requests: Sequence[Request], keys: PRNGKey
    ) -> tuple[PyTree, list[Reply | None]]:
        if not requests:
            return memory, []
        observation = np.stack([request.observation for request in requests])
        action, after = self.act(self.params, keys, observation, memory)
        # Who has seen nothing new of the environment must not take it for another step.
        memory = after if requests[0].is_action else memory
        replies = [
            None if request.kind is None else Reply(self.game.say(request.kind, own))
            for request, own in zip(requests, np.asarray(action), strict=True)
        ]
        return memory, replies


def scripted_names(game: TextGame) -> tuple[str, ...]:
    """The players that `scripted_player` knows, those of the environment first."""
    there = game.scripted()
    return () if there is None else (*there.names, *game.aliases())


def scripted_player(game: TextGame, name: str) -> ScriptedPlayer:
    """The player called `name` in the game's environment, or by an alias.

    Args:
      game: what it is played in.
      name: or `package.module:NAME` or `file.py:NAME` of a function env → Policy.

    Raises:
      InputError: if there is no such player.
    """
    if is_reference(name):
        policy, params = own_player(game.env, name), ()
    elif name in scripted_names(game):
        there = game.scripted()
        policy, params = there.policy, there.params(game.aliases().get(name, name))
    else:
        names = ", ".join(scripted_names(game)) or "no scripted players"
        raise InputError(f"player is {name!r}: one of {names} is needed")

    def act(params, keys, observation, memory):
        # A key for each row: its chance is then nobody else's.
        output = jax.vmap(policy.act, (None, 0, 0, 0))(
            params, keys, observation, memory
        )
        return output.action, output.memory

    return ScriptedPlayer(
        game=game,
        params=params,
        initial_memory=policy.initial_memory,
        act=jax.jit(act),
    )
