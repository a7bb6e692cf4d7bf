# SPDX-License-Identifier: Apache-2.0
"""Each version of Python that the grammar speaks, judged by an interpreter of that version."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from gars_vllm.grammar import CompiledGrammar, GrammarError, Vocabulary, compile_grammar

RULES = runpy.run_path(str(Path(__file__).with_name("test_rules.py")))
ROWS = RULES["ROWS"]
GAPS = RULES["GAPS"]
_EDGES = runpy.run_path(str(Path(__file__).with_name("test_edges.py")))
EDGES, deep_text = _EDGES["LINES"], _EDGES["deep_text"]
DOUBLED = _EDGES["DOUBLED"]

# What differs by version; the rows of rules.txt are asked as well.
BY_VERSION = [
    "type X = int", "type X[T] = list[T]", "type = 1", "def f[T](x: T) -> T: pass",
    "class A[T: int, *Ts, **P](B): pass", "def f[T = int](x: T): pass", "class A[*Ts = *x]: pass",
    "type X[**P = [int]] = P", "x = f'{a['b']}'", "x = f'{a!r:{b}}'", "x = f'{\n a\n}'",
    "x = f'{a # c\n}'", "x = f'{chr(10)}{'\\n'}'", "x = f'{f'{f'{1}'}'}'", "x = f'{a:{b:{c}}}'",
    "x = f'''{\na}'''", "x = f'{lambda x: 1}'", "x = f'{(lambda x: 1)}'", "x = f'{*a, b}'",
    "type X = (x := 1)", "type X = lambda: (y := 1)", "type X = lambda x=(y := 1): 1",
    "type X = [y := 1 for z in a]", "type X = 1; (y := 1)", "type X[T: (x := 1)] = 1",
    "type X[T = (x := 1)] = 1", "def f():\n type X = (yield)", "def f():\n type X = lambda: (yield)",
    "async def f():\n type X = await y", "async def f():\n type X = (await z for z in y)",
    "async def f():\n type X = [z async for z in y]", "def f[T: (x := 1)](): pass",
    "def f[T: (lambda: (x := 1))](): pass", "def f[T = (x := 1)](): pass",
    "def f[T](a=(x := 1)): pass", "def g():\n def f[T: (yield)](): pass", "type = (x := 1)",
    "async def g():\n class A[T]((await x)): pass", "class A[T]((x := 1)): x = (y := 1)",
    "class A[T](lambda: (x := 1)): pass", "x = type[(y := 1)]", "type (x := 1)", "type [x := 1]",
    "class A[T: int]: x = (y := 1)", "def f[T: int](): x = (y := 1)", "type X = f'{(x := 1)}'",
    "x = f'{yield}'", "def f(): return f'{yield}'", "x = f'{a=}'", "x = f'{a = !r:>3}'",
    "x = f'{ {1: 2}[1] }'", "x = f'{a:=5}'", "x = f'{(a:=5)}'", "x = f'{a}}'", "x = f'{!r}'",
]  # fmt: skip
_ASK = (
    "import json, sys, warnings\n"
    "warnings.simplefilter('ignore')\n"
    "def ok(s):\n"
    "    try: compile(s, 's', 'exec', dont_inherit=True)\n"
    "    except (SyntaxError, ValueError, RecursionError, MemoryError): return False\n"
    "    return True\n"
    "print(json.dumps([ok(s) for s in json.load(sys.stdin)]))\n"
)


@cache
def interpreter(version: str) -> str | None:
    """The command of an interpreter of that version, if one is installed and starts."""
    places = [shutil.which(f"python{version}")]
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places += [str(p) for p in sorted(home.glob(f"versions/{version}.*/bin/python"))]
    for place in filter(None, places):
        ask = [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(ask, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return place
    return None


@cache
def grammar(version: str) -> CompiledGrammar:
    vocabulary = Vocabulary.from_tokens([bytes([i]) for i in range(256)], eos=[256])
    return compile_grammar(f"python{version}", vocabulary)


def accepts(compiled: CompiledGrammar, text: str) -> bool:
    matcher = compiled.matcher()
    try:
        matcher.advance_text(text)
    except GrammarError:
        return False
    return matcher.can_stop()


def compare(version: str, sources: list[str]) -> None:
    command = interpreter(version)
    if command is None:
        pytest.skip(f"no interpreter of Python {version} is installed")
    done = subprocess.run(
        [command, "-c", _ASK], input=json.dumps(sources), capture_output=True, text=True, check=True
    )
    verdicts = json.loads(done.stdout)
    compiled = grammar(version)
    wrong = [
        (source[:200], valid)
        for source, valid in zip(sources, verdicts, strict=True)
        if source not in GAPS and accepts(compiled, source) != valid
    ]
    assert not wrong


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_agrees_with_the_interpreter(version: str) -> None:
    # our own file; what is too deep for the mask alone says nothing of a version
    lines = [line for line in EDGES if line[0] == "=" and DOUBLED not in line]
    edges = [s for s in (eval(line[2:]) for line in lines) if len(s) < 5000]
    compare(version, [*ROWS, *BY_VERSION, *edges])


@pytest.mark.full
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_agrees_on_what_takes_the_interpreter_seconds(version: str) -> None:
    lines = [line for line in EDGES if DOUBLED in line]
    assert lines
    compare(version, [eval(line[2:]) for line in lines])


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_what_goes_as_deep_as_it_may_crashes_no_interpreter(version: str) -> None:
    """Comprehensions within each other and within static blocks: 3.12.1 writes past an array."""
    command = interpreter(version)
    if command is None:
        pytest.skip(f"no interpreter of Python {version} is installed")
    compiled, sources = grammar(version), []
    nested = [
        ("[", " for x in y]"), ("{", " for x in y}"), ("{x: ", " for x in y}"),
        ("[x for x in y if ", "]"), ("[x for x in y for x in ", "]"), ("(x, [", " for x in y])"),
    ]  # fmt: skip
    for block in ("with x:", "async with x:", "for x in y:"):
        for count in (0, 5, 18, 19):
            lines = "".join(" " * i + f" {block}\n" for i in range(count))
            for before, after in nested:
                texts = [
                    f"async def f():\n{lines}{' ' * count} {before * n}x{after * n}\n"
                    for n in range(20)
                ]
                sources += [text for text in texts if accepts(compiled, text)][-1:]
    assert len(sources) > 40
    sources += [deep_text(compiled, seed) for seed in range(12)]
    done = subprocess.run(
        [command, "-c", _ASK], input=json.dumps(sources), capture_output=True, text=True, check=True
    )
    assert all(json.loads(done.stdout))
