# SPDX-License-Identifier: Apache-2.0
"""Imports point one way: between the three layers, between the rooms of `engine/`, and between the
modules of a room. A room is a subpackage; a module that lies in `engine/` itself is one of its own.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "grammar": {"grammar"},
    "engine": {"engine", "grammar"},
    "cli": {"cli", "engine", "grammar", "benchmarks"},  # `bench` loads them by name
}
MOST_LINES = 500
Graph = Mapping[str, set[str]]


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    _name(file): file for layer in (*LAYERS, "benchmarks") for file in (ROOT / layer).rglob("*.py")
}


def _imported(file: Path, types: bool = True) -> Iterator[str]:
    """The names that a module imports, anywhere in it, as "package.module.object". `types`: those
    that only annotations need, too."""
    tree = ast.parse(file.read_text("utf-8"))
    if not types:
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_" in ast.dump(n))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _ours(file: Path, types: bool = True) -> set[str]:
    """The modules of ours among them; a package where what it exports is imported."""
    found = set()
    for name in _imported(file, types):
        top, _, rest = name.partition(".")
        if top == "gars_vllm":
            module = next(m for m in (rest, rest.rpartition(".")[0]) if m in MODULES)
            found.add(module)
    return found


GRAPH: Graph = {name: _ours(file) for name, file in MODULES.items()}


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _rooms(graph: Graph, layer: str = "engine") -> Graph:
    rooms: dict[str, set[str]] = {}
    for module, imported in graph.items():
        inside = {_room(m) for m in imported if m.startswith(f"{layer}.")}
        if module.startswith(f"{layer}."):
            rooms.setdefault(_room(module), set()).update(inside - {_room(module)})
    return rooms


def _circle(graph: Graph) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_a_circle_is_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    graph = {"engine.a.x": {"engine.b.y", "engine.a.z"}, "engine.b.y": {"engine.a.z"}}
    assert _circle(graph) == []
    assert _rooms(graph) == {"engine.a": {"engine.b"}, "engine.b": {"engine.a"}}


def test_the_rooms_of_the_engine_form_no_circle() -> None:
    assert len(_rooms(GRAPH)) > 10
    assert _circle(_rooms(GRAPH)) == []


def test_the_modules_of_the_engine_form_no_circle() -> None:
    assert _circle({m: inside for m, inside in GRAPH.items() if m.startswith("engine")}) == []


def test_the_rooms_of_the_grammar_form_no_circle_when_they_run() -> None:
    graph = {m: _ours(f, types=False) for m, f in MODULES.items() if m.startswith("grammar")}
    assert _circle(graph) == []
    assert _circle(_rooms(graph, "grammar")) == []


def test_what_compiles_a_grammar_knows_no_language_and_no_compiler() -> None:
    """frontend/ needs no numba; runtime/ and frontend/ are the same for every language."""
    for module, file in MODULES.items():
        names = list(_imported(file))
        if module.startswith("grammar.frontend"):
            assert not any(
                name.startswith(("numba", "gars_vllm.grammar.runtime")) for name in names
            )
        if module.startswith(("grammar.frontend", "grammar.runtime")):
            assert not any(name.startswith("gars_vllm.grammar.languages") for name in names), module


@pytest.mark.parametrize("layer", LAYERS)
def test_the_layers_import_downwards(layer: str) -> None:
    up = {
        f"{module} -> {one}"
        for module, imported in GRAPH.items()
        for one in imported
        if module.partition(".")[0] == layer and one.partition(".")[0] not in LAYERS[layer]
    }
    assert up == set()


def _that_import(package: str) -> set[str]:
    return {
        module
        for module, file in MODULES.items()
        if any(name.partition(".")[0] == package for name in _imported(file))
        and not module.startswith("benchmarks")
    }


def _outside(modules: Iterable[str], *rooms: str) -> set[str]:
    return {m for m in modules if _room(m) not in rooms}


def test_each_framework_has_its_place() -> None:
    assert _that_import("vllm")
    assert _outside(_that_import("vllm"), "engine.vllm") == set()
    assert _outside(_that_import("click") | _that_import("rich"), *_of_cli()) == set()
    assert not any(m.startswith("grammar") for m in _that_import("torch"))


def _of_cli() -> set[str]:
    return {_room(m) for m in MODULES if m.startswith("cli")}


@pytest.mark.parametrize("layer", LAYERS)
def test_no_module_is_long(layer: str) -> None:
    lines = {name: len(file.read_text("utf-8").splitlines()) for name, file in MODULES.items()}
    long = {n: count for n, count in lines.items() if count > MOST_LINES and n.startswith(layer)}
    assert long == {}


def test_no_function_of_the_grammar_is_long() -> None:
    long = {
        f"{name}.{node.name}"
        for name, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
        and name.startswith("grammar")
        and (node.end_lineno or 0) - node.lineno >= 80
    }
    assert long == set()
