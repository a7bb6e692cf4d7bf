# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a run's samples, each program in a process of its own.

What this protects from: endless loops, memory and output floods, crashes, early exits. What it
does not yet protect from: a program that looks for the verdict's token in its own interpreter, the
network, reading files. Do not verify samples of a model that you have reason to distrust.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.run_folder import RunFolder
from gars_vllm.engine.tasks import Task

# The child reads the program from standard input and says how it ended on a pipe of its own.
_CHILD = """
import json, os, sys
source, nonce, fd = json.loads(sys.stdin.read())
def say(outcome, detail=""):
    os.write(fd, json.dumps([nonce, outcome, detail[:500]]).encode()); os._exit(0)
try:
    code = compile(source, "sample.py", "exec", dont_inherit=True)
except (SyntaxError, ValueError) as error:
    say("syntax error", str(error))
try:
    exec(code, {"__name__": "__main__"})
except MemoryError:
    say("out of memory")
except AssertionError as error:
    say("wrong answer", str(error))
except SystemExit:
    os._exit(0)
except BaseException as error:
    say("exception", f"{type(error).__name__}: {error}")
say("passed")
"""


@dataclass(frozen=True)
class Limits:
    """`timeout` in seconds of wall time, `memory` in MiB of address space."""

    timeout: float = 3.0
    memory: int = 1024


@dataclass(frozen=True)
class Verdict:
    outcome: str
    detail: str
    seconds: float


def _limit(limits: Limits) -> Callable[[], None]:
    library = ctypes.CDLL(None)

    def apply() -> None:
        library.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphans when we are killed
        size = limits.memory << 20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        seconds = int(limits.timeout) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return apply


def execute(program: str, limits: Limits) -> Verdict:
    """Runs a program that passes if it ends without an exception."""
    nonce = secrets.token_hex(16)
    reader, writer = os.pipe()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            pass_fds=(writer,),
            start_new_session=True,
            preexec_fn=_limit(limits),
        )
        os.close(writer)
        try:
            child.communicate(json.dumps([program, nonce, writer]).encode(), limits.timeout)
            timed_out = False
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    seconds = time.perf_counter() - started
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read(4096)
    if timed_out:
        return Verdict("timeout", f"no end within {limits.timeout:g} s", seconds)
    try:
        known, outcome, detail = json.loads(said)
    except ValueError:
        known, outcome, detail = "", "", ""
    if known == nonce:
        return Verdict(outcome, detail, seconds)
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return Verdict("timeout", "out of processor time", seconds)
    if child.returncode < 0:
        return Verdict("crashed", signal.Signals(-child.returncode).name, seconds)
    return Verdict("exited early", f"exit code {child.returncode}", seconds)


def _same(program: str) -> str:
    """Programs that differ in comments and layout only have the same key."""
    try:
        return ast.dump(ast.parse(program))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return program


def verify(
    run: RunFolder,
    tasks: dict[str, Task],
    workers: int,
    limits: Limits,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Counter[str]:
    """Verifies every sample that has no result yet; returns the outcomes of all."""
    run.load()
    run.lock()
    done = run.results.open()
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    total = 0
    for sample in run.samples.read():
        task = tasks.get(sample["task_id"])
        if task is None or task.test is None:
            continue
        total += 1
        if (sample["task_id"], sample["sample_index"]) not in done:
            groups.setdefault((sample["task_id"], _same(sample["program"])), []).append(sample)
    if not total:
        raise UserError(f"{run.path} holds no samples of tasks with tests; sample first")
    ready = total - sum(len(g) for g in groups.values())
    progress(ready, total)
    pool = ThreadPoolExecutor(workers)
    try:
        futures = {}
        for (name, _), samples in groups.items():
            task = tasks[name]
            program = f"{samples[0]['program']}\n{task.test}\ncheck({task.entry_point})\n"
            futures[pool.submit(execute, program, limits)] = samples
        for future in as_completed(futures):
            verdict = future.result()
            for sample in futures[future]:
                run.results.append(
                    {
                        "task_id": sample["task_id"],
                        "sample_index": sample["sample_index"],
                        "passed": verdict.outcome == "passed",
                        "outcome": verdict.outcome,
                        "detail": verdict.detail,
                        "seconds": round(verdict.seconds, 4),
                    }
                )
                ready += 1
                progress(ready, total)
    finally:
        pool.shutdown(cancel_futures=True)
        run.results.close()
    return Counter(r["outcome"] for r in run.results.read())
