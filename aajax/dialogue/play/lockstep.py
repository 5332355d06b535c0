"""Plays many matches in parallel, step by step.

In each step a player gets the prompts of all its seats in all matches as one batch. A
match depends only on its players, its environment seed and its own key, not on the
other matches in the batch, unless answers are shuffled.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from aajax.dialogue.play.matches import Match, Turn
from aajax.dialogue.players.base import Player, Reply, Request, Row
from aajax.envs.text import Ask, Table, TextGame
from aajax.errors import InputError
from aajax.keys import stream
from aajax.types import AnyArray, PRNGKey, PyTree


class Seat(NamedTuple):
    """The player of a seat.

    Attributes:
      player: its name.
      adapter: index of its LoRA adapter, −1 for none.
    """

    player: str
    adapter: int = -1


class Matchup(NamedTuple):
    """A match to be played.

    Attributes:
      number: unique among the matches of a member in a call of `play`; the players'
        random keys are derived from it.
      group: id shared by matches with the same environment seed.
      env_seed: seed of the environment's randomness, independent of the players'.
      seats: the player of each seat.
      trained: [N], whether each seat is trained on.
      member: the number of the member of a population that plays it.
    """

    number: int
    group: int
    env_seed: int
    seats: tuple[Seat, ...]
    trained: tuple[bool, ...] = ()
    member: int = 0


def play(
    game: TextGame,
    players: Mapping[str, Player],
    matchups: Sequence[Matchup],
    key: PRNGKey,
    shuffled: Sequence[str] = (),
    on_step: Callable[[int, int], None] = lambda step, num_steps: None,
    num_rounds: int | None = None,
) -> list[Match]:
    """Plays all matches to the end.

    Args:
      game: its rules and words.
      players: by name.
      matchups: M of them.
      key: not consumed: folded with the number of each match; key[], or key[M] with one
        for each match.
      shuffled: kinds of answers, such as "message", that are permuted among matches:
        the other players are shown the answer at the same step of another match (half
        the list of `matchups` away). An ablation that measures how much the content of
        these answers matters.
      on_step: told before each step how many were played, and how many there are.
      num_rounds: that are played, of the game's; None for all.

    Returns:
      The records, in the order of `matchups`.

    Raises:
      InputError: if a matchup does not have a seat for each agent or names an unknown
        player, numbers are not unique, a kind is unknown, or there is only one match to
        shuffle.
    """
    _check(game, players, matchups)
    _check_shuffled(game, matchups, shuffled)
    seeds = np.array([matchup.env_seed for matchup in matchups], np.uint32)
    numbers = np.array([matchup.number for matchup in matchups], np.uint32)
    match_keys = _match_keys(key, numbers, game.env.num_agents)
    held = _held(matchups)
    memory = {
        name: players[name].start([place.row for place in places])
        for name, places in held.items()
    }
    records = [_Record(game, matchup) for matchup in matchups]
    state, observation = jax.device_get(_reset(game.env, seeds))
    env_step, num_steps = 0, (num_rounds or game.num_rounds) * len(game.steps)
    for step in range(num_steps):
        on_step(step, num_steps)
        is_action = game.steps[step % len(game.steps)]
        own_state = [
            jax.tree.map(lambda x, b=b: x[b], state) for b in range(len(seeds))
        ]
        asks = [r.ask(step, own) for r, own in zip(records, own_state, strict=True)]
        keys = _step_keys(match_keys, np.uint32(step))
        replies: dict[tuple[int, int], Reply | None] = {}
        for name, places in held.items():
            requests = [
                _request(game, asks[b][i], observation[b, i], is_action)
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
        if is_action:
            state, observation, reward = jax.device_get(
                _step(game.env, seeds, np.uint32(env_step), state, joint)
            )
            env_step += 1
            for record, earned in zip(records, reward, strict=True):
                record.earn(earned)
    return [record.match() for record in records]


def batches(
    matchups: Sequence[Matchup], size: int, least: int = 1
) -> list[Sequence[Matchup]]:
    """Parts that are played one after another, as equal as can be.

    A match is the same whatever the others in its part, unless answers are shuffled:
    those are of other matches of the same part, so that two are needed.

    Args:
      matchups: M of them.
      size: most matches of a part.
      least: matches that a part has in any case, where there are so many; it goes
        before `size`.
    """
    if not matchups:
        return []
    count = min(-(-len(matchups) // size), max(len(matchups) // least, 1))
    edges = [len(matchups) * i // count for i in range(count + 1)]
    return [matchups[first:end] for first, end in itertools.pairwise(edges)]


def _check_shuffled(
    game: TextGame, matchups: Sequence[Matchup], shuffled: Sequence[str]
) -> None:
    for kind in shuffled:
        if kind not in game.patterns:
            names = ", ".join(game.patterns)
            raise InputError(f"shuffled has {kind!r}: {names} are known to {game.name}")
        if len(matchups) < 2:
            raise InputError("matchups is one match: two or more are needed to shuffle")


class _Place(NamedTuple):
    """A seat that a player holds: index of the match in play, seat, and row."""

    table: int
    seat: int
    row: Row


class _Record:
    """The record of a match in progress."""

    def __init__(self, game: TextGame, matchup: Matchup):
        self.game, self.matchup = game, matchup
        self.seats = range(game.env.num_agents)
        self.turns: list[list[Turn]] = [[] for _ in self.seats]
        self.actions: list = []
        self.rewards: list[np.ndarray] = []
        self.facts: list[dict] = []

    def ask(self, step: int, state: PyTree) -> list[Ask]:
        """The prompts of all seats at a step."""
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
        """Records the answers and parses them as a joint action i32[N, ...]."""
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
        """The complete record."""
        matchup = self.matchup
        return Match(
            game=self.game.name,
            number=matchup.number,
            group=matchup.group,
            env_seed=matchup.env_seed,
            players=tuple(seat.player for seat in matchup.seats),
            adapters=tuple(seat.adapter for seat in matchup.seats),
            turns=tuple(map(tuple, self.turns)),
            actions=self.actions,
            rewards=[own.tolist() for own in self.rewards],
            facts=self.facts,
            trained=matchup.trained or (False,) * len(self.seats),
            member=matchup.member,
        )


def _check(game: TextGame, players: Mapping, matchups: Sequence[Matchup]) -> None:
    if not matchups:
        raise InputError("matchups is empty: at least one match is needed")
    own = [(matchup.member, matchup.number) for matchup in matchups]
    if len(set(own)) < len(own):
        numbers = [number for _, number in own]
        raise InputError(f"matchups has numbers {numbers}: each once is needed")
    for matchup in matchups:
        if len(matchup.seats) != game.env.num_agents:
            raise InputError(
                f"matchups has a match with {len(matchup.seats)} seats: "
                f"{game.env.num_agents} are needed"
            )
        for seat in matchup.seats:
            if seat.player not in players:
                names = ", ".join(players)
                raise InputError(
                    f"matchups has player {seat.player!r}: one of {names} is needed"
                )


def _held(matchups: Sequence[Matchup]) -> dict[str, list[_Place]]:
    """All places of each player, by name."""
    held: dict[str, list[_Place]] = {}
    for b, matchup in enumerate(matchups):
        for i, seat in enumerate(matchup.seats):
            row = Row(matchup.number, i, seat.adapter, matchup.member)
            held.setdefault(seat.player, []).append(_Place(b, i, row))
    return held


def _dealt_out(
    asks: Sequence[Sequence[Ask]], replies: Mapping, kind: str
) -> dict[tuple[int, int], Reply]:
    """The permuted answers of one kind, by place: those half a list away."""
    places = sorted(p for p in replies if asks[p[0]][p[1]].kind == kind)
    half = len(places) // 2
    others = places[half:] + places[:half]
    return {p: replies[other] for p, other in zip(places, others, strict=True)}


def _request(
    game: TextGame, ask: Ask, observation: np.ndarray, is_action: bool
) -> Request:
    pattern = None if ask.kind is None else game.patterns[ask.kind]
    return Request(ask.text, ask.kind, pattern, observation, is_action)


def _turn(game: TextGame, step: int, ask: Ask, reply: Reply | None) -> tuple:
    if ask.kind is None or reply is None:
        return Turn(step, ask.text), game.silent
    parsed = game.parse(ask.kind, reply.text)
    turn = Turn(
        step, ask.text, ask.kind, reply.text, parsed.valid, reply.tries, reply.tokens
    )
    return turn, parsed.action


@jax.jit
def _reset(env: PyTree, seeds: np.ndarray) -> tuple[PyTree, PyTree]:
    state, time_step = jax.vmap(lambda seed: env.reset(_env_key(seed, 0)))(seeds)
    return state, time_step.observation


@jax.jit
def _step(env, seeds, step, state, joint) -> tuple[PyTree, PyTree, PyTree]:
    def one(seed, state, action):
        return env.step(_env_key(seed, step + 1), state, action)

    state, time_step = jax.vmap(one)(seeds, state, joint)
    return state, time_step.observation, time_step.reward


def _env_key(seed, step) -> PRNGKey:
    return stream(jax.random.key(seed), "world of a match", step)


@functools.partial(jax.jit, static_argnums=2)
def _match_keys(key: PRNGKey, numbers: np.ndarray, num_agents: int) -> PRNGKey:
    """key[M, N], of key[] or key[M]."""

    def of_seat(key, number, seat):
        return stream(key, "seat of a match", number, seat)

    of_match = jax.vmap(of_seat, (None, None, 0))
    own = 0 if key.ndim else None
    return jax.vmap(of_match, (own, 0, None))(key, numbers, np.arange(num_agents))


@jax.jit
def _step_keys(keys: PRNGKey, step: AnyArray) -> PRNGKey:
    return jax.vmap(jax.vmap(lambda key: stream(key, "answer at a step", step)))(keys)
