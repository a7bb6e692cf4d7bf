# SPDX-License-Identifier: Apache-2.0
"""Generates inputs for a function from its prompt's examples and type hints."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from typing import Any

from gars_vllm.engine.sandbox.judge import canonical
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification import examples
from gars_vllm.engine.verification.verification import preamble_of
from gars_vllm.grammar.languages.python.oracle import parsed

Arguments = tuple[Any, ...]
COUNT = 24
_DEEPEST = 6  # nesting of hints: sizes grow exponentially
_LETTERS = "abcdefghijklmnopqrstuvwxyzABC 0123456789,.()[]"


def inputs_for(task: Task, count: int = COUNT) -> list[Arguments]:
    """Up to `count` different argument lists, deterministic; [] if the prompt has neither
    examples nor type hints.

    First the examples' arguments, then mutated copies of them and values of the hinted types in
    turn. Does not use the task's tests.
    """
    rng = random.Random(task.task_id)
    given = [example.arguments for example in examples.of_task(task)]
    makers = _by_hints(task)
    inputs: dict[str, Arguments] = {canonical(arguments): arguments for arguments in given}
    for attempt in range(count * 8):
        if len(inputs) >= count or not (given or makers):
            break
        try:
            if given and (makers is None or attempt % 2):
                made = tuple(_changed(value, rng) for value in rng.choice(given))
            else:
                made = tuple(make(rng) for make in makers or ())
        except TypeError:  # Set[List[int]] has no values
            continue
        inputs.setdefault(canonical(made), made)
    return list(inputs.values())[:count]


def _changed(value: Any, rng: random.Random) -> Any:
    """A value of the same type, near the given one."""
    if isinstance(value, bool):
        return rng.random() < 0.5
    if isinstance(value, int):
        return rng.choice((value, value + 1, value - 1, value * 2, rng.randint(0, 20), -value))
    if isinstance(value, float):
        return rng.choice((value, value + 0.5, -value, round(rng.uniform(-10, 10), 2)))
    if isinstance(value, str):
        return "".join(_changed_items(list(value), rng, lambda: rng.choice(value or _LETTERS)))
    if isinstance(value, tuple):
        return tuple(_changed(v, rng) for v in value)
    if isinstance(value, list) and value:  # an empty list does not show its item type
        items = [_changed(v, rng) if rng.random() < 0.3 else v for v in value]
        return _changed_items(items, rng, lambda: _changed(rng.choice(value), rng))
    if isinstance(value, dict):
        return {k: _changed(v, rng) for k, v in value.items() if rng.random() < 0.9}
    if isinstance(value, set):
        return {_changed(v, rng) for v in sorted(value, key=repr)}  # set order is random
    return value


def _changed_items(items: list[Any], rng: random.Random, new: Callable[[], Any]) -> list[Any]:
    for _ in range(rng.randint(0, 2)):
        step = rng.randrange(5)
        if step == 0:
            items.insert(rng.randint(0, len(items)), new())
        elif step == 1 and items:
            items.pop(rng.randrange(len(items)))
        elif step == 2 and items:
            items[rng.randrange(len(items))] = new()
        elif step == 3:
            rng.shuffle(items)
        else:
            items.reverse()
    return items


_Make = Callable[[random.Random], Any]


def _by_hints(task: Task) -> list[_Make] | None:
    """A generator for each parameter; None if one has no supported hint."""
    source = preamble_of(task)
    if not source:
        return None
    tree = parsed(source)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == task.entry_point:
            named = [*node.args.posonlyargs, *node.args.args]
            required = named[: len(named) - len(node.args.defaults)]
            makers = [_maker(argument.annotation) for argument in required]
            if not makers or any(make is None for make in makers):
                return None
            return [make for make in makers if make is not None]
    return None


def _maker(hint: ast.expr | None, depth: int = 0) -> _Make | None:
    """A generator for an annotation: int, float, str, bool, List[...], Tuple, Dict, Set,
    Optional, Union and | of these, Any (an int)."""
    if isinstance(hint, ast.Constant) and hint.value is None:
        return lambda rng: None
    if depth > _DEEPEST:
        return None
    if isinstance(hint, ast.BinOp):
        return _one_of([_maker(part, depth + 1) for part in _alternatives(hint)])
    if isinstance(hint, ast.Subscript):
        inner = hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]
        parts = [_maker(part, depth + 1) for part in inner if not _is_dots(part)]
        if not parts or any(part is None for part in parts):
            return None
        return _container(_name(hint.value), [part for part in parts if part is not None], inner)
    return _SIMPLE.get(_name(hint))


def _alternatives(hint: ast.expr) -> list[ast.expr | None]:
    """A, B and C of A | B | C, of any length; None for other operators."""
    operands: list[ast.expr | None] = []
    node = hint
    while isinstance(node, ast.BinOp):
        operands.append(node.right if isinstance(node.op, ast.BitOr) else None)
        node = node.left
    return [node, *operands[::-1]]


def _is_dots(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _container(name: str, parts: list[_Make], inner: list[ast.expr]) -> _Make | None:
    first = parts[0]
    if name in ("list", "sequence", "iterable"):
        return lambda rng: [first(rng) for _ in range(rng.randint(0, 7))]
    if name == "set":
        return lambda rng: {first(rng) for _ in range(rng.randint(0, 7))}
    if name == "tuple" and any(map(_is_dots, inner)):
        return lambda rng: tuple(first(rng) for _ in range(rng.randint(0, 7)))
    if name == "tuple":
        return lambda rng: tuple(part(rng) for part in parts)
    if name == "dict" and len(parts) == 2:
        return lambda rng: {first(rng): parts[1](rng) for _ in range(rng.randint(0, 5))}
    if name == "optional":
        return _one_of([first, lambda rng: None])
    return _one_of(list(parts)) if name == "union" else None


def _one_of(makers: list[_Make | None]) -> _Make | None:
    known = [make for make in makers if make is not None]
    return None if len(known) < len(makers) else lambda rng: rng.choice(known)(rng)


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Attribute):  # typing.List
        return node.attr.lower()
    return node.id.lower() if isinstance(node, ast.Name) else ""


_SIMPLE: dict[str, _Make] = {
    "int": lambda rng: rng.choice((rng.randint(0, 12), rng.randint(-20, 100))),
    "any": lambda rng: rng.randint(0, 12),
    "float": lambda rng: round(rng.uniform(-20, 20), rng.randint(0, 3)),
    "bool": lambda rng: rng.random() < 0.5,
    "str": lambda rng: "".join(rng.choice(_LETTERS) for _ in range(rng.randint(0, 12))),
    "list": lambda rng: [rng.randint(-5, 20) for _ in range(rng.randint(0, 7))],
    "dict": lambda rng: {chr(97 + i): rng.randint(0, 9) for i in range(rng.randint(0, 4))},
}
