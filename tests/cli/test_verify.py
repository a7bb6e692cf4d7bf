# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main

MakeRun = Callable[..., Path]


def test_prints_a_table_and_then_has_nothing_to_do(make_run: MakeRun) -> None:
    make_run()
    result = CliRunner().invoke(main, ["verify", "run"])
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[1:5] == [
        " outcome        samples   share",
        " ──────────────────────────────",
        " passed               2   50.0%",
        " wrong answer         2   50.0%",
    ]
    assert lines[6].startswith("4 samples verified (4 different programs) in ")
    assert lines[7] == "next: gars-vllm report run"
    again = CliRunner().invoke(main, ["verify", "run"])
    assert again.exit_code == 0
    assert (
        "all 4 samples were verified before; to do it again, remove results.jsonl first\n"
        in again.stdout
    )


def test_json(make_run: MakeRun) -> None:
    make_run()
    result = CliRunner().invoke(main, ["verify", "run", "--json", "--workers", "1"])
    found = json.loads(result.stdout)
    assert found["run"] == "run"
    assert found["outcomes"] == {"passed": 2, "wrong answer": 2}
    assert (found["verified"], found["before"], found["untested"]) == (4, 0, 0)


def test_prompts_may_be_given(make_run: MakeRun) -> None:
    make_run()
    Path("prompts.jsonl").rename("elsewhere.jsonl")
    missing = CliRunner().invoke(main, ["verify", "run"])
    assert missing.exit_code == 2
    assert missing.stderr == "Error: prompts.jsonl cannot be read: No such file or directory\n"
    given = CliRunner().invoke(main, ["verify", "run", "--prompts", "elsewhere.jsonl"])
    assert given.exit_code == 0, given.output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["none"], "none does not exist: name a folder that `gars-vllm sample` wrote"),
        (
            ["folder"],
            "folder is not a run (it holds no run.json): name a folder that `gars-vllm sample` "
            "wrote",
        ),
        (["file"], "file is a file: name the folder that `gars-vllm sample` wrote"),
        (["empty"], "empty holds no finished sample yet: run its `gars-vllm sample` command again"),
        (["run", "--workers", "0"], "workers is 0: it must be at least 1"),
        (
            ["run", "--timeout", "0"],
            "timeout is 0.0: it must be a number of seconds above 0",
        ),
        (
            ["run", "--timeout", "nan"],
            "timeout is nan: it must be a number of seconds above 0",
        ),
        (
            ["run", "--memory-mb", "1"],
            "memory is 1 MiB: an interpreter needs 64, so give that or more",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    make_run: MakeRun, arguments: list[str], line: str
) -> None:
    make_run()
    make_run("empty", bodies=())
    Path("folder").mkdir()
    Path("file").touch()
    result = CliRunner().invoke(main, ["verify", *arguments])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {line}\n")
