"""Scripted players of the Negotiation Game, who know nothing but what they see.

To ask for the whole of an item is to ask for the most that a proposal can say, or,
under a rule that counts items, for as many as there are. Who plays is a number, the
parameter of one policy, `scripted`, so that a league can stack and vmap players.
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
    """What a player goes by.

    Attributes:
      space: what a proposal may be.
      whole: f32[..., 3], the whole of each item.
      preference: f32[..., 3], in the direction of own utility minus the other's; None
        if that is hidden.
      forgiving: bool[...], whether the co-player was kind when last it could tell.
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
    """What tit-for-tat remembers.

    Attributes:
      wanted: f32[..., 3], the whole of each item that it valued more than the other
        did last turn, and 0 of the rest.
      forgiving: bool[...], as in `View`.
    """

    wanted: Array
    forgiving: Array


def always_cooperate(view: View) -> tuple[Array, Array]:
    """Asks for the whole of what it values more; a fair coin decides where alike."""
    preference = view.known_preference
    alike = preference == 0
    asks = jnp.where(alike, view.uniform < 0.5, preference > 0)
    coins = _over_items(alike.astype(jnp.float32))
    return jnp.where(asks, view.whole, 0.0), -jnp.log(2.0) * coins


def always_defect(view: View) -> tuple[Array, Array]:
    """Asks for the whole of everything."""
    return view.whole, jnp.zeros(view.whole.shape[:-1])


def tit_for_tat(view: View) -> tuple[Array, Array]:
    """Cooperates until the co-player last asked for half of what it wanted, or more.

    What it wanted are the items that it valued more; it counts them together. After a
    turn in which there were none, its mood stays.
    """
    nice, nice_log_prob = always_cooperate(view)
    mean, mean_log_prob = always_defect(view)
    proposal = jnp.where(view.forgiving[..., None], nice, mean)
    return proposal, jnp.where(view.forgiving, nice_log_prob, mean_log_prob)


def random(view: View) -> tuple[Array, Array]:
    """Every proposal equally often."""
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
    """Those of SCRIPTED who see what they need.

    To cooperate is to know both agents' utilities or their difference; tit-for-tat
    must see the co-player's proposals, and all but the random player the pool if it
    says what the whole is.
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
    """The number of a named player, i32[], which is the parameter of `scripted(env)`.

    Raises:
      InputError: if there is no such player, or it would not see what it needs.
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
    """Plays the player numbered `params`, i32[]; see `scripted_params`.

    The log-probability is that of the player's own chances: a density where a proposal
    is drawn from a box, a probability where coins decide, 0 where nothing is left to
    chance.
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
    """Own utility minus the other's, up to a scale: equal ones must differ by 0."""
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
