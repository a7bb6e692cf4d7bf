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

RULES = runpy.run_path(str(Path(__file__).with_name("test_python_rules.py")))
ROWS, GAPS = RULES["ROWS"], RULES["GAPS"]
EDGES = runpy.run_path(str(Path(__file__).with_name("test_python_edges.py")))["LINES"]

# What differs by version; the rows of python_rules.txt are asked as well.
BY_VERSION = [
    "type X = int", "type X[T] = list[T]", "type = 1", "def f[T](x: T) -> T: pass",
    "class A[T: int, *Ts, **P](B): pass", "def f[T = int](x: T): pass", "class A[*Ts = *x]: pass",
    "type X[**P = [int]] = P", "x = f'{a['b']}'", "x = f'{a!r:{b}}'", "x = f'{\n a\n}'",
    "x = f'{a # c\n}'", "x = f'{chr(10)}{'\\n'}'", "x = f'{f'{f'{1}'}'}'", "x = f'{a:{b:{c}}}'",
    "x = f'''{\na}'''", "x = f'{lambda x: 1}'", "x = f'{(lambda x: 1)}'", "x = f'{*a, b}'",
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


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_agrees_with_the_interpreter(version: str) -> None:
    command = interpreter(version)
    if command is None:
        pytest.skip(f"no interpreter of Python {version} is installed")
    # our own file; what is too deep for the mask alone says nothing of a version
    # 3.12 ends with a broken stack on some of the deepest texts, which it refuses at best.
    edges = [s for s in (eval(line[2:]) for line in EDGES if line[0] == "=") if len(s) < 5000]
    sources = [*ROWS, *BY_VERSION, *edges]
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
