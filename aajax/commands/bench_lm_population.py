"""`aajax bench lm-population`: what more members cost."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated

from rich.table import Table

from aajax.bench.lm_iteration import check, configured
from aajax.bench.lm_population import measure
from aajax.bench.timing import in_new_process, machine
from aajax.commands.arguments import check_file, parse
from aajax.commands.bench_lm import described
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console
from aajax.files import write_json
from aajax.schema import Count, Items

Sizes = Annotated[tuple[Count, ...], Items(1, distinct=True)]
COLUMNS = "members", "they play", "s", "range", "s of a member", "ratio"


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures iterations of text IPD of populations, in turns in one process.

    Settings are those of `aajax train lm-ipd` (of `--size smollm2` for any --model).
    """

    members: Sizes = (1, 5, 10)  # sizes of populations; ratios are to the first
    # model as in training, such as smollm2; None: a pocket model
    model: str | None = None
    prompts: str | None = None  # wording; None: that of the preset
    rounds: Count = 10  # rounds of a match
    num_matches: Count = 64  # matches of an iteration of a member
    repeats: Count = 5  # iterations that count, after one that compiles
    out: Path = Path("runs/bench-lm-population.json")  # JSON file to write


def main(arguments: list[str]) -> None:
    """Measures and reports; raises InputError for bad input."""
    options = parse(Options, arguments, "aajax bench lm-population")
    check_file("out", options.out)
    config = configured(
        options.model, options.prompts, options.rounds, options.num_matches
    )
    check(config)
    console = Console(markup=False, emoji=False)
    with console.status("measuring"):
        run = functools.partial(measure, config=config, sizes=options.members)
        record = in_new_process(run, options.repeats)
    record = {"machine": machine(), "work": described(options), **record}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, record)
    console.print(_table(record))
    tell_path(console, f"wrote {options.out}")


def _table(record: dict) -> Table:
    table = Table(*COLUMNS, title="seconds of an iteration")
    for found in record["results"]:
        median, each = found["median"], found["all"]
        cells = str(found["members"]), found["plays"], f"{median:.3g}"
        spread = f"{min(each):.3g} to {max(each):.3g}"
        own = f"{median / found['members']:.3g}"
        table.add_row(*cells, spread, own, f"{found['ratio']:.2f}")
    return table
