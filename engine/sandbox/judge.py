# SPDX-License-Identifier: Apache-2.0
"""The judge: runs a trusted test against a program in a jail and gives the verdict.

The test runs here, in a process that never runs a line of the program. It calls a `Remote`
(remote.py): arguments are sent to the program's process as data, and data of known types comes
back (wire.py, library_values.py). So a test's `==` compares plain values, and nothing that the
program does to its interpreter matters. A malformed message ends judging. Unsupported tests are
not judged instead of failing.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import json
import socket
import symtable
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from gars_vllm.engine.sandbox import remote, wire
from gars_vllm.engine.sandbox.environment import assert_works
from gars_vllm.engine.sandbox.mirror import Mirror
from gars_vllm.engine.sandbox.needs import Needs, needs_of
from gars_vllm.engine.sandbox.outcome import Outcome, Program, one_line
from gars_vllm.engine.sandbox.program_client import (
    MISSING,
    JudgingEnded,
    ProgramClient,
    ReportedError,
    compiled,
    entry_name,
    reported_error,
)

TEST = "<test>"
_Report = tuple[Outcome, str, list[str]]  # outcome, detail, outputs
_TOO_LARGE = (Outcome.OUT_OF_MEMORY, "its values are too large to compare")


def judge(program: Program, channel: wire.Channel) -> _Report | None:
    """The verdict; None if the program's process is gone. Never raises for what the program
    does."""
    needs = needs_of(program.test, program.entry) if program.test else Needs()
    if not _asserts():
        return Outcome.NOT_JUDGED, "`assert` does nothing in the judge", []
    if needs.reason:
        return Outcome.NOT_JUDGED, one_line(needs.reason), []
    client = ProgramClient(channel, needs, program)
    try:
        known = client.share_classes() if program.test else []
        order = {"do": "load", "program": program.text, "known": known, "large": needs.large}
        loaded = client.ask(order)
        if "refused" in loaded:
            return Outcome.SYNTAX_ERROR, one_line(str(loaded["refused"])), []
        if program.test:
            return _test(program, client)
        return Outcome.PASSED, "", list(_probe(program, client))
    except JudgingEnded as ended:
        return None if ended.outcome is None else (ended.outcome, one_line(ended.detail), [])
    except wire.BrokenMessage as error:
        return Outcome.FORBIDDEN, one_line(f"broke the protocol: {error}"), []
    except (Exception, SystemExit) as error:
        if (reported := reported_error(error)) is not None:
            return *_blamed(error, reported), []
        if isinstance(error, MemoryError):
            return *_TOO_LARGE, []
        return Outcome.EXCEPTION, one_line(f"{type(error).__name__}: {error}"), []


_asserts = functools.cache(assert_works)


def answer_one(channel: socket.socket, end: socket.socket) -> None:
    """Judges the one program received on `end`, and answers there."""
    program = Program(**json.loads(wire.exactly(end, int.from_bytes(wire.exactly(end, 8), "big"))))
    for module in needs_of(program.test, program.entry).imports:
        with suppress(ImportError):  # the test will raise it
            importlib.import_module(module)  # before the program can write files
    with channel:
        report = judge(program, wire.Channel(channel))
    answer = json.dumps(None if report is None else [str(report[0]), *report[1:]]).encode()
    end.sendall(len(answer).to_bytes(8, "big") + answer)


def _test(program: Program, client: ProgramClient) -> _Report:
    scope: dict[str, Any] = {"__name__": "check"}
    mirror = None
    try:
        code = compiled(program.test, TEST)
        for module in client.needs.patched:
            importlib.import_module(module)
        if client.needs.seeds and "numpy" in client.needs.imports:
            importlib.import_module("numpy")
        if "sympy" in client.needs.imports:
            _close_reader()
        client.mirror = mirror = Mirror(client.needs)
        _provide(scope, program, client)
        client.scope = scope
        exec(code, scope)
        candidate = client.name(program.entry)
        if candidate is MISSING:
            return Outcome.EXCEPTION, one_line(f"NameError: {program.entry} is not defined"), []
        scope["check"](candidate)
    except (JudgingEnded, wire.BrokenMessage):
        raise
    except BaseException as error:  # pytest's are not subclasses of Exception
        if client.ended is None:
            return *_failure(error, program.test, client), []
    finally:
        if mirror is not None:
            mirror.close()
    if client.ended is not None:  # even if the test's `except:` caught it
        raise client.ended
    if client.swallowed:
        reason = "an assertion failed in a function of the test's, and the program went on"
        return Outcome.NOT_JUDGED, reason, []
    return Outcome.PASSED, "", []


def _close_reader() -> None:
    """sympy evaluates strings to make expressions of them: disabled here."""
    parser: Any = importlib.import_module("sympy.parsing.sympy_parser")

    def refuse(*_: Any, **__: Any) -> Any:
        raise TypeError("a text where an expression is wanted")

    parser.eval_expr = refuse


def _provide(scope: dict[str, Any], program: Program, client: ProgramClient) -> None:
    """Defines the names that the test uses but does not define: from the preamble, else from the
    program."""
    wanted = _free_names(program.test)
    if not wanted:
        return
    ours = client.preamble()
    head = entry_name(program)
    for name in sorted(wanted):
        if name in ours and name != head:
            scope[name] = ours[name]
        elif (value := client.name(name)) is not MISSING:
            scope[name] = value


@functools.lru_cache(maxsize=16)
def _free_names(source: str) -> frozenset[str]:
    """The names that a text reads, at any depth, and that neither it nor `builtins` defines."""
    top = symtable.symtable(source, TEST, "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    bound |= {child.get_name() for child in top.get_children()}
    read: set[str] = set()
    waiting = [top]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        read |= {
            s.get_name()
            for s in table.get_symbols()
            if s.is_referenced() and (s.is_global() or table is top)
        }
        bound |= {s.get_name() for s in table.get_symbols() if s.is_declared_global()}
    return frozenset(name for name in read - bound if not hasattr(builtins, name))


def _failure(error: BaseException, source: str, client: ProgramClient) -> tuple[Outcome, str]:
    """The verdict for an exception raised by the test."""
    if (reported := reported_error(error)) is not None:
        return _blamed(error, reported)
    if isinstance(error, MemoryError):
        return _TOO_LARGE
    line = 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == TEST:
            line = number
    at = f" (test, line {line})" if line else ""
    kind = "" if isinstance(error, Exception) else type(error).__name__  # pytest's own
    if kind == "Skipped":
        return Outcome.NOT_JUDGED, one_line(f"the test skips itself: {error}{at}")
    if isinstance(error, AssertionError) or kind == "Failed":
        text, line = _statement(source, line)
        at = f" (test, line {line})" if line else ""
        text = text or f"AssertionError: {error}"
        return Outcome.WRONG_ANSWER, one_line(f"{text[:180]}{at}{client.last()}")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if client.foreign:
        names = ", ".join(sorted(client.foreign))
        return Outcome.NOT_JUDGED, one_line(f"objects of {names} cannot be carried: {text}{at}")
    if isinstance(error, AttributeError) and client.lost:
        lost = f"; of {', '.join(sorted(client.lost))} only the data is here"
        return Outcome.NOT_JUDGED, one_line(f"{text[:180]}{at}{lost}")
    return Outcome.EXCEPTION, one_line(f"{text[:180]}{at}{client.last()}")


def _blamed(error: BaseException, reported: ReportedError) -> tuple[Outcome, str]:
    if isinstance(error, MemoryError):
        return Outcome.OUT_OF_MEMORY, ""
    if isinstance(error, SystemExit):
        return Outcome.EXITED_EARLY, one_line(reported.detail)
    return (Outcome.FORBIDDEN if reported.denied else Outcome.EXCEPTION), one_line(reported.detail)


def _statement(source: str, line: int) -> tuple[str, int]:
    """The assertion at a line, or the line itself, and its first line number."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or 0):
            return " ".join((ast.get_source_segment(source, node) or "").split()), node.lineno
    return (source.split("\n")[line - 1].strip() if line else ""), line


def _probe(program: Program, client: ProgramClient) -> Iterator[str]:
    """The entry's result for each input: a value, or the name of the exception."""
    candidate = client.name(program.entry)
    for arguments in program.inputs:
        try:
            values = wire.decode_all(arguments, _no_handle)
            result = candidate(*values)
            if remote.is_remote(result) and hasattr(type(result), "__next__"):
                result = ["iterator", *(item for item, _ in zip(result, range(1000), strict=False))]
            yield canonical(result)
        except Exception as error:
            reported = reported_error(error)
            if reported is None:
                raise
            yield f"raises {reported.name}"


def canonical(value: Any) -> str:
    """A canonical text: equal values of one type have equal texts."""
    return json.dumps(_canonical(value, 100), sort_keys=True)


def _canonical(value: Any, depth: int) -> Any:
    if depth == 0:
        return "..."
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else {"int": hex(value)}
    if isinstance(value, float):
        return {"float": repr(float(f"{value:.12g}"))}  # ignore the order of additions
    name = type(value).__name__
    if isinstance(value, (list, tuple)):
        return {name: [_canonical(v, depth - 1) for v in value]}
    if isinstance(value, (set, frozenset)):
        return {name: sorted(json.dumps(_canonical(v, depth - 1)) for v in value)}
    if isinstance(value, dict):
        pairs = [[_canonical(k, depth - 1), _canonical(v, depth - 1)] for k, v in value.items()]
        return {name: sorted(pairs, key=json.dumps)}
    if remote.shown(value) is not None or callable(value):
        return {name: ""}
    if name == "ndarray":
        return {name: [str(value.dtype), _canonical(value.tolist(), depth - 1)]}
    if isinstance(value, BaseException):
        return {name: _canonical(list(value.args), depth - 1)}
    return {name: str(value)}


def _no_handle(node: list[Any]) -> Any:
    raise wire.BrokenMessage(f"an input is no data: {node}")
