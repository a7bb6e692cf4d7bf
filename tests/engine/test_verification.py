# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.run_folder import RunFolder
from gars_vllm.engine.tasks import Task, load_humaneval, select
from gars_vllm.engine.verification import check_of, plan, verify

TEST = "def check(candidate):\n    assert candidate() == 1\n"
TASKS = [Task("t/0", "", "f", TEST), Task("t/1", "", "f", TEST), Task("t/2", "")]


def make(path: Path, programs: dict[str, list[str]], tasks: list[Task] = TASKS) -> RunFolder:
    prompts = path.with_suffix(".jsonl")
    prompts.write_text(
        "".join(
            json.dumps(
                {"task_id": t.task_id, "prompt": "#", "entry_point": t.entry_point, "test": t.test}
            )
            + "\n"
            for t in tasks
        )
    )
    with RunFolder(path) as run:
        run.create_or_resume({"tasks": str(prompts), "task_ids": list(programs)})
        run.samples.open()
        for task_id, listed in programs.items():
            for index, program in enumerate(listed):
                run.samples.append({"task_id": task_id, "sample_index": index, "program": program})
    return RunFolder(path)


def outcomes(run: RunFolder) -> dict[tuple[str, int], str]:
    return {(r["task_id"], r["sample_index"]): r["outcome"] for r in run.results.read()}


def test_verdicts_are_recorded_and_not_reached_twice(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1", "f = lambda: 2"], "t/1": ["f ="]})
    calls: list[tuple[int, int]] = []
    done = verify(run, 2, progress=lambda seen, total: calls.append((seen, total)))
    assert (done.verified, done.before, done.untested, done.programs) == (3, 0, 0, 3)
    assert done.outcomes == {"passed": 1, "wrong answer": 1, "syntax error": 1}
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    results = sorted(run.results.read(), key=lambda r: (r["task_id"], r["sample_index"]))
    assert [set(r) for r in results] == [
        {"task_id", "sample_index", "passed", "outcome", "detail", "seconds"}
    ] * 3
    assert [(r["passed"], r["outcome"], r["detail"]) for r in results] == [
        (True, "passed", ""),
        (False, "wrong answer", "assert candidate() == 1 (line 3)"),
        (False, "syntax error", "invalid syntax (line 1)"),
    ]
    before = run.results.path.read_bytes()
    again = verify(run, 2)
    assert (again.verified, again.before, again.programs) == (0, 3, 0)
    assert again.outcomes == done.outcomes
    assert run.results.path.read_bytes() == before


def test_equal_programs_of_a_task_run_once(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    program = f"open({str(mark)!r}, 'a').write('x')\nf = lambda: 1"
    run = make(
        tmp_path / "run", {"t/0": [program] * 4 + [f"# it\n{program}  # is\n"], "t/1": [program]}
    )
    done = verify(run)
    assert (done.verified, done.programs, mark.read_text()) == (6, 2, "xx")
    assert set(outcomes(run).values()) == {"passed"}
    assert len(outcomes(run)) == 6


def test_new_samples_are_verified_later(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"]})
    verify(run)
    with run.samples as samples:
        samples.append({"task_id": "t/0", "sample_index": 1, "program": "f = lambda: 0"})
        verify(RunFolder(run.path))  # beside a sampler that is at work
    assert outcomes(run) == {("t/0", 0): "passed", ("t/0", 1): "wrong answer"}


def test_tasks_without_a_test_get_no_verdict(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"], "t/2": ["x = 1", "x = 2"]})
    done = verify(run)
    assert (done.verified, done.untested) == (1, 2)
    assert outcomes(run) == {("t/0", 0): "passed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers is 0: it must be at least 1"),
        ({"timeout": -1.0}, "timeout is -1.0: it must be a number of seconds above 0"),
        ({"memory_mb": 1}, "memory is 1 MiB: an interpreter needs 64"),
        ({"tasks": TASKS[1:]}, "the run holds a sample of t/0, which is none of these tasks"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"]})
    with pytest.raises(UserError, match=message):
        verify(run, **arguments)
    assert outcomes(run) == {}


def test_two_verifications_of_one_run_are_refused(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"]})
    with RunFolder(run.path).results, pytest.raises(UserError, match="by another gars-vllm"):
        verify(run)


def test_human_evals_own_solutions_pass(tmp_path: Path) -> None:
    tasks = select(load_humaneval(), task_ids="0,10,32,38,50,53,75,83,116,137,155,163")
    with RunFolder(tmp_path / "run") as run:
        run.create_or_resume({"tasks": "humaneval", "task_ids": [t.task_id for t in tasks]})
        run.samples.open()
        for task in tasks:
            program = task.prompt + (task.canonical_solution or "")
            run.samples.append({"task_id": task.task_id, "sample_index": 0, "program": program})
            wrong = task.prompt + "    return 'wrong'\n"
            run.samples.append({"task_id": task.task_id, "sample_index": 1, "program": wrong})
    verify(run)
    assert {(i, o) for (_, i), o in outcomes(run).items() if i == 0} == {(0, "passed")}
    assert "passed" not in {o for (_, i), o in outcomes(run).items() if i == 1}
    assert len(outcomes(run)) == 24


def test_the_check_is_human_evals() -> None:
    task = load_humaneval()[0]
    assert check_of(task) == f"\n{task.test}\ncheck(has_close_elements)"
    jobs, untested = plan([], [task], frozenset())
    assert (jobs, untested) == ([], 0)


# Notes its process, and goes on for as long as the file `hold` is there.
HELD = """import os, time
open(os.path.join({pids!r}, str(os.getpid())), "w")
while os.path.exists({hold!r}): time.sleep(0.02)
f = lambda: 1
n = {n}
"""
VERIFY = (
    "import sys\nfrom gars_vllm.engine.run_folder import RunFolder\n"
    "from gars_vllm.engine.verification import verify\n"
    "verify(RunFolder(sys.argv[1]), 2, timeout=60)\n"
)


def running(folder: Path) -> list[str]:
    """The processes noted in the folder that are still there and still ours."""
    found = []
    for name in os.listdir(folder):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if b"execution_child" in words:
            found.append(name)
    return found


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_verification_that_is_ended_leaves_no_process_and_is_continued(
    tmp_path: Path, number: signal.Signals
) -> None:
    pids, hold = tmp_path / "pids", tmp_path / "hold"
    pids.mkdir()
    hold.touch()
    held = [HELD.format(pids=str(pids), hold=str(hold), n=n) for n in range(8)]
    run = make(tmp_path / "run", {"t/0": [f"f = lambda: 1\nn = {n}" for n in range(4)] + held})
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    child = subprocess.Popen(
        [sys.executable, "-c", VERIFY, str(run.path)], stderr=subprocess.DEVNULL, env=environment
    )
    wait_until(lambda: len(running(pids)) == 2, "the verification does not get on")
    wait_until(lambda: len(outcomes(run)) == 4, "the first verdicts are not there")
    child.send_signal(number)
    assert child.wait(timeout=5) != 0
    wait_until(lambda: running(pids) == [], "a program outlived the verification", 2)
    before = list(run.results.read())
    assert len(before) == 4
    hold.unlink()
    done = verify(run, 2)
    assert (done.before, done.verified) == (4, 8)
    assert list(run.results.read())[:4] == before
    assert outcomes(run) == {("t/0", index): "passed" for index in range(12)}
    assert run.results.path.read_bytes().count(b"\n") == 12
    if number == signal.SIGINT:
        assert not list(tmp_path.glob("gars-verify-*"))
