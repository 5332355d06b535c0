"""Many tables in lockstep: whoever is asked at a step answers in one batch.

A match depends on nothing but its players, its world's seed and its own key: not on
which other matches are played beside it.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from aajax.dialogue.games import Ask, Table, TextGame
from aajax.dialogue.matches import Match, Turn
from aajax.dialogue.players import Player, Reply, Request, Row
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
) -> list[Match]:
    """Plays all matches to the end.

    Args:
      game: its rules and words.
      players: by name.
      fixtures: M of them.
      key: not consumed: folded with the number of each match.

    Returns:
      The records, in the order of `fixtures`.

    Raises:
      ValueError: for a fixture without a seat for each agent, or with a player that is
        not there, or for numbers that are not unique.
    """
    _check(game, players, fixtures)
    num_agents = game.env.num_agents
    seeds = np.array([fixture.world_seed for fixture in fixtures], np.uint32)
    numbers = np.array([fixture.number for fixture in fixtures], np.uint32)
    match_keys = _match_keys(key, numbers, num_agents)
    rows = _rows(players, fixtures)
    memory = {name: players[name].start(_listed(own)) for name, own in rows.items()}
    state, observation = jax.device_get(_reset(game.env, seeds))
    tables = [
        Table(jax.tree.map(lambda x, b=b: x[b], state), 0) for b in range(len(seeds))
    ]  # noqa: E501
    turns: list = [[[] for _ in range(num_agents)] for _ in fixtures]
    actions: list = [[] for _ in fixtures]
    rewards = np.zeros((len(fixtures), game.num_rounds, num_agents))
    facts: list = [[] for _ in fixtures]
    world_step = 0
    for round_ in range(game.num_rounds):
        for b, table in enumerate(tables):
            facts[b].append(game.facts(table.state))
        for of_world in game.steps:
            step = tables[0].step
            asks = [[game.ask(table, i) for i in range(num_agents)] for table in tables]
            replies: dict[tuple[int, int], Reply | None] = {}
            step_keys = _step_keys(match_keys, np.uint32(step))
            for name, own in rows.items():
                requests = [
                    _request(game, asks[b][i], observation[b, i], of_world)
                    for b, i, _ in own
                ]
                places = np.array([(b, i) for b, i, _ in own])
                memory[name], answers = players[name].reply(
                    memory[name], requests, step_keys[places[:, 0], places[:, 1]]
                )
                for (b, i, _), answer in zip(own, answers, strict=True):
                    replies[b, i] = answer
            joint = np.empty((len(tables), num_agents, *game.silent.shape), np.int32)
            for b in range(len(tables)):
                for i in range(num_agents):
                    turn, joint[b, i] = _turn(game, step, asks[b][i], replies[b, i])
                    turns[b][i].append(turn)
                actions[b].append(joint[b].tolist())
            if of_world:
                state, observation, reward = jax.device_get(
                    _step(game.env, seeds, np.uint32(world_step), state, joint)
                )
                rewards[:, round_] += reward
                world_step += 1
            tables = [
                Table(
                    jax.tree.map(lambda x, b=b: x[b], state),
                    step + 1,
                    (*table.words, tuple(seat[-1].answer for seat in turns[b])),
                )
                for b, table in enumerate(tables)
            ]
    return [
        Match(
            game=game.name,
            number=fixture.number,
            group=fixture.group,
            world_seed=fixture.world_seed,
            players=tuple(seat.player for seat in fixture.seats),
            adapters=tuple(seat.adapter for seat in fixture.seats),
            turns=tuple(map(tuple, turns[b])),
            actions=actions[b],
            rewards=rewards[b].tolist(),
            facts=facts[b],
            trained=fixture.trained or (False,) * num_agents,
        )
        for b, fixture in enumerate(fixtures)
    ]


def _check(game: TextGame, players: Mapping, fixtures: Sequence[Fixture]) -> None:
    if not fixtures:
        raise ValueError("fixtures is empty: at least one match is needed")
    numbers = [fixture.number for fixture in fixtures]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"fixtures has numbers {numbers}: each once is needed")
    for fixture in fixtures:
        if len(fixture.seats) != game.env.num_agents:
            raise ValueError(
                f"fixtures has a match with {len(fixture.seats)} seats: "
                f"{game.env.num_agents} are needed"
            )
        for seat in fixture.seats:
            if seat.player not in players:
                names = ", ".join(players)
                raise ValueError(
                    f"fixtures has player {seat.player!r}: one of {names} is needed"
                )


def _rows(
    players: Mapping[str, Player], fixtures: Sequence[Fixture]
) -> dict[str, list[tuple[int, int, Row]]]:
    """The table, seat and row of everything that each player holds."""
    rows: dict = {}
    for b, fixture in enumerate(fixtures):
        for i, seat in enumerate(fixture.seats):
            row = Row(fixture.number, i, seat.adapter)
            rows.setdefault(seat.player, []).append((b, i, row))
    return rows


def _listed(own: Sequence[tuple[int, int, Row]]) -> list[Row]:
    return [row for _, _, row in own]


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
    return jax.random.fold_in(jax.random.key(seed), step)


@functools.partial(jax.jit, static_argnums=2)
def _match_keys(key: PRNGKey, numbers: np.ndarray, num_agents: int) -> PRNGKey:
    """key[M, N]."""

    def of_match(number):
        own = jax.random.fold_in(key, number)
        return jax.vmap(jax.random.fold_in, (None, 0))(own, np.arange(num_agents))

    return jax.vmap(of_match)(numbers)


@jax.jit
def _step_keys(keys: PRNGKey, step: np.ndarray) -> PRNGKey:
    return jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, step)))(keys)
