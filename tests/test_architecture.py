"""Who may import whom, as pyproject.toml says it for import-linter, and that this can go red."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["fastsnn_np", "benchmarks"]

pytestmark = pytest.mark.skipif(
    not (ROOT / "backends").is_dir(), reason="not in a checkout: the contracts are of the sources"
)


def linted(root):
    """Exit status and output of import-linter on the tree at `root`."""
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    code = "import sys; from importlinter.cli import lint_imports as lint; sys.exit(lint())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "IMPORT_LINTER_NO_CACHE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path):
    """A copy of the sources to plant something in."""
    for name in (*PACKAGES, "backends"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "results", "fashion_mnist_sample"),
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_are_kept(copy):
    status, said = linted(copy)
    assert status == 0, said


PLANTED = [
    ("fastsnn_np/_decay.py", "from . import network", "_decay is not allowed to import"),
    ("fastsnn_np/_checks.py", "def f():\n    from . import spikes", "is not allowed to import"),
    ("backends/numpy.py", "from fastsnn_np import _layer", "backends.numpy is not allowed to"),
    (
        "backends/__init__.py",
        "def f():\n    from fastsnn_np.backends.event import engine",
        "is not allowed to import fastsnn_np.backends.event",
    ),
    ("backends/event/layers.py", "from fastsnn_np import torch", "backends.event is not allowed"),
    ("fastsnn_np/new.py", "", "new"),  # a module that has no layer yet
    ("benchmarks/harness/rows.py", "from benchmarks import cli", "is not allowed to import"),
]


@pytest.mark.parametrize(("file", "line", "words"), PLANTED, ids=range(len(PLANTED)))
def test_a_forbidden_import_is_found(copy, file, line, words):
    with (copy / file).open("a") as source:
        source.write(f"\n\n{line}\n")
    status, said = linted(copy)
    assert status != 0
    assert words in " ".join(said.split())


def test_the_map_names_every_module_of_the_contracts():
    """In docs/design.md; the contracts are exhaustive, so no new module is forgotten there."""
    tree = (ROOT / "docs" / "design.md").read_text().partition("## 10. Map of the tree")[2]
    lines = tree.partition("```")[2].partition("```")[0].splitlines()
    named = set(re.findall(r"\w+", " ".join(line[:37] for line in lines)))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    modules = {
        name.rpartition(".")[2]
        for contract in contracts["contracts"]
        if not contract["name"].startswith("Benchmarks")
        for layer in contract["layers"]
        for name in layer.split(" | ")
    }
    assert modules - named == set()


def test_no_module_imports_itself_through_others():
    """No circle of imports, wherever in a module they stand."""
    grimp = pytest.importorskip("grimp", reason="import-linter is not installed")
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    left = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while leaves := [module for module, imported in left.items() if not imported & left.keys()]:
        for leaf in leaves:
            del left[leaf]
    # what is left imports something that is left: circles, and what stands above one
    assert not left


def test_no_arrow_is_hidden():
    """Imports are statements, which the linter reads; the package alone loads modules by name."""
    for folder in ("fastsnn_np", "backends"):
        for path in (ROOT / folder).rglob("*.py"):
            if path != ROOT / "fastsnn_np" / "__init__.py":
                assert "importlib" not in path.read_text(), path


def test_nothing_about_engines_is_found_out():
    """What a backend or an engine offers is a typed field: no look-up by name."""
    looked_up = re.compile(
        r"hasattr\(|inspect\.signature|TAKES_EVENTS|getattr\([^)]*(bind|layer|as_parameter)"
    )
    for folder in ("fastsnn_np", "backends"):
        for path in (ROOT / folder).rglob("*.py"):
            found = [line for line in path.read_text().splitlines() if looked_up.search(line)]
            others = ('hasattr(os, "register_at_fork")', 'hasattr(self, "network_")')
            assert not [line for line in found if not any(o in line for o in others)], path


MADE = {"empty", "zeros", "empty_lanes"}


def _unheld(function):
    """Arrays made in a function that nothing but spans of them names once the first is taken."""
    made, spans, uses = set(), {}, {}
    inside = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "span":
            names = [a for a in node.args if isinstance(a, ast.Name)]
            inside.update(names)
            for name in names:
                spans[name.id] = min(spans.get(name.id, node.lineno), node.lineno)
        if isinstance(node, ast.Assign):
            targets = node.targets[0]
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            names = targets.elts if isinstance(targets, ast.Tuple) else [targets]
            for name, value in zip(names, values, strict=False):
                made_by = getattr(value, "func", None)
                called = getattr(made_by, "attr", getattr(made_by, "id", ""))
                if isinstance(name, ast.Name) and called in MADE:
                    made.add(name.id)
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node not in inside:
            uses[node.id] = max(uses.get(node.id, 0), node.lineno)
    return sorted(name for name in made & spans.keys() if uses[name] <= spans[name])


def test_arrays_outlive_their_spans():
    """A span keeps no array alive: Numba frees one after its last use, and reuses its memory."""
    planted = "def f(n):\n    a, b = np.empty(n), empty_lanes(n)\n    s, t = span(a), span(b)\n"
    assert _unheld(ast.parse(planted).body[0]) == ["a", "b"]
    assert _unheld(ast.parse(planted + "    hold(a, b)\n").body[0]) == []
    for path in (ROOT / "backends" / "event").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert _unheld(node) == [], (path, node.name)
