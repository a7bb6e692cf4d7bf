# SPDX-License-Identifier: Apache-2.0
"""Whatever the user's environment, shell and time zone are, a program gets the verdict it gets."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox import choice, environment, fixed_limits
from gars_vllm.engine.sandbox.outcome import Limits, Program
from gars_vllm.engine.sandbox.pool import Job, Pool

EMPTY = "def f(x): pass\n"
TEST = "def check(candidate):\n    assert candidate(3) == 4\n"
# In what order a set comes out, the locale's encoding, the time zone, how a number is written.
SEEN = (
    "import locale, os, sys, time, warnings\n"
    "warnings.warn('old', DeprecationWarning)\n"
    "def seen():\n"
    "    return [list({'b', 'a', 'c', 'd'}), locale.getencoding().lower(), time.localtime(0).tm_hour,\n"
    "            sys.flags.optimize, sys.flags.dev_mode, sys.get_int_max_str_digits(),\n"
    "            sorted(n for n in os.environ if n.startswith('PYTHON')), __debug__]\n"
)
PASSES = SEEN + "def f(x): return x + 1\ninside = seen\n"
AS_EXPECTED = [
    *("PYTHONASYNCIODEBUG=1", "PYTHONBREAKPOINT=none", "PYTHONCASEOK=1", "PYTHONCOERCECLOCALE=0"),
    *("PYTHONDEBUG=1", "PYTHONDEVMODE=1", "PYTHONDONTWRITEBYTECODE=", "PYTHONDUMPREFS=1"),
    *(
        "PYTHONEXECUTABLE=/none",
        "PYTHONFAULTHANDLER=1",
        "PYTHONHASHSEED=random",
        "PYTHONHASHSEED=77",
    ),
    *("PYTHONHOME=/none", "PYTHONINSPECT=1", "PYTHONINTMAXSTRDIGITS=640", "PYTHONIOENCODING=ascii"),
    *("PYTHONLEGACYWINDOWSSTDIO=1", "PYTHONMALLOC=debug", "PYTHONMALLOCSTATS=1"),
    *("PYTHONNODEBUGRANGES=1", "PYTHONNOUSERSITE=", "PYTHONOPTIMIZE=1", "PYTHONOPTIMIZE=2"),
    *("PYTHONPATH=@FOLDER@", "PYTHONPERFSUPPORT=1", "PYTHONPLATLIBDIR=none", "PYTHONSAFEPATH="),
    *(
        "PYTHONPROFILEIMPORTTIME=1",
        "PYTHONPYCACHEPREFIX=@FOLDER@",
        "PYTHONSTARTUP=@FOLDER@/start.py",
    ),
    *("PYTHONTRACEMALLOC=5", "PYTHONUNBUFFERED=1", "PYTHONUSERBASE=@FOLDER@", "PYTHONUTF8=0"),
    *("PYTHONVERBOSE=1", "PYTHONWARNDEFAULTENCODING=1", "PYTHONWARNINGS=error", "PYTHON_GIL=0"),
    *("PYTHON_CPU_COUNT=1", "PYTHON_FROZEN_MODULES=off", "PYTHON_COLORS=1", "PYTHON_HISTORY=/none"),
    *(
        "HOME=@FOLDER@",
        "LC_ALL=C",
        "LC_ALL=tr_TR.ISO-8859-9",
        "LANG=C",
        "TZ=Asia/Tokyo",
        "LD_PRELOAD=",
    ),
    *("PYTEST_ADDOPTS=-x", "MPLCONFIGDIR=@FOLDER@", "OMP_NUM_THREADS=64", "MALLOC_ARENA_MAX=1"),
]


def _spoil(folder: Path) -> None:
    """Files that an interpreter would run when it starts, each of which makes every test pass."""
    code = "import sys, builtins\nbuiltins.AssertionError = type('E', (BaseException,), {})\nsys.exit(0)\n"
    for name in ("sitecustomize.py", "usercustomize.py", "start.py", "json.py"):
        (folder / name).write_text(code)
    site = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (site / "usercustomize.py").write_text(code)


# Each alone, and as many at once as have names of their own; in `make test` some alone.
ALONE = [
    "PYTHONHASHSEED=77", "PYTHONHOME=/none", "PYTHONOPTIMIZE=1", "PYTHONPATH=@FOLDER@",
    "PYTHONUSERBASE=@FOLDER@", "PYTHONWARNINGS=error", "LC_ALL=tr_TR.ISO-8859-9", "LD_PRELOAD=",
]  # fmt: skip
TOGETHER = [
    list(dict((s.partition("=")[0], s) for s in settings).values())
    for settings in (AS_EXPECTED, AS_EXPECTED[::-1])
]


@pytest.mark.parametrize(
    "settings",
    [
        *(pytest.param([s], marks=[] if s in ALONE else [pytest.mark.full]) for s in AS_EXPECTED),
        *TOGETHER,
    ],
    ids=lambda settings: settings[0] if len(settings) == 1 else f"{settings[0]}-and-others",
)  # fmt: skip
def test_no_variable_changes_a_verdict(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(tmp_path)
    for setting in settings:
        name, _, value = setting.partition("=")
        monkeypatch.setenv(name, value.replace("@FOLDER@", str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    test = (
        f"{SEEN}"
        "def check(candidate):\n"
        "    assert candidate(3) == 4\n"
        "    ours = ['utf-8', 0, 0, False, 4300, ['PYTHONDONTWRITEBYTECODE', 'PYTHONHASHSEED'], True]\n"
        "    assert inside()[1:] == ours, inside()\n"  # the program's
        "    assert seen() == inside(), (seen(), inside())\n"  # the test's own
    )
    tier = choice.choose("auto")
    programs = [Program(EMPTY, "f", TEST), Program(PASSES, "f", test)]
    with Pool(tier, 1) as pool:
        found = {
            j.what: v for j, v in pool.run(Job(i, p, Limits(20)) for i, p in enumerate(programs))
        }
    assert found[0].outcome == "wrong answer", found[0]
    assert found[1].passed, found[1]


def _verify(tmp_path: Path, before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    tasks, answers = tmp_path / "tasks.jsonl", tmp_path / "answers.jsonl"
    lines = [
        {"task_id": f"t/{i}", "prompt": "def f(x):\n", "entry_point": "f", "test": TEST}
        for i in range(12)
    ]
    tasks.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answers.write_text(
        "".join(
            json.dumps({"task_id": f"t/{i}", "completion": "    pass\n"}) + "\n" for i in range(12)
        )
    )
    command = Path(sys.executable).parent / "gars-vllm"
    out = tmp_path / "out.jsonl"
    return subprocess.run(
        ["bash", "-c", f"{before}\nexec {command} verify {answers} --prompts {tasks} --out {out}"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["PYTHONOPTIMIZE", "PYTHONWARNINGS"])
def test_empty_bodies_fail_by_the_command(name: str, tmp_path: Path) -> None:
    value = {"PYTHONOPTIMIZE": "1", "PYTHONWARNINGS": "error"}[name]
    done = _verify(tmp_path, "", **{name: value})
    assert done.returncode == 0, done.stderr
    assert "wrong answer" in done.stdout
    assert "pass@1 0.0000" in done.stdout


@pytest.mark.parametrize(
    "limit", ["-f 0", "-n 32", "-v 400000", "-s 4096", "-t 60", "-u 4"], ids=lambda text: text[1]
)
def test_a_shells_limit_that_is_too_low_is_refused_in_one_line(limit: str, tmp_path: Path) -> None:
    done = _verify(tmp_path, f"ulimit {limit}")
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert f"ulimit {limit[:2]}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_soft_limits_are_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    lifted = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (0, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: lifted.append(pair[0]))
    environment.check_limits(64)
    assert fixed_limits.FILE_BYTES in lifted
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (0, 0))
    with pytest.raises(UserError, match="ulimit -f"):
        environment.check_limits(64)


def test_the_judge_refuses_where_assert_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.assert_works()
    plain = compile
    monkeypatch.setattr(
        environment,
        "compile_with_asserts",
        lambda source, name: plain(source, name, "exec", optimize=1),
    )
    assert not environment.assert_works()
    with pytest.raises(RuntimeError, match="no test can fail"):
        environment.prepare_process()


def test_a_file_mode_mask_changes_no_verdict(tmp_path: Path) -> None:
    done = _verify(tmp_path, "umask 777")
    assert "wrong answer" in done.stdout
