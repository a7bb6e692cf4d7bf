# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.tasks.data_sets import load_humaneval, of_run
from gars_vllm.engine.tasks.tasks import Task, load_prompts, select

TASKS = [Task(f"HumanEval/{i}", "p") for i in range(164)]


def ids(tasks: list[Task]) -> list[str]:
    return [task.task_id.removeprefix("HumanEval/") for task in tasks]


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_prompts(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path), path.name)


def test_humaneval_is_whole() -> None:
    tasks = load_humaneval()
    assert ids(tasks) == [str(i) for i in range(164)]
    for task in tasks:
        assert task.canonical_solution
        assert task.test
        assert task.entry_point
        assert f"def {task.entry_point}" in task.prompt
        assert "def check(candidate)" in task.test


def test_prompts_are_read_with_names_and_without(tmp_path: Path) -> None:
    path = tmp_path / "mine.v2.jsonl"
    rows = [
        {"prompt": "a\u2028b"},
        {"prompt": "c", "task_id": 7, "entry_point": "f", "test": "t", "extra": [1]},
        {"prompt": "d", "task_id": "x/1", "canonical_solution": "s", "test": None},
    ]
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    expected = [
        Task("mine/0", "a\u2028b"),
        Task("7", "c", "f", "t"),
        Task("x/1", "d", canonical_solution="s"),
    ]
    assert load_prompts(path) == expected
    packed = tmp_path / "mine.jsonl.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert load_prompts(str(packed)) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b'{"prompt": "a"}\n{"prompt": }\n',
            "p.jsonl:2: not JSON (Expecting value, column 12): a line is a JSON object with a `prompt`",
        ),
        (b"[1]", "p.jsonl:1: a list, not a JSON object: a line is a JSON object with a `prompt`"),
        (
            b'\n{"task_id": "a"}',
            "p.jsonl:2: `prompt` is missing: a line is a JSON object with a `prompt`",
        ),
        (
            b'{"prompt": ""}',
            'p.jsonl:1: `prompt` is "", not a text (not empty): a line is a JSON object with a `prompt`',
        ),
        (
            b'{"prompt": 3}',
            "p.jsonl:1: `prompt` is 3, not a text (not empty): a line is a JSON object with a `prompt`",
        ),
        (
            b'{"prompt": "a", "task_id": true}',
            "p.jsonl:1: `task_id` is true, not a name that can be printed, a whole number from 0 or null: a line is a JSON object with a `prompt`",
        ),
        (
            b'{"prompt": "a", "test": "t"}',
            "p.jsonl:1: a `test` needs an `entry_point`, the name that it checks",
        ),
        (
            b'{"prompt": "a", "task_id": "x"}\n\n{"prompt": "b", "task_id": "x"}',
            "p.jsonl:3: task_id 'x' is also that of p.jsonl:1: each needs its own",
        ),
        (
            b'{"prompt": "a"}\n"\xff"',
            "p.jsonl:2: not UTF-8 (byte 2): a line is a JSON object with a `prompt`",
        ),
        (b" \n\n", "p.jsonl holds no prompts: write one JSON object with a `prompt` a line"),
        (
            b"[" * 100000,
            "p.jsonl:1: nested more than 100 deep: a line is a JSON object with a `prompt`",
        ),
    ],
)
def test_a_bad_prompts_file_is_refused_by_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(data)
    assert refusal(path) == message


def test_an_unreadable_prompts_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no") == "no cannot be read: No such file or directory"
    assert refusal(tmp_path).endswith("cannot be read: Is a directory")
    bad = tmp_path / "x.jsonl.gz"
    bad.write_bytes(b"plain")
    assert refusal(bad).startswith("x.jsonl.gz cannot be read: Not a gzipped file")


def test_tasks_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n')
    assert len(of_run({})) == len(of_run({"tasks": "humaneval"})) == 164
    assert [t.task_id for t in of_run({"tasks": str(path), "task_ids": ["p/0"]})] == ["p/0"]
    message = "the run's task p/0 is not in HumanEval: give its own file with --prompts"
    with pytest.raises(UserError, match=re.escape(message)):
        of_run({"task_ids": ["HumanEval/3", "p/0"]})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("HumanEval/3", ["3"]),
        ("3", ["3"]),
        ("0-3", ["0", "1", "2", "3"]),
        (" 5, 0-2,HumanEval/163 ", ["0", "1", "2", "5", "163"]),
        ("2,2,1-2", ["1", "2"]),
        (["7", "5,6"], ["5", "6", "7"]),
        (None, [str(i) for i in range(164)]),
    ],
)
def test_select_by_id(asked: str | list[str] | None, expected: list[str]) -> None:
    assert ids(select(TASKS, task_ids=asked)) == expected


def test_select_limits() -> None:
    assert ids(select(TASKS, limit=2)) == ["0", "1"]
    assert ids(select(TASKS, 2, "8-11")) == ["8", "9"]
    assert len(select(TASKS, limit=1000)) == 164
    for limit in (0, -1):
        with pytest.raises(UserError, match=f"limit is {limit}: it must be at least 1"):
            select(TASKS, limit=limit)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("HumanEva/3", "unknown task id 'HumanEva/3': did you mean HumanEval/3,"),
        ("164", "unknown task id 'HumanEval/164': did you mean HumanEval/"),
        ("160-170", "unknown task id 'HumanEval/164'"),
        ("-1", "unknown task id '-1': "),
        ("zzz", "there are 164 tasks, HumanEval/0 to HumanEval/163"),
        ("9-3", "task ids 9-3: the range runs backwards, write 3-9"),
        ("0-99999999999", "task ids 0-99999999999: there are only 164 tasks"),
        (" , ", "no task id was given: write for example 0-19 or HumanEval/3"),
        ("", "no task id was given"),
    ],
)
def test_select_refuses_what_is_not_there(asked: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        select(TASKS, task_ids=asked)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_that_names_two_tasks_is_refused() -> None:
    tasks = [Task("a/1", "p"), Task("b/1", "p"), Task("5-6", "p")]
    with pytest.raises(UserError, match="task id 1 is ambiguous: a/1, b/1; write it whole"):
        select(tasks, task_ids="1")
    assert select(tasks, task_ids="5-6") == [tasks[2]]
