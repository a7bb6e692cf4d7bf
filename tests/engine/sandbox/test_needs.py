# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from gars_vllm.engine.sandbox.needs import Changes, needs_of


def check(body: str) -> str:
    *imports, last = body.split("; ;")
    lines = "\n".join("    " + line for line in last.strip().split("\n"))
    return "\n".join(imports) + f"\ndef check(candidate):\n{lines}\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import pickle; ;assert pickle.loads(candidate()) == 1", "pickle: it could run what the program gives"),
        ("import subprocess; ;subprocess.run(candidate())", "subprocess: it starts processes"),
        ("import socket; ;socket.socket()", "socket: it uses the network"),
        ("import multiprocessing; ;multiprocessing.Pool().map(candidate, [1])", "it starts processes"),
        ("import os; ;os.system(candidate())", "system: it starts processes"),
        ("import inspect; ;assert inspect.getsource(candidate)", "getsource: it reads the program's source"),
        ("import sys; ;sys.path.insert(0, candidate())", "sys.path"),
        ("import tracemalloc; ;tracemalloc.start()", "measures memory"),
        ("assert eval(candidate()) == 1", "eval"),
        ("exec(candidate())", "exec"),
        ("import typing; ;typing.get_type_hints(candidate)", "get_type_hints"),
        ("import doctest; ;doctest.run_docstring_examples(candidate, {})", "doctest"),
        ("class Sub(candidate): pass", "makes a class from the program's"),
        ("from unittest.mock import patch; ;patch('solution.helper').start()", "patches solution.helper"),
        ("assert candidate.__globals__", "looks into the interpreter"),
        # these can be carried
        ("assert eval('1 + 1') == candidate()", ""),
        ("import re; ;assert re.compile('a').match(candidate())", ""),
        ("import multiprocessing.dummy as m; ;assert m.Pool().map(candidate, [1])", ""),
        ("import os, tempfile; ;open(os.path.join(tempfile.mkdtemp(), 'x'), 'w')", ""),
    ],
)  # fmt: skip
def test_what_no_judge_can_carry_is_named_before_anything_runs(body: str, reason: str) -> None:
    found = needs_of(check(body), "f").reason
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        ("assert candidate([1]) == [1]", Changes.STAY),
        ("a = [1]\nassert candidate(a) == sorted(a)", Changes.STAY),
        ("for a in ([1], [2]):\n    assert candidate(a) == sorted(a)", Changes.STAY),
        ("a = [1]\nb = a[:]\nassert candidate(a) == sorted(b)", Changes.STAY),
        ("a = [1]\nk = candidate(a)\nassert a[:k] == [1]", Changes.TAKEN),
        ("a = [1]\nb = a[:]\ncandidate(a)\nassert a == b", Changes.TAKEN),
        ("a = [1]\nr = candidate(a)\nassert r is a", Changes.TAKEN),
        ("a = [1]\ncandidate(a)\nassert all(x for x in a)", Changes.TAKEN),
        ("a = [1]\nself.assertEqual(candidate(a), 1)\nself.assertEqual(a, [1])", Changes.TAKEN),
        ("a = [1]\nr = candidate(a)\nassert r == sorted(a)", Changes.UNCLEAR),
        ("a = [1]\nr = candidate(a)\nb = sorted(a)\nassert b == r", Changes.UNCLEAR),
        ("a = [1]\nr = candidate(a)\nself.assertEqual(r, len(a))", Changes.UNCLEAR),
        ("a = [1]\nr = candidate(a)\nb = []\nfor x in a:\n    b.append(x)\nassert b == r", Changes.UNCLEAR),
        ("a = [1]\nr = candidate(a)\nt = 0\nfor x in a:\n    t += x\nassert t == r", Changes.UNCLEAR),
        ("a = [1]\nr = candidate(a)\nd = {}\nd[0] = a\nassert d[0] == r", Changes.UNCLEAR),
        ("a = [1]\ndef e():\n    return sorted(a)\nr = candidate(a)\nassert e() == r", Changes.UNCLEAR),
    ],
)  # fmt: skip
def test_changes_of_an_argument_are_taken_where_they_mislead_nobody(
    body: str, changes: Changes
) -> None:
    assert needs_of(check(body), "f").changes is changes


def test_what_a_test_needs() -> None:
    assert needs_of(check("import os; ;os.environ['A'] = '1'"), "f").files
    assert needs_of(check("candidate(open('x'))"), "f").files
    assert not needs_of(check("import json; ;candidate(json.dumps(1))"), "f").files
    assert needs_of(check("candidate(10 ** 6)"), "f").large
    assert needs_of(check("candidate([0] * (1 << 20))"), "f").large
    assert not needs_of(check("candidate(10 ** 4, 'x' * 10)"), "f").large
    assert needs_of(check("import random; ;random.seed(0)"), "f").seeds
    assert (
        "time"
        in needs_of(check("from unittest.mock import patch; ;patch('time.sleep')"), "f").patched
    )
    assert needs_of("def check(:", "f").reason == ""


def test_none_of_human_eval_is_lost() -> None:
    from gars_vllm.engine.tasks.data_sets import load_humaneval
    from gars_vllm.engine.verification.verification import unjudged

    tasks = load_humaneval()
    assert unjudged(tasks) == {}
    assert {needs_of(t.test or "", t.entry_point or "").changes for t in tasks} == {Changes.STAY}
