# SPDX-License-Identifier: Apache-2.0
"""Texts are brought to their end within a budget, no earlier than they must be."""

from __future__ import annotations

import functools
import itertools
import json
import random
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.benchmarks import closing as measured
from gars_vllm.grammar import CompiledGrammar, Matcher, Vocabulary, compile_grammar
from gars_vllm.grammar.closing import completion, endings
from gars_vllm.grammar.closing.stack_costs import IMPOSSIBLE
from gars_vllm.grammar.closing.tables import Tokens
from hypothesis import given, settings
from hypothesis import strategies as st

PREFIXES = [
    "", "def f(a):\n", "x = f'", "class A:\n    async def g(self):\n", "try:\n    x\n",
    "def f():\n\ttry:\n\t\twhile x:\n\t\t\ty\n", "x = [(y, {'a': (z, [", "@a\n", "match x:\n", "async ",
    "if x:\n        y\n", "x = '''a\n", "from a import (b, ", "x = \\\n", "[x for a[(b := 1", "def f(): g(await x", "x = (f(await y)[0] + g([1, await z",
]  # fmt: skip


def compiles(text: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text.decode(), "s", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
    return True


def names_aside(text: bytes) -> bool:
    """Valid, or rejected by a rule about names alone: what a parser accepts."""
    import ast

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text.decode())
        except (SyntaxError, ValueError):
            return False
    return True


def allowed(matcher: Matcher, remaining: int | None = None) -> list[int]:
    bits = np.unpackbits(matcher.mask(remaining).view(np.uint8), bitorder="little")
    return [int(i) for i in np.flatnonzero(bits)]


def text_of(grammar: CompiledGrammar, tokens: tuple[int, ...] | list[int]) -> bytes:
    return b"".join(grammar.vocabulary.tokens[t] or b"" for t in tokens)


def draw_within(matcher: Matcher, budget: int, draw: random.Random) -> list[int]:
    """Tokens drawn among the allowed ones until the text ends or the budget is spent."""
    tokens = list[int]()
    for remaining in range(budget, 0, -1):
        token = draw.choice(allowed(matcher, remaining))
        if matcher.grammar.is_eos(token):
            break
        matcher.advance(token)
        tokens.append(token)
    return tokens


@settings(max_examples=150)
@given(
    st.sampled_from(PREFIXES),
    st.randoms(use_true_random=False),
)
def test_from_every_step_there_is_an_end(
    python: CompiledGrammar, prefix: str, draw: random.Random
) -> None:
    """Every reachable state can be completed, and its bound is one: never too small."""
    matcher = python.matcher(prefix)
    text = prefix.encode()
    for _ in range(draw.randint(1, 25)):
        end = matcher.completion()
        assert (len(end) == 0) == matcher.can_stop()
        assert compiles(text + text_of(python, end)) or names_aside(text + text_of(python, end))
        token = draw.choice([t for t in allowed(matcher) if not python.is_eos(t)])
        matcher.advance(token)
        text += python.vocabulary.tokens[token] or b""


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_budget_from_the_bound_on(python: CompiledGrammar, prefix: str) -> None:
    start = python.matcher(prefix)
    least = start.completion_length()
    for budget in range(least, least + 14):
        for seed in range(6):
            matcher = start.fork()
            tokens = draw_within(matcher, budget, random.Random(seed))
            assert matcher.can_stop(), (budget, text_of(python, tokens))
            text = prefix.encode() + text_of(python, tokens)
            assert compiles(text) or names_aside(text), text


def test_a_budget_that_is_too_small_changes_nothing(python: CompiledGrammar) -> None:
    matcher = python.matcher("x = [(y, {'a': (z, [")
    least = matcher.completion_length()
    assert least > 1
    assert matcher.mask_id(least - 1) == matcher.mask_id()
    assert matcher.mask_id(least) != matcher.mask_id()
    assert matcher.mask_id(10_000) == matcher.mask_id()


@settings(max_examples=60)
@given(st.booleans(), st.randoms(use_true_random=False))
def test_the_closing_knows_of_the_same_tokens_as_the_mask(
    python: CompiledGrammar, completes: bool, draw: random.Random
) -> None:
    """Also where a completion stands at the start of a line that would end it."""
    prompt = 'import os\n\ndef f(x):\n    "doc"\n' if completes else ""
    matcher = python.matcher(prompt, completion=completes)
    for _ in range(draw.randint(1, 12)):
        if python.is_done(matcher.state):
            break
        possible = python.closer.costs(matcher.state, 1) != endings.NOT_VIABLE
        row = python.restricted_row(matcher.state, possible)
        np.testing.assert_array_equal(python.mask(row), matcher.mask())
        tokens = [t for t in allowed(matcher) if not python.is_eos(t)]
        if not tokens:
            break
        matcher.advance(draw.choice(tokens))


@pytest.mark.parametrize("work", [0, 2_000])
def test_a_budget_only_takes_tokens_away(work: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the work for a mask runs out before each token has been looked at: a token that
    ends brackets and then may begin a comment, a line or nothing has many outcomes, of which most
    are impossible here and possible for another token."""
    monkeypatch.setattr(completion, "_WORK", work)
    texts = [bytes([i]) for i in range(256)]
    texts += [b")})", b"})", b")}", b"}s", b")}</", b")}\n", b")})\n\n", b"]}", b"}]", b"'}", b"')"]
    texts += [b")}" + bytes([i]) for i in b"([{,.:=+-*/<>#'\"\n a1"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(texts, eos=[len(texts)]))
    draw, seen, fewer = random.Random(1), 0, 0
    for prefix in [*PREFIXES, "x = [(y, {'a': (z, [a()],\n", "x = {'a': [f(b, {y: (z, [c],\n"]:
        for _ in range(4):
            matcher = grammar.matcher(prefix)
            budget = matcher.completion_length() + draw.randrange(4)
            for left in range(budget, 0, -1):
                within, plain = allowed(matcher, left), allowed(matcher)
                assert set(within) <= set(plain), (prefix, left)
                assert within
                seen, fewer = seen + 1, fewer + (len(within) < len(plain))
                token = draw.choice(within)
                matcher.advance(token)
                if grammar.is_eos(token):
                    break
            assert matcher.can_stop()
    assert min(seen, fewer) > 100


def test_a_completion_keeps_the_function_whole(python: CompiledGrammar) -> None:
    """A closed body belongs to the prompt's function and ends before the next statement."""
    prompt = "import os\n\ndef f(x):\n    '''doc'''\n"
    draw = random.Random(3)
    for _ in range(40):
        matcher = python.matcher(prompt, completion=True)
        draw_within(matcher, 20, draw)
        assert matcher.can_stop()


@pytest.mark.parametrize(
    "prompt",
    [
        "try:\n    def f(x):\n",
        "if x:\n    try:\n        def f(x):\n            'doc'\n",
        "try:\n    y\nfinally:\n    def f(x):\n",
        "class A:\n    def f(self):\n",
        "try:\n    class A:\n        def f(self):\n            return 1\n",
    ],
)
def test_a_completion_goes_on_where_a_try_around_it_is_open(
    python: CompiledGrammar, prompt: str
) -> None:
    """The prompt and its completion are a program: handlers that are still needed belong to it."""
    draw = random.Random(5)
    for budget in (*range(8, 20), *range(20, 60, 4)):
        matcher = python.matcher(prompt, completion=True)
        tokens = draw_within(matcher, budget, draw)
        assert matcher.can_stop()
        if matcher.is_done():
            tokens.pop()  # begins the statement after
        text = prompt.encode() + text_of(python, tokens)
        assert compiles(text) or names_aside(text), text


# --- against a search over all continuations, which a vocabulary of a few tokens affords
BYTES = [bytes([i]) for i in range(32, 127)] + [b"\n", b"\t"]
JSON_TOKENS = [b"{", b"}", b"[", b"]", b'"', b'":', b",", b":", b"1", b'"a"', b"]]", b"]}", b"[[", b"tr", b"ue", b"null", b" ", b"\\"]  # fmt: skip
PYTHON_TOKENS = [
    b"x", b"=", b" ", b"(", b")", b"[", b"]", b":", b"\n", b"    ", b"if", b"try", b"except", b"'", b"'''", b"+", b"))",
    b"):", b"lambda", b",", b"def", b" x", b"1", b"f'", b"{", b"}", b"@", b"class", b"#", b"\\", b"finally:", b"()",
]  # fmt: skip
SMALL = {
    k: list(dict.fromkeys(BYTES + v)) for k, v in (("json", JSON_TOKENS), ("python", PYTHON_TOKENS))
}


@functools.cache
def small(language: str) -> CompiledGrammar:
    tokens = SMALL[language]
    return compile_grammar(language, Vocabulary.from_tokens(tokens, eos=[len(tokens)]))


def distance(grammar: CompiledGrammar, matcher: Matcher, limit: int) -> int:
    """The exact number of tokens to an end, by breadth-first search; limit + 1 where more."""
    level = {matcher.state}
    for depth in range(limit + 1):
        if any(grammar.can_stop(state) for state in level):
            return depth
        if depth == limit:
            break
        tokens = range(len(grammar.vocabulary) - 1)
        level = {grammar.step(state, token) for state in level for token in tokens} - {-1}
    return limit + 1


def reachable(grammar: CompiledGrammar, draw: random.Random, steps: int) -> Matcher:
    matcher = grammar.matcher()
    for _ in range(steps):
        choices = [t for t in allowed(matcher) if not grammar.is_eos(t)]
        if not choices:
            break
        matcher.advance(draw.choice(choices))
    return matcher


@pytest.mark.parametrize("language", ["json", "python"])
def test_no_token_is_allowed_too_late_and_few_are_forbidden_too_early(language: str) -> None:
    """Against the search: with r tokens left is allowed what can end within r - 1 more."""
    grammar, draw = small(language), random.Random(5)
    early = total = 0
    for _ in range(40):
        matcher = reachable(grammar, draw, draw.randint(1, 10))
        least = matcher.completion_length()
        for remaining in range(max(least, 1), min(least + 2, 3)):
            open_ = set(allowed(matcher, remaining))
            for token in allowed(matcher):
                if grammar.is_eos(token):
                    assert token in open_
                    continue
                after = matcher.fork()
                after.advance(token)
                fits = distance(grammar, after, remaining - 1) <= remaining - 1
                assert fits or token not in open_, (token, remaining)
                total += fits
                early += fits and token not in open_
    assert total > 200
    assert early <= total / 50  # a vocabulary of single bytes: the ways to end are few


ENDS = [
    b"", b"x", b" x", b"=x", b"(x)", b")", b"))", b"]", b"}", b":x", b": x", b"'", b"'''", b"\n", b"\n    x", b" in x:x",
    b"\nx", b"\n    except:x", b"\nexcept:x", b"finally:x", b":\n    x", b" x:x", b"():x", b"x:x", b"\nclass x:x", b"x)", b"1", b"\n",
    b"x}'", b"}'", b"x]", b",x", b"+x", b"    x", b"x\nexcept:x", b"y", b"ass x:x", b" else x", b"\n    x\nfinally:x",
]  # fmt: skip


@pytest.mark.parametrize("count", [25, pytest.param(100, marks=pytest.mark.full)])
def test_masks_agree_with_a_search_bit_by_bit(count: int) -> None:
    """A token of a small vocabulary is allowed if and only if some continuation compiles."""
    grammar, draw = small("python"), random.Random(2)
    bits = 0
    for _ in range(count):
        matcher, text = grammar.matcher(), b""
        for _ in range(draw.randint(0, 9)):
            token = draw.choice([t for t in allowed(matcher) if not grammar.is_eos(t)])
            matcher.advance(token)
            text += SMALL["python"][token]
        open_ = set(allowed(matcher))
        assert (len(SMALL["python"]) in open_) == compiles(text)
        for token, piece in enumerate(SMALL["python"]):
            bits += 1
            if token in open_:
                after = matcher.fork()
                after.advance(token)
                end = text_of(grammar, after.completion())
                assert compiles(text + piece + end), (text, piece, end)
            else:
                for end in itertools.chain(
                    ENDS, map(b"".join, itertools.product(ENDS[1:22], repeat=2))
                ):
                    assert not compiles(text + piece + end), (text, piece, end)
    assert bits == count * len(SMALL["python"])


def test_tokens() -> None:
    tokens = Tokens(Vocabulary.from_tokens([b"a", b"ab", b"bc", b"c", b"abcd", None], eos=[5]))
    assert [tokens.count(t) for t in (b"", b"a", b"abc", b"abcd", b"aab")] == [0, 1, 2, 1, 2]
    assert tokens.count(b"abd") >= IMPOSSIBLE
    assert [tokens.texts[i] for i in tokens.starts()[97:100]] == [b"a", b"bc", b"c"]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("x = [1, (", b")]"), ("x = f'{a", b"}'"), ("try:\n    x\n", b"except:x"),
        ("try:\n\tx", b"\nexcept:x"), ("def f():\n\ttry:\n\t\twhile x:\n\t\t\ty\n", b"\n\texcept:x"),
        ("match x:\n", b" case _:x"), ("async ", b" def x():x"), ("from __future__ ", b" import division"),
        ("[x for a[(b := 1", b" for x in x)]in x]"), ("def f(): g(await x", b" for x in x)"),
        ("if x:\n    # a", b"\n    x"), ("for 1", b" .x in x:x"), ("x = (await y\n\\", b"\n for x in x)"),
        ("if x:\n        y\n    ", None), ("class A:\n  ", b"x"), ("x = 1 \\", b"\n.x"),
        ('x = f"""{y:{z', b'}}"""'), ("\\", b"\nx"),
    ],
)  # fmt: skip
def test_what_an_ending_is(python_bytes: CompiledGrammar, text: str, end: bytes | None) -> None:
    """Brackets, quotes, blocks; and what Python asks for beside its grammar."""
    matcher = python_bytes.matcher(text)
    found = bytes(matcher.completion())
    assert compiles(text.encode() + found), found
    if end is not None:
        assert len(found) <= len(end), found


def test_following_a_completion_shortens_it(python: CompiledGrammar) -> None:
    for prefix in PREFIXES:
        matcher = python.matcher(prefix)
        least = matcher.completion_length()
        for left in range(least, 0, -1):
            token = matcher.completion()[0]
            assert token in allowed(matcher, left)
            matcher.advance(token)
            assert matcher.completion_length() <= left - 1


def test_the_former_names_still_do(json_bytes: CompiledGrammar) -> None:
    matcher = json_bytes.matcher("[")
    with pytest.warns(DeprecationWarning, match="completion_length"):
        assert matcher.remaining_lower_bound() == 1
    with pytest.warns(DeprecationWarning, match="now completion"):
        assert matcher.shortest_completion() == (93,)


RECORD = (
    'start: "{" ' + ' "," '.join(f'"\\"the_field_number_{i}\\": " INT' for i in range(10))
    + ' "}"\nINT: /[0-9]+/\n%ignore " "\n'
)  # fmt: skip


def test_a_budget_that_is_enough_is_kept_by_a_long_record(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    """Far from the end is not the same number of tokens in every grammar."""
    file = tmp_path / "record.lark"
    file.write_text(RECORD)
    grammar = compile_grammar(file, vocabulary)
    least = grammar.matcher().completion_length()
    for seed in range(30):
        matcher = grammar.matcher()
        draw_within(matcher, least + 2 * seed, random.Random(seed))
        assert matcher.can_stop(), seed


def test_a_comment_needs_its_line_end(byte_vocabulary: Vocabulary, tmp_path: Path) -> None:
    file = tmp_path / "comment.lark"
    file.write_text('start: "a" "b"\nC: /\\/\\/[^\\n]*/\n%ignore C\n%ignore /[ \\n]+/\n')
    matcher = compile_grammar(file, byte_vocabulary).matcher("a//x")
    assert bytes(matcher.completion()) == b"\nb"
    assert matcher.mask_id(1) == matcher.mask_id()  # one is not enough: the mask is the plain one
    assert [t for t in allowed(matcher, 2) if t != 10] == []
    assert 65 in allowed(matcher, 3)


def test_terminals_are_kept_apart(byte_vocabulary: Vocabulary, tmp_path: Path) -> None:
    """`= =` is not `==` where the parser accepts both."""
    file = tmp_path / "apart.lark"
    file.write_text('start: "a" "=" "=" | "a" "==" "ccccc"\n%ignore " "\n')
    matcher = compile_grammar(file, byte_vocabulary).matcher("a")
    assert bytes(matcher.completion()) == b"= ="


def grammars(vocabulary: Vocabulary, count: int) -> dict[str, int]:
    return dict(measured.walk_grammars(vocabulary, count, seed=7))


def test_walks_of_random_grammars_end(vocabulary: Vocabulary) -> None:
    found = grammars(vocabulary, 25)
    assert set(found) <= {"whole", "refused", "too ambiguous"}, found
    assert found["whole"] > 100


def test_a_token_after_which_stacks_are_merged(vocabulary: Vocabulary, tmp_path: Path) -> None:
    file = tmp_path / "merged.lark"
    file.write_text("""start: p p? | "[" q | "a" start "["*
p: "=" "[" q "a"?
q: r "["? | "[" "["? | p start r*
r: "[" "[" "a" "a" | q r | start "[" start "]"
%ignore "\\n"
""")
    grammar = compile_grammar(file, vocabulary)
    for seed in (142, 1413, 2312, 2356, 2474, *range(200)):
        assert measured.walk(grammar, "", random.Random(seed)) == "whole", seed


@pytest.mark.full
def test_walks_of_many_random_grammars_end(vocabulary: Vocabulary) -> None:
    found = grammars(vocabulary, 300)
    assert set(found) <= {"whole", "refused", "too ambiguous"}, found


DEEP = [
    ("python", "x = " + "(" * 100), ("python", "x = " + "[x, {1: f(" * 20),
    ("python", "".join(" " * i + "try:\n" for i in range(8)) + " " * 8),
    ("python", "".join(" " * i + "if x:\n" for i in range(90)) + " " * 90),
    ("python", "x = " + "lambda y: " * 60), ("python", "x = " + "y if z else " * 240),
    ("python", "x = f'{" + "(" * 60 + "y"), ("json", "[" * 5000), ("json", '[{"a":' * 1500),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text"), DEEP)
def test_deep_texts_are_bounded(vocabulary: Vocabulary, language: str, text: str) -> None:
    """The work for a mask is limited, so that no other sample waits. The time is the processor's,
    and the limit five times what is measured (benchmarks/closing.py)."""
    grammar = compile_grammar(language, vocabulary)
    grammar.matcher("[").mask(1)
    matcher = grammar.matcher(text)
    least = matcher.completion_length()
    for left in (1, least, least + 1, least + 5, least + 20, least + 200):
        started = time.thread_time()
        mask = matcher.mask(left)
        assert time.thread_time() - started < 0.05
        assert mask.any()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        *(pytest.param(*deep, marks=[pytest.mark.full] if len(deep[1]) > 4500 else []) for deep in DEEP),
        ("json", "[" * 1000), ("json", '[{"a":' * 300),
    ],
)  # fmt: skip
def test_deep_texts_end(vocabulary: Vocabulary, language: str, text: str) -> None:
    matcher = compile_grammar(language, vocabulary).matcher(text)
    draw_within(matcher, matcher.completion_length() + 3, random.Random(1))
    assert matcher.can_stop()


def test_a_vocabulary_that_cannot_write_an_end() -> None:
    grammar = compile_grammar("json", Vocabulary.from_tokens([b"[", b"1"], eos=[2]))
    matcher = grammar.matcher("[1")
    with pytest.raises(ValueError, match="no completion"):
        matcher.completion_length()


def test_json_and_a_grammar_file(byte_vocabulary: Vocabulary, tmp_path: Path) -> None:
    matcher = compile_grammar("json", byte_vocabulary).matcher('{"a": [{"b": "x')
    text = b'{"a": [{"b": "x' + bytes(matcher.completion())
    assert json.loads(text) == {"a": [{"b": "x"}]}
    file = tmp_path / "ab.lark"
    file.write_text('start: "a" start "b" | "c"\n')
    matcher = compile_grammar(file, byte_vocabulary).matcher("aaa")
    assert bytes(matcher.completion()) == b"cbbb"
