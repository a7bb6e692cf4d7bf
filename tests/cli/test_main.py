# SPDX-License-Identifier: Apache-2.0
"""The command line in a process of its own: messages and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gars_vllm.engine.run_folder import RunFolder


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from gars_vllm.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("sample", "--model", "qwen2.5-coder-0.5"),
            "unknown model 'qwen2.5-coder-0.5'; did you mean",
        ),
        (("sample", "--n", "0"), "n is 0; draw at least one sample"),
        (("sample", "--temperature", "0"), "temperature 0 draws the same sample 16 times"),
        (("sample", "--task-ids", "999"), "unknown task id"),
        (("sample", "--prompts", "/nowhere.jsonl"), "cannot read prompts"),
        (("verify", "/nowhere"), "/nowhere is not a run"),
        (("report", "/nowhere"), "/nowhere is not a run"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments: tuple[str, ...], message: str) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_report_of_a_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    config = {"model": "m", "grammar": "python", "temperature": 0.8, "task_ids": ["t"], "n": 2}
    run.create_or_resume(config)
    run.samples.open()
    run.results.open()
    for i in range(2):
        run.samples.append(
            {"task_id": "t", "sample_index": i, "valid": True, "finish_reason": "stop", "tokens": 3}
        )
        run.results.append(
            {"task_id": "t", "sample_index": i, "passed": i == 0, "outcome": "passed"}
        )
    shown = call("report", str(tmp_path / "r"), "--per-problem")
    assert shown.returncode == 0
    assert "50.0 %" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()) <= 100
    data = json.loads(call("report", str(tmp_path / "r"), "--json").stdout)
    assert data[0]["pass_at"]["1"] == 0.5


def test_models_and_help() -> None:
    assert "deepseek-6.7b-base" in call("models").stdout
    assert "verify" in call("--help").stdout
