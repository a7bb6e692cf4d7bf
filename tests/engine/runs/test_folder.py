# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.runs.folder import RunFolder, first_difference, open_run

CONFIG: dict[str, Any] = {"model": "m", "task_ids": ["a", "b"], "n": 4, "temperature": 0.8}
SAMPLE = {"task_id": "a", "sample_index": 0, "program": ""}


def begin(path: Path, config: dict[str, Any] = CONFIG) -> RunFolder:
    run = RunFolder(path)
    run.create_or_resume(config)
    return run


def refusal(path: Path, config: dict[str, Any] = CONFIG) -> str:
    with pytest.raises(UserError) as caught:
        RunFolder(path).create_or_resume(config)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path}", path.name)


def test_a_run_is_begun_and_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run"
    with begin(path) as run:
        assert run.samples.open() == frozenset()
        run.samples.append(SAMPLE)
        run.add_session({"tokens": 3}, {"versions": {"torch": "1"}})
    with begin(path, {**CONFIG, "task_ids": ("a", "b")}) as run:
        assert run.samples.open() == {("a", 0)}
        run.add_session({"tokens": 4}, {"versions": {"torch": "2"}})
    record = open_run(path).load()
    assert record["config"] == CONFIG
    assert record["info"] == {
        "sessions": [{"tokens": 3}, {"tokens": 4}],
        "versions": {"torch": "2"},
    }
    assert sorted(os.listdir(path)) == [".lock", "run.json", "samples.jsonl"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": 1.4}, "temperature = 0.8, not 1.4"),
        ({"grammar": "python"}, 'grammar = nothing, not "python"'),
        ({"task_ids": list("abcd")}, "task_ids = [\"a\", \"b\"], not ['a', ..., 'd'] (4 items)"),
    ],
)
def test_another_configuration_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "run"
    begin(path).close()
    before = (path / "run.json").read_bytes()
    assert refusal(path, CONFIG | change) == (
        f"run holds a run with {said}: choose another --out, or ask for the same to continue "
        "that run"
    )
    assert (path / "run.json").read_bytes() == before
    begin(path).close()  # the refusal gave the lock back


def test_the_first_difference_is_named_by_its_path() -> None:
    assert first_difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ("a.c", 2, 3)
    assert first_difference({"a": [1]}, {"a": [1]}) is None
    assert first_difference({"a": None}, {}) is not None


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert refusal(tmp_path) == (
        f"{tmp_path.name} is not empty and not a run (it holds thesis.tex): choose another --out"
    )
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_what_a_sampler_leaves_that_was_killed_early_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".run.json.abc").write_text("{")
    begin(tmp_path).close()
    assert open_run_config(tmp_path) == CONFIG


def open_run_config(path: Path) -> Any:
    return RunFolder(path).load()["config"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refusal(file) == "file cannot be written (Not a directory): choose another --out"
    assert "cannot be written (Not a directory)" in refusal(file / "run")


def test_run_json_of_another_kind_is_refused(tmp_path: Path) -> None:
    for text, said in [
        ("{", "run.json: not JSON"),
        ("[]", "run.json: a list, not a JSON object"),
        ('{"format": 2}', "is not of format 1"),
        ('{"format": 1, "config": {}}', "run.json: `info` is missing"),
    ]:
        (tmp_path / "run.json").write_text(text)
        assert said in refusal(tmp_path)


def test_two_samplers_on_one_folder_are_refused(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom gars_vllm.engine.runs.folder import RunFolder\n"
        f"run = RunFolder(Path(sys.argv[1]))\nrun.create_or_resume({CONFIG!r})\n"
        "print('holding', flush=True)\nsys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"holding\n"
        assert refusal(tmp_path) == (
            f"{tmp_path.name} is being written by another gars-vllm: wait for it or end it"
        )
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    begin(tmp_path).close()  # kill -9 leaves no lock behind


def test_a_session_needs_the_lock(tmp_path: Path) -> None:
    begin(tmp_path).close()
    with pytest.raises(ValueError, match="not open for sampling"):
        RunFolder(tmp_path).add_session({}, {})


def test_run_json_is_replaced_and_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begin(tmp_path) as run:

        def fail(*_: object) -> None:
            raise OSError("killed here")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="killed here"):
            run.add_session({"tokens": 1}, {})
        monkeypatch.undo()
        assert json.loads((tmp_path / "run.json").read_text())["info"] == {"sessions": []}
        assert sorted(os.listdir(tmp_path)) == [".lock", "run.json"]


def test_only_a_run_with_samples_opens(tmp_path: Path) -> None:
    begin(tmp_path).close()
    with pytest.raises(UserError, match="holds no finished sample yet"):
        open_run(tmp_path)
