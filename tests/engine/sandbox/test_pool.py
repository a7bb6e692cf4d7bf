# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox import pool as pools
from gars_vllm.engine.sandbox.outcome import Limits, Outcome, Program, Verdict
from gars_vllm.engine.sandbox.pool import Job, Pool, SandboxError
from gars_vllm.engine.sandbox.tiers import Tier

CHECK = "def check(candidate):\n    assert candidate() == 1\n"
LIMITS = Limits(5.0, 256)
pytestmark = pytest.mark.alone


def jobs(texts: list[str], limits: Limits = LIMITS) -> list[Job[int]]:
    return [Job(i, Program(text, "f", CHECK), limits) for i, text in enumerate(texts)]


def jails() -> set[int]:
    """Workers and jails that run on this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if b"gars_vllm.engine.sandbox" in words:
            found.add(int(path.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_each_program_gets_its_own_verdict(tier: Tier) -> None:
    texts = [f"x = {i}\ndef f(): return {i % 3}" for i in range(40)]
    with Pool(tier, 3) as pool:
        found = {job.what: verdict.passed for job, verdict in pool.run(jobs(texts))}
        assert found == {i: i % 3 == 1 for i in range(40)}
        assert [v.passed for _, v in pool.run(jobs(["def f(): return 1"]))] == [True]
        assert list(pool.run(jobs([]))) == []


def test_jobs_are_taken_as_they_are_needed(tier: Tier) -> None:
    taken = []

    def source() -> Iterator[Job[int]]:
        for job in jobs(["def f(): return 1"] * 50):
            taken.append(job.what)
            yield job

    with Pool(tier, 1) as pool:
        run = pool.run(source())
        next(run)
        assert len(taken) < 10
        run.close()


def test_programs_run_side_by_side(tier: Tier) -> None:
    texts = ["import time\ntime.sleep(0.5)\ndef f(): return 1"] * 4
    with Pool(tier, 4) as pool:
        list(pool.run(jobs(["def f(): return 1"] * 8)))
        began = time.monotonic()
        assert all(v.passed for _, v in pool.run(jobs(texts)))
        assert time.monotonic() - began < 1.9


def test_a_lost_worker_costs_one_more_run_and_two_cost_the_program(tier: Tier) -> None:
    with Pool(tier, 1) as pool:
        list(pool.run(jobs(["def f(): return 1"])))
        run = pool.run(
            jobs(["import time\ntime.sleep(0.3)\ndef f(): return 1", "def f(): return 1"])
        )
        (worker,) = pool._workers
        os.kill(worker._process.pid, signal.SIGKILL)
        assert [(j.what, v.outcome) for j, v in run] == [(0, "passed"), (1, "passed")]


def test_a_program_that_always_ends_its_foreman_is_given_up(
    tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mortal(pools._WorkerProcess):
        def give(self, order: pools._Order[int]) -> None:
            super().give(order)
            if order.job.what == 1:
                os.kill(self._process.pid, signal.SIGKILL)

    monkeypatch.setattr(pools, "_WorkerProcess", Mortal)
    monkeypatch.setattr(pools, "_AHEAD", 1)
    with Pool(tier, 1) as pool:
        found = {j.what: v for j, v in pool.run(jobs(["def f(): return 1"] * 3))}
    assert [found[0].passed, found[2].passed] == [True, True]
    assert (found[1].outcome, found[1].detail) == (Outcome.CRASHED, "it ended what watched it")


def test_a_timeout_on_a_busy_machine_is_tried_again(
    tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Verdict] = []
    for busy, runs in ((True, 2), (False, 1)):
        asked.clear()
        monkeypatch.setattr(pools, "_was_busy", lambda v, busy=busy: asked.append(v) or busy)
        with Pool(tier, 1) as pool:
            began = time.monotonic()
            ((_, verdict),) = pool.run(jobs(["while True: pass"], Limits(0.3, 256)))
            assert verdict.outcome is Outcome.TIMEOUT
            assert time.monotonic() - began > 0.3 * runs
        assert len(asked) == 1


def test_a_jail_that_cannot_be_had_is_no_verdict(
    tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with Pool(Tier.DOCKER, 1, "image") as pool, pytest.raises(SandboxError, match="docker"):
        list(pool.run(jobs(["def f(): return 1"])))


def test_bad_numbers_of_workers_are_refused() -> None:
    with pytest.raises(UserError, match="workers is 0: it must be at least 1"):
        Pool(Tier.NAMESPACES, 0)


SCRIPT = """
import sys
from gars_vllm.engine.sandbox.outcome import Limits, Program
from gars_vllm.engine.sandbox.pool import Job, Pool
from gars_vllm.engine.sandbox.tiers import Tier
program = Program("print()\\nwhile True: pass", "f", "def check(f): pass")
with Pool(Tier(sys.argv[1]), 2) as pool:
    print("go", flush=True)
    for _ in pool.run([Job(0, program, Limits(60.0, 256))] * 4): pass
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_the_process_that_made_the_pool(
    tier: Tier, number: signal.Signals, tmp_path: Path
) -> None:
    before = jails()
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tier],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert child.stdout is not None
    child.stdout.readline()
    wait_until(lambda: len(jails() - before) >= 4)
    time.sleep(0.3)
    child.send_signal(number)
    child.wait(timeout=10)
    child.stdout.close()
    wait_until(lambda: jails() - before == set())
    wait_until(lambda: list(tmp_path.iterdir()) == [])
