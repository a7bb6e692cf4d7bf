# SPDX-License-Identifier: Apache-2.0
"""How an untrusted program ended, and its limits."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gars_vllm.engine.errors import UserError


class Outcome(StrEnum):
    """How a program ended. All but `PASSED` and `NOT_JUDGED` are failures."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong answer"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"
    EXITED_EARLY = "exited early"
    SYNTAX_ERROR = "syntax error"
    FORBIDDEN = "forbidden action"
    NOT_JUDGED = "not judged"  # no judge supports the test


@dataclass(frozen=True)
class Limits:
    """Time in seconds and address space in MiB."""

    timeout: float = 3.0
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.timeout < 1e6:
            raise UserError(f"timeout is {self.timeout}: it must be a number of seconds above 0")
        if self.memory_mb < 64:
            raise UserError(
                f"memory is {self.memory_mb} MiB: an interpreter needs 64, so give that or more"
            )


@dataclass(frozen=True)
class Program:
    """An untrusted program and how it is judged.

    `test` is trusted Python that defines `check(candidate)`; it is called with the value of the
    expression `entry` in the program. Names that the test uses but does not define are looked up
    in `preamble`, also trusted Python (a prompt's helpers), then in the program. With `inputs`
    (encoded argument lists) and no test, `entry` is called with each, and the results are the
    verdict's `outputs`.
    """

    text: str
    entry: str
    test: str = ""
    preamble: str = ""
    inputs: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """How a program ended, a one-line detail, and the seconds that it ran.

    `waited`: seconds for which it was runnable without a core; they do not count against its
    limit. `outputs`: results for `Program.inputs` in canonical form. `judge`: where the test
    ran: "outside" the jail, "inside" it in a separate process, or "" for no test.
    """

    outcome: Outcome
    detail: str
    seconds: float
    waited: float = 0.0
    outputs: tuple[str, ...] = field(default=(), repr=False)
    judge: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED


def is_judged(result: Mapping[str, Any]) -> bool:
    """Whether a line of results holds a verdict rather than a reason for having none."""
    return bool(result.get("outcome") != Outcome.NOT_JUDGED.value)


def one_line(text: str) -> str:
    """A program's text as one short printable line, safe for a terminal and a file."""
    words = " ".join(text[:10_000].split())
    if not words.isprintable():
        words = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
    return words[:300]


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
