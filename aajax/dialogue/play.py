"""Many tables in lockstep: whoever is asked at a step answers in one batch.

A match depends on nothing but its players, its world's seed and its own key: not on
which other matches are played beside it, unless answers are shuffled.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from aajax.dialogue.matches import Match, Turn
from aajax.dialogue.players import Player, Reply, Request, Row
from aajax.envs.text import Ask, Table, TextGame
from aajax.errors import InputError
from aajax.keys import stream
from aajax.types import PRNGKey, PyTree


class Seat(NamedTuple):
    """Who sits somewhere.

    Attributes:
      player: its name.
      adapter: which of its adapters speaks, −1 for none.
    """

    player: str
    adapter: int = -1


class Fixture(NamedTuple):
    """A match to be played.

    Attributes:
      number: unique within a call of `play`; the players' chance follows from it.
      group: of matches with equal worlds.
      world_seed: the world's chance follows from it, whatever the players do.
      seats: who sits where.
      trained: [N], which seats a learner learns from.
    """

    number: int
    group: int
    world_seed: int
    seats: tuple[Seat, ...]
    trained: tuple[bool, ...] = ()


def play(
    game: TextGame,
    players: Mapping[str, Player],
    fixtures: Sequence[Fixture],
    key: PRNGKey,
    shuffled: Sequence[str] = (),
) -> list[Match]:
    """Plays all matches to the end.

    Args:
      game: its rules and words.
      players: by name.
      fixtures: M of them.
      key: not consumed: folded with the number of each match.
      shuffled: kinds of answers, such as "message", that are dealt out among matches:
        all but the player itself read in its place what was said at the same step of
        the match half the list of `fixtures` away. What they are worth is what that
        costs.

    Returns:
      The records, in the order of `fixtures`.

    Raises:
      InputError: for a fixture without a seat for each agent, or with a player that is
        not there, or for numbers that are not unique; for kinds that are not the
        game's, or one match alone to shuffle.
    """
    _check(game, players, fixtures)
    for kind in shuffled:
        if kind not in game.patterns:
            names = ", ".join(game.patterns)
            raise InputError(f"shuffled has {kind!r}: {names} are known to {game.name}")
        if len(fixtures) < 2:
            raise InputError("fixtures is one match: two or more are needed to shuffle")
    seeds = np.array([fixture.world_seed for fixture in fixtures], np.uint32)
    numbers = np.array([fixture.number for fixture in fixtures], np.uint32)
    match_keys = _match_keys(key, numbers, game.env.num_agents)
    held = _held(fixtures)
    memory = {
        name: players[name].start([place.row for place in places])
        for name, places in held.items()
    }
    records = [_Record(game, fixture) for fixture in fixtures]
    state, observation = jax.device_get(_reset(game.env, seeds))
    world_step = 0
    for step in range(game.num_rounds * len(game.steps)):
        of_world = game.steps[step % len(game.steps)]
        own_state = [
            jax.tree.map(lambda x, b=b: x[b], state) for b in range(len(seeds))
        ]
        asks = [
            record.ask(step, own)
            for record, own in zip(records, own_state, strict=True)
        ]
        keys = _step_keys(match_keys, np.uint32(step))
        replies: dict[tuple[int, int], Reply | None] = {}
        for name, places in held.items():
            requests = [
                _request(game, asks[b][i], observation[b, i], of_world)
                for b, i, _ in places
            ]
            tables, seats = np.array([place[:2] for place in places]).T
            memory[name], answers = players[name].reply(
                memory[name], requests, keys[tables, seats]
            )
            for (b, i, _), answer in zip(places, answers, strict=True):
                replies[b, i] = answer
        for kind in shuffled:
            replies |= _dealt_out(asks, replies, kind)
        joint = np.stack(
            [
                record.answer(step, own, [replies[b, i] for i in range(len(own))])
                for b, (record, own) in enumerate(zip(records, asks, strict=True))
            ]
        )
        if of_world:
            state, observation, reward = jax.device_get(
                _step(game.env, seeds, np.uint32(world_step), state, joint)
            )
            world_step += 1
            for record, earned in zip(records, reward, strict=True):
                record.earn(earned)
    return [record.match() for record in records]


class _Place(NamedTuple):
    """A seat that a player holds: its table, its number, and its row."""

    table: int
    seat: int
    row: Row


class _Record:
    """What is written down of a match under way."""

    def __init__(self, game: TextGame, fixture: Fixture):
        self.game, self.fixture = game, fixture
        self.seats = range(game.env.num_agents)
        self.turns: list[list[Turn]] = [[] for _ in self.seats]
        self.actions: list = []
        self.rewards: list[np.ndarray] = []
        self.facts: list[dict] = []

    def ask(self, step: int, state: PyTree) -> list[Ask]:
        """What each seat is told at a step."""
        if step % len(self.game.steps) == 0:
            self.facts.append(self.game.facts(state))
            self.rewards.append(np.zeros(len(self.seats)))
        words = tuple(
            zip(*([t.answer for t in own] for own in self.turns), strict=True)
        )
        table = Table(state, step, words)
        return [self.game.ask(table, seat) for seat in self.seats]

    def answer(
        self, step: int, asks: Sequence[Ask], replies: Sequence[Reply | None]
    ) -> np.ndarray:
        """The joint action i32[N, ...] that the answers are."""
        joint = np.empty((len(asks), *self.game.silent.shape), np.int32)
        for seat, (ask, reply) in enumerate(zip(asks, replies, strict=True)):
            turn, joint[seat] = _turn(self.game, step, ask, reply)
            self.turns[seat].append(turn)
        self.actions.append(joint.tolist())
        return joint

    def earn(self, reward: np.ndarray) -> None:
        """Adds to the rewards of the round, f32[N]."""
        self.rewards[-1] += reward

    def match(self) -> Match:
        """The whole."""
        fixture = self.fixture
        return Match(
            game=self.game.name,
            number=fixture.number,
            group=fixture.group,
            world_seed=fixture.world_seed,
            players=tuple(seat.player for seat in fixture.seats),
            adapters=tuple(seat.adapter for seat in fixture.seats),
            turns=tuple(map(tuple, self.turns)),
            actions=self.actions,
            rewards=[own.tolist() for own in self.rewards],
            facts=self.facts,
            trained=fixture.trained or (False,) * len(self.seats),
        )


def _check(game: TextGame, players: Mapping, fixtures: Sequence[Fixture]) -> None:
    if not fixtures:
        raise InputError("fixtures is empty: at least one match is needed")
    numbers = [fixture.number for fixture in fixtures]
    if len(set(numbers)) < len(numbers):
        raise InputError(f"fixtures has numbers {numbers}: each once is needed")
    for fixture in fixtures:
        if len(fixture.seats) != game.env.num_agents:
            raise InputError(
                f"fixtures has a match with {len(fixture.seats)} seats: "
                f"{game.env.num_agents} are needed"
            )
        for seat in fixture.seats:
            if seat.player not in players:
                names = ", ".join(players)
                raise InputError(
                    f"fixtures has player {seat.player!r}: one of {names} is needed"
                )


def _held(fixtures: Sequence[Fixture]) -> dict[str, list[_Place]]:
    """The places of each player that sits anywhere."""
    held: dict[str, list[_Place]] = {}
    for b, fixture in enumerate(fixtures):
        for i, seat in enumerate(fixture.seats):
            row = Row(fixture.number, i, seat.adapter)
            held.setdefault(seat.player, []).append(_Place(b, i, row))
    return held


def _dealt_out(
    asks: Sequence[Sequence[Ask]], replies: Mapping, kind: str
) -> dict[tuple[int, int], Reply]:
    """For each place that answers in this kind, the answer half of those away."""
    places = sorted(p for p in replies if asks[p[0]][p[1]].kind == kind)
    half = len(places) // 2
    others = places[half:] + places[:half]
    return {p: replies[other] for p, other in zip(places, others, strict=True)}


def _request(
    game: TextGame, ask: Ask, observation: np.ndarray, of_world: bool
) -> Request:
    pattern = None if ask.kind is None else game.patterns[ask.kind]
    return Request(ask.text, ask.kind, pattern, observation, of_world)


def _turn(game: TextGame, step: int, ask: Ask, reply: Reply | None) -> tuple:
    if ask.kind is None:
        return Turn(step, ask.text), game.silent
    parsed = game.parse(ask.kind, reply.text)
    turn = Turn(
        step, ask.text, ask.kind, reply.text, parsed.valid, reply.tries, reply.tokens
    )
    return turn, parsed.action


@jax.jit
def _reset(env: PyTree, seeds: np.ndarray) -> tuple[PyTree, PyTree]:
    state, time_step = jax.vmap(lambda seed: env.reset(_world_key(seed, 0)))(seeds)
    return state, time_step.observation


@jax.jit
def _step(env, seeds, step, state, joint) -> tuple[PyTree, PyTree, PyTree]:
    def one(seed, state, action):
        return env.step(_world_key(seed, step + 1), state, action)

    state, time_step = jax.vmap(one)(seeds, state, joint)
    return state, time_step.observation, time_step.reward


def _world_key(seed, step) -> PRNGKey:
    return stream(jax.random.key(seed), "world of a match", step)


@functools.partial(jax.jit, static_argnums=2)
def _match_keys(key: PRNGKey, numbers: np.ndarray, num_agents: int) -> PRNGKey:
    """key[M, N]."""

    def of_seat(number, seat):
        return stream(key, "seat of a match", number, seat)

    of_match = jax.vmap(of_seat, (None, 0))
    return jax.vmap(of_match, (0, None))(numbers, np.arange(num_agents))


@jax.jit
def _step_keys(keys: PRNGKey, step: np.ndarray) -> PRNGKey:
    return jax.vmap(jax.vmap(lambda key: stream(key, "answer at a step", step)))(keys)
