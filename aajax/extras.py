"""Optional packages, and what to install where they are missing."""

import importlib.util

from aajax.errors import InputError

_PACKAGES = {"PIL": "pillow"}  # by their modules, where these have other names


def check_installed(extra: str, *modules: str) -> None:
    """Raises InputError if a module is missing of those that an extra brings."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            package = _PACKAGES.get(module, module)
            raise InputError(
                f"{package} is not installed: pip install 'aajax[{extra}]'"
            )
