# SPDX-License-Identifier: Apache-2.0
"""Extracts the examples of a prompt: calls of its function and their results."""

from __future__ import annotations

import ast
import doctest
import inspect
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gars_vllm.engine.sandbox.judge import canonical
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.grammar.languages.python.oracle import parsed

# Separators between a call and its value in prose: `f(1) == 2`, `f(1) ➞ 2`, `f(1) returns 2`.
_BETWEEN = re.compile(
    r"[ \t]*(?:==|=>|->|➞|→|=|#?[ \t]*(?:should )?returns?:?|#[ \t]*(?:=>|->)?|is|:)[ \t]*\n?[ \t]*"
)
_WORDS = {"true": True, "false": False, "null": None}  # in prose of other languages
# The value belongs to the whole sum, not to its last term. (A hyphen may begin a list item.)
_OPERATOR = re.compile(r"(?:[\w)\]][ \t]*[+*/%&|^]|[)\]][ \t]*-|\bnot)[ \t]*$")
_LONGEST = 400  # characters of a call or a value
_AFTER = re.compile(r"[ \t]*(?:$|[\n.,;#()]|//|\"\"\"|''')|[ \t]+[A-Za-z]")


@dataclass(frozen=True)
class Example:
    """A call by its (literal) arguments, and the literal that it returns."""

    arguments: tuple[Any, ...]
    expected: Any


def of_task(task: Task) -> list[Example]:
    """The examples of a task's prompt, in order, without duplicates; none for prompts without
    Python.

    Doctests are parsed with doctest; in the prompt's prose, calls of the function followed by
    ==, =>, ->, ➞, = or "returns" and a value. Non-literals are skipped; of calls with equal
    arguments the first counts.
    """
    if task.entry_point is None:
        return []
    examples = [*_doctests(task.prompt, task.entry_point), *_prose(task.prompt, task.entry_point)]
    kept: dict[str, Example] = {}
    for example in examples:
        kept.setdefault(canonical(example.arguments), example)
    return list(kept.values())


def as_test(examples: list[Example]) -> str:
    """A test (`Task.test`) that asserts the examples; "" for none. Floats may differ by a
    relative 1e-6, since prose rounds."""
    if not examples:
        return ""
    lines = [f"    assert same(candidate(*{e.arguments!r}), {e.expected!r})" for e in examples]
    return f"{_IMPORTS}\n\n{_SAME}\n\ndef check(candidate):\n" + "\n".join(lines) + "\n"


def same(actual: Any, expected: Any) -> bool:
    """Equal up to rounding of floats, also in lists and tuples. Part of each test."""
    if isinstance(actual, float) and isinstance(expected, (int, float)):
        return actual == expected or math.isclose(actual, expected, rel_tol=1e-6)
    if type(actual) is type(expected) and isinstance(actual, (list, tuple)):
        return len(actual) == len(expected) and all(map(same, actual, expected))
    return bool(actual == expected)


_IMPORTS = "import math\nfrom typing import Any"
_SAME = inspect.getsource(same)


def _doctests(prompt: str, name: str) -> Iterator[Example]:
    text = re.sub(r"""[ \t]*(\"{3}|'{3})""", "\n", prompt)  # a docstring's end is not output
    try:
        parsed = doctest.DocTestParser().get_examples(text)
    except ValueError:  # invalid indentation for doctest
        return
    for one in parsed:
        arguments = _arguments(one.source.strip(), name)
        expected = _literal(one.want.strip())
        if arguments is not None and expected is not None:
            yield Example(arguments, expected[0])


def _prose(prompt: str, name: str) -> Iterator[Example]:
    for match in re.finditer(rf"(?<![\w.]){re.escape(name)}\(", prompt):
        line = prompt[prompt.rfind("\n", 0, match.start()) + 1 : match.start()]
        if line.rstrip().endswith(("def", ">>>")) or _OPERATOR.search(line):
            continue
        end = _call_end(prompt, match.start())
        arguments = None if end is None else _arguments(prompt[match.start() : end], name)
        if end is None or arguments is None:
            continue
        between = _BETWEEN.match(prompt, end)
        expected = None if between is None else _leading_literal(prompt, between.end())
        if expected is not None:
            yield Example(arguments, expected[0])


def _call_end(text: str, start: int) -> int | None:
    """The end of the call that begins at `start`: the first bracket where it parses."""
    for match in re.finditer(r"\)", text[start : start + _LONGEST]):
        if parsed(text[start : start + match.end()], "eval") is not None:
            return start + match.end()
    return None


def _leading_literal(text: str, start: int) -> tuple[Any] | None:
    """The longest literal that begins at `start` and ends on its line, before a full stop or a
    comma: `8.` and `8,` are neither 8.0 nor a tuple."""
    line = text[start : start + _LONGEST].partition("\n")[0]
    for end in range(len(line), 0, -1):
        if line[end - 1].isspace() or line[end - 1] in ".,":
            continue
        literal = _literal(line[:end].strip())
        if literal is not None and _AFTER.match(line, end):
            return literal
    return None


def _arguments(source: str, name: str) -> tuple[Any, ...] | None:
    tree = parsed(source, "eval")
    call = tree.body if isinstance(tree, ast.Expression) else None
    if not isinstance(call, ast.Call) or call.keywords:
        return None
    if not isinstance(call.func, ast.Name) or call.func.id != name:
        return None
    values = [_value(argument) for argument in call.args]
    return None if any(v is None for v in values) else tuple(v[0] for v in values if v is not None)


def _literal(source: str) -> tuple[Any] | None:
    tree = parsed(source, "eval")
    return _value(tree.body) if isinstance(tree, ast.Expression) else None


def _value(node: ast.expr) -> tuple[Any] | None:
    """The value of a literal in a 1-tuple, since None is a value, too. None for values that
    their `repr` does not reproduce: infinity, an Ellipsis that means "and so on"."""
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return (_WORDS[node.id],)
    try:
        value = ast.literal_eval(node)
        return (value,) if ast.literal_eval(repr(value)) == value else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
