"""`aajax league --text PLAYER ...`: all against all in a game of words."""

from pathlib import Path

from aajax.api.text_leagues import TextLeague, opened, play, write_text_league
from aajax.commands.arguments import parse
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console
from aajax.report.tables import league_table, with_interval
from aajax.report.widths import WideTable

# Measures that a terminal has room for, and what heads their columns.
HEADINGS = {
    "reward": "reward",
    "cooperation": "C",
    "mutual_cooperation": "both C",
    "cooperation_after_start": "first C",
    "cooperation_after_cc": "C|CC",
    "cooperation_after_cd": "C|CD",
    "cooperation_after_dc": "C|DC",
    "cooperation_after_dd": "C|DD",
    "proposal_where_higher": "asks high",
    "proposal_where_lower": "asks low",
    "split_efficiency": "of best",
    "deals": "deals",
    "contribution": "gives",
    "contribution_after_start": "gives first",
    "contribution_after_nothing": "after nothing",
    "contribution_after_little": "after little",
    "contribution_after_much": "after much",
    "contribution_after_all": "after all",
    "efficiency": "of best",
    "messages_naming_a_hand": "names hand",
    "honest_messages": "true hand",
    "invalid_answers": "not in form",
    "retried_answers": "tried again",
    "answer_tokens": "tokens",
}
FREE = "valid_free_answers_"
FAULTS = ("invalid_answers", "retried_answers")
CONTRIBUTION = (
    "gives: share of its coins that the player contributes; gives first: in first "
    "rounds; after little: in rounds after one in which the others gave less than half."
)
COOPERATION = (
    "C: share of rounds in which the player cooperates; both C: in which both do; "
    "first C: of first rounds; C|CD: of rounds after one in which it cooperated and "
    "the other defected."
)


def main(arguments: list[str]) -> None:
    """Plays; raises InputError for players that cannot meet."""
    options = parse(TextLeague, arguments, "aajax league --text")
    with opened(options.out):
        table = play(options, Console(stderr=True, markup=False, emoji=False))
        report(table, options.out, Console(markup=False, emoji=False))


def report(table: dict, out: Path, console: Console) -> None:
    """Writes league.json and league.png; prints the tables."""
    write_text_league(table, out)
    console.print(league_table(table))
    console.print("", average_table(table))
    behaviour = behaviour_table(table)
    console.print("", behaviour)
    for heading, meaning in (("C", COOPERATION), ("gives", CONTRIBUTION)):
        if heading in behaviour.values:
            console.print(meaning)
    tell_path(console, f"everything is in {out}/")


def average_table(table: dict) -> WideTable:
    """What each player earns against all whom it met."""
    title = f"Average reward per {table['per']} against all whom a player met"
    rows = [
        [each["player"], with_interval(*each["reward"])] for each in table["averages"]
    ]
    return WideTable(title, ["player"], ["reward"], rows)


def behaviour_table(table: dict) -> WideTable:
    """One row per player and opponent: the player's measures in either seat.

    Without those that there are none of, and faults that nobody has.
    """
    measured = [face_off["measures"] for face_off in table["face_offs"]]
    names = dict.fromkeys(name for measures in measured for name in measures)
    free = [name for name in names if name.startswith(FREE)]
    headings = {
        **HEADINGS,
        # Of each kind of answer that was sampled without the grammar.
        **{name: f"free {name.removeprefix(FREE)} in form" for name in free},
    }
    shown = {
        name: heading
        for name, heading in headings.items()
        if any(_is_shown(name, measures) for measures in measured)
    }
    rows = [
        [
            face_off["player"],
            face_off["opponent"],
            *(_cell(measures.get(name, (None, None))[0]) for name in shown),
        ]
        for face_off, measures in zip(table["face_offs"], measured, strict=True)
    ]
    where = "in either seat" if table.get("num_seats", 2) == 2 else "among copies of it"
    title = f"What each player does against each, {where}, over matches"
    return WideTable(title, ["player", "against"], list(shown.values()), rows)


def _is_shown(name: str, measures: dict) -> bool:
    number = measures[name][0] if name in measures else None
    return number is not None and (number != 0 or name not in FAULTS)


def _cell(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.2f}" if abs(number) < 10 else f"{number:.1f}"
