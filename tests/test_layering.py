"""The package's shape: which module may import which, what importing costs, and how long things may get."""

import ast
import doctest
import graphlib
import importlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import groundr1

PACKAGE = Path(groundr1.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50  # without the docstring: nobody should save on explaining

# A part is a module of the package, or a folder as a whole. It may import parts of the layers above its own line and of
# no other: a new module gets its place here, as low as it can be.
LAYERS = (
    {"boxes", "configuration", "kv_cache", "prompts", "similarity", "srpo"},
    {
        "bootstrap",
        "figure_style",
        "generation",
        "parameters",
        "provenance",
        "sharding",
        "storage",
        "tiny",
        "trl_hooks",
    },
    {
        "chat",
        "checkpoints",
        "cropping",
        "data",
        "metrics_log",
        "model",
        "notebooks",
        "parsing",
        "trajectory",
    },
    {"diagnostics", "pictures", "resumable", "rewards", "runs", "shapes"},
    {
        "bar_figures",
        "config",
        "memory",
        "picture_figures",
        "preparation",
        "reward_functions",
        "rollout",
        "rollout_table",
        "shared_pictures",
        "srpo_config",
        "vllm_session",
    },
    {"bias_signs", "dry_run", "evaluation", "gallery", "pretrain", "splits", "training"},
    {"figures", "srpo_trainer", "viewer"},
    {"trainer"},
    {"evaluate", "experiment", "train"},
)
# What these may import of ours, and nothing else: they are read alone, and used without a model.
ARROWS = {
    "boxes": set(),
    "prompts": set(),
    "srpo": set(),
    "parsing": {"boxes"},
    "cropping": {"boxes"},
    "rewards": {"parsing", "similarity"},
    "data": {"boxes", "storage"},
    "diagnostics": {"boxes", "srpo", "bootstrap"},
}
WITHOUT_TORCH = ("boxes", "parsing", "cropping", "rewards", "similarity")
WITHOUT_A_MODEL = (*WITHOUT_TORCH, "srpo", "diagnostics")


def label(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def module_of(path: Path) -> str:
    name = path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


def part_of(module: str) -> str | None:
    """Part that a dotted name belongs to; None for the package itself and for other packages."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] or None if top == "groundr1" else None


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_names(path: Path) -> set[str]:
    """Dotted names that a module imports anywhere in it, inside functions included; `from a import b` gives `a.b`."""
    names = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{label(path)}:{node.lineno} imports relatively; write groundr1.... in full"
            )
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_parts(path: Path) -> set[str]:
    return {part for part in map(part_of, imported_names(path)) if part} - {part_of(module_of(path))}


def test_every_module_has_one_place_in_the_table():
    listed = [part for layer in LAYERS for part in layer]
    assert len(listed) == len(set(listed))
    present = {part_of(module_of(path)) for path in MODULES} - {None}
    assert present <= set(listed), "give the new modules a place in LAYERS"


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_go_down_the_layers_only(path):
    part = part_of(module_of(path))
    if part is None:
        assert not imported_parts(path), "the package itself imports nothing"
        return
    own_layer = next(i for i, layer in enumerate(LAYERS) if part in layer)
    allowed = set().union(*LAYERS[:own_layer])
    assert imported_parts(path) <= ARROWS.get(part, allowed)


def test_no_module_imports_itself_through_others():
    modules = {module_of(path): path for path in MODULES}
    graph = {}
    for module, path in modules.items():
        names = imported_names(path)
        graph[module] = {
            name for name in names | {n.rpartition(".")[0] for n in names} if name in modules
        } - {module}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(modules)


def run_python(code: str) -> dict:
    """Run `code` in a fresh interpreter that puts its findings into `found`, and return them."""
    code = f"import json, sys\nfound = {{}}\n{code}\nprint(json.dumps(found))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_maths_imports_without_torch_or_a_model():
    found = run_python(f"""
import importlib
for name in {WITHOUT_TORCH}:
    importlib.import_module("groundr1." + name)
found["torch"] = "torch" in sys.modules
for name in {WITHOUT_A_MODEL}:
    importlib.import_module("groundr1." + name)
found["heavy"] = sorted({{"transformers", "trl", "datasets", "peft", "accelerate"}} & set(sys.modules))
""")
    assert found == {"torch": False, "heavy": []}


def test_importing_the_package_has_no_side_effect():
    found = run_python("""
import logging, os, warnings
state = lambda: [dict(os.environ), os.getcwd(), list(sys.path), logging.root.handlers[:], warnings.filters[:]]
before, modules = state(), set(sys.modules)
import groundr1
found["changed"] = state() != before
found["modules"] = sorted(set(sys.modules) - modules)
found["version"] = groundr1.__version__
""")
    assert found == {"changed": False, "modules": ["groundr1"], "version": groundr1.__version__}


def num_code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return (
        function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if documented else 0)
    )


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_modules_and_functions_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES, "split it by topic"
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {function.name: num_code_lines(function) for function in functions}
    assert not {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES}


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_the_package_logs_and_does_not_print(path):
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_modules_say_what_they_are(path):
    assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("name", WITHOUT_A_MODEL)
def test_documented_examples_hold(name):
    assert doctest.testmod(importlib.import_module(f"groundr1.{name}")).failed == 0
