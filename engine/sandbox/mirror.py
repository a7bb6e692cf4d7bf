# SPDX-License-Identifier: Apache-2.0
"""Mirrors the test's changes to its environment to the program with each call, and back.

Replaced streams, patched functions, seeds, environment variables, the current folder. Printed
text, warnings and variables come back as data, only if the test uses them.
"""

from __future__ import annotations

import builtins
import decimal
import io
import os
import random
import sys
import warnings
from typing import Any

from gars_vllm.engine.sandbox.needs import Needs
from gars_vllm.engine.sandbox.program_server import words

_STREAMS = ("stdout", "stderr")
_NEVER = frozenset(
    words(
        "stdin stdout stderr modules path argv0 __builtins__ displayhook meta_path path_hooks "
        "path_importer_cache last_exc last_value last_type last_traceback"
    )
)


class Mirror:
    """The environment of one test in this process, relative to its state at the beginning."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._streams = {name: getattr(sys, name) for name in ("stdin", *_STREAMS)}
        self._modules = {
            name: dict(vars(sys.modules[name]))
            for name in needs.patched
            if name in sys.modules
        }  # fmt: skip
        self._input = builtins.input
        self._environment = dict(os.environ)
        self._folder = _folder() if needs.files else ""
        self._recursion = sys.getrecursionlimit()
        self._seeded: set[str] = set()
        self._decimal = _decimal()
        self._unhook: list[Any] = []
        if needs.seeds:
            self._hook(random, "seed", "setstate")
            if "numpy" in sys.modules:
                self._hook(sys.modules["numpy"].random, "seed", "set_state")

    def _hook(self, module: Any, *names: str) -> None:
        """Records calls of the module's functions."""
        for name in names:
            function = getattr(module, name)

            def seeded(*values: Any, _function: Any = function, **named: Any) -> Any:
                self._seeded.add(module.__name__)
                return _function(*values, **named)

            setattr(module, name, seeded)
            self._unhook.append((module, name, function))

    def close(self) -> None:
        """Restores this process's streams, functions and limits for the next test."""
        for module, name, function in self._unhook:
            setattr(module, name, function)
        for name, stream in self._streams.items():
            setattr(sys, name, stream)
        for name, before in self._modules.items():
            for key, value in before.items():
                if key not in _NEVER and vars(sys.modules[name]).get(key) is not value:
                    setattr(sys.modules[name], key, value)
        builtins.input = self._input
        sys.setrecursionlimit(self._recursion)
        os.environ.clear()
        os.environ.update(self._environment)

    def now(self) -> dict[str, Any]:
        """The changes to apply in the program before the next call; empty if there are none."""
        changes: dict[str, Any] = {}
        streams = [name for name in _STREAMS if getattr(sys, name) is not self._streams[name]]
        if streams:
            changes["streams"] = streams
        if sys.stdin is not self._streams["stdin"] and isinstance(sys.stdin, io.StringIO):
            changes["in"] = sys.stdin.getvalue()[sys.stdin.tell() :]
        patched = list(self._patched())
        if patched:
            changes["patched"] = patched
        if self._needs.warnings:
            changes["warnings"] = True
        if self._needs.files:
            changes |= self._files()
        if sys.getrecursionlimit() != self._recursion:
            changes["recursion"] = sys.getrecursionlimit()
        if _decimal() != self._decimal:
            changes["decimal"] = self._decimal = _decimal()
        if self._seeded:
            changes["seeds"] = [[name.partition(".")[0], _state(name)] for name in self._seeded]
            self._seeded.clear()
        return changes

    def _patched(self) -> Any:
        if builtins.input is not self._input and "builtins" not in self._modules:
            yield "builtins", "input", builtins.input
        for name, before in self._modules.items():
            for key, value in vars(sys.modules[name]).items():
                if before.get(key, self) is not value and key not in _NEVER:
                    yield name, key, value

    def _files(self) -> dict[str, Any]:
        changes: dict[str, Any] = {"environment": True}
        now = dict(os.environ)
        if now != self._environment:
            names = {**self._environment, **now}
            changes["environ"] = [
                [n, now.get(n)] for n in names if self._environment.get(n) != now.get(n)
            ]
        folder = _folder()
        if folder != self._folder:
            changes["folder"] = self._folder = folder
        return changes

    def take(self, said: Any) -> None:
        """Applies what the program printed, warned, read and set. Raises TypeError or ValueError
        for invalid data."""
        if not isinstance(said, dict):
            raise TypeError("nothing said")
        for name in _STREAMS:
            text = said.get(name)
            if isinstance(text, str) and text and getattr(sys, name) is not self._streams[name]:
                getattr(sys, name).write(text)
        if type(said.get("read")) is int and isinstance(sys.stdin, io.StringIO):
            sys.stdin.seek(sys.stdin.tell() + min(said["read"], len(sys.stdin.getvalue())))
        if self._needs.warnings:
            for category, text in said.get("warned", ()):
                if isinstance(category, type) and issubclass(category, Warning):
                    warnings.warn(str(text), category, stacklevel=1)
        if self._needs.files:
            for name, value in said.get("environment", ()):
                if value is None:
                    os.environ.pop(str(name), None)
                else:
                    os.environ[str(name)] = str(value)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _decimal() -> list[Any]:
    context = decimal.getcontext()
    return [context.prec, context.rounding]


def _state(module: str) -> Any:
    if module == "random":
        return random.getstate()
    return sys.modules["numpy"].random.get_state()
