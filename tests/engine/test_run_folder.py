# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.run_folder import JsonLines, RunFolder

WRITER = """
import sys
from pathlib import Path
from gars_vllm.engine.run_folder import RunFolder
run = RunFolder(Path(sys.argv[1]))
run.create_or_resume({"n": 1})
done = run.samples.open()
for i in range(100000):
    if ("t", i) not in done:
        run.samples.append({"task_id": "t", "sample_index": i, "completion": "x" * 5000})
    if i == int(sys.argv[2]):
        break
"""


def test_killed_writer_loses_and_repeats_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "run")]
    child = subprocess.Popen([*command, "99999"])
    file = tmp_path / "run" / "samples.jsonl"
    while not file.exists() or file.stat().st_size < 200_000:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"task_id": "t", "sam')  # a write that was cut short
    last = whole.count(b"\n") + 10
    subprocess.run([*command, str(last)], check=True)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [r["sample_index"] for r in rows] == list(range(last + 1))


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path / "a").create_or_resume({"n": 1, "model": "m"})
    with pytest.raises(UserError, match="model is 'm' there and 'k' here"):
        RunFolder(tmp_path / "a").create_or_resume({"n": 1, "model": "k"})


def test_second_writer_and_foreign_folder_are_refused(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "a")
    first.create_or_resume({"n": 1})
    with pytest.raises(UserError, match="in use"):
        RunFolder(tmp_path / "a").create_or_resume({"n": 1})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty and not a run"):
        RunFolder(tmp_path / "b").create_or_resume({"n": 1})
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["thesis.txt"]


def test_no_key_twice(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "x.jsonl")
    lines.open()
    lines.append({"task_id": "a", "sample_index": 0})
    with pytest.raises(ValueError, match="already"):
        lines.append({"task_id": "a", "sample_index": 0})
