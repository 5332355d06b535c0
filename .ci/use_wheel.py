"""What .ci/check_wheel does with the installed package, in the current folder."""

import contextlib
import importlib.metadata
import io
import sys
from pathlib import Path

import aajax
from aajax import cli

RUN = "runs/ipd"
SEATS = ("always_cooperate", "always_defect")


def aajax_says(*words: str, code: int = 0) -> str:
    """What a command prints; its exit code must be `code`."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        found = cli.main(list(words))
    said = out.getvalue()
    if found != code:
        raise SystemExit(f"aajax {' '.join(words)} exits with {found}:\n{said}")
    return said


def check_alone() -> None:
    """The package without extras: small networks; what else is asked for is named."""
    folder = Path(aajax.__file__).parent
    assert folder.is_relative_to(sys.prefix), folder
    assert (folder / "py.typed").exists()
    files = {path.name for path in importlib.metadata.files("aajax") or ()}
    assert "LICENSE" in files
    small = ("--num-updates", "4", "--num-games", "16", "--seeds", "2")
    said = aajax_says("train", "ipd", *small)
    assert "aajax[plot]" in said, said
    assert (Path(RUN) / "summary.json").exists()
    for words, extra in (
        (("plot", RUN), "plot"),
        (("play", "coin", "--seat", *SEATS, "--out", "a.gif"), "plot"),
        (("lm", "pocket", "--out", "pocket"), "lm"),
        (("train", "lm-ipd"), "lm"),
        (("league", "--text", "always_defect"), "lm"),
    ):
        said = aajax_says(*words, code=2)
        assert f"aajax[{extra}]" in said and len(said.splitlines()) == 1, said


def check_extras() -> None:
    """Figures, games in words from their templates, and the page of what was said."""
    aajax_says("plot", RUN)
    aajax_says("play", "coin", "--seat", *SEATS, "--out", "coin.gif")
    for path in (Path(RUN) / "figure.png", Path("coin.gif")):
        assert path.stat().st_size > 0
    players = ("tit_for_tat", "always_defect")
    for prompts in ("full", "short"):
        out = Path("runs") / prompts
        options = ("--prompts", prompts, "--num-matches", "2", "--out", str(out))
        aajax_says("league", "--text", *players, "--game", "ipd", *options)
        aajax_says("transcript", str(out))
        assert "</html>" in (out / "transcript.html").read_text(encoding="utf-8")


if __name__ == "__main__":
    {"alone": check_alone, "extras": check_extras}[sys.argv[1]]()
