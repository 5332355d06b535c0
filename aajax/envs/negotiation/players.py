"""Scripted players of the Negotiation Game, which act on their observations alone.

To ask for all of an item means the largest possible proposal, or, under a rule that
counts items, as many as there are. All players share one policy, `scripted`, whose
parameter is the player's index, so that players can be stacked and vmapped over.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs.base import ActionSpace, Box
from aajax.envs.negotiation.env import NegotiationGame
from aajax.envs.negotiation.rules import COUNTED
from aajax.envs.negotiation.utilities import MOST, NUM_ITEMS
from aajax.envs.spec import Players
from aajax.errors import InputError
from aajax.policies.base import Policy, PolicyOutput, scripted_policy
from aajax.types import Array


class View(NamedTuple):
    """Inputs of a player.

    Attributes:
      space: the action space.
      whole: f32[..., 3], the proposal that asks for all of an item.
      preference: f32[..., 3], has the sign of own utility minus the other's; None if
        the other's is hidden.
      forgiving: bool[...], whether the co-player was cooperative in the last turn that
        could tell; see `tit_for_tat`.
      uniform: f32[..., 3], random numbers in [0, 1).
    """

    space: ActionSpace
    whole: Array
    preference: Array | None
    forgiving: Array
    uniform: Array

    @property
    def known_preference(self) -> Array:
        """The preference, to players that are not offered where it is hidden."""
        if self.preference is None:
            raise ValueError("the preference is hidden")
        return self.preference


class Grudge(NamedTuple):
    """Memory of tit-for-tat.

    Attributes:
      wanted: f32[..., 3], `whole` for items that it valued more than the other did in
        the previous turn, else 0.
      forgiving: bool[...], as in `View`.
    """

    wanted: Array
    forgiving: Array


def always_cooperate(view: View) -> tuple[Array, Array]:
    """Asks for all of each item that it values more; for equal values at random."""
    preference = view.known_preference
    alike = preference == 0
    asks = jnp.where(alike, view.uniform < 0.5, preference > 0)
    coins = _over_items(alike.astype(jnp.float32))
    return jnp.where(asks, view.whole, 0.0), -jnp.log(2.0) * coins


def always_defect(view: View) -> tuple[Array, Array]:
    """Asks for all items."""
    return view.whole, jnp.zeros(view.whole.shape[:-1])


def tit_for_tat(view: View) -> tuple[Array, Array]:
    """Cooperates, but defects after the co-player was greedy.

    The co-player was greedy if it asked for at least half, in total, of the items that
    tit-for-tat valued more. Turns without such items are skipped.
    """
    nice, nice_log_prob = always_cooperate(view)
    mean, mean_log_prob = always_defect(view)
    proposal = jnp.where(view.forgiving[..., None], nice, mean)
    return proposal, jnp.where(view.forgiving, nice_log_prob, mean_log_prob)


def random(view: View) -> tuple[Array, Array]:
    """A uniformly random proposal."""
    if isinstance(view.space, Box):
        low, span = view.space.low, view.space.high - view.space.low
        proposal, choices = low + span * view.uniform, span
    else:
        choices = float(view.space.num_actions)
        proposal = jnp.floor(view.uniform * choices)
    log_prob = -NUM_ITEMS * jnp.log(choices)
    return proposal, jnp.full(proposal.shape[:-1], log_prob)


RESPONSES: dict[str, Callable[[View], tuple[Array, Array]]] = {
    "always_cooperate": always_cooperate,
    "always_defect": always_defect,
    "tit_for_tat": tit_for_tat,
    "random": random,
}
SCRIPTED = tuple(RESPONSES)


def scripted_names(env: NegotiationGame) -> tuple[str, ...]:
    """The players of SCRIPTED for whom the environment's observation suffices.

    Cooperation needs both agents' utilities or their difference, tit-for-tat the
    co-player's proposals too, and under a rule that counts items all but the random
    player need the pool.
    """
    parts = set(env.layout())
    knows_whole = env.rule not in COUNTED or "pool" in parts
    knows_preference = (
        "utility_difference" in parts or {"own_utility", "other_utility"} <= parts
    )
    able = {
        "always_cooperate": knows_whole and knows_preference,
        "always_defect": knows_whole,
        "tit_for_tat": knows_whole and knows_preference and "other_proposal" in parts,
        "random": True,
    }
    return tuple(name for name in SCRIPTED if able[name])


def scripted_params(name: str, env: NegotiationGame) -> Array:
    """The index of a named player, i32[], the parameter of `scripted(env)`.

    Raises:
      InputError: if there is no such player, or the observation does not suffice.
    """
    names = scripted_names(env)
    if name not in SCRIPTED:
        raise InputError(f"player is {name!r}: one of {', '.join(SCRIPTED)} is needed")
    if name not in names:
        raise InputError(
            f"player is {name!r}: one of {', '.join(names)} is needed where rule is "
            f"{env.rule!r} and observation is {env.observation!r}, which shows "
            f"{', '.join(env.layout())}"
        )
    return jnp.array(names.index(name), jnp.int32)


def scripted(env: NegotiationGame) -> Policy:
    """The policy of all scripted players: `params` is the player's index, i32[].

    `log_prob` is the player's own: a density for proposals drawn from a box, a
    probability for discrete random choices, 0 for deterministic ones.
    """
    names = scripted_names(env)

    def initial_memory(batch_shape):
        wanted = jnp.zeros((*batch_shape, NUM_ITEMS))
        return Grudge(wanted, jnp.ones(batch_shape, bool))

    def act(params, key, observation, memory):
        parts = env.read(observation)
        shape = (*observation.shape[:-1], NUM_ITEMS)
        if env.rule in COUNTED and "pool" in parts:
            whole = jnp.round(parts["pool"])
        else:
            whole = jnp.full(shape, float(MOST))
        preference = _preference(env, observation)
        if "tit_for_tat" in names:
            forgiving = _judge(memory, parts["other_proposal"])
            wants = False if preference is None else preference > 0
            memory = Grudge(jnp.where(wants, whole, 0.0), forgiving)
        # Items first: a CPU is slow to draw along a short last axis.
        uniform = jax.random.uniform(key, (NUM_ITEMS, *shape[:-1]))
        uniform = jnp.moveaxis(uniform, 0, -1)
        view = View(env.action_spaces[0], whole, preference, memory.forgiving, uniform)
        proposals, log_probs = zip(
            *(RESPONSES[name](view) for name in names), strict=True
        )
        proposal, log_prob = jnp.stack(proposals)[params], jnp.stack(log_probs)[params]
        action = proposal.astype(view.space.dtype)
        return PolicyOutput(action, log_prob, jnp.zeros_like(log_prob), memory)

    return scripted_policy(act, initial_memory)


def _preference(env: NegotiationGame, observation: Array) -> Array | None:
    """Own utility minus the other's, up to a factor; exactly 0 where they are equal."""
    layout = env.layout()
    if "utility_difference" in layout:
        return observation[..., layout["utility_difference"]]
    if "other_utility" in layout:
        own, other = layout["own_utility"], layout["other_utility"]
        return observation[..., own] - observation[..., other]
    return None


def _judge(memory: Grudge, other_proposal: Array) -> Array:
    """Whether the co-player asked for less than half of what was wanted, bool[...]."""
    wanted = _over_items(memory.wanted)
    taken = _over_items(jnp.where(memory.wanted > 0, other_proposal, 0.0))
    return jnp.where(wanted > 0, 2 * taken < wanted, memory.forgiving)


def _over_items(x: Array) -> Array:
    # Slice by slice: a CPU reduces a short axis twenty times as slowly.
    return x[..., 0] + x[..., 1] + x[..., 2]


def players(env: NegotiationGame) -> Players:
    """The scripted players."""
    return Players(
        scripted(env),
        scripted_names(env),
        lambda name: scripted_params(name, env),
    )
