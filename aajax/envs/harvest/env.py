"""Commons Harvest: Open, a common-pool resource dilemma on a grid.

N agents walk on a map with patches of apples. An apple eaten gives a reward of 1 and
may grow back, with a probability that rises with the number of apples near it; a patch
without apples stays empty. Agents may zap one another out of the game for some steps.
The rules are those of "Commons Harvest: Open" of Melting Pot
(https://arxiv.org/abs/2211.13746), measured on its engine. Observations are feature
planes of the same window instead of RGB images; `paint.paint` draws images.

A step consists of: moves and turns, agent by agent in random order, and eating; beams,
all at once; agents whose time-out is over come back; apples grow back, and are eaten at
once by an agent on the site. The probability that an apple grows back is set by the
number of apples around it two steps earlier, recorded as its `label`.
"""

import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from aajax.envs.base import Discrete, environment, static
from aajax.envs.harvest import observe, rules
from aajax.envs.harvest.layout import MAPS, SEATS, Layout, parse
from aajax.errors import InputError
from aajax.schema import Choice
from aajax.types import Array, PRNGKey, TimeStep

PROBABILITIES = (0.0, 0.0025, 0.005, 0.025)
VIEW = (9, 1, 5, 5)
NUM_STEPS = 1000
MOST_STEPS = 5000  # where the end comes by chance
FIRST_END, END_INTERVAL = 1099, 100


class HarvestState(NamedTuple):
    """State of the game: N agents, K apple sites. Cells are numbered row by row.

    Attributes:
      position: i32[N], the cell of each agent; −1 while it is out.
      heading: i32[N], 0 north, 1 east, 2 south, 3 west.
      apple: bool[K], whether there is an apple.
      label: i32[K], number of apples around (3 if more), which sets the probability of
        growing back next step; −1 if none can.
      grass: bool[K], whether the site is shown as grass (an apple may grow) or bare.
      cooldown: i32[N], steps until an agent can zap.
      out: i32[N], steps until an agent comes back; 0 while it is in the game.
      beam: i32[N, 9], cells lit by the last step's beams; −1 for none.
      time: i32[], steps played.
    """

    position: Array
    heading: Array
    apple: Array
    label: Array
    grass: Array
    cooldown: Array
    out: Array
    beam: Array
    time: Array


@environment
class CommonsHarvest:
    """The environment; build it with `commons_harvest`, which checks its arguments.

    It counts as symmetric: all seats have the same rules and the same view. But if the
    map has inside spawn points, the first seats start there, nearer to the apples.
    """

    probabilities: Array  # f32[4], to grow back beside 0, 1, 2, and 3 apples or more
    apple_reward: Array  # f32[]
    cooldown: Array  # i32[], steps after a zap in which there is no other
    time_out: Array  # i32[], steps that the one who is hit misses
    end_probability: Array | None = None  # f32[]; None: cut off after num_steps alone
    map: str = static(default=MAPS["open"])
    num_agents: int = static(default=SEATS["open"])
    num_steps: int = static(default=NUM_STEPS)
    view: tuple[int, int, int, int] = static(default=VIEW)

    @property
    def layout(self) -> Layout:
        return parse(self.map)

    @property
    def action_names(self) -> tuple[str, ...]:
        return rules.ACTION_NAMES

    @property
    def action_spaces(self) -> tuple[Discrete, ...]:
        return (Discrete(len(rules.ACTION_NAMES)),) * self.num_agents

    @property
    def observation_shape(self) -> tuple[int, ...]:
        return (math.prod(self.plane_shape),)

    @property
    def plane_shape(self) -> tuple[int, int, int]:
        """C, H, W: the shape of an observation before flattening."""
        return (len(observe.PLANES), *observe.window(self.view))

    @property
    def episode_length(self) -> int | None:
        return self.num_steps if self.end_probability is None else None

    @property
    def is_symmetric(self) -> bool:
        return True

    def reset(self, key: PRNGKey) -> tuple[HarvestState, TimeStep]:
        """All apples present; agents on random spawn points with random headings."""
        agents, layout = self.num_agents, self.layout
        place, heading = jax.random.bits(key, (2, agents))
        seat, sites = np.arange(agents), layout.site.size
        position = jnp.full(agents, rules.OUT, jnp.int32)
        for points, due in (
            (layout.inside, seat < layout.inside.size),
            (layout.outside, seat >= layout.inside.size),
        ):
            if due.any():
                position, _ = rules.settle(
                    points, layout.wall.size, place, position, jnp.asarray(due)
                )
        zeros = jnp.zeros(agents, jnp.int32)
        state = HarvestState(
            position,
            _heading(heading),
            apple=jnp.ones(sites, bool),
            label=jnp.full(sites, rules.UNLABELLED, jnp.int32),
            grass=jnp.ones(sites, bool),
            cooldown=zeros,
            out=zeros,
            beam=jnp.full((agents, rules.BEAM_CELLS), rules.OUT, jnp.int32),
            time=jnp.int32(0),
        )
        return state, self._time_step(state, jnp.zeros(agents), jnp.zeros((), bool))

    def step(
        self, key: PRNGKey, state: HarvestState, action: Array
    ) -> tuple[HarvestState, TimeStep]:
        """Moves, beams, agents coming back, apples growing back; in this order."""
        agents, layout = self.num_agents, self.layout
        words = jax.random.bits(key, (3 * agents + layout.site.size + 1,))
        order, place, turn, grow, end = jnp.split(
            words, np.cumsum([agents, agents, agents, layout.site.size])
        )
        position = rules.move(layout, order, state.position, state.heading, action)
        heading = rules.turn(state.heading, action)
        eats = rules.standing_on(layout, position) & state.apple[None]
        apple = state.apple & ~eats.any(0)

        playing = state.out == 0
        fires = (action == rules.ZAP) & playing & (state.cooldown == 0)
        beam, hit = rules.beams(layout, position, heading, fires)
        position = jnp.where(hit, rules.OUT, position)
        resting = jnp.maximum(state.cooldown - playing.astype(jnp.int32), 0)
        cooldown = jnp.where(fires, self.cooldown, resting)

        position, back = rules.settle(
            layout.outside, layout.wall.size, place, position, state.out == 1
        )
        heading = jnp.where(back, _heading(turn), heading)
        # Who finds no free point waits there for another step.
        waits = jnp.where(back, 0, jnp.maximum(state.out - 1, 1))
        out = jnp.where(hit, self.time_out, jnp.where(playing, 0, waits))

        grown = rules.sprouts(grow, state.label, self.probabilities)
        finds = rules.standing_on(layout, position) & grown[None]
        crowding = rules.crowding(layout, state.apple)
        state = HarvestState(
            position,
            heading,
            apple | (grown & ~finds.any(0)),
            label=jnp.where(state.apple | grown, rules.UNLABELLED, crowding),
            grass=jnp.where(state.apple, state.grass, crowding > 0),
            cooldown=cooldown,
            out=out,
            beam=beam,
            time=state.time + 1,
        )
        eaten = jnp.sum((eats | finds).astype(jnp.float32), axis=1)
        return state, self._time_step(
            state, self.apple_reward * eaten, self._ends(end[0], state.time)
        )

    def observe(self, state: HarvestState) -> Array:
        """Feature planes of each agent's window, flattened to f32[N, C · H · W]."""
        return observe.observe(
            self.layout,
            self.view,
            state.apple,
            state.grass,
            state.position,
            state.heading,
            state.beam.reshape(-1),
            self._ready(state),
        )

    def unflatten(self, observation: Array) -> Array:
        """An observation as planes f32[..., C, H, W], ordered as `observe.PLANES`."""
        return observation.reshape(*observation.shape[:-1], *self.plane_shape)

    def _ready(self, state: HarvestState) -> Array:
        """f32[N]: 1 if the agent can zap, less while it must wait, 0 if it is out."""
        wait = state.cooldown.astype(jnp.float32)
        wait /= jnp.maximum(self.cooldown, 1).astype(jnp.float32)
        return jnp.where(state.out == 0, jnp.maximum(1 - wait, 0), 0.0)

    def _ends(self, word: Array, time: Array) -> Array:
        """Whether the episode terminates at random after `time` steps, bool[]."""
        if self.end_probability is None:
            return jnp.zeros((), bool)
        late = time - FIRST_END
        due = (late >= 0) & (late % END_INTERVAL == 0)
        return due & (rules.uniform(word) < self.end_probability)

    def _time_step(self, state: HarvestState, reward: Array, ended: Array) -> TimeStep:
        return TimeStep(
            observation=self.observe(state),
            reward=reward,
            discount=1.0 - ended.astype(jnp.float32),
            last=ended | (state.time >= self.num_steps),
        )


def commons_harvest(
    map: Annotated[str, Choice(tuple(MAPS), "a drawn map")] = "open",
    num_agents: int | None = None,
    num_steps: int | None = None,
    *,
    probabilities: Array | tuple[float, ...] = PROBABILITIES,
    apple_reward: Array | float = 1.0,
    cooldown: Array | int = 2,
    time_out: Array | int = 5,
    end_probability: Array | float | None = None,
    view: tuple[int, int, int, int] = VIEW,
) -> CommonsHarvest:
    """Commons Harvest: Open.

    Args:
      map: "open", Melting Pot's; "small"; "tiny"; or a map as text, as described in
        `harvest.layout`.
      num_agents: N, at least 2; by default 7 on "open", 4 on "small" and 3 on "tiny".
      num_steps: steps after which an episode is truncated; by default 1000, or 5000
        with `end_probability`.
      probabilities: f32[4], that an apple grows back in a step, with 0, 1, 2, and 3 or
        more apples around.
      apple_reward: reward for an apple eaten.
      cooldown: steps after a zap before there can be another.
      time_out: steps that a zapped agent is out of the game, at least 1.
      end_probability: the probability that an episode terminates (discount 0) at each
        of the steps 1099, 1199, ..., 0.15 in Melting Pot; None for no termination.
      view: cells seen (ahead, behind, to the left, to the right).

    Raises:
      InputError: if an argument is out of range, or the map does not hold the agents.
    """
    text = MAPS.get(map, map)
    if "\n" not in text:
        raise InputError(
            f"map is {map!r}: one of {', '.join(MAPS)}, or a drawn map, is needed"
        )
    layout = parse(text)
    if num_agents is None and map not in SEATS:
        raise InputError("num_agents is None: a number is needed with a drawn map")
    num_agents = SEATS[map] if num_agents is None else num_agents
    if num_steps is None:
        num_steps = NUM_STEPS if end_probability is None else MOST_STEPS
    for name, number, least in (
        ("num_agents", num_agents, 2),
        ("num_steps", num_steps, 1),
    ):
        if number < least or number != int(number):
            raise InputError(
                f"{name} is {number}: a whole number from {least} on is needed"
            )
    begin_outside = max(num_agents - layout.inside.size, 0)
    if begin_outside > layout.outside.size:
        raise InputError(
            f"num_agents is {num_agents}: no more than the map's {layout.inside.size} "
            f"inside and {layout.outside.size} outside spawn points are needed"
        )
    if len(view) != 4 or any(n < 0 or n != int(n) for n in view):
        raise InputError(f"view is {view}: four whole numbers from 0 on are needed")
    if not isinstance(apple_reward, Tracer) and np.any(apple_reward == 0):
        raise InputError(f"apple_reward is {apple_reward}: another number is needed")
    if end_probability is not None:
        end_probability = _leaf("end_probability", end_probability, high=1.0)
    return CommonsHarvest(
        _leaf("probabilities", probabilities, (len(PROBABILITIES),), high=1.0),
        _leaf("apple_reward", apple_reward, low=-np.inf),
        _leaf("cooldown", cooldown, whole=True),
        _leaf("time_out", time_out, low=1, whole=True),
        end_probability,
        map=text,
        num_agents=num_agents,
        num_steps=num_steps,
        view=(view[0], view[1], view[2], view[3]),
    )


def _heading(word: Array) -> Array:
    """Uniformly random headings, i32[...], of random words."""
    return (word >> 30).astype(jnp.int32)


def _leaf(
    name: str,
    leaf: Array | float | tuple[float, ...],
    shape: tuple[int, ...] = (),
    low: float = 0.0,
    high: float = np.inf,
    whole: bool = False,
) -> Array:
    leaf = jnp.asarray(leaf)
    fits = leaf.shape == shape
    # Under vmap the numbers are not known; the caller's own are checked outside.
    if fits and not isinstance(leaf, Tracer):
        known = np.asarray(leaf)
        fits = np.all(np.isfinite(known) & (known >= low) & (known <= high))
        fits = fits and not (whole and np.any(known != np.round(known)))
    if not fits:
        count = f"{shape[0]} " if shape else "a "
        kind = ("whole " if whole else "") + ("numbers" if shape else "number")
        raise InputError(
            f"{name} is {leaf.tolist()}: {count}{kind} from {low:g} to {high:g} "
            f"{'are' if shape else 'is'} needed"
        )
    return leaf.astype(jnp.int32 if whole else jnp.float32)
