# SPDX-License-Identifier: Apache-2.0
"""Proxies, in the program's process, for the test's functions, and the test's changes to its
environment.

Runs in the jail. None of it is a security boundary: a program that tampers with it can only
fail.
"""

from __future__ import annotations

import builtins
import contextlib
import decimal
import importlib
import io
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

Call = Callable[[list[Any], dict[str, Any]], Any]
_GIVEN = object()  # marks a default value, which the judge's function supplies


def function(call: Call, name: str, doc: str | None, spec: list[Any], is_async: bool) -> Any:
    """A proxy for a function of the judge with its name and parameters: [name, kind, has a
    default]."""
    shown, passed, named = [], [], []
    has_star = False
    for parameter, kind, has_default in spec:
        default = "=_given" if has_default else ""
        if kind == "VAR_POSITIONAL":
            shown.append(f"*{parameter}")
            passed.append(f"*{parameter}")
            has_star = True
        elif kind == "VAR_KEYWORD":
            shown.append(f"**{parameter}")
            named.append(f"**{parameter}")
        elif kind == "KEYWORD_ONLY":
            shown += [] if has_star else ["*"]
            has_star = True
            shown.append(parameter + default)
            named.append(f"{parameter!r}: {parameter}")
        else:
            shown.append(parameter + default)
            passed.append(parameter)
    scope: dict[str, Any] = {"_given": _GIVEN, "_call": _without_defaults(call)}
    exec(
        f"{'async ' if is_async else ''}def made({', '.join(shown)}):\n"
        f"    return _call([{', '.join(passed)}], {{{', '.join(named)}}})\n",
        scope,
    )
    made = scope["made"]
    made.__name__ = made.__qualname__ = name
    made.__doc__, made.__module__ = doc, "test"
    return made


def _without_defaults(call: Call) -> Call:
    def made(values: list[Any], named: dict[str, Any]) -> Any:
        return call(
            [value for value in values if value is not _GIVEN],
            {name: value for name, value in named.items() if value is not _GIVEN},
        )

    return made


def iterator(step: Callable[[], Any]) -> Iterator[Any]:
    """A proxy for an iterator of the judge; `step` gives an item in a list, or nothing at the
    end."""
    while items := step():
        yield items[0]


def named(module: str, name: str) -> Any:
    """A class or a function of a library by its name; "" for the module itself."""
    target: Any = importlib.import_module(module)
    for part in name.split(".") if name else ():
        target = getattr(target, part)
    return target


class MirroredEnvironment:
    """Applies the test's environment to the program for the duration of a call."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._imported = {"random": random}

    @contextlib.contextmanager
    def within(self, wanted: dict[str, Any], said: dict[str, Any]) -> Iterator[None]:
        """`wanted`: the changes that the judge sends (`mirror.py`); `said` receives what it
        wants back. The program's own changes to its environment persist."""
        self._set(wanted)
        with contextlib.ExitStack() as stack:
            for module, name, value in wanted.get("patched", ()):
                stack.enter_context(_patched(module, name, value))
            streams = {n: stack.enter_context(_captured(n)) for n in wanted.get("streams", ())}
            given = None
            if "in" in wanted:
                given = io.StringIO(wanted["in"])
                stack.enter_context(_replaced("stdin", given))
            caught: list[Any] = []
            if wanted.get("warnings"):
                recorded = stack.enter_context(warnings.catch_warnings(record=True))
                caught = [] if recorded is None else recorded
                warnings.simplefilter("always")
            try:
                yield
            finally:
                for name, stream in streams.items():
                    with contextlib.suppress(ValueError):  # the program closed it
                        stream.flush()
                        said[name] = stream.buffer.getvalue().decode("utf-8", "replace")
                if given is not None and not given.closed:
                    said["read"] = given.tell()
                if caught:
                    said["warned"] = [[w.category, str(w.message)] for w in caught]
        if wanted.get("environment"):
            said["environment"] = self._changes()

    def _set(self, wanted: dict[str, Any]) -> None:
        for name, value in wanted.get("environ", ()):
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if wanted.get("environ"):
            self._environment = dict(os.environ)
        if "folder" in wanted:
            os.chdir(wanted["folder"])
        if "recursion" in wanted:
            sys.setrecursionlimit(wanted["recursion"])
        if "decimal" in wanted:
            context = decimal.getcontext()
            context.prec, context.rounding = wanted["decimal"]
        for module, state in wanted.get("seeds", ()):
            if module == "random":
                random.setstate((state[0], tuple(state[1]), state[2]))
            else:
                importlib.import_module("numpy.random").set_state(state)

    def _changes(self) -> list[list[str | None]]:
        now = dict(os.environ)
        names = [n for n in {**self._environment, **now} if self._environment.get(n) != now.get(n)]
        self._environment = now
        return [[name, now.get(name)] for name in sorted(names)]


@contextlib.contextmanager
def _patched(module: str, name: str, value: Any) -> Iterator[None]:
    target = builtins if module == "builtins" else importlib.import_module(module)
    before = getattr(target, name, _GIVEN)
    setattr(target, name, value)
    try:
        yield
    finally:
        if getattr(target, name, None) is value:
            if before is _GIVEN:
                delattr(target, name)
            else:
                setattr(target, name, before)


@contextlib.contextmanager
def _replaced(name: str, stream: Any) -> Iterator[Any]:
    before = getattr(sys, name)
    setattr(sys, name, stream)
    try:
        yield stream
    finally:
        if getattr(sys, name) is stream:
            setattr(sys, name, before)


@contextlib.contextmanager
def _captured(name: str) -> Iterator[Any]:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="replace", newline="")
    with _replaced(name, stream):
        yield stream
