"""What commands tell of their work."""

import io

from rich.console import Console

from aajax.commands.progress import tell_path


def test_paths_are_told_whole():
    line = "everything is in runs/[bold]/a-folder-whose-name-is-longer-than-a-line/"
    out = io.StringIO()
    tell_path(Console(file=out, width=20), line)
    assert out.getvalue() == f"{line}\n"
