"""Who may import whom, and how large functions may be."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "aajax"
FILES = sorted(ROOT.rglob("*.py"))
BASE = {"policies.base", "envs.base"}
FOR_ALL = {
    *("errors", "extras", "files", "interrupts", "keys", "schema", "records"),
    "references",
}
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "extras": {"errors"},
    "files": set(),
    "interrupts": set(),
    "schema": set(),
    "records": set(),
    "references": set(),
    "keys": {"types"},
    "ops": {"types"},
    "envs": {"types", "ops", "policies.base"},
    "lm": {"types", "ops"},
    "policies": {"types", "ops"},
    "nets": {"types", "ops", "policies.base"},
    "rollout": {"types", *BASE},
    "learners": {"types", "ops", "policies.base", "nets"},
    "dialogue": {"types", "ops", "envs", "lm", "policies"},
    "training": {
        *("types", "ops", "envs", "policies", "nets", "rollout", "learners"),
        *("lm", "dialogue"),
    },
    "tournament": {"types", "envs", "policies", "rollout", "dialogue"},
    "report": {"types"},
    "api": {
        *("types", "ops", "envs", "policies", "nets", "rollout", "learners"),
        *("training", "tournament", "report", "lm", "dialogue"),
    },
    "bench": {
        *("types", "envs", "learners", "training", "lm", "dialogue"),
    },
    "commands": {
        *("types", "ops", "envs", "policies", "nets", "rollout", "learners"),
        *("training", "tournament", "report", "lm", "dialogue", "bench", "api"),
    },
    "cli": {"commands"},
    "__main__": {"cli"},
}


def imported(path):
    """Modules of the package that a file imports, as `package.module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n.removeprefix("aajax.") for n in names if n.startswith("aajax."))


def layer(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = layer(path)
    if own == "__init__":
        return
    for name in imported(path):
        allowed = {own, *FOR_ALL, *MAY_IMPORT[own]}
        fits = any(name == door or name.startswith(f"{door}.") for door in allowed)
        assert fits, f"{own} may not import {name}"


@pytest.mark.parametrize(
    ("imports", "heavy"),
    [
        ("aajax.cli", ["jax", "numpy", "flax", "optax", "chex"]),
        (
            "aajax.envs, aajax.learners, aajax.nets, aajax.policies, aajax.rollout",
            ["matplotlib", "orbax", "tyro", "transformers", "torch", "scipy"],
        ),
        (
            "aajax.api.runs, aajax.api.presets",
            ["matplotlib", "transformers", "torch", "scipy", "jax.experimental.pallas"],
        ),
    ],
    ids=["commands", "core", "runs"],
)
def test_what_takes_long_to_import_is_not_imported_in_vain(imports, heavy):
    program = f"import sys, {imports}; print([m for m in {heavy} if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_commands_do_without_the_packages_of_extras():
    program = """
import importlib, pkgutil, sys
for name in ("safetensors", "transformers", "tokenizers", "jinja2", "matplotlib"):
    sys.modules[name] = None
from aajax import commands
for module in pkgutil.iter_modules(commands.__path__):
    try:
        importlib.import_module(f"aajax.commands.{module.name}")
    except ImportError:
        print(module.name)
"""
    run = [sys.executable, "-c", program]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    # Of `bench lm-...`, `train lm-... --dry-run` and `league --text`.
    assert found.split() == [
        *("bench_lm_iteration", "bench_lm_population"),
        *("compiled", "league_text"),
    ]


def test_no_environment_is_asked_what_it_is():
    """Outside of a game's folder `EnvSpec` alone says what an environment has."""
    asks = re.compile(
        r"\b(type|isinstance|hasattr|getattr)\(\s*(self\.|\w+\.)*(env|environment)\b"
    )
    for path in FILES:
        parts = path.relative_to(ROOT).parts
        if parts[0] == "envs" and len(parts) > 2:
            continue
        found = asks.findall(path.read_text())
        assert not found, f"{path}: {found}"


MOST_LINES, MOST_PARAMETERS = 60, 8  # of a function, without its docstring or self
# Arguments of the first two are the options of an environment, by name. The third's are
# tokens and their places, what was read before, whose weights read on, and how.
MANY_PARAMETERS = {"commons_harvest", "negotiation", "forward"}
# Packages that are no dependency of the core; modules may be imported inside of a
# function where they, or what they import, need one of these.
OPTIONAL = {
    *("httpx", "jinja2", "huggingface_hub", "outlines_core", "safetensors", "torch"),
    *("tokenizers", "transformers", "gguf", "matplotlib", "PIL", "pandas"),
    *("tensorboardX", "wandb", "gymnax", "jaxmarl", "pettingzoo", "gymnasium"),
}
# Of the core, and imported where they are used alone: every command would be later.
SLOW = {"scipy.special", "jax.experimental.pallas.ops.tpu"}


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


def functions(path):
    """Qualified names and nodes of all functions of a file, inner ones too."""

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            name = getattr(child, "name", "")
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + name, child
            is_scope = isinstance(child, ast.FunctionDef | ast.ClassDef)
            yield from visit(child, f"{prefix}{name}." if is_scope else prefix)

    yield from visit(parsed(path), "")


def test_functions_are_short():
    """So that one can be read at a glance; docstrings may take what they need."""
    for path in FILES:
        for name, node in functions(path):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                docstring = node.body[0]
                lines -= docstring.end_lineno - docstring.lineno + 1
            assert lines <= MOST_LINES, f"{path}: {name} has {lines} lines"


def test_functions_have_few_parameters():
    found = set()
    for path in FILES:
        for name, node in functions(path):
            own = node.args
            names = [x.arg for x in (*own.posonlyargs, *own.args, *own.kwonlyargs)]
            count = len([x for x in names if x not in ("self", "cls")])
            if count > MOST_PARAMETERS:
                assert name in MANY_PARAMETERS, f"{path}: {name} has {count} parameters"
                found.add(name)
    assert found == MANY_PARAMETERS  # none that needs no exception any more


def module_name(path):
    parts = ("aajax", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def inside_functions(path):
    """Import statements that are not run when the module is imported."""
    for _, node in functions(path):
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                yield inner


def for_types_alone(path):
    """Import statements under `if TYPE_CHECKING:`, which are never run."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from ast.walk(node)


def targets(node):
    """What an import statement imports: our modules, or packages of others."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
        if name.partition(".")[0] != "aajax":
            yield name.partition(".")[0]
            continue
        while name not in MODULES:
            name = name.rpartition(".")[0]
        yield name


@functools.cache
def imports(name):
    """What is imported whenever the module is."""
    path = MODULES[name]
    later = {*inside_functions(path), *for_types_alone(path)}
    statements = [
        node
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in later
    ]
    return {target for node in statements for target in targets(node)} - {name}


@functools.cache
def needs_more(name):
    """Whether a module or package is optional, or imports what is."""
    if name not in MODULES:
        return name in OPTIONAL
    return any(map(needs_more, imports(name)))


def test_modules_import_one_another_in_no_circle():
    graph = {name: imports(name) & MODULES.keys() for name in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_packages_import_one_another_in_no_circle():
    """Folders that hold no further ones; what else there is is one by itself."""

    def package(name):
        folder = MODULES[name].parent
        has_more = any(path.parent.parent == folder for path in FILES)
        return name if has_more else module_name(folder / "__init__.py")

    graph = {}
    for name in MODULES:
        own = package(name)
        found = {package(target) for target in imports(name) & MODULES.keys()}
        graph.setdefault(own, set()).update(found - {own})
    graphlib.TopologicalSorter(graph).prepare()


def test_imports_stand_at_the_top_unless_they_need_more_than_the_core():
    for path in FILES:
        for node in inside_functions(path):
            if isinstance(node, ast.ImportFrom) and node.module in SLOW:
                continue
            for target in targets(node):
                assert needs_more(target), f"{path}: {ast.unparse(node)}"
