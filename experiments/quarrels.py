"""Quarrels where things are shared in words: how often, and what credits them.

Of a run of Split or Trust-and-Split, from the matches that it recorded. Something may
be worth less to a player than to the other one: it takes if it asks for 8 of 10 of
that, or more, and leaves with 2 or less. Prints for each recorded iteration in how many
rounds all take, and how often after such a round, and after others.

Then for several pasts, from the recorded advantages: the slope of the credit (see
`aajax.ops.alignment`) in what is asked for, per ten, ± its standard error; of rounds
after the other player left, and after both took, when it was last their turn to. Below
0 leaving is credited, above 0 taking; empty where all ask for the same.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import numpy as np
import tyro
from cells import show, text

import aajax
from aajax import cli
from aajax.dialogue.play.matches import Match, load_matches, match_files
from aajax.envs.tallies import actions_of, facts_of
from aajax.errors import InputError
from aajax.ops.alignment import alignment_credit
from aajax.schema import Items, Share
from aajax.training.estimator import find_past
from aajax.training.lm_config import LmPast, make_game

GAMES = "split", "trust-and-split"
TAKES, LEAVES = 8, 2  # of 10, on average over what is worth less to oneself


@dataclasses.dataclass(frozen=True)
class Config:
    """Which run, and which pasts."""

    run: tyro.conf.Positional[Path]  # folder
    past: Annotated[tuple[LmPast, ...], Items(1, distinct=True)] = (
        *("discounted", "clipped"),
    )
    past_gamma: Annotated[tuple[Share, ...], Items(1, distinct=True)] = (0.9, 0.5)
    iterations: tuple[int, ...] = ()  # none: all that were recorded


class Rounds(NamedTuple):
    """Of M matches of T rounds of two players.

    Attributes:
      asked: f64[M, T, 2], of 10 of what is worth less to oneself; NaN if nothing is.
      other, own: f64[M, T, 2], the latest number in `asked` before, of the other
        player and of oneself; NaN if there is none.
      advantages: f64[M, T, 2].
      points: per round.
    """

    asked: np.ndarray
    other: np.ndarray
    own: np.ndarray
    advantages: np.ndarray
    points: float


def rounds_of(game, matches: list[Match]) -> Rounds:
    """What was asked for in the matches, in which both players are trained."""
    # The last step of a round is the proposal; what is shared may be of several kinds.
    asked = actions_of(game, matches)[:, :, -1]
    values = facts_of(matches, "values")
    asked, values = (x.reshape(*x.shape[:3], -1) for x in (asked, values))
    less = values < values[:, :, ::-1]
    with np.errstate(invalid="ignore"):
        asked = (asked * less).sum(-1) / less.sum(-1)
    own = _before(asked)
    return Rounds(
        asked,
        _before(asked[..., ::-1]),
        own,
        np.array([match.advantages for match in matches], float),
        float(np.mean([match.rewards for match in matches])),
    )


def _before(asked: np.ndarray) -> np.ndarray:
    """The last number that is none of NaN, before each round."""
    found = np.full_like(asked, np.nan)
    for t in range(1, asked.shape[1]):
        last = asked[:, t - 1]
        found[:, t] = np.where(np.isnan(last), found[:, t - 1], last)
    return found


def quarrels(rounds: Rounds) -> list[str]:
    """Shares of rounds in which all take to whom something is worth less.

    Of all rounds, of those after such a one, and of those after others.
    """
    took = np.where(np.isnan(rounds.asked), True, rounds.asked >= TAKES).all(-1)
    before, after = took[:, :-1], took[:, 1:]
    return [
        text(x.mean()) if x.size else "" for x in (took, after[before], after[~before])
    ]


def slopes(rounds: Rounds, past: str, gamma: float, beta: float) -> list[str]:
    """Of the credit in what is asked for, after the other left, and after both took."""
    credit = jax.vmap(
        lambda advantages: alignment_credit(advantages, gamma, beta, find_past(past))
    )(rounds.advantages.astype(np.float32))
    left, took = rounds.other <= LEAVES, rounds.other >= TAKES
    cells = []
    for where in (left, took & (rounds.own >= TAKES)):
        here = where & ~np.isnan(rounds.asked)
        cells.append(_slope(rounds.asked[here], np.asarray(credit)[here]))
    return cells


def _slope(asked: np.ndarray, credit: np.ndarray) -> str:
    """Per ten, with its standard error; nothing if all ask for the same."""
    if len(asked) < 3 or np.ptp(asked) == 0:
        return ""
    (slope, _), covariance = np.polyfit(asked, credit, 1, cov=True)
    return f"{text(10 * slope)} ± {text(10 * covariance[0, 0] ** 0.5)}"


def recorded(folder: Path, iterations: tuple[int, ...]) -> dict[int, list[Match]]:
    """Matches by iteration, those in which both players are trained."""
    files = match_files(folder)
    missing = set(iterations) - set(files)
    if missing or not files:
        raise InputError(
            f"iterations is {list(iterations)}: of those that {folder} recorded "
            f"({', '.join(map(str, files)) or 'none'}) are needed"
        )
    found = {
        number: [
            match
            for file in files[number]
            for match in load_matches(file)
            if all(match.trained)
        ]
        for number in iterations or files
    }
    if not all(found.values()):
        raise InputError(
            f"run is {str(folder)!r}: one that trains both players of some matches is "
            "needed"
        )
    return found


def main(config: Config) -> None:
    """Prints both tables."""
    run = aajax.load(config.run)
    games = isinstance(run, aajax.LmRun) and run.config.game in GAMES
    if not games or run.config.swept:
        raise InputError(
            f"run is {str(config.run)!r}: one of {' or '.join(GAMES)} without a sweep "
            "is needed"
        )
    game = make_game(run.config)
    found = {
        number: rounds_of(game, matches)
        for number, matches in recorded(config.run, config.iterations).items()
    }
    show(
        ["iteration", "points", "all take", "after such a round", "after others"],
        [[str(n), text(x.points, 1), *quarrels(x)] for n, x in found.items()],
    )
    pasts = list(itertools.product(config.past, config.past_gamma))
    show(
        ["iteration", "past", "discount", "the other left", "both took"],
        [
            [str(n), past, f"{gamma:g}", *slopes(x, past, gamma, run.config.beta)]
            for n, x in found.items()
            for past, gamma in pasts
        ],
    )


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
