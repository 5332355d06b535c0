"""The scripted players of any world, by name."""

from collections.abc import Callable
from typing import NamedTuple

from aajax.envs.base import Environment
from aajax.envs.coin import CoinGame
from aajax.envs.harvest import CommonsHarvest
from aajax.envs.matrix import IteratedMatrixGame
from aajax.envs.negotiation import NegotiationGame
from aajax.envs.split import Split
from aajax.envs.trust_and_split import TrustAndSplit
from aajax.policies import coin, harvest, matrix, negotiation, split, trust_and_split
from aajax.policies.base import Policy
from aajax.types import PyTree


class Players(NamedTuple):
    """Players that share a policy and differ in its parameters.

    Attributes:
      policy: that all of them play.
      names: who there is.
      params: of a named one; raises InputError for a name that is not there.
    """

    policy: Policy
    names: tuple[str, ...]
    params: Callable[[str], PyTree]


def players(env: Environment) -> Players:
    """The scripted players of a world."""
    return PLAYERS[type(env)](env)


def _of_matrix_game(env: IteratedMatrixGame) -> Players:
    counts = env.action_counts
    return Players(
        matrix.memory_one(),
        matrix.SCRIPTED,
        lambda name: matrix.scripted_table(name, len(counts), counts[0]),
    )


def _of_coin_game(env: CoinGame) -> Players:
    return Players(coin.scripted(env), coin.SCRIPTED, coin.scripted_params)


def _of_negotiation(env: NegotiationGame) -> Players:
    return Players(
        negotiation.scripted(env),
        negotiation.scripted_names(env),
        lambda name: negotiation.scripted_params(name, env),
    )


def _of_harvest(env: CommonsHarvest) -> Players:
    return Players(harvest.scripted(env), harvest.SCRIPTED, harvest.scripted_params)


def _of_split(env: Split) -> Players:
    return Players(split.scripted(env), split.SCRIPTED, split.scripted_params)


def _of_trust_and_split(env: TrustAndSplit) -> Players:
    return Players(
        trust_and_split.scripted(env),
        trust_and_split.SCRIPTED,
        trust_and_split.scripted_params,
    )


PLAYERS: dict[type, Callable[[Environment], Players]] = {
    IteratedMatrixGame: _of_matrix_game,
    CoinGame: _of_coin_game,
    NegotiationGame: _of_negotiation,
    CommonsHarvest: _of_harvest,
    Split: _of_split,
    TrustAndSplit: _of_trust_and_split,
}
