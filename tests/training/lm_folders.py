"""Runs of language models in folders, and what is read from these."""

from aajax.dialogue.play.matches import load_matches
from aajax.training import metrics
from aajax.training.lm_run import train_lm
from aajax.training.run import open_folder


def run(folder, population, resume=False, **options):
    open_folder(folder, "test", population.config, resume)
    train_lm(folder, population, **options)
    return folder


def rows_of(folder):
    """Rows of metrics, without seconds."""
    rows = metrics.read_rows(folder / "metrics.jsonl")
    return [
        {name: x for name, x in row.items() if not name.startswith("seconds")}
        for row in rows
    ]


def matches_of(folder, number):
    return list(load_matches(folder / "matches" / f"iteration_{number:06d}.jsonl.gz"))


def weights_of(folder):
    """The bytes of all adapters, the latest and past ones."""
    files = folder.rglob("adapter_model.safetensors")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}
