# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.background_verifier import BackgroundVerifier
from gars_vllm.cli.main import main
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.sandbox import choice
from gars_vllm.engine.sandbox.tiers import Tier

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
    assert re.search(r" s, sandbox: (bwrap|namespaces|landlock)$", lines[6])
    assert lines[7] == "next: gars-vllm report run"
    again = CliRunner().invoke(main, ["verify", "run"])
    assert again.exit_code == 0
    assert "all 4 samples were verified before; --force does it again\n" in again.stdout


def test_force_verifies_everything_again(make_run: MakeRun) -> None:
    make_run()
    named = ["verify", "run", "--with", "tests,compile"]
    CliRunner().invoke(main, named)
    files = [Path("run/results.jsonl"), Path("run/checks/compile.jsonl")]
    before = [sorted(json.loads(x)["passed"] for x in f.read_text().splitlines()) for f in files]
    for file in files:
        file.write_text(file.read_text().replace("true", "false"))
    result = CliRunner().invoke(main, [*named, "--force"])
    assert result.exit_code == 0, result.output
    assert "4 samples verified" in result.stdout
    assert "compile: 4 of 4 samples pass" in result.stdout
    after = [sorted(json.loads(x)["passed"] for x in f.read_text().splitlines()) for f in files]
    assert before == after == [[False, False, True, True], [True] * 4]


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
        (
            ["lines.jsonl", "--force"],
            "--force is for a run: name another --out for a file",
        ),
        (
            ["none.jsonl"],
            "none.jsonl does not exist: name a file of completions, or a run's folder",
        ),
        (["run", "--out", "folder"], "folder is a folder: name a file"),
        (["run", "--out", "no/x"], "no/x cannot be written: there is no folder no"),
        (
            ["run", "--out", "x", "--with", "tests,lint"],
            "--out is for the tests' verdicts: leave --with away",
        ),
        (
            ["run", "--with", "tests,lnit"],
            "'lnit' is no verifier: there are tests, compile, examples, lint, types",
        ),
        (
            ["run", "--sandbox", "rlimits"],
            "--sandbox rlimits is no sandbox: programs can read your files and use the network; "
            "add --i-know if that is all right",
        ),
        (
            ["run", "--sandbox", "docker"],
            "--sandbox docker needs --docker-image, say python:3.11-slim",
        ),
        (
            ["lines.jsonl"],
            "lines.jsonl:1: `task_id` is missing: a line has a `task_id` and a `completion` (or "
            "EvalPlus' `solution`)",
        ),
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
    Path("lines.jsonl").write_text("{}\n")
    result = CliRunner().invoke(main, ["verify", *arguments])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {line}\n")
    assert not Path("lines.jsonl_results.jsonl").exists()


def test_another_file_for_a_runs_verdicts(make_run: MakeRun) -> None:
    """All samples anew; the run's own verdicts stay as they are."""
    make_run()
    done = CliRunner().invoke(main, ["verify", "run", "--out", "there.jsonl"])
    assert done.exit_code == 0, done.output
    assert "4 samples verified" in done.stdout
    assert done.stdout.splitlines()[-1] == "results in there.jsonl"
    assert not Path("run/results.jsonl").exists()
    CliRunner().invoke(main, ["verify", "run"])
    own = Path("run/results.jsonl").read_bytes()
    again = CliRunner().invoke(main, ["verify", "run", "--out", "again.jsonl"])
    assert "4 samples verified" in again.stdout
    assert Path("run/results.jsonl").read_bytes() == own

    def verdicts(path: str) -> dict[tuple[str, int], bool]:
        lines = map(json.loads, Path(path).read_text().splitlines())
        return {(r["task_id"], r["sample_index"]): r["passed"] for r in lines}

    wanted = verdicts("run/results.jsonl")
    assert verdicts("there.jsonl") == verdicts("again.jsonl") == wanted
    # What was begun goes on.
    first = Path("again.jsonl").read_text().splitlines(keepends=True)[0]
    Path("again.jsonl").write_text(first)
    more = CliRunner().invoke(main, ["verify", "run", "--out", "again.jsonl"])
    assert "3 samples verified" in more.stdout
    assert verdicts("again.jsonl") == wanted
    Path("other.jsonl").write_text(first.replace("mine/", "yours/"))
    refused = CliRunner().invoke(main, ["verify", "run", "--out", "other.jsonl"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert re.match(r"Error: other.jsonl holds the verdict of sample \d of yours/", refused.stderr)
    assert len(refused.stderr.splitlines()) == 1


def test_a_machine_without_a_sandbox_is_told_so(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    monkeypatch.setattr(choice, "available", lambda tier, image=None: "not here")
    result = CliRunner().invoke(main, ["verify", "run"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: no sandbox works here (bwrap: not here; ")
    assert len(result.stderr.splitlines()) == 1
    assert not Path("run/results.jsonl").exists()


def test_other_verifiers_are_columns_of_the_run(make_run: MakeRun, tier: Tier) -> None:
    make_run(bodies=("    return a + b\n", "    return c\n", "    return (\n"))
    result = CliRunner().invoke(main, ["verify", "run", "--with", "lint,compile,tests"])
    assert result.exit_code == 0, result.output
    assert re.search(r"^lint: 2 of 6 samples pass", result.stdout, re.MULTILINE)
    assert re.search(r"^compile: 4 of 6 samples pass", result.stdout, re.MULTILINE)
    found = [json.loads(line) for line in Path("run/checks/lint.jsonl").read_text().splitlines()]
    assert {(r["sample_index"], r["passed"]) for r in found} == {(0, True), (1, False), (2, False)}
    report = json.loads(CliRunner().invoke(main, ["report", "run", "--json"]).stdout)[0]
    assert report["checks"] == {"compile": [6, 4], "lint": [6, 2]}
    assert report["sandboxes"] == [str(tier)]
    shown = CliRunner().invoke(main, ["report", "run"]).stdout
    assert re.search(r"lint passes +2 \(33.3%\)", shown)
    assert re.search(rf"sandbox +{tier}", shown)


def test_a_file_of_completions(make_run: MakeRun) -> None:
    make_run()
    lines = [
        {"task_id": f"mine/{i}", "completion": f"    return a {op} b\n"}
        for i, op in ((0, "+"), (0, "-"), (1, "+"))
    ]
    Path("mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = CliRunner().invoke(main, ["verify", "mine.jsonl", "--prompts", "prompts.jsonl"])
    assert result.exit_code == 0, result.output
    assert "pass@1 0.7500" in result.stdout
    assert "results in mine.jsonl_results.jsonl" in result.stdout
    found = [json.loads(x) for x in Path("mine.jsonl_results.jsonl").read_text().splitlines()]
    assert [r["passed"] for r in found] == [True, False, True]
    named = ["verify", "mine.jsonl", "--prompts", "prompts.jsonl", "--out", "there.jsonl", "--json"]
    again = json.loads(CliRunner().invoke(main, named).stdout)
    assert again["verified"] == 3
    assert Path("there.jsonl").read_text() == Path("mine.jsonl_results.jsonl").read_text()


def test_a_sampler_is_followed_until_it_says_that_it_is_done(make_run: MakeRun, tier: Tier) -> None:
    """As `sample --verify` does it: by a process that is told the end on its standard input."""
    make_run(n=3)
    run = RunFolder(Path("run"))
    beside = BackgroundVerifier(run.path, ["--sandbox", str(tier)])
    beside.start()
    wait_until(lambda: len(list(run.results.read())) == 4)
    with run.samples as samples:
        program = "def add(a, b):\n    return a + b + 0\n"
        samples.append({"task_id": "mine/0", "sample_index": 2, "program": program})
        wait_until(lambda: len(list(run.results.read())) == 5)
        samples.append({"task_id": "mine/1", "sample_index": 2, "program": program})
        done = beside.finish()
    assert done is not None
    assert done["verified"] == 6
    assert 4 <= done["hidden"] <= 6
    assert beside.state == done


def test_a_follower_ends_with_its_sampler(make_run: MakeRun, tier: Tier) -> None:
    make_run()
    for end in ("abort", "kill"):
        beside = BackgroundVerifier(Path("run"), ["--sandbox", str(tier)])
        beside.start()
        process = beside._process
        assert process is not None
        assert process.stdin is not None
        time.sleep(0.5)
        assert process.poll() is None
        if end == "abort":
            beside.abort()
        else:
            process.stdin.close()  # as the kernel does for one that was killed
            assert process.wait(timeout=10) != 0


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
