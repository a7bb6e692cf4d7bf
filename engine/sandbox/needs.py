# SPDX-License-Identifier: Apache-2.0
"""Determines what a test needs from its judge, by static analysis before any program runs."""

from __future__ import annotations

import ast
import functools
import importlib.util
import operator
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gars_vllm.engine.sandbox.program_server import words

_LARGE = 200_000  # a test with a number of this size may use that many items
_FILES = frozenset(words("os pathlib tempfile shutil glob sqlite3 fileinput zipfile tarfile"))
# Modules and functions that could run the program's values or files as code.
_RUNS = {
    name: "could run what the program gives as code"
    for name in words("pickle marshal shelve runpy importlib imp code dill cloudpickle joblib")
}
_RUNS |= {
    name: "could run what the program gives as code"
    for name in words(
        "eval exec compile __import__ sympify parse_expr lambdify read_pickle doctest "
        "get_type_hints get_annotations eval_str allow_pickle unsafe_load addsitedir"
    )
}
_STARTS = dict.fromkeys(words("subprocess pty pexpect fork"), "starts processes")
_STARTS |= dict.fromkeys(
    words("system popen spawnl spawnv execv execve posix_spawn"), "starts processes"
)
_STARTS |= dict.fromkeys(("socket", "socketserver", "asyncore"), "uses the network")
_LOOKS = dict.fromkeys(
    words("getsource getsourcelines getsourcefile getfile"), "reads the program's source"
)
_LOOKS |= dict.fromkeys(
    words("__globals__ __closure__ __code__ settrace setprofile _getframe get_objects"),
    "looks into the interpreter that runs the program",
)
_LOOKS |= dict.fromkeys(("tracemalloc", "getrusage", "memory_profiler"), "measures memory")
_LOOKS |= dict.fromkeys(("assertLogs", "assertNoLogs"), "captures what the program logs")
_MODULES = frozenset(
    words(
        "pickle marshal shelve runpy importlib imp code dill cloudpickle joblib subprocess pty "
        "pexpect socket socketserver asyncore tracemalloc memory_profiler doctest"
    )
)
_LOADERS = frozenset(
    (("sys", "path"), ("pytest", "main"), ("sys", "modules"), ("sys", "meta_path"))
)
_CANNOT = _RUNS | _STARTS | _LOOKS


class Changes(StrEnum):
    """How changes to an argument of a call that also returns a value are treated."""

    STAY = "stay in the jail"
    TAKEN = "are taken over"
    UNCLEAR = "are a reason not to judge"


@dataclass(frozen=True)
class Needs:
    """What one test needs. `reason`: why no judge supports it, "" if one does. `files`: it
    shares files or the environment with the program, so its judge must be in the jail."""

    reason: str = ""
    files: bool = False
    large: bool = False
    changes: Changes = Changes.STAY
    seeds: bool = False
    warnings: bool = False
    exits: bool = False
    patched: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()


@functools.lru_cache(maxsize=256)
def needs_of(test: str, entry: str) -> Needs:
    """Never raises: invalid Python is reported when the test is compiled."""
    try:
        tree = ast.parse(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Needs()
    names = set(_names(tree))
    modules = set(_imported(tree))
    patched = tuple(_patched(tree, names, modules))
    head = entry.partition(".")[0].partition("(")[0].strip()
    return Needs(
        reason=_reason(tree, names, modules, patched, head),
        files=bool(modules & _FILES) or "open" in names,
        large=any(number >= _LARGE for number in _numbers(tree)),
        changes=_Flow(head).of(tree),
        seeds=bool(names & {"seed", "setstate"}) and bool(names & {"random", "np", "numpy"}),
        warnings=bool(names & set(words("warns catch_warnings assertWarns assertWarnsRegex"))),
        exits="SystemExit" in names,
        patched=patched,
        imports=tuple(sorted(modules)),
    )


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")
            if node.asname:
                yield node.asname


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _patched(tree: ast.AST, names: set[str], modules: set[str]) -> Iterator[str]:
    """The modules in which the test may patch functions."""
    assigned = {
        root
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        and (root := _root(node)) is not None
    }  # fmt: skip
    if names & {"patch", "MonkeyPatch", "monkeypatch"} or assigned & (modules | {"builtins"}):
        yield "builtins"
        candidates = set(modules)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                module, dot, _ = node.value.rpartition(".")
                if dot and all(part.isidentifier() for part in module.split(".")):
                    candidates.add(module)
        standard = {m for m in candidates if m.partition(".")[0] in sys.stdlib_module_names}
        yield from sorted(standard - {"builtins", "unittest", "unittest.mock", "typing"})


def _reason(
    tree: ast.AST, names: set[str], modules: set[str], patched: tuple[str, ...], head: str
) -> str:
    for name in sorted(modules & _MODULES):
        return f"the test uses {name}: it {_CANNOT[name]}"
    if "multiprocessing" in modules and not names & {"dummy", "ThreadPool"}:
        return "the test uses multiprocessing: it starts processes"
    for node in ast.walk(tree):
        name = _used(node)
        if isinstance(node, ast.Attribute) and (_root(node), node.attr) in _LOADERS:
            return (
                f"the test uses {_root(node)}.{name}: it could run what the program writes as code"
            )
        if name in _CANNOT and name not in _MODULES and not _is_harmless(node, name):
            return f"the test uses {name}: it {_CANNOT[name]} (line {_line(node)})"
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if _root(base) in (head, "candidate"):
                    return f"the test makes a class from the program's (line {node.lineno})"
        if patched and isinstance(node, ast.Call) and _last(node.func) == "patch" and node.args:
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                module = target.value.partition(".")[0]
                if importlib.util.find_spec(module) is None or module in (
                    "__main__",
                    "__mp_main__",
                ):
                    return (
                        f"the test patches {target.value}, which is not there (line {node.lineno})"
                    )
    return ""


def _used(node: ast.AST) -> str:
    """The name of a called function or a read attribute."""
    if isinstance(node, ast.keyword):
        return node.arg or ""
    if isinstance(node, ast.Call):
        return _last(node.func)
    return node.attr if isinstance(node, ast.Attribute) else ""


def _is_harmless(node: ast.AST, name: str) -> bool:
    """Evaluating constants of the test is harmless; so is a method of that name (`re.compile`)."""
    if name not in ("eval", "exec", "compile"):
        return False
    if not isinstance(node, ast.Call) or isinstance(node.func, ast.Attribute):
        return True
    return all(isinstance(argument, ast.Constant) for argument in node.args)


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def _last(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _root(node: ast.AST) -> str | None:
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Pow: lambda a, b: a**b if abs(a) <= 100 and 0 <= b <= 20 else 0,
    ast.LShift: lambda a, b: a << b if 0 <= b <= 64 else 0,
}


def _numbers(tree: ast.AST) -> Iterator[float]:
    for node in ast.walk(tree):
        value = _number(node)
        if value is not None:
            yield value


def _number(node: ast.AST) -> float | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return min(float(node.value), 1e30) if abs(node.value) < 1e300 else 1e30
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _number(node.left), _number(node.right)
        if left is None or right is None or abs(left) > 1e9 or abs(right) > 1e9:
            return None
        return float(_OPERATORS[type(node.op)](int(left), int(right)))
    return None


class _Flow:
    """Follows a test's uses of the arguments that it passed, in the order of the lines.

    A change is applied if the value that it is compared with cannot depend on the program. If
    both sides can, a program could make a test compare two lists that it has emptied.
    """

    def __init__(self, head: str) -> None:
        self._programs = {"candidate", head}
        self._passed: set[str] = set()
        self._depends: set[str] = set()
        self._taken = self._unclear = self._same = False

    def of(self, tree: ast.Module) -> Changes:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == "check" and node.args.args:
                self._programs.add(node.args.args[0].arg)
        ever = set(self._passes(tree))
        for helper in ast.walk(tree):  # helpers that read an argument, whenever called
            if isinstance(helper, ast.FunctionDef) and helper.name != "check":
                own = {node.arg for node in ast.walk(helper.args) if isinstance(node, ast.arg)}
                if set(self._reads(helper)) & ever - own:
                    self._passed.add(helper.name)
        self._statements(tree.body)
        if self._unclear or (self._taken and self._same):
            return Changes.UNCLEAR
        return Changes.TAKEN if self._taken else Changes.STAY

    def _statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        inside = [getattr(node, name, None) for name in ("body", "orelse", "finalbody")]
        bodies: list[list[ast.stmt]] = [b for b in inside if isinstance(b, list) and b]
        for handler in getattr(node, "handlers", ()):
            bodies.append(handler.body)
        for case in getattr(node, "cases", ()):
            bodies.append(case.body)
        own = [
            child
            for child in ast.iter_child_nodes(node)
            if isinstance(child, (ast.expr, ast.withitem)) and not isinstance(node, ast.ClassDef)
        ]
        now = {name for child in own for name in self._passes(child)}
        for child in own:
            self._look(child, now)
            self._fill(child)
        self._passed |= now
        self._bind(node)
        for body in bodies:
            self._statements(body)

    def _fill(self, node: ast.AST) -> None:
        """Values added to an object by a method: `b.append(x)`."""
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                root = _root(call.func)
                given = [*call.args, *(keyword.value for keyword in call.keywords)]
                if root is None or root in self._programs:
                    continue
                if any(set(self._reads(value)) & self._passed for value in given):
                    self._passed.add(root)
                if any(self._is_dependent(value, set()) for value in given):
                    self._depends.add(root)

    def _passes(self, node: ast.AST) -> Iterator[str]:
        """Names passed to the program as they are."""
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and _root(call.func) in self._programs:
                for argument in (*call.args, *(k.value for k in call.keywords)):
                    inner = argument.value if isinstance(argument, ast.Starred) else argument
                    if isinstance(inner, ast.Name):
                        yield inner.id

    def _look(self, node: ast.AST, now: set[str]) -> None:
        for inner in ast.walk(node):
            sides: list[ast.expr] = []
            if isinstance(inner, ast.Compare):
                sides = [inner.left, *inner.comparators]
            elif (
                isinstance(inner, ast.Call) and len(inner.args) > 1 and not self._is_program(inner)
            ):
                sides = list(inner.args)
            if len(sides) < 2:
                continue
            mentioned = {name for side in sides for name in self._reads(side)}
            all_depend = all(self._is_dependent(side, now) for side in sides)
            if mentioned & self._passed:
                # Identity cannot mislead a test.
                is_one = isinstance(inner, ast.Compare) and isinstance(
                    inner.ops[0], (ast.Is, ast.IsNot)
                )
                self._unclear |= all_depend and not is_one
                self._taken |= is_one or not all_depend
            elif mentioned & now:
                self._same |= all_depend
        if set(self._reads(node)) & self._passed:
            self._taken = True

    def _is_program(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and _root(node.func) in self._programs

    def _reads(self, node: ast.AST) -> Iterator[str]:
        """Names that are read, except those only passed to the program."""
        if self._is_program(node):
            return
        if isinstance(node, ast.Name):
            yield node.id
        for child in ast.iter_child_nodes(node):
            yield from self._reads(child)

    def _is_dependent(self, node: ast.AST, now: set[str]) -> bool:
        tainted = self._depends | self._passed | now | self._programs
        return any(isinstance(n, ast.Name) and n.id in tainted for n in ast.walk(node))

    def _bind(self, node: ast.stmt) -> None:
        """The effect of an assignment or a loop on its names."""
        targets: list[ast.expr] = []
        value: ast.AST | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            targets, value = [node.target], node.value
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            targets, value = [node.target], node.iter
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            targets = [i.optional_vars for i in node.items if i.optional_vars is not None]
            value = ast.Tuple([i.context_expr for i in node.items], ast.Load())
        if value is None:
            return
        bound = {
            n.id for t in targets for n in ast.walk(t)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }  # fmt: skip
        held = {r for t in targets if not isinstance(t, ast.Name) and (r := _root(t))}
        depends = self._is_dependent(value, set())
        reads = bool(set(self._reads(value)) & self._passed)
        made = isinstance(value, ast.Call) and _root(value.func) in self._programs
        if isinstance(node, ast.AugAssign):
            held |= bound  # their previous value still counts
        self._passed -= bound - held
        self._passed |= (bound | held) if reads else set()
        self._depends -= bound - held
        self._depends |= (bound | held) if depends else set()
        if made and not any(isinstance(t, (ast.Tuple, ast.List)) for t in targets):
            self._programs = self._programs | bound
        else:
            self._programs = self._programs - (bound - {"candidate"})
