# SPDX-License-Identifier: Apache-2.0
"""Verifiers beside the tests: what each says of known programs, and how a run keeps it."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import types
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.sandbox import tiers
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification import verifiers
from gars_vllm.engine.verification.verification import Checking
from gars_vllm.engine.verification.verifiers import (
    Compile,
    Examples,
    Finding,
    Item,
    Lint,
    Types,
    Verifier,
    run_checks,
    verifiers_named,
)

NOWHERE = Checking(tiers.Tier.BWRAP)  # for what runs no program
TASK = Task("t/0", "def f(a: int) -> int:\n    # f(1) == 2 and f(3) returns 4.\n", "f")
BARE = Task("t/1", "def f(a):\n", "f")
ALONE = Task("t/2", "f(1) == 2")
DEEP = "x = " + "(" * 150 + "1" + ")" * 150 + "\n"
ODD = [
    "x\ud800 = 1\n",
    "x = 1\0\n",
    "def f(:\n",
    "x = " + "(" * 100_000,
    "x" + "()" * 50_000 + "\n",
]


def ask(verifier: Verifier, programs: Sequence[str], checking: Checking = NOWHERE, task: Task = TASK) -> list[Finding]:  # fmt: skip
    found = list(verifier.verify([(task, text) for text in programs], checking))
    assert sorted(place for place, _ in found) == list(range(len(programs)))
    return [finding for _, finding in sorted(found, key=lambda pair: pair[0])]


def said(findings: Sequence[Finding]) -> list[bool | None]:
    return [finding.passed for finding in findings]


COMPILED = [
    ("", None),
    ("def f(a):\n    return a\n", None),
    ("return 1\n", "'return' outside function (line 1)"),
    ("def f(:\n", "invalid syntax (line 1)"),
    ("def f(a):\n", "expected an indented block after function definition on line 1 (line 1)"),
    ("x = 1\0\n", "source code string cannot contain null bytes"),
    ("s = '\\d'\n", None),  # a warning is no error
    ("x = y\n", None),
    ("try:\n    pass\nexcept* ValueError:\n    pass\n", None),
]


def test_compile_is_the_interpreters() -> None:
    programs = [text for text, _ in COMPILED] + ODD + [DEEP]
    found = ask(Compile(), programs)
    for text, finding in zip(programs, found, strict=True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(text, "oracle", "exec")
            compiles = True
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            compiles = False
        assert finding.passed is compiles, text[:40]
        assert bool(finding.detail) is not compiles
    for (_, detail), finding in zip(COMPILED, found, strict=False):
        assert (detail or "") in finding.detail


def test_examples(checking: Checking) -> None:
    programs = [
        "def f(a):\n    return a + 1\n",
        "def f(a):\n    return a + 1.0\n",
        "def f(a):\n    return 2\n",
        "def f(a):\n    return 1 / 0\n",
        "def g(a):\n    return a + 1\n",
        "def f(a):\n    while True: pass\n",
        "def f(a):\n    import os\n    os._exit(0)\n",
        "class Yes:\n    def __eq__(self, other): return True\ndef f(a):\n    return Yes()\n",
        *ODD[:3],
    ]
    found = ask(Examples(), programs, checking)
    assert said(found) == [True, True] + [False] * 9
    starts = ["", "", "wrong answer: assert same(candidate(*(3,)), 4)", "exception: ZeroDivisionError", "exception: NameError", "timeout: ", "exited early: ", "wrong answer: ", "syntax error: ", "syntax error: ", "syntax error: "]  # fmt: skip
    for finding, start in zip(found, starts, strict=True):
        assert finding.detail.startswith(start)


def test_examples_has_nothing_to_go_by_where_there_are_none(checking: Checking) -> None:
    right = "def f(a):\n    return a + 1\n"
    items = [(BARE, right), (TASK, right), (ALONE, right), (TASK, "f = None\n"), (BARE, "f ="), (TASK, right)]  # fmt: skip
    found = dict(Examples().verify(items, checking))
    assert [found[place].passed for place in range(6)] == [None, True, None, False, None, True]
    assert found[0].detail == "the prompt has no examples"


LINTED = [
    ("", ""),
    ("def f(a):\n    return a\n", ""),
    ("import os\nx=1;y=2\n", ""),  # style is no error
    ("print(undefined)\n", "F821 Undefined name `undefined` (line 1)"),
    ("def f():\n    return x\n", "F821 "),
    ("x = 1\nif x is 'a':\n    pass\n", "F632 "),
    ("'%d %d' % (1,)\n", "F507 "),
    ("'{} {}'.format(1)\n", "F524 "),
    ("assert (1, 'a')\n", "F631 "),
    ("def f(:\n", "invalid-syntax "),
    ("x = 1\nreturn x\n", "F706 "),
]


def test_lint() -> None:
    found = ask(Lint(), [text for text, _ in LINTED])
    for (text, start), finding in zip(LINTED, found, strict=True):
        assert finding.passed is (not start), text
        assert finding.detail.startswith(start), text
        assert bool(finding.detail) is bool(start), text


TYPED = [
    ("", ""),
    ("def f(a: int) -> int:\n    return a\n", ""),
    ("def f(a: int) -> int:\n    return str(a)\n", 'Incompatible return value type (got "str", expected "int")  [return-value] (line 2)'),
    ("def f():\n    return 1 + 'a'\n", "Unsupported operand types"),
    ("import numpy, none_such\n", ""),
    ("from typing import List\ndef f(a: List[int]) -> int:\n    return a.lenght\n", '"list[int]" has no attribute "lenght"'),
    ("x = 1\nx.y\nx.z\n", '"int" has no attribute "y"  [attr-defined] (line 2)'),
    ("print(y)\n", 'Name "y" is not defined'),
    ("def f(:\n", "it does not parse"),
]  # fmt: skip


def test_types() -> None:
    found = ask(Types(), [text for text, _ in TYPED])
    for (text, start), finding in zip(TYPED, found, strict=True):
        assert finding.passed is (not start), (text, finding)
        assert finding.detail.startswith(start), text
        assert bool(finding.detail) is bool(start), text


# Of these each ends mypy, for all programs that it is given.
ENDS_MYPY = ["from . import x\n", "x = " + "-" * 900 + "1\n"]
FINE, UNDEFINED = "x = 1\n", "print(undefined)\n"


@pytest.mark.parametrize("verifier", [Lint(), Types()], ids=["lint", "types"])
def test_no_program_speaks_for_another(verifier: Verifier) -> None:
    """Programs that no tool gets through are bad themselves, and leave the others as they are."""
    found = ask(verifier, [FINE, UNDEFINED, *ODD, FINE, *ENDS_MYPY, UNDEFINED, "# coding: odd\n"])
    assert said(found)[:2] == [True, False]
    assert "undefined" in found[1].detail
    assert said(found)[2:7] == [False] * 5
    assert all(finding.detail for finding in found[2:7])
    assert said(found)[7] is True
    assert said(found)[10] is False
    assert found[10].detail == found[1].detail
    if isinstance(verifier, Types):
        assert said(found)[8:10] == [False, False]
        assert found[8].detail == "No parent module -- cannot perform relative import (line 1)"
        assert said(ask(verifier, ODD)) == [False] * 5
    else:
        assert said(found)[8:10] == [True, True]
        assert said(ask(verifier, ODD)) == [False] * 5
    assert ask(verifier, []) == []


@pytest.mark.parametrize("verifier", [Lint(), Types()], ids=["lint", "types"])
def test_programs_are_given_to_a_tool_some_at_a_time(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifiers, "_BATCH", 2)
    assert said(ask(verifier, [FINE, UNDEFINED, FINE, FINE, UNDEFINED])) == [True, False, True, True, False]  # fmt: skip


@pytest.mark.parametrize("status", [0, 1, 2, 134])
@pytest.mark.parametrize(("verifier", "tool"), [(Lint(), "ruff"), (Types(), "mypy")])
def test_a_tool_that_does_not_work_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verifier: Verifier, tool: str, status: int
) -> None:
    if status == 0 and tool == "mypy":
        return  # which says nothing when all is well
    broken = tmp_path / tool
    broken.write_text(f"#!/bin/sh\necho Traceback >&2\necho 'it is broken' >&2\nexit {status}\n")
    broken.chmod(0o755)
    monkeypatch.setattr(verifiers, "_tool", lambda name: str(broken))
    with pytest.raises(UserError, match=f"^{tool} failed: it is broken: install {tool} again$"):
        ask(verifier, [FINE, UNDEFINED, FINE])


def test_a_tool_that_does_not_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """mypy needs twice the time for each further `:=` in the brackets of another."""
    endless = "x = " + "".join(f"(y{i} := " for i in range(90)) + "1" + ")" * 90 + "\n"
    deep = "x = " + "not " * 1000 + "1\n"  # mypy's parser has a limit of its own
    assert said(ask(Types(), [deep])) == [False]
    monkeypatch.setattr(verifiers, "_BATCH_SECONDS", 2.0)
    found = ask(Types(), [FINE, endless])
    assert said(found) == [True, False]
    assert found[1].detail == "mypy failed: it did not come to an end in time"


@pytest.mark.parametrize(
    "text",
    [
        "# {0}\n{1}", "{1}  # {0}", "#{0}\n{1}", "\"\"\"\n# {0}\n\"\"\"\n{1}",
        "x = 1\n# {0}\n\n{1}",
    ],
)  # fmt: skip
def test_a_program_cannot_silence_a_tool(text: str) -> None:
    """The comments that the tools obey, before the error, on its line and in a text."""
    mypy = ["mypy: ignore-errors", "mypy: ignore-errors=True", "mypy:ignore-errors", "type: ignore",
            "type:ignore", "type: ignore[operator]", "mypy: disable-error-code=operator",
            "mypy: no-check-untyped-defs"]  # fmt: skip
    wrong = [text.format(comment, "y: int = 'a' + 1") for comment in mypy]
    assert said(ask(Types(), wrong)) == [False] * len(mypy)
    ruff = ["noqa", "noqa: F821", "ruff: noqa", "ruff: noqa: F821", "flake8: noqa",
            "ruff: disable[F821]", "ruff: ignore[F821]"]  # fmt: skip
    undefined = [text.format(comment, "y = nowhere") for comment in ruff]
    assert said(ask(Lint(), undefined)) == [False] * len(ruff)


def test_a_tool_sees_programs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the folder, or of what is above the folder that the programs are put in."""
    (tmp_path / "pyproject.toml").write_text(
        "[tool.ruff]\nexclude = ['*.py']\nlint.per-file-ignores = {'*.py' = ['F821']}\n"
        "[tool.mypy]\nignore_errors = true\n"
    )
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for verifier in (Lint(), Types()):
        assert said(ask(verifier, [FINE, UNDEFINED])) == [True, False]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".git", ".gitignore", "pyproject.toml"]


# A run's columns


def make(path: Path, programs: dict[str, list[str]]) -> RunFolder:
    prompts = path.with_suffix(".jsonl")
    tasks = [TASK, BARE, ALONE]
    prompts.write_text(
        "".join(
            json.dumps({"task_id": t.task_id, "prompt": t.prompt, "entry_point": t.entry_point})
            + "\n"
            for t in tasks
        )
    )
    with RunFolder(path) as run:
        run.create_or_resume({"tasks": str(prompts), "task_ids": [t.task_id for t in tasks]})
    add(RunFolder(path), programs)
    return RunFolder(path)


def add(run: RunFolder, programs: dict[str, list[str]]) -> None:
    with run.samples as samples:
        for task_id, listed in programs.items():
            start = [name for name, _ in list(samples.keys())].count(task_id)
            for index, text in enumerate(listed, start=start):
                samples.append({"task_id": task_id, "sample_index": index, "program": text})


def column(run: RunFolder, name: str) -> dict[tuple[str, int], bool | None]:
    records = list(run.checks()[name].read())
    assert all(set(r) == {"task_id", "sample_index", "passed", "detail"} for r in records)
    return {(r["task_id"], r["sample_index"]): r["passed"] for r in records}


class Counting:
    """Passes what begins with "good", says nothing of what is empty, and keeps what it was asked."""

    name = "counting"
    asked: list[tuple[str, str]]

    def __init__(self, dies_at: int = -1) -> None:
        self.asked, self.dies_at = [], dies_at

    def missing(self) -> str | None:
        return None

    def verify(self, items: Sequence[Item], checking: Checking) -> Iterable[tuple[int, Finding]]:
        for place in reversed(range(len(items))):
            task, text = items[place]
            if len(self.asked) == self.dies_at:
                raise KeyboardInterrupt
            self.asked.append((task.task_id, text))
            yield place, Finding(text.startswith("good") if text else None, f"read {text}")


def test_what_is_said_is_kept_and_not_asked_again(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {"t/0": ["good", "bad", "good", ""], "t/1": ["good", "good  "]})
    counting = Counting()
    calls: list[Any] = []
    done = run_checks(run, [counting], NOWHERE, begins=calls.append, progress=lambda *n: calls.append(n))  # fmt: skip
    expected = {("t/0", 0): True, ("t/0", 1): False, ("t/0", 2): True, ("t/0", 3): None, ("t/1", 0): True, ("t/1", 1): True}  # fmt: skip
    assert column(run, "counting") == expected
    assert [r["detail"] for r in run.check("counting").read() if r["sample_index"] == 1] == ["read good  ", "read bad"]  # fmt: skip
    assert sorted(counting.asked) == [("t/0", ""), ("t/0", "bad"), ("t/0", "good"), ("t/1", "good"), ("t/1", "good  ")]  # fmt: skip
    assert calls == ["counting", (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert list(done) == ["counting"]
    assert (done["counting"].samples, done["counting"].passed) == (5, 4)
    assert set(done["counting"].to_json()) == {"samples", "passed", "seconds"}
    assert (tmp_path / "run/checks/counting.jsonl").read_bytes().count(b"\n") == 6
    before = (tmp_path / "run/checks/counting.jsonl").read_bytes()
    again = Counting()
    second = run_checks(run, [again], NOWHERE)
    assert again.asked == []
    assert (second["counting"].samples, second["counting"].passed) == (5, 4)
    assert (tmp_path / "run/checks/counting.jsonl").read_bytes() == before
    add(run, {"t/0": ["good", "new"]})
    run_checks(run, [again], NOWHERE)
    assert sorted(again.asked) == [("t/0", "good"), ("t/0", "new")]
    assert column(run, "counting") == expected | {("t/0", 4): True, ("t/0", 5): False}


def test_a_check_that_is_ended_is_continued(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {"t/0": ["good", "bad", "good", "worse"]})
    with pytest.raises(KeyboardInterrupt):
        run_checks(run, [Counting(dies_at=2)], NOWHERE)
    assert column(run, "counting") == {("t/0", 1): False, ("t/0", 3): False}
    rest = Counting()
    done = run_checks(run, [rest], NOWHERE)
    assert rest.asked == [("t/0", "good")]
    assert (done["counting"].samples, done["counting"].passed) == (4, 2)
    assert len(column(run, "counting")) == 4


def test_all_of_ours_on_a_run(tmp_path: Path, checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    right, also = "def f(a):\n    return a + 1\n", "def f(a):\n    return  a+1  # so\n"
    run = make(
        tmp_path / "run",
        {"t/0": [right, also, "def f(a):\n    return a + b\n", "def f(:\n"], "t/1": [right], "t/2": [right]},
    )  # fmt: skip
    asked: dict[str, int] = {}
    for kind in (Compile, Examples, Lint, Types):
        verify = kind.verify

        def counted(self: Any, items: Any, checking: Checking, verify: Any = verify) -> Any:
            asked[self.name] = len(items)
            return verify(self, items, checking)

        monkeypatch.setattr(kind, "verify", counted)
    done = run_checks(run, verifiers_named("tests,compile,examples,lint,types"), checking)
    assert asked == {"compile": 6, "examples": 5, "lint": 6, "types": 6}  # layout is no difference
    found = {name: list(column(run, name).values()) for name in done}
    assert list(run.checks()) == ["compile", "examples", "lint", "types"]
    assert {name: (check.samples, check.passed) for name, check in done.items()} == {
        "compile": (6, 5), "examples": (4, 2), "lint": (6, 4), "types": (6, 4),
    }  # fmt: skip
    assert found["examples"].count(None) == 2
    assert column(run, "examples")["t/0", 1] is True
    assert column(run, "lint")["t/0", 2] is False
    assert column(run, "types")["t/0", 2] is False
    assert not any(column(run, name)["t/0", 3] for name in done)


def test_odd_programs_of_a_run(tmp_path: Path, checking: Checking) -> None:
    run = make(tmp_path / "run", {"t/0": [*ODD, "def f(a):\n    return a + 1\n", FINE]})
    run_checks(run, verifiers_named("compile,examples,lint,types"), checking)
    odd: list[bool | None] = [False] * 5
    assert list(column(run, "compile").values()) == [*odd, True, True]
    assert [column(run, "examples")["t/0", i] for i in range(7)] == [*odd, True, False]
    for name in ("lint", "types"):
        assert [column(run, name)["t/0", i] for i in range(7)] == [*odd, True, True]


def test_what_is_refused(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {"t/0": ["good"]})
    assert run_checks(run, [], NOWHERE, []) == {}
    assert not (tmp_path / "run/checks").exists()
    with pytest.raises(UserError, match="a sample of t/0, which is none of these tasks: give the"):
        run_checks(run, [Counting()], NOWHERE, [BARE])
    assert column(run, "counting") == {}
    with run.check("counting"), pytest.raises(UserError, match="written by another gars-vllm"):
        run_checks(run, [Counting()], NOWHERE)


# Names, tools and plug-ins


def test_names() -> None:
    assert verifiers_named("tests") == []
    assert [v.name for v in verifiers_named("lint, tests,compile,lint")] == ["lint", "compile"]
    for bad in ("nonesuch", "", "tests,"):
        name = bad.partition(",")[2] if "," in bad else bad
        message = f"^'{name}' is no verifier: there are tests, compile, examples, lint, types"
        with pytest.raises(UserError, match=message):
            verifiers_named(bad)


@pytest.mark.parametrize(("name", "tool"), [("lint", "ruff"), ("types", "mypy")])
def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, name: str, tool: str) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    message = f"^the verifier {name}: {tool} is not installed: pip install {tool}$"
    with pytest.raises(UserError, match=message):
        verifiers_named(f"tests,{name}")
    assert [v.name for v in verifiers_named("compile,examples")] == ["compile", "examples"]


def test_a_tool_beside_the_interpreter_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    for folder in ("venv", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").touch(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert verifiers._tool("tool") == str(tmp_path / "venv" / "tool")
    (tmp_path / "venv" / "tool").unlink()
    assert verifiers._tool("tool") == str(tmp_path / "path" / "tool")
    (tmp_path / "path" / "tool").unlink()
    assert verifiers._tool("tool") is None


def plug_in(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    module = types.ModuleType("strangers_verifiers")
    module.Counting = Counting  # type: ignore[attr-defined]

    def dies() -> None:
        raise RuntimeError("no luck")

    module.dies = dies  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "strangers_verifiers", module)

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        assert group == "gars_vllm.verifiers"
        return [importlib.metadata.EntryPoint(name, value, group) for name, value in points]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_a_plug_in_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(
        monkeypatch,
        ("counting", "strangers_verifiers:Counting"),
        ("lint", "strangers_verifiers:Counting"),
        ("broken", "strangers_verifiers:nothing"),
        ("dies", "strangers_verifiers:dies"),
        ("gone", "no_such_module:Counting"),
    )
    (found,) = verifiers_named("tests,counting")
    run = make(tmp_path / "run", {"t/0": ["good", "bad"]})
    assert run_checks(run, [found], NOWHERE)["counting"].passed == 1
    assert column(run, "counting") == {("t/0", 0): True, ("t/0", 1): False}
    assert isinstance(verifiers_named("lint")[0], Lint)  # ours
    with pytest.raises(UserError, match=r"lint, types, counting, broken, dies, gone$"):
        verifiers_named("other")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("broken", "strangers_verifiers:nothing", "AttributeError: "),
        ("gone", "no_such_module:Counting", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("dies", "strangers_verifiers:dies", "RuntimeError: no luck"),
    ],
)  # fmt: skip
def test_a_plug_in_that_cannot_be_loaded_matters_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    plug_in(monkeypatch, (name, value))
    assert verifiers_named("tests") == []
    assert [v.name for v in verifiers_named("compile")] == ["compile"]
    start = rf"^the verifier {name} \({value}\) cannot be loaded: {why}"
    with pytest.raises(UserError, match=start) as caught:
        verifiers_named(name)
    assert str(caught.value).endswith("; install it again or leave it out")


class Needy(Counting):
    name = "needy"

    def missing(self) -> str | None:
        return "it needs a tool: apt install tool"


def test_a_plug_in_may_miss_something(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, ("needy", "strangers_verifiers:Needy"))
    monkeypatch.setattr(sys.modules["strangers_verifiers"], "Needy", Needy, raising=False)
    with pytest.raises(UserError, match=r"^the verifier needy: it needs a tool: apt install tool$"):
        verifiers_named("needy")
