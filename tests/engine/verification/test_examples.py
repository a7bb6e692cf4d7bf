# SPDX-License-Identifier: Apache-2.0
"""The examples that are read from a prompt, beside doctest's parser and HumanEval's own answers."""

from __future__ import annotations

import ast
import copy
import doctest
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification import examples
from gars_vllm.engine.verification.examples import Example
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.verification.values import key

HUMANEVAL = load_humaneval()
WRONG = {"HumanEval/47": 1, "HumanEval/130": 2}  # docstrings that HumanEval's own answers refute
Function = Callable[..., Any]


def solution(task: Task) -> Function:
    """HumanEval's own answer, which is trusted."""
    scope: dict[str, Any] = {}
    exec(task.prompt + (task.canonical_solution or ""), scope)
    found: Function = scope[task.entry_point or ""]
    return found


def checker(found: list[Example]) -> Callable[[Function], None]:
    scope: dict[str, Any] = {}
    exec(examples.as_test(found), scope)
    check: Callable[[Function], None] = scope["check"]
    return check


def accepts(found: list[Example], candidate: Function) -> bool:
    try:
        checker(found)(candidate)
    except AssertionError:
        return False
    return True


def of(prompt: str, name: str | None = "f") -> list[tuple[tuple[Any, ...], Any]]:
    return [(e.arguments, e.expected) for e in examples.of_task(Task("t/0", prompt, name))]


def test_human_evals_examples_hold_for_its_own_answers() -> None:
    wrong: Counter[str] = Counter()
    having = total = 0
    for task in HUMANEVAL:
        found = examples.of_task(task)
        having += bool(found)
        total += len(found)
        for example in found:
            given = solution(task)(*copy.deepcopy(example.arguments))
            wrong[task.task_id] += given != example.expected
    assert {name: count for name, count in wrong.items() if count} == WRONG
    assert having >= 120
    assert total >= 330


def changed(value: Any) -> Any:
    """Something else of the same type, where it has more than one value."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, dict):
        return value | {"more": 1}
    return type(value)([*value, 0])


def test_the_test_of_the_examples_accepts_the_right_answer_and_no_other() -> None:
    for task in HUMANEVAL:
        found = examples.of_task(task)
        if task.task_id in WRONG or not found:
            continue
        right = solution(task)
        assert accepts(found, right), task.task_id
        for wrong in found:

            def other(*arguments: Any, _wrong: Example = wrong, _right: Function = right) -> Any:
                given = _right(*copy.deepcopy(arguments))
                return changed(given) if arguments == _wrong.arguments else given

            assert not accepts(found, other), (task.task_id, wrong)


def by_doctest(text: str, name: str) -> list[tuple[tuple[Any, ...], Any]]:
    """Doctest's own reading of a docstring: calls of literals that give a literal."""
    found: dict[Any, tuple[tuple[Any, ...], Any]] = {}
    for one in doctest.DocTestParser().get_examples(text):
        try:
            call = ast.parse(one.source, mode="eval").body
            assert isinstance(call, ast.Call)
            assert isinstance(call.func, ast.Name)
            assert call.func.id == name
            arguments = tuple(ast.literal_eval(a) for a in call.args)
            found.setdefault(key(arguments), (arguments, ast.literal_eval(one.want.strip())))
        except (AssertionError, ValueError, SyntaxError):
            continue
    return list(found.values())


def docstring(task: Task) -> str:
    for node in ast.parse(task.prompt + "    pass\n").body:
        if isinstance(node, ast.FunctionDef) and node.name == task.entry_point:
            return ast.get_docstring(node, clean=False) or ""
    raise AssertionError(task.task_id)


def test_doctests_of_human_eval_are_what_doctest_reads() -> None:
    compared = 0
    for task in HUMANEVAL:
        if "\\" in task.prompt:  # HumanEval forgets that a docstring has escapes of its own
            continue
        expected = by_doctest(docstring(task), task.entry_point or "")
        assert of(task.prompt, task.entry_point)[: len(expected)] == expected, task.task_id
        compared += len(expected)
    assert compared > 150


texts = st.text(max_size=8).filter(lambda t: '"""' not in t and "'''" not in t)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts, inner, max_size=2)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=5,
)
calls = st.lists(values, max_size=3).map(tuple)


def keys(found: list[Any]) -> list[Any]:
    return [key(one) for one in found]


@settings(max_examples=80)
@given(st.lists(st.tuples(calls, values), max_size=4))
def test_doctests_that_are_written_are_read_as_doctest_reads_them(
    pairs: list[tuple[tuple[Any, ...], Any]],
) -> None:
    first = {key(arguments): (arguments, value) for arguments, value in reversed(pairs)}
    pairs = [first[k] for k in dict.fromkeys(key(arguments) for arguments, _ in pairs)]
    lines = [f">>> solve({', '.join(map(repr, a))})\n{value!r}\n" for a, value in pairs]
    text = "Does it.\n\n" + "\n".join(lines)
    prompt = f'def solve(a, b):\n    """{text}"""\n'.replace("\n", "\n    ")
    assert keys(of(prompt, "solve")) == keys(pairs)
    assert keys(of(prompt, "solve")) == keys(by_doctest(text, "solve"))


BETWEEN = [
    " == ", "==", " => ", " -> ", "->", " ➞ ", " → ", " = ", " returns ", " returns: ", " # returns ",
    " should return ", "  # ", "  # => ", " is ", ": ", " =>\n    ",
]  # fmt: skip


@settings(max_examples=80)
@given(
    calls.filter(lambda a: len(repr(a)) < 300),
    values.filter(lambda v: len(repr(v)) < 300),
    st.sampled_from(BETWEEN),
    st.sampled_from(["", ".", ",", ";", "  # so", " because", ". Next", "  // so", "\n"]),
)
def test_prose_is_read_in_every_notation(
    arguments: tuple[Any, ...], value: Any, between: str, after: str
) -> None:
    prompt = f"For example, solve({', '.join(map(repr, arguments))}){between}{value!r}{after}"
    assert keys(of(prompt, "solve")) == keys([(arguments, value)])


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("f(1) == 2", [((1,), 2)]),
        ("f(1) => 2", [((1,), 2)]),
        ("f(1) -> 2", [((1,), 2)]),
        ("f(1) ➞ 2", [((1,), 2)]),
        ("f(1) returns 2", [((1,), 2)]),
        ("f(1) # returns 2", [((1,), 2)]),
        ("f(1) should return 2", [((1,), 2)]),
        ("f() = None", [((), None)]),
        ("f(1) => true\nf(2) => false", [((1,), True), ((2,), False)]),
        ("f(null) == 'x'", [((None,), "x")]),
        ("- f(1) == 2\n- f(2) == 3", [((1,), 2), ((2,), 3)]),
        ("f('(') == ')'", [(("(",), ")")]),
        ("f('a)b', [')']) -> '(]'", [(("a)b", [")"]), "(]")]),
        ("f([[1], (2,)], {'a': {3}}) == -1.5", [(([[1], (2,)], {"a": {3}}), -1.5)]),
        ("f(-1, 0x10) == 1_000", [((-1, 16), 1000)]),
        ("f(1, 2)\n", []),
        ("f(1) == 2, f(2) == 3", [((1,), 2), ((2,), 3)]),
        ("f(1) returns 8. It is so.", [((1,), 8)]),
        ("f(1) returns 8.5.", [((1,), 8.5)]),
        ("f(1) == 8, or so", [((1,), 8)]),
        ("f(1) == (8,)", [((1,), (8,))]),
        ('"""f(1) == 2"""', [((1,), 2)]),
        ("'''f(1) == 2'''", [((1,), 2)]),
        ('>>> f(1)\n2\n"""', [((1,), 2)]),
        (">>> f(1)\n[1,\n 2]\n", [((1,), [1, 2])]),
        (">>> f(1)  # so\n2\n\n>>> f(1)\n3", [((1,), 2)]),
        ("f(1) == 2\nf(1) == 3\n>>> f(1)\n4", [((1,), 4)]),
        ("f({1: 2, 3: 4}) == 1\nf({3: 4, 1: 2}) == 1", [(({1: 2, 3: 4},), 1)]),
        # not an example, or none that is sure
        ("f(g(1)) == 2", []),
        ("f(f(1)) == 2", []),
        ("g(f(1)) == 2", []),
        ("f(x) == 2", []),
        ("f(1) == x", []),
        ("f(1) == g(2)", []),
        ("f(n=1) == 2", []),
        ("f(*[1]) == 2", []),
        ("f(1, 2) -> 19 - 5 - 6 = 8", []),
        ("f(1) == 2 + x", []),
        ("f(1) + f(2) == 3", []),
        ("f(1)*f(2) == 3", []),
        ("f(1) - f(2) == 3", []),
        ("not f(2) == True", []),
        ("f(1)[0] == 2", []),
        ("f(1).a == 2", []),
        ("a.f(1) == 2", []),
        ("ff(1) == 2", []),
        ("def f(a=1) -> 2", []),
        ("f(1) == ...", []),
        ("f([1, ...]) == 2", []),
        ("f(1e999) == 2", []),
        (">>> f(1)\n-1e999", []),
        (">>> f(1)\nTraceback (most recent call last):\nValueError: no", []),
        (">>> f(1)\n", []),
        (">>> g(1)\n2", []),
        (">>> f(x)\n2", []),
        ("f([1, 2 == 3", []),
        ("f(" + "1, " * 200 + "1) == 2", []),
        (f">>> f(0x{'f' * 5000})\n1", []),
        ("   >>> f(1)\n 2\n", []),  # which doctest refuses
    ],
)  # fmt: skip
def test_notations(prompt: str, found: list[Any]) -> None:
    assert repr(of(prompt)) == repr(found)


def test_a_prompt_without_a_function_has_none() -> None:
    assert of("f(1) == 2", None) == []
    assert of("f(1) == 2", "") == []
    assert examples.as_test([]) == ""


FRAGMENTS = [
    "f(", ")", ">>> ", "\n", "    ", " == ", "=>", "->", "returns ", "[", "]", "{", "}", "(", "'",
    '"', '"""', "...", "1", "2.", "-", "1e999", "0x", "f" * 20, "\\", "\0", "\ud800", "def f(a):",
    "true", "None", ", ", "#", "//", "9" * 5000, "-" * 3000, "(" * 300, "# doctest: +SKIP", "\t",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)
    | st.text(st.characters(exclude_categories=()))
    | st.text(st.characters(exclude_categories=())).map(lambda text: f">>> f({text})\n{text}")
    | st.text(st.characters(exclude_categories=())).map(lambda text: f"f({text}) == {text}")
)
def test_no_text_is_too_odd(prompt: str) -> None:
    found = examples.of_task(Task("t/0", prompt, "f"))
    test = examples.as_test(found)
    compile(test, "test", "exec")
    expected = {repr(e.arguments): e.expected for e in found}
    assert len(expected) == len(found)
    assert accepts(found, lambda *arguments: expected[repr(arguments)]) if found else test == ""


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: 1e-300 < abs(x) < 1e300))
def test_floats_may_be_rounded(value: float) -> None:
    pair = [Example((1,), value), Example((2,), [value, (value, 1)])]

    def gives(other: float) -> bool:
        return accepts(pair, lambda n: other if n == 1 else [other, (other, 1)])

    assert gives(value)
    assert gives(value * (1 + 1e-9))
    assert gives(value * (1 - 5e-7))
    assert not gives(value * (1 + 2e-6))
    assert not gives(value * 0.99)
    assert not gives(-value)
    for none in (math.inf, -math.inf, math.nan, 0.0):
        assert not gives(none)


def test_only_floats_may() -> None:
    assert accepts([Example((), 10**9)], lambda: 10.0**9)
    assert accepts([Example((), 10**9)], lambda: 10.0**9 + 1)
    assert accepts([Example((), 2.0)], lambda: 2)
    assert not accepts([Example((), 10**9)], lambda: 10**9 + 1)
    assert not accepts([Example((), [1, 2])], lambda: (1, 2))
    assert not accepts([Example((), [1.0, 2])], lambda: [1.0])
    assert not accepts([Example((), [[1.0]])], lambda: [[1.5]])
    assert not accepts([Example((), 1.0)], lambda: "1.0")
    assert not accepts([Example((), None)], lambda: 0)


def test_arguments_are_new_at_every_call() -> None:
    found = [Example(([1],), 2), Example(([1, 1],), 3)]

    def greedy(numbers: list[int]) -> int:
        numbers.append(1)
        return len(numbers)

    check = checker(found)
    check(greedy)
    check(greedy)
