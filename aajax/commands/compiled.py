"""Tables of programs that were compiled for described devices."""

from pathlib import Path

from rich.table import Table

from aajax.api.dry_runs import (
    Planned,
    exact,
    further,
    reports,
    save_programs,
    waste,
)
from aajax.commands.spelling import Console
from aajax.errors import InputError
from aajax.files import check_folder
from aajax.lm.planning.compile import Compiled, Report

# What a program does once, of which its work is counted; that of the closing
# evaluation, which comes once in a run, is not shown.
KINDS = {"learn": "step", "critic": "step", "read": "chunk", "decode": "token"}


def compile_and_print(model: str, planned: Planned, out: Path | None = None) -> None:
    """Compiles a run's programs, prints what they take, and saves them.

    Args:
      model: what the table is called.
      planned: the run.
      out: file for the compiled programs; None for none.

    Raises:
      InputError: if they are to be saved, and the model's tokenizer is not there or
        one of them does not fit.
      OSError: if the file cannot be written.
    """
    errors = Console(stderr=True, markup=False, emoji=False, soft_wrap=True)

    def say(name: str, seconds: float) -> None:
        errors.print(f"{name} has been compiling for {seconds:.0f} s")

    if out is not None:
        # Before hours of compiling.
        check_folder(f"save is {str(out)!r}", out.parent)
        planned = exact(planned, out)
    programs: dict[str, Compiled | None] = {}
    found: dict[str, Report] = {}
    for name, program, report in reports(planned, say):
        programs[name], found[name] = program, report
    console = Console(markup=False, emoji=False, highlight=False, width=80)
    console.print(_heading(model, planned), soft_wrap=True)
    console.print(_memory_table(planned, found))
    if any(report.counts is not None for report in found.values()):
        console.print(_time_table(planned, found))
        for line in _collectives(found):
            console.print(line, soft_wrap=True)
        for name, report in found.items():
            for line in waste(planned, report):
                console.print(f"{name}: {line}", soft_wrap=True)
    if out is not None:
        missing = [name for name, program in programs.items() if program is None]
        if missing:
            raise InputError(
                f"save is {str(out)!r}: programs that fit are needed, and "
                f"{', '.join(missing)} does not"
            )
        more = {name: (x, report) for name, x, report in further(planned, say)}
        more |= {name: (x, found[name]) for name, x in programs.items()}
        kept = {own.fingerprint: x for x, own in more.values() if x is not None}
        save_programs(out, planned, kept, model)
        console.print(f"{len(kept)} programs are in {out}", soft_wrap=True)


def _heading(model: str, planned: Planned) -> str:
    topology, load = planned.topology, planned.programs.load
    axes = " x ".join(f"{name} {size}" for name, size in planned.axes.items())
    count = topology.num_devices
    devices = f"{count} devices, {topology.per_host} to a machine"
    return (
        f"{model} compiled for {topology.name} "
        f"({devices if count > 1 else '1 device'}), {axes}; not run.\n"
        f"{load.rows} sequences are learned from, {load.players} are played, of up to "
        f"{load.length} tokens, with {load.num_adapters} adapters.\n"
        f"{load.evaluated} are played at a time in the closing evaluation"
        f"{', by the same programs' if planned.programs.evaluates_alike else ''}."
    )


def _memory_table(planned: Planned, found: dict[str, Report]) -> Table:
    most = planned.topology.chip.memory
    table = Table("memory of each device, GB", *found)
    parts = ("arguments", "temporaries", "outputs", "code")
    for part in parts:
        cells = [
            "" if report.memory is None else _giga(getattr(report.memory, part))
            for report in found.values()
        ]
        name = "outputs, not in place" if part == "outputs" else part
        table.add_row(name, *cells)
    others = {name: planned.programs.others(name) for name in found}
    table.add_row("what else a run has there", *map(_giga, others.values()))
    table.add_section()
    needed = [
        ("" if x.memory else "> ") + _giga(x.needed + others[name])
        for name, x in found.items()
    ]
    table.add_row(f"all, of {_giga(most)}", *needed)
    verdicts = [
        "fits" if x.fits(planned.topology, others[name]) else "does not fit"
        for name, x in found.items()
    ]
    table.add_row("", *verdicts)
    return table


def _time_table(planned: Planned, found: dict[str, Report]) -> Table:
    known = {name: found[name] for name in KINDS if name in found}
    known = {name: x for name, x in known.items() if x.counts is not None}
    table = Table("work of each device", *(f"{x}, a {KINDS[x]}" for x in known))
    bounds = {name: x.bounds(planned.topology) for name, x in known.items()}
    works = [x.work for x in known.values()]
    table.add_row("TFLOP", *[f"{work.flops / 1e12:.3g}" for work in works])
    table.add_row("GB read and written", *[_three(work.bytes) for work in works])
    received = [_three(sum(work.collectives.values())) for work in works]
    table.add_row("GB received from others", *received)
    table.add_section()
    for name in ("arithmetic", "memory", "links"):
        cells = [_seconds(bound[name]) for bound in bounds.values()]
        table.add_row(f"least time, {name}", *cells)
    limits = [max(bound, key=bound.__getitem__) for bound in bounds.values()]
    table.add_row("bound by", *limits)
    table.add_row("compiled in", *[_seconds(x.seconds) for x in known.values()])
    return table


def _collectives(found: dict[str, Report]) -> list[str]:
    lines = []
    for name, report in found.items():
        kinds = {} if report.counts is None else report.work.collectives
        kinds = {kind: size for kind, size in kinds.items() if size >= 1e3}
        if kinds:
            listed = ", ".join(f"{_three(x)} GB by {k}" for k, x in kinds.items())
            lines.append(f"{name} receives {listed}")
    return lines


def _giga(size: float) -> str:
    return f"{size / 1e9:.2f}"


def _three(size: float) -> str:
    return f"{size / 1e9:.3g}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
