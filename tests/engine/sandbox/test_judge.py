# SPDX-License-Identifier: Apache-2.0
"""The judge and the program server, connected in one process: no isolation, trusted programs only."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest
from gars_vllm.engine.sandbox import program_server, wire
from gars_vllm.engine.sandbox.judge import canonical, judge
from gars_vllm.engine.sandbox.outcome import Outcome, Program


def run(text: str, test: str = "", entry: str = "f", preamble: str = "", inputs: Any = ()) -> Any:
    """(outcome, detail, outputs) of a program."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        inside = threading.Thread(target=program_server.serve, args=(wire.Channel(theirs),))
        inside.start()
        encoded = tuple(wire.encode_all(values, list) for values in inputs)
        found = judge(Program(text, entry, test, preamble, encoded), wire.Channel(ours))
        ours.close()
        inside.join(timeout=10)
        assert not inside.is_alive()
    return found


def check(body: str) -> str:
    return "def check(candidate):\n" + "".join(f"    {line}\n" for line in body.splitlines())


PASSED = (Outcome.PASSED, "", [])


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("def f(x): return x", "for v in (1, 'a', [1], {'a': (1, 2)}, None, 2.5, {1, 2}): assert candidate(v) == v and type(candidate(v)) is type(v)"),
        ("def f(x, *, y=2): return x + y", "assert candidate(1) == 3\nassert candidate(x=1, y=1) == 2"),
        ("def f():\n    yield from 'abc'", "assert list(candidate()) == ['a', 'b', 'c']"),
        ("def f(n): return map(str, range(n))", "assert ''.join(candidate(3)) == '012'"),
        ("def f(x): return lambda y: x + y", "assert candidate(1)(2) == 3"),
        ("def f(g, x): return g(g(x))", "assert candidate(lambda x: x + 1, 1) == 3"),
        ("def f(x): x.sort()", "v = [3, 1, 2]\nassert candidate(v) is None\nassert v == [1, 2, 3]"),
        ("def f(x): x['a'] = [1]; x.pop('b', 0)", "v = {'b': 2}\ncandidate(v)\nassert v == {'a': [1]}"),
        ("class C:\n    def __init__(self, x): self.x = x\n    def get(self): return self.x\n    def __len__(self): return 5\n    def __getitem__(self, i): return i * 2\nf = C", "c = candidate(3)\nassert (c.x, c.get(), len(c), c[4]) == (3, 3, 5, 8)\nassert c.x == candidate(3).x"),
        ("def f(x):\n    if x < 0: raise ValueError('negative')\n    return {}[x]", "for v, e in ((-1, ValueError), (1, KeyError), (1, LookupError)):\n    try: candidate(v)\n    except e as error: assert isinstance(error, e)\n    else: assert False"),
        ("class Own(KeyError): pass\ndef f(): raise Own('a')", "try: candidate()\nexcept KeyError as e: assert e.args == ('a',)\nelse: assert False"),
        ("def f(): return b'x'.decode('utf-8'), 1j, range(3)", "assert candidate() == ('x', 1j, range(3))"),
        ("def f(b): return b.decode()", "try: candidate(b'\\xff')\nexcept Exception as e: assert 'UnicodeDecodeError' in type(e).__name__"),
    ],
)  # fmt: skip
def test_a_test_can_do_with_a_program_what_it_could_without_walls(text: str, body: str) -> None:
    assert run(text, check(body)) == PASSED


@pytest.mark.parametrize(
    ("text", "body", "outcome", "detail"),
    [
        ("def f(): return 2", "assert candidate() == 1", "wrong answer", "assert candidate() == 1 (test, line 2); it gave 2"),
        ("def f(): return 2", "x = candidate()\nassert (\n    x\n    == 1\n)", "wrong answer", "assert ( x == 1 ) (test, line 3); it gave 2"),
        ("def f(): return 10**5000", "assert candidate() == 1", "wrong answer", "assert candidate() == 1 (test, line 2); it gave an object of int"),
        ("class E:\n    def __eq__(self, o): return True\ndef f(): return E()", "assert candidate() == 1", "wrong answer", "assert candidate() == 1 (test, line 2); it gave <object of E>"),
        ("class E(list):\n    def __eq__(self, o): return True\ndef f(): return E()", "assert candidate() == [1]", "wrong answer", "assert candidate() == [1] (test, line 2); it gave []"),
        ("def f(x):\n    x.clear()\n    return 0", "v = [1, 2]\nassert candidate(v) == len(v)", "wrong answer", "assert candidate(v) == len(v) (test, line 3); it gave 0"),
        ("def f(): return None", "assert abs(candidate() - 1) < 1", "exception", "TypeError: unsupported operand type(s) for -: 'NoneType' and 'int' (test, line 2); it gave None"),
        ("def f(): assert 0, 'no'", "assert candidate() == 1", "exception", "AssertionError: no (line 1)"),
        ("def f():\n    return 1 / 0", "assert candidate() == 1", "exception", "ZeroDivisionError: division by zero (line 2)"),
        ("x = 1 / 0", "assert candidate() == 1", "exception", "ZeroDivisionError: division by zero (line 1)"),
        ("def f(): raise SystemExit(0)", "try: candidate()\nexcept BaseException: pass", "exited early", "SystemExit: 0 (line 1)"),
        ("def f(): raise KeyboardInterrupt", "assert candidate() == 1", "exception", "KeyboardInterrupt (line 1)"),
        ("def f(): raise MemoryError", "assert candidate() == 1", "out of memory", ""),
        ("class MemoryError(Exception): pass\ndef f(): raise MemoryError('x')", "assert candidate() == 1", "exception", "MemoryError: x (line 2)"),
        ("def f(): raise PermissionError(13, 'no')", "assert candidate() == 1", "forbidden action", "PermissionError: [Errno 13] no (line 1)"),
        ("def f(:", "pass", "syntax error", "invalid syntax (line 1)"),
        ("g = 1", "pass", "exception", "NameError: f is not defined"),
        ("f = 1", "candidate()", "exception", "TypeError: 'int' object is not callable (test, line 2)"),
        ("def f(): return bytearray(1 << 24)", "assert candidate() == 1", "wrong answer", "it gave a value of 32 MiB: more than 16"),
        ("def f(): return 1", "raise LookupError", "exception", "LookupError (test, line 2)"),
        ("def f(): return 1", "candidate.__globals__", "not judged", "the test uses __globals__: it looks into the interpreter that runs the program (line 2)"),
    ],
)  # fmt: skip
def test_failures_are_told_apart(text: str, body: str, outcome: str, detail: str) -> None:
    assert run(text, check(body)) == (Outcome(outcome), detail, [])


def test_helpers_come_from_the_prompt_and_not_from_the_program() -> None:
    test = check("assert double(candidate()) == 4")
    lie = "def double(x): return 4\ndef f(): return 1"
    honest = "def double(x): return 2 * x\ndef f(): return 2"
    preamble = "def double(x): return 2 * x\ndef f():\n    pass\n"
    assert run(honest, test, preamble=preamble) == PASSED
    assert run(lie, test, preamble=preamble)[0] == Outcome.WRONG_ANSWER
    # and where the prompt has none, from the program, by value
    assert run(honest, test)[0] == Outcome.PASSED
    assert run("K = 4\ndef f(): return 4", check("assert candidate() == K"))[0] == Outcome.PASSED
    # the function that is asked for is the program's, though the prompt has a stub of it
    assert run(honest, check("assert f() == 2"), preamble=preamble) == PASSED


def test_an_expression_can_be_the_entry() -> None:
    text = "class S:\n    def g(self, x): return x + 1\n"
    assert run(text, check("assert candidate(1) == 2"), entry="S().g") == PASSED


def test_outputs_on_inputs() -> None:
    text = "def f(x):\n    if x == 3: raise ValueError\n    if x == 4: return (i for i in 'ab')\n    return [x / 3, {x}]\n"
    found = run(text, inputs=[[1], [3], [4]])
    assert found[:2] == (Outcome.PASSED, "")
    assert found[2][1:] == ["raises ValueError", canonical(["iterator", "a", "b"])]
    assert found[2][0] == canonical([1 / 3, {1}])


def test_equal_values_have_one_canonical_text_and_others_have_not() -> None:
    listed: list[Any] = [
        1,
        1.0,
        True,
        "1",
        [1],
        (1,),
        {1},
        frozenset([1]),
        {1: 1},
        {1: 2},
        None,
        1j,
        b"1",
        [[1]],
        1 << 80,
    ]
    assert len({canonical(value) for value in listed}) == len(listed)
    assert canonical({2: 1, 1: 2}) == canonical({1: 2, 2: 1})
    assert canonical({"b", "a", "c"}) == canonical({"c", "b", "a"})
    assert canonical(0.1 + 0.2) == canonical(0.3)
    loop: list[Any] = []
    loop.append(loop)
    assert "..." in canonical(loop)


class Liar:
    """A jail that answers what it is told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def judged(self, test: str) -> Any:
        ours, theirs = socket.socketpair()
        with ours:

            def lie() -> None:
                with theirs:
                    channel = wire.Channel(theirs)
                    try:
                        for answer in self.answers:
                            channel.receive()
                            if isinstance(answer, bytes):
                                theirs.sendall(answer)
                            else:
                                channel.send(answer)
                        channel.receive()
                    except (EOFError, OSError):
                        pass

            thread = threading.Thread(target=lie)
            thread.start()
            found = judge(Program("", "f", test), wire.Channel(ours))
            ours.close()
            thread.join()
        return found


LOADED = {"loaded": True}
F = {"value": {"nodes": [["object", 0, "function", False]], "item": [0]}}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"value": 1},
        {"value": {"nodes": [], "item": [0]}},
        {"value": {"nodes": [["object", "x", "y", 0]], "item": [0]}},
        {"value": {"nodes": [["object"]], "item": [0]}},
        {"value": {"nodes": [["tuple", [[0]]]], "item": [0]}},
        {"back": 0, "arguments": {"nodes": [], "items": []}},
        {"back": "x"},
        {"raised": "E", "arguments": None},
        {"passed": True},
        ["passed"],
        b"passed",
        json.dumps(["passed", ""]).encode(),
    ],
)
def test_a_jail_that_lies_is_not_believed(answer: Any) -> None:
    found = Liar(LOADED, F, answer).judged(check("candidate()"))
    assert found is None or found[0] is Outcome.FORBIDDEN


def test_a_jail_that_leaves_leaves_no_verdict() -> None:
    for answers in ([], [LOADED], [LOADED, F]):
        assert Liar(*answers).judged(check("try: candidate()\nexcept Exception: pass")) is None


def test_claims_of_a_lying_jail_have_no_use() -> None:
    """What it says of itself is worded as a failure."""
    for claim in ("passed", "PASSED"):
        answer = {
            "raised": claim,
            "kinds": ["Exception"],
            "arguments": {"nodes": [], "items": []},
            "text": claim,
            "line": "x",
        }
        found = Liar(LOADED, F, answer).judged(check("candidate()"))
        assert found[0] is Outcome.EXCEPTION
        assert Liar({"refused": claim}).judged(check("pass"))[0] is Outcome.SYNTAX_ERROR
