"""Round-robin leagues of text games, which can be interrupted and resumed.

In a game of N ≥ 3 seats one player sits among N − 1 copies of another.

pairs/P.jsonl.gz     matches of each pair that is finished, while others are not
matches.jsonl.gz     those of all pairs
"""

import dataclasses
import functools
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from aajax.dialogue.play.lockstep import Matchup, Seat, batches, play
from aajax.dialogue.play.matches import Match, load_matches, save_matches
from aajax.dialogue.play.measures import tallies
from aajax.dialogue.players.base import Player
from aajax.envs.text import Tally, TextGame
from aajax.errors import InputError
from aajax.files import written
from aajax.keys import numpy_stream, stream
from aajax.tournament.intervals import mean_over_games

T = TypeVar("T")
ALL_MATCHES = "matches.jsonl.gz"


class Entrant(NamedTuple):
    """A participant of a league.

    Attributes:
      name: in tables; unique.
      seat: the player and its adapter.
    """

    name: str
    seat: Seat


class Pair(NamedTuple):
    """Two entrants: one in one seat, the other in all others.

    Of two seats the first entrant has seat 0. Of N ≥ 3 it has seat m mod N in match m.

    Attributes:
      number: from 0.
      entrants: the one, and whom it meets.
      matchups: their matches.
    """

    number: int
    entrants: tuple[Entrant, Entrant]
    matchups: tuple[Matchup, ...]

    @property
    def names(self) -> tuple[str, str]:
        first, second = self.entrants
        return first.name, second.name

    def players(self, match: int) -> tuple[str, ...]:
        """Names by seat in match `match` of the pair, from 0."""
        return _seated(*self.names, match, len(self.matchups[match].seats))


# Pair, matches of it that are over, steps of the others, and of how many.
OnStep = Callable[[Pair, int, int, int], None]


def pairs_of(
    entrants: Sequence[Entrant],
    num_matches: int,
    seed: int,
    only: Sequence[Sequence[str]] | None = None,
    *,
    num_seats: int,
) -> list[Pair]:
    """All ordered pairs of entrants, self-play included, with their matchups.

    Match m of every pair has the same environment seed (common random numbers), and is
    in group m; match numbers are unique over all pairs.

    Args:
      entrants: E of them.
      num_matches: of each pair.
      seed: of the environments.
      only: pairs of names to play, in either order; None for all. The pairs have the
        same numbers, and so the same matches, as among all.
      num_seats: N, of the game.

    Raises:
      InputError: for entrants of one name, or less than one match.
    """
    names = [entrant.name for entrant in entrants]
    if not names or len(set(names)) < len(names):
        raise InputError(f"players is {names}: one or more, each once, are needed")
    if num_matches < 1:
        raise InputError(f"num_matches is {num_matches}: at least 1 is needed")
    rng = numpy_stream(seed, "league in words: worlds")
    seeds = rng.integers(0, 2**31, num_matches)
    pairs = []
    for number, both in enumerate(itertools.product(entrants, entrants)):
        one, others = (entrant.seat for entrant in both)
        first = number * num_matches
        if only is not None and {x.name for x in both} not in map(set, only):
            continue
        matchups = tuple(
            Matchup(first + m, m, int(env_seed), _seated(one, others, m, num_seats))
            for m, env_seed in enumerate(seeds)
        )
        pairs.append(Pair(number, both, matchups))
    return pairs


def play_pairs(
    game: TextGame,
    line_up: Callable[[], Mapping[str, Player]],
    pairs: Sequence[Pair],
    seed: int,
    folder: Path,
    shuffled: Sequence[str] = (),
    on_step: OnStep = lambda pair, done, step, num_steps: None,
    batch: int | None = None,
) -> Iterator[tuple[Pair, list[Match]]]:
    """Plays the pairs in turn, or loads those that were played before.

    A pair is saved before it is yielded. An interrupted league resumes with the next
    pair, and gives the same numbers as an uninterrupted one. After the last pair all
    matches are merged into one file. How many matches are played at a time changes
    nothing, but for answers that are shuffled.

    Args:
      game: the text game.
      line_up: makes the players, by name; called only if there is a pair to play.
      pairs: from `pairs_of`.
      seed: of the players' randomness.
      folder: of this league alone.
      shuffled: kinds of answers that are permuted among the matches of a pair that are
        played at the same time; see `dialogue.play.play`.
      on_step: called before each step with the pair, the number of its matches that are
        over, the number of steps that the others have played, and their total.
      batch: most matches that are played at the same time; None for all of a pair.

    Raises:
      InputError: if the folder has matches of another league.
    """
    whole, parts = folder / ALL_MATCHES, folder / "pairs"
    if whole.exists():
        matches = load_matches(whole)
        for pair in pairs:
            own = list(itertools.islice(matches, len(pair.matchups)))
            yield pair, _checked(pair, own, whole)
        return
    parts.mkdir(parents=True, exist_ok=True)
    players, key = None, stream(seed, "league in words: answers")
    for pair in pairs:
        file = _pair_file(parts, pair)
        if file.exists():
            yield pair, _checked(pair, list(load_matches(file)), file)
            continue
        players = line_up() if players is None else players
        matches, least = [], 2 if shuffled else 1
        size = batch or len(pair.matchups)
        for part in batches(pair.matchups, size, least):
            told = functools.partial(on_step, pair, len(matches))
            matches += play(game, players, part, key, shuffled, told)
        played = [
            dataclasses.replace(match, players=pair.players(m))
            for m, match in enumerate(matches)
        ]
        save_matches(file, played)
        yield pair, played
    with written(whole) as joined:
        for pair in pairs:
            # Compressed files one after the other are one compressed file.
            joined.write(_pair_file(parts, pair).read_bytes())
    shutil.rmtree(parts)


def text_table(
    game: TextGame, played: Iterable[tuple[Pair, Sequence[Match]]]
) -> dict[str, object]:
    """The results of a league, as stored in league.json.

    Args:
      game: that was played.
      played: pairs and their matches, all of a league.

    Returns:
      `players`; `line_ups`, for each pair the reward per round of each seat, its 95 %
      interval over matches, and all measures of each seat and of `both`; `face_offs`,
      for each player and opponent the player's measures over both seats; `averages`,
      for each player the mean reward over all its opponents. A measure is a number and
      the half-width of its 95 % interval over environment seeds, each None if there is
      no data.

      With `num_seats` N ≥ 3 a line-up has two entries: one player, and the mean of the
      N − 1 copies of whom it meets. Face-offs are of the one alone, of a player with
      itself of all seats.
    """
    num_seats = game.env.num_agents
    found = {
        pair.names: _of_two(tallies(game, matches), num_seats)
        for pair, matches in played
    }
    first_pair = next(iter(found.values()))
    return {
        "game": game.name,
        "num_seats": num_seats,
        "num_rounds": game.num_rounds,
        "num_matches": len(first_pair["reward"].total),
        "per": "round",
        "over": "matches",
        "players": list(dict.fromkeys(first for first, _ in found)),
        "line_ups": [_line_up(names, measures) for names, measures in found.items()],
        "face_offs": [
            {
                "player": first,
                "opponent": second,
                "measures": {
                    name: _face_off(
                        (first, second), tally, found[second, first][name], num_seats
                    )
                    for name, tally in measures.items()
                },
            }
            for (first, second), measures in found.items()
        ],
        "averages": [
            {"player": player, "reward": _average(player, found, num_seats)}
            for player in dict.fromkeys(first for first, _ in found)
        ],
    }


def _average(
    player: str, found: Mapping[tuple[str, str], Mapping[str, Tally]], num_seats: int
) -> tuple[float | None, float | None]:
    """Mean reward of a player over its own seats and all opponents, and its interval.

    All matches with the same environment seed are one observation of the interval. Of
    N ≥ 3 seats its own is that of the one, so that all opponents count alike.
    """
    own = [
        (measures["reward"], entry)
        for names, measures in found.items()
        for entry, name in enumerate(names)
        if name == player and (num_seats == 2 or entry == 0)
    ]
    total: Any = sum(tally.total[:, entry] for tally, entry in own)
    count: Any = sum(tally.count[:, entry] for tally, entry in own)
    return mean_over_games(total, count)


def _line_up(names: tuple[str, str], measures: dict[str, Tally]) -> dict[str, object]:
    seats = {
        name: [
            mean_over_games(tally.total[:, entry], tally.count[:, entry])
            for entry in range(len(names))
        ]
        for name, tally in measures.items()
    }
    both = {
        name: mean_over_games(tally.total.sum(1), tally.count.sum(1))
        for name, tally in measures.items()
    }
    return {
        "players": list(names),
        "reward": [mean for mean, _ in seats["reward"]],
        "interval": [interval for _, interval in seats["reward"]],
        "measures": {
            name: {"seats": seats[name], "both": both[name]} for name in measures
        },
    }


def _face_off(
    names: tuple[str, str], first: Tally, second: Tally, num_seats: int
) -> tuple[float | None, float | None]:
    """A player's measure over its own seats, from a pair and its reverse.

    The two matches with the same environment seed are dependent, and count as one
    observation.
    """
    total, count = first.total[:, 0], first.count[:, 0]
    if _is_own((names[1], names[0]), 1, num_seats):
        total, count = total + second.total[:, 1], count + second.count[:, 1]
    return mean_over_games(total, count)


def _is_own(names: tuple[str, str], entry: int, num_seats: int) -> bool:
    """Whether an entry of a pair tells what its player does against the other's.

    Of N ≥ 3 seats, that of the copies does not: they meet copies of themselves too.
    """
    return entry == 0 or num_seats == 2 or names[0] == names[1]


def _of_two(found: Mapping[str, Tally], num_seats: int) -> dict[str, Tally]:
    """Tallies [M, 2] of a pair: those of the one, and of all the others together."""
    if num_seats == 2:
        return dict(found)

    def parted(x: np.ndarray) -> np.ndarray:
        seat = np.arange(len(x)) % num_seats
        one = np.take_along_axis(x, seat[:, None], 1)
        return np.concatenate([one, x.sum(1, keepdims=True) - one], 1)

    return {name: Tally(*map(parted, tally)) for name, tally in found.items()}


def _seated(one: T, others: T, match: int, num_seats: int) -> tuple[T, ...]:
    """Who has each seat in match `match` of a pair; see `Pair`."""
    place = 0 if num_seats == 2 else match % num_seats
    return tuple(one if seat == place else others for seat in range(num_seats))


def _pair_file(folder: Path, pair: Pair) -> Path:
    return folder / f"{pair.number:06d}.jsonl.gz"


def _checked(pair: Pair, matches: list[Match], file: Path) -> list[Match]:
    """The matches, if they are those of the pair."""
    there = [(match.number, match.env_seed, match.players) for match in matches]
    own = [(x.number, x.env_seed, pair.players(m)) for m, x in enumerate(pair.matchups)]
    if there != own:
        raise InputError(
            f"folder is {str(file.parent)!r}: {file.name} has other matches than those "
            f"of {' and '.join(pair.names)}; an empty or new folder is needed"
        )
    return matches
