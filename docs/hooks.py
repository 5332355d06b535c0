"""What the site takes from outside of docs/, and the check of its reference.

The leaderboard, the log and the notebooks lie beside docs/ in the repository. The site
shows them under the same names. Links between them and docs/ are rewritten, so that
they lead to the same place on the site as in the repository.
"""

import importlib
import inspect
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType

from mkdocs.plugins import event_priority, get_plugin_logger
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
BESIDE = ("experiments/*.md", "experiments/figures/*.png", "notebooks/*.ipynb")
log = get_plugin_logger("reference")


@event_priority(100)  # before the plugin that makes pages of notebooks
def on_files(files, config):
    """Adds what lies beside docs/."""
    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(
                File(name, str(ROOT), config.site_dir, config.use_directory_urls)
            )
    return files


def on_page_markdown(markdown, page, config, files):
    """Rewrites links between docs/ and what lies beside it; makes room for tables."""
    if page.file.src_uri.startswith("experiments/"):
        page.meta["hide"] = ["toc"]
    # A number and its interval are on one line.
    markdown = markdown.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    return rewritten(markdown, page.file.src_uri)


def rewritten(markdown: str, page: str) -> str:
    """Links of a page as they are on the site, where docs/ is the root.

    Args:
      markdown: of the page, with links as in the repository.
      page: its path on the site, such as "guides/runs.md".
    """
    if page.startswith("experiments/"):
        return markdown.replace("](../docs/", "](../")
    up = "../" * page.count("/")
    return re.sub(r"\]\((?:\.\./)+(experiments|notebooks)", rf"]({up}\1", markdown)


def on_post_build(config):
    """Warns of public names that the reference lacks; `--strict` makes it an error."""
    documented = config.plugins["mkdocstrings"].handlers.inventory
    for name in missing(importlib.import_module("aajax"), documented):
        log.warning(f"{name} is public, and not in the reference")


def missing(package: ModuleType, documented: Collection[str]) -> list[str]:
    """Public names that are documented neither as such nor where they are defined."""
    return [
        name
        for name, definition in public_names(package)
        if not {name, definition}.intersection(documented)
    ]


def public_names(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Names in `__all__`, and in the modules that it names: (name, where defined).

    A module without `__all__` makes public what it defines itself without a leading
    underscore.
    """
    for name, value in _members(module):
        if inspect.ismodule(value):
            yield from public_names(value)
        else:
            path = f"{module.__name__}.{name}"
            place = getattr(value, "__module__", None)
            qualified = getattr(value, "__qualname__", None)
            defined = place and qualified and f"{place}.{qualified}"
            yield path, defined or path


def _members(module: ModuleType) -> Iterator[tuple[str, object]]:
    if hasattr(module, "__all__"):
        yield from ((name, getattr(module, name)) for name in module.__all__)
        return
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if own and not name.startswith("_") and callable(value):
            yield name, value
