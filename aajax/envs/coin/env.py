"""The Coin Game, a social dilemma on a grid.

N agents move simultaneously on a torus of H × W cells and may overlap. Each coin
belongs to one agent. Every agent that steps on a coin takes it and earns `gain`; if any
of them is not its owner, `loss` is added once to the owner's reward. The game does not
terminate and is truncated after `num_steps` steps (discount 1). Two sets of rules:

* `coins="one"`: one coin at a time; agents move left, right, up or down. A coin that
  is taken reappears as the next agent's, on a cell without agents. These are the
  rules of LOQA (https://arxiv.org/abs/2405.01035), for any N. The game is from Lerer
  and Peysakhovich (https://arxiv.org/abs/1707.01068).
* `coins="each"`: a coin of each agent at a time; agents may also stay. A coin that is
  taken reappears anywhere; an agent already there takes it only by staying on, or
  returning to, that cell. These are the rules of Pax (https://github.com/ucl-dark/pax).

The code handles one game with scalars, in Python loops over the few agents and coins:
under `vmap` over games it compiles to elementwise operations, which are fast on a CPU.
"""

import functools
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from aajax.envs.base import Discrete, environment, in_window, static
from aajax.errors import InputError
from aajax.schema import Choice
from aajax.types import Array, PRNGKey, TimeStep

COINS = ("one", "each")
OBSERVATIONS = ("board", "history")
ACTION_NAMES = ("left", "right", "up", "down", "stay")
MAX_OUTCOMES = 2**16  # read off one random word of 32 bits
MAX_CELLS = 2**12


class CoinState(NamedTuple):
    """State of the game. Cells are numbered row by row.

    Attributes:
      position: i32[N], the cell of each agent.
      coin: i32[K], the cell of each coin; K is 1 under "one", N under "each".
      owner: i32[K], whose coin it is.
      time: i32[], steps played.
      last_taken: i32[N], the last coin that each agent took: 1 its own, −1 another's,
        0 none yet.
    """

    position: Array
    coin: Array
    owner: Array
    time: Array
    last_taken: Array


class Pickups(NamedTuple):
    """Numbers of coins that each seat took in each step.

    Attributes:
      own: i32[T, ..., N], coins of its own.
      other: i32[T, ..., N], coins of others.
    """

    own: Array
    other: Array


@environment
class CoinGame:
    """The Coin Game; build it with `coin_game`, which checks its arguments."""

    gain: Array  # f32[], for a coin taken; a leaf
    loss: Array  # f32[], added to the owner's reward if another took it; a leaf
    height: int = static(default=3)
    width: int = static(default=3)
    num_agents: int = static(default=2)
    num_steps: int = static(default=50)
    coins: str = static(default="one")
    observation: str = static(default="board")

    @property
    def num_cells(self) -> int:
        return self.height * self.width

    @property
    def action_names(self) -> tuple[str, ...]:
        return ACTION_NAMES if self.coins == "each" else ACTION_NAMES[:4]

    @property
    def action_spaces(self) -> tuple[Discrete, ...]:
        return (Discrete(len(self.action_names)),) * self.num_agents

    @property
    def observation_shape(self) -> tuple[int, ...]:
        numbers = self.num_agents if self.observation == "history" else 0
        return (2 * self.num_agents * self.num_cells + numbers,)

    @property
    def episode_length(self) -> int:
        return self.num_steps

    @property
    def is_symmetric(self) -> bool:
        return True

    def reset(self, key: PRNGKey) -> tuple[CoinState, TimeStep]:
        """Agents on random cells; one coin on a free cell, or all on random cells."""
        agents, cells = self.num_agents, self.num_cells
        if self.coins == "one":
            # A word for the free cell too, which is one of at most `cells`.
            *drawn, word = random_numbers(key, [*[cells] * agents, agents, cells])
            position, owner = drawn[:-1], drawn[-1:]
            coin = [free_cell(word, position, cells)]
        else:
            drawn = _reduced(random_numbers(key, [cells] * (2 * agents)), cells)
            position, coin = drawn[:agents], drawn[agents:]
            owner = [jnp.int32(agent) for agent in range(agents)]
        state = CoinState(
            position=jnp.stack(position),
            coin=jnp.stack(coin),
            owner=jnp.stack(owner),
            time=jnp.int32(0),
            last_taken=jnp.zeros(agents, jnp.int32),
        )
        return state, self._time_step(state, jnp.zeros(agents))

    def step(
        self, key: PRNGKey, state: CoinState, action: Array
    ) -> tuple[CoinState, TimeStep]:
        """Moves all agents, gives rewards, and replaces the coins that were taken."""
        position = self._move(state.position, action)
        reward, taken, last_taken = self._take(position, state)
        coin, owner = self._put_back(key, position, state.owner)
        state = CoinState(
            position,
            jnp.where(taken, coin, state.coin),
            jnp.where(taken, owner, state.owner),
            state.time + 1,
            last_taken,
        )
        return state, self._time_step(state, reward)

    def _move(self, position: Array, action: Array) -> Array:
        width, cells = self.width, self.num_cells
        column = jax.lax.rem(position, jnp.full_like(position, width))
        left = jnp.where(column == 0, width - 1, -1)
        right = jnp.where(column == width - 1, 1 - width, 1)
        up = jnp.where(position < width, cells - width, -width)
        down = jnp.where(position >= cells - width, width - cells, width)
        sideways = jnp.where(action == 0, left, right)
        vertical = jnp.where(action == 2, up, jnp.where(action == 3, down, 0))
        return position + jnp.where(action < 2, sideways, vertical)

    def _take(self, position: Array, state: CoinState) -> tuple[Array, Array, Array]:
        """Rewards f32[N], which coins are taken, bool[K], and `last_taken`."""
        seat = jnp.arange(self.num_agents)
        reward, taken = jnp.zeros(self.num_agents), []
        last_taken = state.last_taken
        for coin, owner in zip(state.coin, state.owner, strict=True):
            takes = position == coin
            robbed = _any(list(takes & (seat != owner))) & (seat == owner)
            reward += jnp.where(takes, self.gain, 0.0)
            reward += jnp.where(robbed, self.loss, 0.0)
            taken.append(_any(list(takes)))
            last_taken = jnp.where(takes, jnp.where(seat == owner, 1, -1), last_taken)
        return reward, jnp.stack(taken), last_taken

    def _put_back(
        self, key: PRNGKey, position: Array, owner: Array
    ) -> tuple[Array, Array]:
        """The cell and owner that each coin would get if it were taken, i32[K] each."""
        cells = self.num_cells
        if self.coins == "one":
            coin = free_cell(jax.random.bits(key), list(position), cells)
            return coin[None], jnp.where(owner == self.num_agents - 1, 0, owner + 1)
        coin = _reduced(random_numbers(key, [cells] * self.num_agents), cells)
        return jnp.stack(coin), owner

    def _time_step(self, state: CoinState, reward: Array) -> TimeStep:
        return in_window(self._observe(state), reward, state.time, self.num_steps)

    def _observe(self, state: CoinState) -> Array:
        """One-hot planes f32[N, 2N · H · W], with "history" N entries more.

        Seat i's planes hold the positions of agents i, i + 1, ..., i − 1, then those of
        their coins, each H × W row by row. With "history" they are followed by
        `last_taken` of agents i, i + 1, ..., i − 1.
        """
        agents, cells = self.num_agents, self.num_cells
        seat = np.arange(agents, dtype=np.int32)[:, None]
        entry = np.arange(2 * agents * cells, dtype=np.int32)[None]
        lit = jnp.zeros((agents, entry.size), bool)
        for agent, cell in enumerate(state.position):
            plane = (agent - seat) % agents
            lit |= plane * cells + cell == entry
        for owner, cell in zip(state.owner, state.coin, strict=True):
            plane = agents + owner - seat
            plane += jnp.where(plane < agents, agents, 0)
            lit |= plane * cells + cell == entry
        planes = lit.astype(jnp.float32)
        if self.observation == "board":
            return planes
        turned = (seat + np.arange(agents, dtype=np.int32)[None]) % agents
        last_taken = state.last_taken[turned].astype(jnp.float32)
        return jnp.concatenate([planes, last_taken], axis=1)


def coin_game(
    height: int = 3,
    width: int = 3,
    num_agents: int = 2,
    num_steps: int = 50,
    coins: Annotated[str, Choice(COINS)] = "one",
    observation: Annotated[str, Choice(OBSERVATIONS)] = "board",
    *,
    gain: Array | float = 1.0,
    loss: Array | float = -2.0,
) -> CoinGame:
    """The Coin Game.

    Args:
      height: H, rows of the torus.
      width: W, columns of the torus.
      num_agents: N, at least 2.
      num_steps: steps after which an episode is truncated.
      coins: "one" or "each", the two sets of rules at the top of this module.
      observation: "board", all positions, or "history", which adds whose coin each
        agent took last.
      gain: reward for taking any coin.
      loss: added to the owner's reward if somebody else took the coin.

    Raises:
      InputError: if an argument is out of range, or the agents could fill the board,
        or it has more than 4096 cells.
    """
    for name, size in (("height", height), ("width", width), ("num_steps", num_steps)):
        if size < 1 or size != int(size):
            raise InputError(f"{name} is {size}: a whole number from 1 on is needed")
    if num_agents < 2:
        raise InputError(f"num_agents is {num_agents}: at least 2 are needed")
    if height * width <= num_agents:
        raise InputError(
            f"height * width is {height * width}: more cells than the {num_agents} "
            "agents are needed, so that one is always free"
        )
    if height * width > MAX_CELLS:
        raise InputError(
            f"height * width is {height * width}: at most {MAX_CELLS} cells are needed"
        )
    names = {"coins": (coins, COINS), "observation": (observation, OBSERVATIONS)}
    for name, (value, accepted) in names.items():
        if value not in accepted:
            known = ", ".join(accepted)
            raise InputError(f"{name} is {value!r}: one of {known} is needed")
    leaves = {}
    for name, given in (("gain", gain), ("loss", loss)):
        leaves[name] = leaf = jnp.asarray(given, jnp.float32)
        # Under vmap the numbers are not known; the caller's own are checked outside.
        if not isinstance(leaf, Tracer) and not np.all(np.isfinite(leaf)):
            raise InputError(f"{name} is {leaf}: a finite number is needed")
    return CoinGame(
        **leaves,
        height=height,
        width=width,
        num_agents=num_agents,
        num_steps=num_steps,
        coins=coins,
        observation=observation,
    )


def random_numbers(key: PRNGKey, radices: Sequence[int]) -> list[Array]:
    """Independent uniform integers below each radix, from few random 32-bit words.

    A word is split as a mixed-radix number with at most 2^16 outcomes, unless one radix
    alone has more; probabilities are uniform to one part in 2^16.

    Returns:
      i32[] for each radix but the last, whose u32[] is not reduced yet: the caller
      takes it modulo the radix, or modulo any smaller number.
    """
    groups, outcomes = [[]], 1
    for radix in radices:
        outcomes *= radix
        if groups[-1] and outcomes > MAX_OUTCOMES:
            groups.append([])
            outcomes = radix
        groups[-1].append(radix)
    numbers, last = [], jnp.zeros((), jnp.uint32)
    words = jax.random.bits(key, (len(groups),))
    for word, group in zip(words, groups, strict=True):
        rest = word
        for radix in group:
            last, rest = rest, rest // radix
            numbers.append((last % radix).astype(jnp.int32))
    return [*numbers[:-1], last]


def free_cell(word: Array, position: Sequence[Array], num_cells: int) -> Array:
    """A uniformly random cell without agents, i32[].

    The word u32[] modulo the number of free cells gives the rank r of the free cell.
    Its index is r plus the number of occupied cells before it, which are those with at
    most r free cells before them.
    """
    first = [jnp.array(True)]  # whether an agent is the first on its cell
    for i, cell in enumerate(position[1:], start=1):
        first.append(~_any([other == cell for other in position[:i]]))
    num_occupied = _count(first)
    rank = word % (num_cells - 1)
    for n in range(2, len(position) + 1):
        rank = jnp.where(num_occupied == n, word % (num_cells - n), rank)
    rank = rank.astype(jnp.int32)
    agents = list(zip(first, position, strict=True))
    occupied_before = [
        _count([counts & (other < cell) for counts, other in agents])
        for cell in position
    ]
    return rank + _count(
        [
            counts & (cell - before <= rank)
            for (counts, cell), before in zip(agents, occupied_before, strict=True)
        ]
    )


def pickups(state: CoinState) -> Pickups:
    """Counts of coins taken, reconstructed from states.

    A coin is taken by all agents that are, after a step, on its cell before the step.

    Args:
      state: [T + 1, ...], before each of T steps of an episode, and after the last.
    """
    position, coin = state.position[1:], state.coin[:-1]
    takes = position[..., :, None] == coin[..., None, :]  # [T, ..., N, K]
    seat = jnp.arange(position.shape[-1]).reshape((1,) * (takes.ndim - 2) + (-1, 1))
    is_own = seat == state.owner[:-1][..., None, :]
    own, other = takes & is_own, takes & ~is_own
    return Pickups(own.sum(-1, dtype=jnp.int32), other.sum(-1, dtype=jnp.int32))


def _reduced(numbers: list[Array], radix: int) -> list[Array]:
    *first, last = numbers
    return [*first, (last % radix).astype(jnp.int32)]


def _any(conditions: list[Array]) -> Array:
    return functools.reduce(jnp.logical_or, conditions)


def _count(conditions: list[Array]) -> Array:
    return functools.reduce(jnp.add, [x.astype(jnp.int32) for x in conditions])
