# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main

GOOD, BROKEN = "    return a + b\n", "    return (\n"
MakeRun = Callable[..., Path]


def output(*arguments: str) -> list[str]:
    result = CliRunner().invoke(main, ["report", *arguments])
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 100
    return [line.rstrip() for line in result.stdout.splitlines()]


def squeezed(lines: list[str]) -> list[str]:
    return [re.sub(" +", " ", line) for line in lines]


def test_table_before_and_after_verification(make_run: MakeRun) -> None:
    make_run()
    assert output("run") == [
        "",
        "                                   run",
        " ─────────────────────────────────────",
        " model                    smollm2-135m",
        " grammar                        python",
        " temperature                       0.8",
        "",
        " problems                            2",
        " samples                             4",
        " finished                   4 (100.0%)",
        " closed in time               0 (0.0%)",
        " drawn again                         0",
        " valid, of the finished     4 (100.0%)",
        " valid, of all              4 (100.0%)",
        "",
        " tokens                             40",
        " tokens/s                         10.0",
        " time in the mask                 5.0%",
        "",
        "no sample is verified yet: run `gars-vllm verify run`",
    ]
    CliRunner().invoke(main, ["verify", "run"])
    lines = output("run")
    assert any(re.fullmatch(r" pass@1 +0.500 \[0.500, 0.500\]", line) for line in lines)
    assert any(re.fullmatch(r" solved +2 \(100.0%\)", line) for line in lines)
    assert " wrong answer 2 (50.0%)" in squeezed(lines)
    assert not any("is verified yet" in line for line in lines)


def test_runs_side_by_side_and_per_problem(make_run: MakeRun) -> None:
    make_run("one", bodies=(GOOD, BROKEN), n=8)
    make_run("two")
    CliRunner().invoke(main, ["verify", "one"])
    lines = output("one", "two", "--per-problem")
    assert " samples 4 of 16 4" in squeezed(lines)
    assert " valid, of the finished 2 (100.0%) 4 (100.0%)" in squeezed(lines)
    assert " valid, of all 2 (50.0%) 4 (100.0%)" in squeezed(lines)
    assert any(re.fullmatch(r" pass@1 +0.500 \[0.500, 0.500\] +-", line) for line in lines)
    assert (
        "one: 4 of 16 samples so far: the same `gars-vllm sample` command continues the run"
        in lines
    )
    assert "two: no sample is verified yet: run `gars-vllm verify two`" in lines
    assert (
        " mine/0          2          1       1        1    0.500       20   syntax error (1)"
        in lines
    )
    assert " mine/0          2          2       2        -        -       20" in lines


def test_json(make_run: MakeRun) -> None:
    make_run()
    result = CliRunner().invoke(main, ["report", "run", "--json"])
    (found,) = json.loads(result.stdout)
    assert found["samples"] == found["planned"] == 4
    assert found["pass_at"] == {"1": None, "10": None, "100": None}
    assert found["tokens_per_second"] == 10.0
    assert found["notes"] == ["no sample is verified yet: run `gars-vllm verify run`"]


def test_square_brackets_in_names_are_shown(make_run: MakeRun) -> None:
    make_run("[red]run")
    shown = [line.strip() for line in output("[red]run", "--per-problem")]
    assert shown.count("[red]run") == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["none"], "none does not exist: name a folder that `gars-vllm sample` wrote"),
        (["run", "empty"], "empty holds no finished sample yet: run its `gars-vllm sample` "
         "command again"),
        (["torn"], "torn/run.json: not JSON (Expecting value, column 12): the file was changed or "
         "damaged; sample into another --out"),
        (["old"], "old/run.json is not of format 1: it was written by another version of "
         "gars-vllm"),
        (["damaged"], "damaged/samples.jsonl:1: `sample_index` is missing: the file was changed or "
         "damaged; remove the line"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_2(
    make_run: MakeRun, arguments: list[str], line: str
) -> None:
    make_run()
    make_run("empty", bodies=())
    for name, text in (("torn", '{"format": '), ("old", '{"format": 0}')):
        Path(name).mkdir()
        Path(name, "run.json").write_text(text)
    make_run("damaged")
    Path("damaged/samples.jsonl").write_text('{"task_id": "x"}\n')
    result = CliRunner().invoke(main, ["report", *arguments])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {line}\n")
    assert CliRunner().invoke(main, ["report"]).exit_code == 2
