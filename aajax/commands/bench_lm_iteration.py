"""`aajax bench lm-iteration`: an iteration of training in words, beside torch."""

import dataclasses
import functools
from pathlib import Path

from aajax.bench.lm_iteration import check, configured, measure
from aajax.bench.timing import in_new_process, machine
from aajax.commands.arguments import parse
from aajax.commands.bench_lm import check_files, described, publish
from aajax.commands.spelling import Console
from aajax.extras import check_installed
from aajax.schema import Count


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures iterations of text IPD, beside torch with transformers and peft.

    An iteration is the play of all matches and one step of learning from them, with the
    settings of `aajax train lm-ipd` (of `--size smollm2` for any --model). Torch reads,
    samples and learns from the same tokens, in turns with ours in one process.
    """

    # model as in training, such as smollm2; None: a pocket model
    model: str | None = None
    prompts: str | None = None  # wording; None: that of the preset
    rounds: Count = 5  # rounds of a match
    num_matches: Count = 16  # matches of an iteration
    repeats: Count = 3  # iterations that count, after one that compiles
    beside_torch: bool = True  # do the same with torch
    out: Path = Path("runs/bench-lm-iteration.json")  # JSON file to write
    report: Path | None = None  # Markdown file with the table to write, None: none


def main(arguments: list[str]) -> None:
    """Measures and reports; raises InputError for bad input, and without torch."""
    options = parse(Options, arguments, "aajax bench lm-iteration")
    check_files(options.out, options.report)
    config = configured(
        options.model, options.prompts, options.rounds, options.num_matches
    )
    check(config)
    others = None
    if options.beside_torch:
        check_installed("test", "torch", "peft")
        # Libraries that only this comparison needs.
        from aajax.bench.lm_iteration_torch import prepare

        others = prepare
    console = Console(markup=False, emoji=False)
    with console.status("measuring"):
        run = functools.partial(measure, config=config, make_others=others)
        record = in_new_process(run, options.repeats)
    record = {"machine": machine(), "work": described(options), **record}
    publish(record, options.out, options.report, console)
    console.print(_summary(record), soft_wrap=True)


def _summary(record: dict) -> str:
    """How long an iteration takes, and would take at best."""
    tokens = record["tokens"]
    part = "iteration"
    count = tokens["playing"] + tokens["learning"]
    each = [
        f"{who} {count / rate['median']:.3g} s"
        for who, rate in record["results"][part].items()
    ]
    return (
        f"an iteration of {tokens['playing']} tokens played and {tokens['learning']} "
        f"learned from: {', '.join(each)}; {count / record['bounds'][part]:.3g} s at "
        "best"
    )
