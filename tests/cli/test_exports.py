# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli import exports
from gars_vllm.cli.columns import Column
from gars_vllm.cli.main import main
from gars_vllm.engine.analysis.run_statistics import statistics_of
from gars_vllm.engine.analysis.summary import summarise
from gars_vllm.engine.records import whole_file
from gars_vllm.engine.runs.folder import open_run

MakeResults = Callable[..., Path]
MakeRun = Callable[..., Path]


def columns(*runs: str) -> list[Column]:
    return [Column(s, statistics_of(s)) for run in runs for s in summarise(open_run(run))]


def test_csv_has_a_line_for_each_problem_and_temperature(make_results: MakeResults) -> None:
    make_results("one", {0.8: [4, 2, 0], 1.4: [3, 0, 0]}, broken=1)
    result = CliRunner().invoke(main, ["report", "one", "--csv", "deep/table.csv", "--no-plot"])
    assert result.exit_code == 0, result.output
    assert "written: deep/table.csv" in result.stdout
    with open("deep/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["run"], r["temperature"], r["task_id"]) for r in rows] == [
        (f"one @ {t}", t, f"T/{i}") for t in ("0.8", "1.4") for i in range(3)
    ]
    assert [(r["verified"], r["passed"], r["outcome_passed"]) for r in rows[:2]] == [
        ("4", "4", "4"), ("4", "2", "2"),
    ]  # fmt: skip
    assert rows[1]["outcome_syntax_error"] == "1"


def test_png(make_results: MakeResults) -> None:
    make_results("one", {0.8: [4, 2, 0], 1.4: [3, 0, 0]})
    make_results("empty", {0.8: [0]}, n=1)
    result = CliRunner().invoke(main, ["report", "one", "empty", "--png", "plots", "--no-plot"])
    assert result.exit_code == 0, result.output
    for name in ("coverage.png", "outcomes.png"):
        data = Path("plots", name).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 5000
    assert sorted(p.name for p in Path("plots").iterdir()) == ["coverage.png", "outcomes.png"]


def test_the_page_holds_what_the_run_holds(make_results: MakeResults) -> None:
    make_results("one", {0.8: [4, 2, 0], 1.4: [3, 0, 0]}, broken=1)
    make_results("two", grammar="none")
    page = exports.page_of(columns("one", "two"), ["one", "two"])
    assert [r["name"] for r in page["runs"]] == ["one @ 0.8", "one @ 1.4", "two"]
    assert len({len(r["numbers"]) for r in page["runs"]}) == 1
    assert [p["task_id"] for p in page["problems"]] == ["T/0", "T/1", "T/2"]
    cell = page["problems"][1]["cells"]
    assert [c["passed"] for c in cell] == [2, 0, 2]
    assert cell[0]["outcomes"] == {"passed": 2, "syntax error": 1, "wrong answer": 1}
    samples = [s for s in page["samples"] if s["run"] == 0 and s["task_id"] == "T/1"]
    # programs are `return min(i, passed)`: 0, 1, and 2 twice, once for each outcome
    assert [(s["index"], s["count"], s["outcome"]) for s in samples] == [
        (0, 1, "passed"), (1, 1, "passed"), (2, 1, "syntax error"), (3, 1, "wrong answer"),
    ]  # fmt: skip
    assert samples[2]["prefix"] + samples[2]["completion"] == "def f():\n    return 2\n"
    assert samples[0]["spots"] == [4]
    json.dumps(page, allow_nan=False)


def test_a_page_keeps_all_programs_or_says_how_many(make_results: MakeResults) -> None:
    """More than 40 of a problem, all of them on the page; where size forbids, one of each outcome
    and those that passed, however rare."""
    make_results("one", {0.8: [1, 0, 3]}, n=100, broken=1)
    file = Path("one/samples.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:  # ten that occur once, then pairs of equal ones
        index = line["sample_index"]
        name = f"once {index}" if index < 10 else f"twice {index // 2}"
        line["program"] = f"def f():\n    return '{name}'\n"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    whole = exports.page_of(columns("one"), ["one"])
    cells = [problem["cells"][0] for problem in whole["problems"]]
    assert [(c["programs"], c["shown"]) for c in cells] == [(55, 55)] * 3
    assert sum(sample["count"] for sample in whole["samples"]) == 300
    small = exports.page_of(columns("one"), ["one"], most=12)
    assert [p["cells"][0]["shown"] for p in small["problems"]] == [4, 4, 4]
    kept = [[s["outcome"] for s in small["samples"] if s["task_id"] == f"T/{i}"] for i in range(3)]
    for outcomes, passed in zip(kept, (1, 0, 3), strict=True):
        assert outcomes.count("passed") == min(passed, 2)
        assert {"syntax error", "wrong answer"} <= {*outcomes}
    least = exports.page_of(columns("one"), ["one"], most=1)
    assert [p["cells"][0]["shown"] for p in least["problems"]] == [3, 2, 3]


def test_a_prompt_is_in_the_page_once(make_run: MakeRun) -> None:
    make_run("one")
    page = exports.page_of(columns("one"), ["one"])
    assert {p["prompt"] for p in page["problems"]} == {"def add(a, b):\n"}
    assert [s["prefix"] for s in page["samples"]] == [None] * 4
    assert all("def add" not in s["completion"] for s in page["samples"])


def test_a_folder_may_be_named_as_a_temperature_is(make_results: MakeResults) -> None:
    make_results("one @ 0.8", {0.8: [4], 1.4: [3]})
    page = exports.page_of(columns("one @ 0.8"), ["one @ 0.8"])
    assert {s["run"] for s in page["samples"]} == {0, 1}
    assert [c.summary.run for c in columns("one @ 0.8")] == ["one @ 0.8"] * 2


def test_the_page_is_written_whole(
    make_results: MakeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_results("one")
    result = CliRunner().invoke(main, ["report", "one", "--html", "page.html", "--no-plot"])
    assert result.exit_code == 0, result.output
    text = Path("page.html").read_text()
    assert text.lower().startswith("<!doctype html>")
    assert not re.search(r"""(src|href)=["']?http""", text)
    before = Path("page.html").read_bytes()
    monkeypatch.setattr(whole_file.os, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exports.write_html(columns("one"), ["one"], Path("page.html"))
    assert Path("page.html").read_bytes() == before
    assert [p.name for p in Path().iterdir() if "page" in p.name] == ["page.html"]


def test_a_place_that_cannot_be_written_is_one_line(make_results: MakeResults) -> None:
    make_results("one")
    Path("file").touch()
    for option in ("--html", "--csv"):
        result = CliRunner().invoke(main, ["report", "one", option, "file/x"])
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "Error: file/x cannot be written: file is a file\n"
    result = CliRunner().invoke(main, ["report", "one", "--csv", "/proc/x"])
    assert result.stderr == "Error: /proc/x cannot be written: No such file or directory\n"
