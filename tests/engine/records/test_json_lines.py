# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.json_lines import JsonLines, Tail
from gars_vllm.engine.records.records import Keyed

LONGEST = 5100  # bytes of a record below
APPEND_FOR_EVER = """
import sys
from pathlib import Path
from gars_vllm.engine.records.json_lines import JsonLines
from gars_vllm.engine.records.records import Keyed
with JsonLines(Path(sys.argv[1]), Keyed) as file:
    index = len(file.keys())
    while True:
        file.append({"task_id": "t", "sample_index": index, "program": "x" * 5000})
        index += 1
"""


def record(index: int, **more: object) -> dict[str, object]:
    return {"task_id": "t", "sample_index": index, **more}


def test_appended_records_are_read_back(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "x.jsonl", Keyed)
    assert list(file.read()) == []
    assert file.open() == frozenset()
    file.append(record(0, text="a\nb\u2028\ud800é"))
    file.append(record(1))
    assert file.keys() == {("t", 0), ("t", 1)}
    file.close()
    file.close()
    assert list(JsonLines(file.path, Keyed).read()) == [
        record(0, text="a\nb\u2028\ud800é"),
        record(1),
    ]
    assert file.path.read_bytes().count(b"\n") == 2
    with file:
        assert file.keys() == {("t", 0), ("t", 1)}
        file.append(record(2))
    assert len(JsonLines(file.path, Keyed).keys()) == 3


def test_a_key_is_never_written_twice(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "x.jsonl", Keyed)
    with file:
        file.append(record(3))
    with file, pytest.raises(UserError, match="already holds sample 3 of t: not added"):
        file.append(record(3))
    assert list(file.read()) == [record(3)]


def test_append_needs_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not open for writing"):
        JsonLines(tmp_path / "x.jsonl", Keyed).append(record(0))


@pytest.mark.parametrize("torn", [b"{", b'{"task_id": "t", "sample_index": 1}', b"x" * 200_000])
def test_a_torn_last_line_is_passed_over_by_readers_and_cut_by_writers(
    tmp_path: Path, torn: bytes
) -> None:
    whole = json.dumps(record(0)).encode() + b"\n"
    for start in (whole, b""):
        path = tmp_path / "x.jsonl"
        path.write_bytes(start + torn)
        file = JsonLines(path, Keyed)
        assert len(list(file.read())) == (1 if start else 0)
        assert path.read_bytes() == start + torn
        with file:
            assert path.read_bytes() == start
            file.append(record(1))
        assert path.read_bytes() == start + json.dumps(record(1)).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "a list, not a JSON object"),
        (b'{"task_id": "t"}', "`sample_index` is missing"),
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(json.dumps(record(0)).encode() + b"\n" + line + b"\n")
    for action in (lambda: list(JsonLines(path, Keyed).read()), JsonLines(path, Keyed).open):
        with pytest.raises(UserError, match=re.escape(f"{path}:2: {said}")):
            action()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with JsonLines(path, Keyed) as file:
        file.append(record(0))
        with pytest.raises(UserError, match="is being written by another gars-vllm"):
            JsonLines(path, Keyed).open()
        assert len(list(JsonLines(path, Keyed).read())) == 1
    JsonLines(path, Keyed).open()


def test_a_write_that_fails_leaves_the_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    path = tmp_path / "x.jsonl"
    with JsonLines(path, Keyed) as file:
        file.append(record(0))
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        with pytest.raises(UserError, match=r"x.jsonl cannot be written: No space left"):
            file.append(record(1))
        monkeypatch.undo()
        assert path.read_bytes() == before
        file.append(record(1))
    assert list(JsonLines(path, Keyed).read()) == [record(0), record(1)]


def test_kill_9_while_appending_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    seen = 0
    for _ in range(4):
        size = path.stat().st_size if path.exists() else 0
        child = subprocess.Popen([sys.executable, "-c", APPEND_FOR_EVER, str(path)])
        deadline = time.monotonic() + 60
        # By its size: whoever reads it all is overtaken by a writer that never waits.
        while not path.exists() or path.stat().st_size < size + 21 * LONGEST:
            assert time.monotonic() < deadline, "the writer does not get on"
            assert child.poll() is None, "the writer ended by itself"
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.wait()
        with JsonLines(path, Keyed) as file:
            assert path.read_bytes().endswith(b"\n")
            indices = [found["sample_index"] for found in file.read()]
        assert indices == list(range(len(indices)))
        assert len(indices) >= seen + 20
        seen = len(indices)


def test_a_tail_gives_each_record_once(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    tail = Tail(path, Keyed)
    assert list(tail) == []  # not there yet
    lines = [json.dumps({"task_id": "é", "sample_index": i}).encode() + b"\n" for i in range(5)]
    path.write_bytes(lines[0] + lines[1] + lines[2][:9])  # the third is being written
    assert [r["sample_index"] for r in tail] == [0, 1]
    assert list(tail) == []
    path.write_bytes(b"".join(lines))
    assert [r["sample_index"] for r in tail] == [2, 3, 4]
    with path.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(UserError, match=r"x.jsonl:6: `task_id` is missing"):
        list(tail)
