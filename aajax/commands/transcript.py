"""`aajax transcript RUN`: what was said in a run's matches, as one page."""

import dataclasses
import gzip
import importlib.util
import json
import re
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from aajax.commands.arguments import check_file, parse
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console
from aajax.dialogue.play.matches import match_files
from aajax.errors import InputError
from aajax.files import write_text
from aajax.records import read_object
from aajax.report.tables import counted
from aajax.report.transcript import page
from aajax.report.transcript_text import match_text
from aajax.schema import Count, Natural, called, within
from aajax.training.lm_config import MEMBERS, LmConfig, member_names

Run = Annotated[Path, tyro.conf.arg(metavar="RUN")]


@dataclasses.dataclass(frozen=True)
class Options:
    """Makes one HTML page of what was said in a run's or a league's matches.

    With --text it prints one match in the terminal.
    """

    run: tyro.conf.Positional[Run]  # folder with matches/ or matches.jsonl.gz
    out: Path | None = None  # page to write; None: transcript.html in the folder
    iterations: str = "3"  # the last N iterations that have matches, or FROM:TO
    matches: Count = 200  # most matches on the page, spread evenly over iterations
    model: Path | None = None  # folder with the tokenizer; None: that of config.json
    text: bool = False  # print one match as plain text, and write no page
    match: Natural | None = None  # number of the match for --text; None: the last one
    # of a run of several seeds or settings: whose matches alone, such as seed_0
    member: str | None = None


def main(arguments: list[str]) -> None:
    """Writes the page; raises InputError for a folder without matches."""
    options = parse(Options, arguments, "aajax transcript")
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    saved = _saved(options.run)
    if options.text or options.match is not None:
        _print(options, saved)
        return
    out = options.out or options.run / "transcript.html"
    check_file("out", out)
    members = _members(options)
    chosen = _chosen(saved, options.iterations)
    records = _records(chosen, options.matches, members, options.member)
    folder = options.model or _model_folder(options.run)
    has_tokens = any(tokens for record in records for tokens in _tokens_of(record))
    spelling: dict[str, Any] = {}
    if has_tokens and folder is not None and importlib.util.find_spec("transformers"):
        with called({"folder": "model"} if options.model else {}):
            spelling = _spelling(folder)
    elif has_tokens:
        console.print("no tokenizer was found: answers are coloured as a whole")
    with within(f"run is {str(options.run)!r}: "):
        written = page(records, _title(options.run), **spelling)
    write_text(out, written)
    tell_path(console, f"wrote {out}: {_counts(records, saved)}")


def _print(options: Options, saved: Mapping) -> None:
    """Prints one match, the latest of its number.

    Raises:
      InputError: if there is none of that number, or with options of the page.
    """
    if not options.text:
        raise InputError(f"match is {options.match}: --text is needed with it")
    if options.out is not None:
        raise InputError(
            f"out is {str(options.out)!r}: --text prints, and writes no file"
        )
    chosen = _chosen(saved, options.iterations)
    records = _records(chosen, sys.maxsize, _members(options), options.member)
    numbers: list[Any] = [record.get("number") for record in records]
    number = numbers[-1] if options.match is None else options.match
    if number not in numbers:
        there = [x for x in numbers if isinstance(x, int)]
        among = f"from {min(there)} to {max(there)}" if there else "with a number"
        raise InputError(
            f"match is {number}: one of the {len(there)} {among} is needed"
        )
    record = records[len(numbers) - 1 - numbers[::-1].index(number)]
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    with within(f"run is {str(options.run)!r}: "):
        console.print(match_text(record, console.width))


def _saved(run: Path) -> dict[int | None, list[Path]]:
    """Files of matches by iteration, one of each process; a league's has none."""
    found = match_files(run)
    if found:
        return {**found}
    if (run / "matches.jsonl.gz").is_file():
        return {None: [run / "matches.jsonl.gz"]}
    member = run.resolve()
    whole = member.parent.parent
    if member.parent.name == MEMBERS and (whole / "matches").is_dir():
        raise InputError(
            f"run is {str(run)!r}: the whole run is needed, as in aajax transcript "
            f"{whole} --member {member.name}"
        )
    raise InputError(
        f"run is {str(run)!r}: a folder with matches/iteration_N.jsonl.gz of a run, or "
        "with matches.jsonl.gz of a league, is needed"
    )


def _chosen(saved: Mapping, iterations: str) -> dict[int | None, list[Path]]:
    """Those of "3", the last three, or of "10:20", from 10 to 20."""
    pattern = re.fullmatch(r"0*([1-9]\d*)|(\d*):(\d*)", iterations)
    if pattern is None:
        raise InputError(
            f"iterations is {iterations!r}: a number above 0, for the last so many, or "
            "FROM:TO is needed"
        )
    last, first, final = pattern.groups()
    if last is not None or None in saved:
        return dict(list(saved.items())[-int(last or 1) :])
    low, high = int(first or 0), int(final or max(saved))
    chosen = {number: path for number, path in saved.items() if low <= number <= high}
    if not chosen:
        numbers = f"{min(saved)} to {max(saved)}"
        raise InputError(
            f"iterations is {iterations!r}: some of those from {numbers} that were "
            "written down are needed"
        )
    return chosen


def _members(options: Options) -> list[str]:
    """Names of the members of a population; none of a run that is none.

    Raises:
      InputError: for a member that is none of these.
    """
    config = options.run / "config.json"
    record = read_object(config) if config.is_file() else {}
    names: list[str] = []
    if "num_iterations" in record:  # of a run, and not of a league
        record.pop("preset", None)
        with within(f"file is {config}: "):
            own = LmConfig.from_json(record)
        names = member_names(own) if own.is_population else []
    if options.member is not None and options.member not in names:
        among = f"one of {', '.join(names)} is needed"
        if not names:
            among = f"none is needed, as {options.run} is no population"
        raise InputError(f"member is {options.member!r}: {among}")
    return names


def _records(
    files: Mapping[int | None, list[Path]],
    most: int,
    members: Sequence[str],
    member: str | None,
) -> list[dict]:
    """At most so many records, evenly from all iterations and from all of one.

    Args:
      files: of the iterations.
      most: so many.
      members: names of those of a population; none of a run that is none.
      member: whose records alone; None for all.
    """
    only = None if member is None else members.index(member)
    chosen = _spread(list(files.items()), most)
    records = []
    for place, (iteration, paths) in enumerate(chosen):
        share = most // len(chosen) + (place < most % len(chosen))
        lines = [
            (path, *line)
            for path in paths
            for line in _lines(path)
            if only is None or _member_of(line[1]) == only
        ]
        for path, line_number, line in _spread(lines, share):
            try:
                record = json.loads(line)
                _tokens_of(record)  # the rest is for the page to check
                name = {"member": _name_of(record, members)} if members else {}
            except (LookupError, RecursionError, TypeError, ValueError) as error:
                raise InputError(
                    f"file is {path}: line {line_number} is no match ({error})"
                ) from error
            records.append({"iteration": iteration, **record, **name})
    if not records:
        paths = ", ".join(str(path) for each in files.values() for path in each)
        raise InputError(f"run has {paths}: at least one match in it is needed")
    return records


def _name_of(record: Mapping, members: Sequence[str]) -> str:
    """The name of who played; raises LookupError for a number of nobody."""
    number = record["member"]
    if type(number) is not int or number not in range(len(members)):
        raise LookupError(f"member is {number!r}: one of {len(members)} is needed")
    return members[number]


def _member_of(line: str) -> int | None:
    """Who played the match of a line; None if it is no match of a population."""
    try:
        return json.loads(line)["member"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _tokens_of(record: Mapping) -> list:
    """The tokens of all turns; raises KeyError or TypeError for what is no match."""
    return [turn["tokens"] for seat in record["turns"] for turn in seat]


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return list(enumerate(lines, start=1))
    except (gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"file is {path}: matches are needed ({error})") from error


def _spread(items: Sequence, most: int) -> Sequence:
    """At most so many of them, evenly, in their order; the last is among them."""
    if len(items) <= most:
        return items
    places = np.linspace(0, len(items) - 1, most) if most > 1 else [len(items) - 1]
    return [items[round(place)] for place in places]


def _model_folder(run: Path) -> Path | None:
    """The folder of the run's own tokenizer, if it is there."""
    config = run / "config.json"
    named = read_object(config).get("model") if config.is_file() else None
    places = [run / "model"]
    if isinstance(named, str):
        places = [Path(named), run / named, *places]
    return next((place for place in places if _has_tokenizer(place)), None)


def _has_tokenizer(folder: Path) -> bool:
    names = "tokenizer.json", "tokenizer_config.json", "tokenizer.model"
    return any((folder / name).is_file() for name in names)


def _spelling(folder: Path) -> dict[str, Any]:
    """How `page` spells tokens."""
    from aajax.lm.text.tokens import load_tokenizer  # of the extra `lm`

    tokens = load_tokenizer(folder)
    pieces = tokens.token_bytes()

    def token_bytes(token: int) -> bytes | None:
        return pieces[token] if 0 <= token < len(pieces) else None

    markers = {number: marker for marker, number in tokens.markers.items()}
    return {"token_bytes": token_bytes, "markers": markers}


def _title(run: Path) -> str:
    return f"{run.resolve().name}: what was said"


def _counts(records: Sequence[Mapping], saved: Mapping) -> str:
    matches = f"{len(records)} match" + ("es" if len(records) > 1 else "")
    if None in saved:
        return matches
    num_shown = len({record["iteration"] for record in records})
    return f"{matches} of {num_shown} of {counted(len(saved), 'iteration')}"
