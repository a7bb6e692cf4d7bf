# SPDX-License-Identifier: Apache-2.0
"""Files that are not what they should be: each command says so in one line, and where."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main

MakeRun = Callable[..., Path]
GOOD = "    return a + b\n"
COUNT = 100  # of those that are not compressed, drawn of all that there are

NO_TEXT = [5, None, True, [], {}, 1.5]
NO_NAME = [*NO_TEXT, "", "a\nb", "\ud800", "\x1b[31m"]
NO_COUNT = ["0", -1, 1.5, True, [], {}, 2**70, 10**400, float("nan")]
NO_NUMBER = ["1", True, [], {}, float("nan"), float("inf"), 10**400]
NO_BOOL = ["true", 1, 0, [], {}]
WRONG: dict[str, dict[str, list[Any]]] = {
    "samples.jsonl": {
        "task_id": NO_NAME, "sample_index": [None, *NO_COUNT], "program": NO_TEXT,
        "completion": NO_TEXT, "tokens": [None, *NO_COUNT], "seed": NO_COUNT,
        "temperature": NO_NUMBER, "valid": [None, *NO_BOOL], "finish_reason": NO_TEXT,
        "given_up_tokens": NO_COUNT, "mean_logprob": NO_NUMBER, "log_z": NO_NUMBER,
        "overruled": NO_COUNT, "overruled_at": [5, "x", {}, None, ["x"], [1, None]],
    },
    "results.jsonl": {
        "task_id": NO_NAME, "sample_index": [None, *NO_COUNT], "passed": [None, *NO_BOOL],
        "outcome": ["ok", "PASSED", *NO_TEXT], "detail": NO_TEXT, "seconds": NO_NUMBER,
        "sandbox": NO_TEXT,
    },
    "checks/compile.jsonl": {
        "task_id": NO_NAME, "sample_index": [None, *NO_COUNT], "passed": NO_BOOL,
        "detail": NO_TEXT,
    },
    "answers.jsonl": {"task_id": NO_NAME, "completion": NO_TEXT, "solution": NO_TEXT},
    "answers.jsonl_results.jsonl": {
        "task_id": NO_NAME, "completion": NO_TEXT, "passed": [None, *NO_BOOL],
        "result": NO_TEXT, "outcome": ["ok", *NO_TEXT],
    },
    "prompts.jsonl": {
        "task_id": [True, [], {}, 1.5, "", "a\nb", -1], "prompt": [*NO_TEXT, ""],
        "entry_point": [5, True, [], {}], "test": [5, True, [], {}],
        "canonical_solution": [5, [], {}], "grammar_prefix": [5, [], {}],
    },
}  # fmt: skip
WRONG_RUN = {
    "format": ["1", None, True, [], {}, 1.5],
    "config": [None, 5, "x", []],
    "info": [None, 5, "x", []],
    "config.task_ids": [5, "mine/0", {}, [5], [None], ["a", ["b"]]],
    "config.n": ["4", None, 0, *NO_COUNT],
    "config.model": NO_NAME,
    "config.tasks": NO_NAME,
    "config.temperature": [*NO_NUMBER, ["0.8"], [[0.8]]],
    "config.blocks": [5, "x", [0.8, 2], [[0.8]], [[0.8, 2, 2]], [[0.8, 0]], [[0.8, 1.5]], [["0.8", 2]]],
    "info.sessions": ["x", 5, {}, ["x"], [5], [{"seconds": "4"}], [{"tokens": -1}], [{"mask_seconds": None}]],
    "info.parameters": NO_COUNT,
    "info.prompt_tokens": ["x", 5, [], {"mine/0": "3"}, {"mine/0": None}],
}  # fmt: skip
BROKEN = {  # whole lines, and what is said of them
    b"": "", b"{": "", b"[]": "", b"3": "", b'"x"': "", b"null": "", b'{"task_id": ': "",
    b"\xff\xfe{": "", '{"task_id": "é"}'.encode("latin-1"): "", b"\0\0\0\0": "",
    "{}".encode("utf-16"): "", b"[" * 100_000: "", b'{"a":' * 100_000: "", b"[" * 500 + b"]" * 500: "",
    b'{"a":' * 500 + b"1" + b"}" * 500: "", b'{"task_id": ' + b"9" * 5000 + b"}": "", b"{}": "",
    b"nan": "", b'{"task_id": "mine/0", "extra": ' + b"[" * 300 + b"]" * 300 + b"}": "",
}  # fmt: skip


def changed(record: dict[str, Any], name: str, value: Any) -> bytes:
    """The record as JSON with that value, `name` dotted."""
    record = json.loads(json.dumps(record))
    *outer, last = name.split(".")
    held = record
    for part in outer:
        held = held[part]
    held[last] = value
    return json.dumps(record).encode()


def malformed(files: dict[str, bytes], rng: random.Random) -> Iterator[tuple[str, bytes, str]]:
    """A file's name, its damaged content, and the place that the error must name."""
    for file, fields in WRONG.items():
        lines = files[file].splitlines()
        cases = [(name, value) for name, values in fields.items() for value in values]
        broken = [line for line in BROKEN if line or file.startswith(("sam", "res", "che"))]
        for case in [*cases, *broken]:
            number = rng.randrange(len(lines))
            if isinstance(case, tuple):
                line = changed(json.loads(lines[number]), *case)
                place = f"{file}:{number + 1}: `{case[0]}"
            else:
                line, place = case, f"{file}:{number + 1}: "
            content = b"\n".join([*lines[:number], line, *lines[number + 1 :]]) + b"\n"
            yield file, content, place
    record = json.loads(files["run.json"])
    for name, values in WRONG_RUN.items():
        for value in values:
            yield "run.json", changed(record, name, value), f"run.json: `{name}"
    for line in BROKEN:
        yield "run.json", line, "run.json: "
    for name in ("answers.jsonl.gz", "prompts.jsonl.gz"):
        good = gzip.compress(files[name[:-3]])
        for size in (0, 5, 12, len(good) // 2, len(good) - 1):
            yield name, good[:size], name
        for _ in range(8):
            place = rng.randrange(10, len(good))  # the head says nothing of the content
            yield name, good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :], name
        yield name, rng.randbytes(100), name


COMMANDS = {  # that read a file
    "run.json": ["report run", "report run --html page.html", "verify run", "compare run other",
                 "compare other run", "select run"],
    "samples.jsonl": ["report run", "verify run", "compare other run", "select run"],
    "results.jsonl": ["report run --json", "verify run", "compare run other", "select run"],
    "checks/compile.jsonl": ["report run", "verify run --with compile"],
    "answers.jsonl": ["verify answers.jsonl --prompts prompts.jsonl"],
    "answers.jsonl_results.jsonl": ["verify answers.jsonl --prompts prompts.jsonl"],
    "prompts.jsonl": ["sample --model model --prompts prompts.jsonl --out new", "verify run",
                      "verify answers.jsonl --prompts prompts.jsonl", "select run"],
    "answers.jsonl.gz": ["verify answers.jsonl.gz --prompts prompts.jsonl"],
    "prompts.jsonl.gz": ["sample --model model --prompts prompts.jsonl.gz --out new",
                         "verify run --prompts prompts.jsonl.gz"],
}  # fmt: skip


def begin(make_run: MakeRun) -> None:
    """Two verified runs, a file of answers and its results, and a folder that is nearly a model."""
    make_run()
    make_run("other")
    Path("model").mkdir()
    Path("model/config.json").write_text("{}")
    for name in ("run", "other"):
        keys = [{"task_id": f"mine/{i // 2}", "sample_index": i % 2} for i in range(4)]
        results = [{**k, "passed": True, "outcome": "passed", "detail": ""} for k in keys]
        checks = [{**k, "passed": True, "detail": ""} for k in keys]
        Path(name, "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in results))
        Path(name, "checks").mkdir()
        Path(name, "checks/compile.jsonl").write_text("".join(json.dumps(r) + "\n" for r in checks))
    answers = [{"task_id": f"mine/{i}", "completion": GOOD} for i in range(2)]
    judged = [a | {"passed": True, "result": "passed", "outcome": "passed"} for a in answers]
    Path("answers.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    Path("answers.jsonl_results.jsonl").write_text("".join(json.dumps(a) + "\n" for a in judged))


@pytest.mark.parametrize("count", [COUNT, pytest.param(None, marks=pytest.mark.full)])
def test_each_file_is_refused_in_one_line(make_run: MakeRun, count: int | None) -> None:
    begin(make_run)
    names = {name: Path("run", name) for name in ("run.json", "samples.jsonl", "results.jsonl", "checks/compile.jsonl")}  # fmt: skip
    names |= {name: Path(name) for name in COMMANDS if name not in names}
    files = {name: path.read_bytes() for name, path in names.items() if path.exists()}
    rng = random.Random(0)
    every = list(malformed(files, rng))
    assert len(every) > 400
    compressed = [one for one in every if one[0].endswith("gz")]
    kept = (
        every
        if count is None
        else compressed + rng.sample([one for one in every if one not in compressed], count)
    )
    faults = []
    for name, content, place in kept:
        names[name].write_bytes(content)
        for command in COMMANDS[name]:
            result = CliRunner().invoke(main, command.split())
            said = result.stderr
            is_clear = result.exit_code == 2 and said.count("\n") == 1
            if not (is_clear and said.startswith("Error: ") and place in said and len(said) < 400):
                faults.append(
                    (
                        command,
                        place,
                        content[:200],
                        result.exit_code,
                        said[-300:],
                        repr(result.exception),
                    )
                )
        if name in files:
            names[name].write_bytes(files[name])
        else:
            names[name].unlink()
    assert not faults, (len(faults), faults[:5])
    assert not Path("new").exists()
    for command in (
        "report run",
        "select run",
        "compare run other",
        "verify run --with tests,compile",
    ):
        assert CliRunner().invoke(main, command.split()).exit_code == 0  # as they were


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.full)])
def test_damaged_bytes_are_read_or_refused(make_run: MakeRun, count: int) -> None:
    """Bytes that are changed, lost or doubled anywhere: numbers of the rest, or one line."""
    begin(make_run)
    rng = random.Random(1)
    for _ in range(count):
        name = rng.choice(["run.json", "samples.jsonl", "results.jsonl", "checks/compile.jsonl"])
        path = Path("run", name)
        good = path.read_bytes()
        damaged = bytearray(good)
        for _ in range(rng.choice((1, 1, 3, 20))):
            place = rng.randrange(len(damaged))
            step = rng.randrange(4)
            if step == 0:
                damaged[place] = rng.randrange(256)
            elif step == 1:
                damaged[place] = rng.choice(b'{}[]",:0123456789-e.tfn')
            elif step == 2:
                del damaged[place : place + rng.randrange(9)]
            else:
                damaged[place:place] = damaged[max(0, place - rng.randrange(99)) : place]
            damaged = damaged or bytearray(b"\n")
        path.write_bytes(damaged)
        for command in ("report run --html page.html --csv numbers.csv", "compare run other"):
            result = CliRunner().invoke(main, command.split())
            assert result.exit_code in (0, 2), (command, bytes(damaged), result.exception)
            assert result.exit_code == 0 or len(result.stderr.splitlines()) == 1
        path.write_bytes(good)
