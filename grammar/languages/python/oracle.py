# SPDX-License-Identifier: Apache-2.0
"""What the running interpreter says of Python programs, and of what they are made of."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Literal

# What the parser and compiler raise for a text, beside SyntaxError, on any of their limits
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, SystemError)


def objection(program: str) -> str | None:
    """None when the running interpreter compiles a text, else what it says against it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(program, "sample", "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno})" if error.lineno else str(error.msg)
    except UNREADABLE as error:
        return f"{type(error).__name__}: {error}"
    return None


def parsed(source: str, mode: Literal["exec", "eval"] = "exec") -> ast.mod | None:
    """The syntax tree of a text, None when it has none; says nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, mode=mode)
    except UNREADABLE:
        return None


def is_only_docstring(program: str, function: str | None) -> bool:
    """Whether the function of that name, or the program's last statement where that is one, has a
    docstring for a body and nothing else."""
    tree = parsed(program)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    if not isinstance(tree, ast.Module):
        return False
    last = [
        one
        for one in (tree.body[-1:] if function is None else tree.body)
        if isinstance(one, kinds) and function in (None, one.name)
    ][-1:]
    return any(
        all(
            isinstance(line, ast.Expr)
            and isinstance(line.value, ast.Constant)
            and isinstance(line.value.value, str)
            for line in one.body
        )
        for one in last
    )


def preamble(prompt: str, function: str | None) -> str:
    """What a prompt holds before the function that it asks for: its imports and
    helpers, which an answer may take for granted. Empty where it defines nothing there."""
    name = re.escape(function or "")
    heads = re.finditer(rf"^(async[ \t]+)?(def|class)[ \t]+{name}\b", prompt, re.MULTILINE)
    head = max((found.start() for found in heads), default=0)
    if not name or not head:
        return ""
    lines = prompt[:head].splitlines(keepends=True)
    while lines and lines[-1].startswith("@"):
        lines.pop()
    tree = parsed("".join(lines))
    if not isinstance(tree, ast.Module) or all(isinstance(one, ast.Expr) for one in tree.body):
        return ""
    return "".join(lines).rstrip() + "\n\n\n"
