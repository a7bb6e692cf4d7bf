# SPDX-License-Identifier: Apache-2.0
"""A file that was appended to itself: each sample counts once, and the reader is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from gars_vllm.cli.main import main

MakeRun = Callable[..., Path]
RIGHT, WRONG = "    return a + b\n", "    return a - b\n"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def double(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes() * 2)


def test_each_sample_counts_once(make_run: MakeRun) -> None:
    make_run(bodies=(RIGHT, WRONG))
    make_run("other", bodies=(RIGHT, WRONG))
    run("verify", "run", "--with", "tests,compile")
    run("verify", "other")
    before = json.loads(run("report", "run", "--json"))[0]
    compared = json.loads(run("compare", "other", "run", "--json"))[0]
    selected = json.loads(run("select", "run", "--json"))
    double("run/samples.jsonl")
    note = "run/samples.jsonl: left out 4 lines that repeat samples of earlier ones, from line 5 on"
    # verdicts first: nothing is run again
    shown = run("verify", "run", "--with", "tests,compile")
    assert "all 4 samples were verified before" in shown
    assert note in shown.splitlines()
    double("run/results.jsonl")
    double("run/checks/compile.jsonl")
    shown = run("verify", "run", "--with", "tests,compile")
    assert "all 4 samples were verified before" in shown
    assert "compile: 4 of 4 samples pass" in shown
    assert json.loads(run("verify", "run", "--json"))["notes"][0] == note
    after = json.loads(run("report", "run", "--json"))[0]
    notes = after.pop("notes")
    assert notes[:2] == [note, note.replace("samples.jsonl", "results.jsonl")]
    del after["file_notes"], before["file_notes"], before["notes"]
    assert after == before
    assert (after["samples"], after["verified"], after["passed"]) == (4, 4, 2)
    assert json.loads(run("compare", "other", "run", "--json"))[0] == compared
    assert json.loads(run("select", "run", "--json")) == selected
    for command in (["report", "run"], ["compare", "other", "run"], ["select", "run"]):
        assert note in " ".join(run(*command).split())


def test_the_first_of_two_counts(make_run: MakeRun) -> None:
    make_run(bodies=(RIGHT,), n=1)
    lines = Path("run/samples.jsonl").read_text().splitlines()
    other = json.loads(lines[0]) | {"program": "def add(a, b):\n    return 0\n"}
    Path("run/samples.jsonl").write_text("\n".join([*lines, json.dumps(other)]) + "\n")
    shown = run("verify", "run")
    assert "2 samples verified (2 different programs)" in shown
    assert "left out 1 line that repeats a sample of earlier ones, from line 3 on" in shown
    assert json.loads(run("report", "run", "--json"))[0]["passed"] == 2
