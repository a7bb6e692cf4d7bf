# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.execution import Limits, Outcome, Verdict, execute

CHECK = "\ndef check(candidate):\n    assert candidate() == 1\n\ncheck(f)"
LIMITS = Limits(timeout=1.0, memory_mb=256)


def run(program: str, folder: Path, limits: Limits = LIMITS) -> Verdict:
    verdict = execute(program, CHECK, limits, folder, threading.Event())
    assert verdict is not None
    assert os.listdir(folder) == []
    assert "\n" not in verdict.detail
    assert len(verdict.detail) <= 300
    return verdict


@pytest.mark.parametrize(
    ("program", "outcome", "detail"),
    [
        ("def f(): return 1", "passed", ""),
        ("def f(): return 2", "wrong answer", "assert candidate() == 1 (line 3)"),
        ("def f():\n    assert False, 'x'", "wrong answer", "assert False, 'x' (line 2)"),
        ("def f():\n\n    return 1 / 0", "exception", "ZeroDivisionError: division by zero (line 3)"),
        ("f = lambda: g()", "exception", "NameError: name 'g' is not defined (line 1)"),
        ("def f(): return f()", "exception", "RecursionError: maximum recursion depth exceeded (line 1)"),
        ("def f():\n    raise KeyboardInterrupt", "exception", "KeyboardInterrupt (line 2)"),
        ("def f(): return eval('(')", "exception", "SyntaxError: '(' was never closed (<string>, line 1) (line 1)"),
        ("class E(Exception):\n    def __str__(self): return self.x\ndef f(): raise E", "exception", "E: (its message cannot be shown) (line 3)"),
        ("def f():\n    while True: pass", "timeout", "over 1 s"),
        ("import signal, time\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\ndef f(): time.sleep(60)", "timeout", "over 1 s"),
        ("def f():\n    x = []\n    while True: x.append(bytearray(1 << 20))", "out of memory", ""),
        ("def f(): return bytes(1 << 32)", "out of memory", ""),
        ("import os\ndef f(): os.kill(os.getpid(), 11)", "crashed", "SIGSEGV"),
        ("import os\ndef f(): os.abort()", "crashed", "SIGABRT"),
        ("import os\ndef f(): os._exit(0)", "exited early", "exit code 0"),
        ("import sys\ndef f(): sys.exit()", "exited early", "SystemExit (line 2)"),
        ("import sys\nsys.exit(3)", "exited early", "SystemExit: 3 (line 2)"),
        ("def f(: return 1", "syntax error", "invalid syntax (line 1)"),
        ("def f(): return 1\n\0", "syntax error", "ValueError: source code string cannot contain null bytes"),
        ("x = '\udc80'", "syntax error", "UnicodeEncodeError: 'utf-8' codec can't encode character '\\udc80' in position 5: surrogates not allowed"),
        ("x = " + "(" * 500 + ")" * 500, "syntax error", "too many nested parentheses (line 1)"),
    ],
)  # fmt: skip
def test_outcomes_are_told_apart(tmp_path: Path, program: str, outcome: str, detail: str) -> None:
    verdict = run(program, tmp_path)
    # CPython words some messages differently from version to version
    if "RecursionError" in detail or "null bytes" in detail:
        assert verdict.outcome == outcome
        return
    assert (verdict.outcome, verdict.detail) == (outcome, detail)
    assert verdict.passed == (outcome == "passed")
    assert 0 <= verdict.seconds < 3


@pytest.mark.parametrize(
    "program",
    [
        "print('passed')\nimport os\nos.write(1, b'passed')\nos._exit(0)",
        'import os\nfor fd in range(3, 20):\n    try: os.write(fd, b\'started\\n["passed", ""]\\n\')\n    except OSError: pass\nos._exit(0)',
        "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit(0)",
        "def f(): return 1\nimport os\nos.closerange(3, 20)",
    ],
)
def test_no_output_and_no_exit_code_passes_for_a_verdict(tmp_path: Path, program: str) -> None:
    assert run(program, tmp_path).outcome is Outcome.EXITED_EARLY


@pytest.mark.parametrize(
    "program",
    [
        "if __name__ == '__main__': input()\ndef f(): return 1",
        "import sys\nsys.stdin.read()\ndef f(): return 1",
        "print('x' * 3_000_000)\ndef f(): return 1",
        "import os\nassert os.listdir() == []\nopen('x', 'w').write('y')\ndef f(): return 1",
        "import os\nassert os.environ['HOME'] == os.getcwd() == os.environ['TMPDIR']\nassert 'GARS_SECRET' not in os.environ\ndef f(): return 1",
        "import pickle\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\npickle.loads(pickle.dumps(A(1)))\ndef f(): return 1",
        "assert hash('a') == hash('a')\nassert '\\d'\ndef f(): return 1",
        "import json, os\njson.dumps = os.write = os._exit = None\ndef f(): return 1",
    ],
)
def test_programs_that_are_right_pass(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GARS_SECRET", "x")
    verdict = run(program, tmp_path)
    assert (verdict.outcome, verdict.detail) == ("passed", "")


def test_a_verdict_does_not_hang_on_the_time_of_day_or_hash_seed(tmp_path: Path) -> None:
    program = "def f(): raise ValueError(hash('a'))"
    assert run(program, tmp_path).detail == run(program, tmp_path).detail


def test_files_are_bounded(tmp_path: Path) -> None:
    verdict = run("def f(): open('x', 'wb').write(bytes(20 << 20))", tmp_path)
    assert verdict.outcome is Outcome.EXCEPTION
    assert verdict.detail.startswith("OSError: [Errno 27]")


def test_what_a_program_starts_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    folder = tmp_path / "work"
    folder.mkdir()
    program = (
        "import os, time\n"
        f"pid = os.fork()\nif pid == 0:\n    open({str(mark)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n    os._exit(0)\n"
        f"while not (os.path.exists({str(mark)!r}) and open({str(mark)!r}).read()): pass\n"
        "def f(): return 1"
    )
    assert run(program, folder).passed
    wait_for_end(int(mark.read_text()))


def test_a_process_that_escapes_does_not_hold_the_verdict_up(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    folder = tmp_path / "work"
    folder.mkdir()
    program = (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n"
        f"    open({str(mark)!r}, 'w').write(str(os.getpid()))\n    time.sleep(8)\n    os._exit(0)\n"
        "def f(): return 1"
    )
    started = time.monotonic()
    assert run(program, folder).passed
    assert time.monotonic() - started < 4


def test_cancelling_ends_a_program_at_once(tmp_path: Path) -> None:
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    started = time.monotonic()
    limits = Limits(timeout=30)
    assert execute("while True: pass", CHECK, limits, tmp_path, cancelled) is None
    assert time.monotonic() - started < 3


def test_no_descriptor_leaks(tmp_path: Path) -> None:
    run("def f(): return 1", tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for program in ("def f(): return 1", "while True: pass", "import os\nos._exit(1)"):
        run(program, tmp_path, Limits(timeout=0.3))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"timeout": float("nan")}, {"memory_mb": 63}])
def test_limits_that_cannot_be_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"must be a number|an interpreter needs 64"):
        Limits(**limits)  # type: ignore[arg-type]


def wait_for_end(process: int) -> None:
    deadline = time.monotonic() + 5
    while Path(f"/proc/{process}/stat").exists():
        if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        assert time.monotonic() < deadline, f"process {process} is still there"
        time.sleep(0.02)
