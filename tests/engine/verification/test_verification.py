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
from gars_vllm.engine.analysis.summary import summarise
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.sandbox.outcome import Program, Verdict
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification import verification
from gars_vllm.engine.verification.verification import Checking, Plan, preamble_of, verify

TEST = "def check(candidate):\n    assert candidate() == 1\n"
TASKS = [Task("t/0", "", "f", TEST), Task("t/1", "", "f", TEST), Task("t/2", "")]


def make(path: Path, programs: dict[str, list[str]], tasks: list[Task] = TASKS) -> RunFolder:
    prompts = path.with_suffix(".jsonl")
    prompts.write_text(
        "".join(
            json.dumps(
                {
                    "task_id": t.task_id,
                    "prompt": "#",
                    "entry_point": t.entry_point,
                    "test": t.test,
                    "canonical_solution": t.canonical_solution,
                }
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


@pytest.fixture
def how(tier: Tier) -> Checking:
    return Checking(tier, 2)


def test_verdicts_are_recorded_and_not_reached_twice(tmp_path: Path, how: Checking) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1", "f = lambda: 2"], "t/1": ["f ="]})
    calls: list[tuple[int, int]] = []
    done = verify(run, how, lambda seen, total: calls.append((seen, total)))
    assert (done.verified, done.before, done.untested, done.programs) == (3, 0, 0, 3)
    assert (done.sandbox, done.hidden, done.failing_references) == (how.tier, 0, ())
    assert done.outcomes == {"passed": 1, "wrong answer": 1, "syntax error": 1}
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    results = sorted(run.results.read(), key=lambda r: (r["task_id"], r["sample_index"]))
    assert [set(r) for r in results] == [
        {"task_id", "sample_index", "passed", "outcome", "detail", "seconds", "sandbox", "judge"}
    ] * 3
    assert [(r["passed"], r["outcome"], r["detail"]) for r in results] == [
        (True, "passed", ""),
        (False, "wrong answer", "assert candidate() == 1 (test, line 2); it gave 2"),
        (False, "syntax error", "invalid syntax (line 1)"),
    ]
    before = run.results.path.read_bytes()
    again = verify(run, how)
    assert (again.verified, again.before, again.programs) == (0, 3, 0)
    assert again.outcomes == done.outcomes
    assert run.results.path.read_bytes() == before


def ran(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """The programs that are handed to a pool from here on."""
    found: list[Program] = []
    run = verification.Pool.run

    def noted(self: Any, jobs: Any) -> Any:
        return run(self, (found.append(job.program) or job for job in jobs))

    monkeypatch.setattr(verification.Pool, "run", noted)
    return found


def test_equal_programs_of_a_task_run_once(
    tmp_path: Path, how: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = ran(monkeypatch)
    same = "f = lambda: 1"
    run = make(tmp_path / "run", {"t/0": [same] * 4 + [f"# it\n{same}  # is\n"], "t/1": [same]})
    done = verify(run, how)
    assert (done.verified, done.programs, len(programs)) == (6, 2, 2)
    assert set(outcomes(run).values()) == {"passed"}
    assert len(outcomes(run)) == 6
    # nor does one that had its verdict in an earlier session
    with run.samples as samples:
        samples.append({"task_id": "t/0", "sample_index": 5, "program": f"\n{same}"})
    again = verify(RunFolder(run.path), how)
    assert (again.verified, again.programs, len(programs)) == (1, 0, 2)
    assert outcomes(run)["t/0", 5] == "passed"


def test_new_samples_are_verified_later(tmp_path: Path, how: Checking) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"]})
    verify(run, how)
    with run.samples as samples:
        samples.append({"task_id": "t/0", "sample_index": 1, "program": "f = lambda: 0"})
        verify(RunFolder(run.path), how)  # beside a sampler that is at work
    assert outcomes(run) == {("t/0", 0): "passed", ("t/0", 1): "wrong answer"}


def test_a_run_that_goes_on_is_followed_to_its_end(tmp_path: Path, how: Checking) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"]})
    with run.samples as samples:
        asked: list[int] = []

        def goes_on() -> bool:
            """Adds a sample at each of the first few looks, one of them as it ends."""
            asked.append(0)
            if len(asked) in (2, 5, 8):
                program = f"f = lambda: {len(asked)}"
                samples.append({"task_id": "t/0", "sample_index": len(asked), "program": program})
            return len(asked) < 8

        done = verify(RunFolder(run.path), how, goes_on=goes_on)
    assert done.verified == len(outcomes(run)) == 4
    assert 1 <= done.hidden < 4


def test_tasks_without_a_test_get_no_verdict(tmp_path: Path, how: Checking) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"], "t/2": ["x = 1", "x = 2"]})
    done = verify(run, how)
    assert (done.verified, done.untested) == (1, 2)
    assert outcomes(run) == {("t/0", 0): "passed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers is 0: it must be at least 1"),
        ({"timeout": -1.0}, "timeout is -1.0: it must be a number of seconds above 0"),
        ({"memory_mb": 1}, "memory is 1 MiB: an interpreter needs 64"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"]})
    with pytest.raises(UserError, match=message):
        verify(run, Checking(Tier.NAMESPACES, **arguments))
    assert outcomes(run) == {}


def test_samples_of_other_tasks_are_refused(tmp_path: Path, how: Checking) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"]})
    with pytest.raises(UserError, match="a sample of t/0, which is none of these tasks"):
        verify(run, how, tasks=TASKS[1:])
    assert outcomes(run) == {}


def test_two_verifications_of_one_run_are_refused(tmp_path: Path, how: Checking) -> None:
    run = make(tmp_path / "run", {"t/0": ["f = lambda: 1"]})
    with RunFolder(run.path).results, pytest.raises(UserError, match="by another gars-vllm"):
        verify(run, how)


def test_a_program_gets_ten_times_what_the_own_solution_takes(
    tmp_path: Path, how: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    run_ = verification.Pool.run

    def noted(self: Any, jobs: Any) -> Any:
        for job, verdict in run_(self, jobs):
            limits.append(job.limits.timeout)
            yield job, Verdict(verdict.outcome, verdict.detail, 0.7, 0.1)

    monkeypatch.setattr(verification.Pool, "run", noted)
    slow = Task("s/0", "#", "f", TEST, canonical_solution="\nf = lambda: 1")
    run = make(tmp_path / "run", {"s/0": ["f = lambda: 2"]}, [slow])
    verify(run, how, tasks=[slow])
    assert limits == [60.0, pytest.approx(6.0)]
    assert Checking(how.tier).limits(0.1).timeout == 3.0
    assert Checking(how.tier, timeout=1.5).limits(10.0).timeout == 1.5


def test_a_task_whose_own_solution_fails_is_named(tmp_path: Path, how: Checking) -> None:
    bad = Task("s/0", "#", "f", TEST, canonical_solution="\nf = lambda: 2")
    run = make(tmp_path / "run", {"s/0": ["f = lambda: 1"]}, [bad])
    assert verify(run, how, tasks=[bad]).failing_references == ("s/0",)


def test_what_cannot_be_judged_is_counted_apart(tmp_path: Path, how: Checking) -> None:
    """By its test, which is known before anything runs; and by what stops its own solution."""
    evaluates = Task("s/0", "#", "f", "def check(c):\n    assert eval(c()) == 1\n")
    forks = Task("s/1", "#", "f", TEST, canonical_solution="\nimport os\nf = os.fork")
    plain = Task("s/2", "#", "f", TEST)
    tasks = [evaluates, forks, plain]
    run = make(
        tmp_path / "run",
        {
            "s/0": ["f = lambda: '1'"],
            "s/1": ["f = lambda: 1"],
            "s/2": ["f = lambda: 1", "f = lambda: 2"],
        },
        tasks,
    )
    assert list(verification.unjudged(tasks)) == ["s/0"]
    done = verify(run, how, tasks=tasks)
    assert done.outcomes == {"not judged": 2, "passed": 1, "wrong answer": 1}
    assert "eval" in done.unjudged["s/0"]
    assert "forbidden action: fork" in done.unjudged["s/1"]
    assert done.failing_references == ()
    assert verification.Verification.from_json(done.to_json()) == done
    told = {r["task_id"]: r for r in run.results.read()}
    assert told["s/0"]["passed"] is False
    assert "eval" in told["s/0"]["detail"]
    (summary,) = summarise(run)
    assert (summary.verified, summary.passed, summary.not_judged, summary.unverified) == (
        2,
        1,
        2,
        0,
    )
    assert summary.outcomes == {"passed": 1, "wrong answer": 1}
    assert summary.pass_at[1] == 0.5
    assert any("2 samples are not judged" in note for note in summary.notes())


def test_human_evals_own_solutions_pass_and_no_other(tmp_path: Path, how: Checking) -> None:
    tasks = load_humaneval()
    with RunFolder(tmp_path / "run") as run:
        run.create_or_resume({"tasks": "humaneval", "task_ids": [t.task_id for t in tasks]})
        run.samples.open()
        for task in tasks:
            program = task.prompt + (task.canonical_solution or "")
            run.samples.append({"task_id": task.task_id, "sample_index": 0, "program": program})
            wrong = task.prompt + "    return 'wrong'\n"
            run.samples.append({"task_id": task.task_id, "sample_index": 1, "program": wrong})
    done = verify(run, how)
    assert done.failing_references == ()
    found = outcomes(run)
    assert [found[t.task_id, 0] for t in tasks] == ["passed"] * 164
    assert not [t.task_id for t in tasks if found[t.task_id, 1] == "passed"]


def test_every_prompt_of_human_eval_gives_its_helpers() -> None:
    for task in load_humaneval():
        source = preamble_of(task)
        scope: dict[str, Any] = {}
        exec(source, scope)
        assert task.entry_point in scope
    assert preamble_of(Task("x", "Write a function, please:")) == ""


def test_a_plan_takes_each_sample_once() -> None:
    plan = Plan(TASKS, [], [])
    samples = [{"task_id": "t/0", "sample_index": i, "program": "x = 1"} for i in range(3)]
    known, (group,) = plan.take(samples[:2])
    assert (known, group.keys) == ([], [("t/0", 0), ("t/0", 1)])
    plan.remember(group, {"passed": True})
    known, groups = plan.take(samples)
    assert (known, groups) == ([(("t/0", 2), {"passed": True})], [])
    assert plan.take(samples) == ([], [])


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


VERIFY = (
    "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # if it was ignored
    "import sys\nfrom gars_vllm.engine.runs.folder import RunFolder\n"
    "from gars_vllm.engine.verification.verification import Checking, verify\n"
    "verify(RunFolder(sys.argv[1]), Checking(sys.argv[2], 2, timeout=60))\n"
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_verification_that_is_ended_is_continued(
    tmp_path: Path, number: signal.Signals, tier: Tier
) -> None:
    """What becomes of its processes: test_pool."""
    held = [f"import time\ntime.sleep(9)\nf = lambda: 1\nn = {n}" for n in range(4)]
    run = make(tmp_path / "run", {"t/0": [f"f = lambda: 1\nn = {n}" for n in range(4)] + held})
    child = subprocess.Popen(
        [sys.executable, "-c", VERIFY, str(run.path), tier],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    wait_until(lambda: len(outcomes(run)) == 4, "the first verdicts are not there")
    child.send_signal(number)
    assert child.wait(timeout=10) != 0
    before = list(run.results.read())
    assert len(before) == 4
    done = verify(run, Checking(tier, 2, timeout=0.5))
    assert (done.before, done.verified) == (4, 4)
    assert list(run.results.read())[:4] == before
    assert [outcomes(run)["t/0", i] for i in range(8)] == ["passed"] * 4 + ["timeout"] * 4
    assert run.results.path.read_bytes().count(b"\n") == 8


def test_again_replaces_all_verdicts_when_the_new_ones_are_there(
    tmp_path: Path, how: Checking
) -> None:
    good = "def f(): return 1"
    run = make(tmp_path / "run", {"t/0": [good, "def f(): return 2"], "t/1": ["def f(): return 3"]})
    verify(run, how)
    right = run.results.path.read_bytes()
    stale = right.replace(b"wrong answer", b"exception")
    run.results.path.write_bytes(stale)
    assert verify(run, how).verified == 0

    def stop(seen: int, total: int) -> None:
        assert total == 3
        assert run.results.path.read_bytes() == stale
        if seen == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(run, how, stop, again=True)
    (note,) = run.notes()
    assert "results.jsonl.new holds verdicts of a `gars-vllm verify --force`" in note
    assert [r["outcome"] for r in run.results.read()].count("exception") == 2
    done = verify(run, how, again=True)
    assert (done.before, done.verified) == (1, 2)
    assert outcomes(run) == {
        ("t/0", 0): "passed", ("t/0", 1): "wrong answer", ("t/1", 0): "wrong answer",
    }  # fmt: skip
    assert run.notes() == []
    assert sorted(p.name for p in run.path.iterdir() if "results" in p.name) == ["results.jsonl"]
    assert verify(run, how, again=True).verified == 3


def test_again_and_a_usual_verification_exclude_each_other(tmp_path: Path, how: Checking) -> None:
    run = make(tmp_path / "run", {"t/0": ["def f(): return 1"]})

    def other(seen: int, total: int) -> None:
        with pytest.raises(UserError, match="is being written by another gars-vllm"):
            verify(RunFolder(run.path), how)

    verify(run, how, other, again=True)
