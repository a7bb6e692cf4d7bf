# SPDX-License-Identifier: Apache-2.0
"""Endings are counted in tokens as they can be written, not terminal by terminal."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.benchmarks.closing import Place, compare, compare_every, examine, rules
from gars_vllm.grammar import CompiledGrammar, Vocabulary, compile_grammar
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

BYTES = [bytes([i]) for i in range(256)]
JOINED = [
    b'"])', b"))", b"()]", b" _)", b"}'", b'}"', b"\nexcept", b":x", b' "")', b"finally:", b"\n\t", b"0)",
    b"\x82\xac", b" \"'", b' ")', b"    ", b"\n    ", b"x)", b": _", b"else", b"]}",
]  # fmt: skip


def test_a_word_that_is_a_token_does_not_stand_in_the_way() -> None:
    """` pass` is one token, as `x` is; but `:x` is one, and `: pass` is not."""
    tokens = [*BYTES, b" x", b" pass", b"pass", b":A"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("if len").state) == 1


@pytest.fixture(scope="module")
def joined() -> CompiledGrammar:
    tokens = BYTES + JOINED
    return compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("x", 0),
        ("f([a", 2),  # no `])` without a quote
        ('f(["a', 1),  # "])
        ("f((a", 1),  # ))
        ("f(g((a", 2),
        ("f[-", 1),  # ()]
        ("f(a in", 1),  # the name `in_`, by 0)
        ("f(a in ", 1),
        ("f(-", 1),
        ("f(a.", 1),
        ("f(a. ", 1),
        ("x = f'{a", 1),  # }'
        ('x = f"{a', 1),
        ("x = f'''{a", 3),  # }' and two more quotes
        ("x = f'{f\"{a", 2),
        ("x = f'{a:{b", 2),
        ("x = f\"{f'a", 2),  # ' and }"
        ("x = f'a", 1),
        ("x = '\\", 1),  # }'
        ("f('\\", 2),
        ('f("\\', 1),  # the escaped blank
        ("f(\n  ", 1),
        ("if x", 1),  # :x
        ("lambda ", 1),  # `: _` or :x
        ("try:\n    x", 3),  # a new line, finally: and x; `\nexcept` and :x would be two
        ("def f():\n    try:\n        x(", 4),  # another name and ), a new line, finally: and x
        ("if x:\n", 2),  # any blank, then a name
        ("if x:\n    ", 1),
        ("def f():\n    if x:\n        ", 1),
        ("def f():\n    if x:\n    ", 2),
        ("class A", 1),
        ("for a in b", 1),
        ("while not a", 1),
        ("try:\n    x\n", 2),  # finally: and x
        ("{'a': [", 1),
    ],
)
def test_tokens_that_hold_several_terminals_count_once(
    joined: CompiledGrammar, text: str, tokens: int
) -> None:
    assert joined.closer.bound(joined.matcher(text).state) == tokens


@pytest.mark.parametrize(
    ("text", "extra", "tokens"),
    [
        # What a token holds beside: a new line, a comment, a sign, where the text may end.
        ("f((a", b"))\n", 1),
        ("f((a", b")) # x", 1),
        ("[[(a", b")]],\n", 1),
        ("f([a", b"]);\n", 1),
        ('f("', b'")\n', 1),
        # blanks beside signs, another operand, another name
        ("f([", b" ])\n", 1),
        ("f([-", b" foo] )", 1),
        ("x[-", b" () ]\n", 1),
        ("f(a not in", b"[])", 1),
        ("f(a not in", b" 12)", 1),
        ("del x, (a.", b"self)", 1),
        ("del (...", b").__", 1),  # two ways down the stack cost the same
        ("*", b' "",', 1),
        ("if x != '", b"':''", 1),
        # any character behind a backslash
        ("f('\\", b".')", 1),
        ("f(f'\\", b".')", 1),
        # an empty string, whichever quotes
        ("f('' r", b"'')", 1),
        ("f('' r", b'"")', 1),
        ("f('' f", b'"")', 1),
        # a joined line
        ("x \\", b"\n\t\t", 1),
        ("x \\", b"\r\r", 1),
        ("\\", b"\n\t\n", 1),
        ("f(\\", b"\n )", 1),
        ("if x:\n\\", b"\n x", 1),
        ('x = "\\u', b'AAAA"', 1),
        ('x = "\\u1', b'AAAAA"', 1),  # digits and more
        # a comment's line ends first
        ("f([ # a", b"\n ])", 1),
        ("if x: # a", b"\n x", 1),
        ("if x:\n  # a", b"\n x", 1),
        ("if x:\n    if x:\n", b"     x", 1),  # deeper than all blocks
        # a block that must go on further out than the line has come to, or in a comment
        ("if x:\n    try:\n        x\n        ", b"\n    except:x", 1),
        ("if x:\n    try:\n        x\n        # a", b"\n    except:x", 1),
        ("if x:\n    try:\n        x\n", b"    except:x", 1),
        ("if x:\n    try:\n        x # \u00e9", b"\n    except:x", 1),
        # `from __future__` asks for more than the grammar
        ("from __future__ import", b" annotations", 1),
        ("from __future__ ", b" import division", 1),
    ],
)
def test_a_token_may_hold_more_than_is_missing(text: str, extra: bytes, tokens: int) -> None:
    """Against the vocabulary without it: then it takes more tokens."""
    with_it, without = (
        compile_grammar("python", Vocabulary.from_tokens(made, eos=[len(made)]))
        for made in ([*BYTES, extra], BYTES)
    )
    matcher = with_it.matcher(text)
    assert with_it.closer.bound(matcher.state) == tokens
    assert without.closer.bound(without.matcher(text).state) > tokens
    end = text_of(with_it, matcher.shortest_completion())
    assert extra in end
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compile(text.encode() + end, "s", "exec", dont_inherit=True)


def test_await_and_async_ask_for_more_than_the_grammar() -> None:
    tokens = [*BYTES, b" for", b" x", b" in", b" def", b"():"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("f(await x").state) == 5
    assert grammar.closer.bound(grammar.matcher("async ").state) == 4  # ` def`, ` x`, `():` and x
    assert grammar.closer.bound(grammar.matcher("async def f():\n async ").state) == 4
    tokens += [b"with"]  # cheaper, but not here
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("async ").state) == 4


def test_a_blank_in_front_of_a_token_counts_where_it_may_stand() -> None:
    tokens = [*BYTES, b' ")', b" x)", b' ""', b"()\n"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    for text, bound in (
        ('f("a', 1),  # in a string
        ('f(r"a" r', 3),  # not between a prefix and its quote
        ("f('a' 'b", 2),
        ('f("""a', 3),  # ` ""`, the third quote and ), not ` ")`
        ("if x:\n    try:\n    ", 14),  # not where it would be indentation
    ):
        assert grammar.closer.bound(grammar.matcher(text).state) == bound, text


def test_names_of_a_lark_file_are_no_layout(tmp_path: Path) -> None:
    """A `COMMENT` or `NEWLINE` there does nothing to lines."""
    file = tmp_path / "lines.lark"
    file.write_text(
        "start: line+\nline: NAME NEWLINE\nNAME: /[a-z]+/\nNEWLINE: /\\n/\n"
        'COMMENT: /#[^\\n]*/\n%ignore COMMENT\n%ignore " "\n'
    )
    grammar = compile_grammar(file, Vocabulary.from_tokens(BYTES, eos=[256]))
    for text, bound in (("", 2), ("a", 1), ("a # x", 1), ("a\n", 0), ("a\n# x", 0)):
        matcher = grammar.matcher(text)
        assert grammar.closer.bound(matcher.state) == bound, text
        assert len(matcher.shortest_completion()) == bound


def test_spellings_are_the_same_in_every_process() -> None:
    program = """
import hashlib, itertools
from gars_vllm.grammar import Vocabulary, spellings
tokens = [bytes(t) for n in (1, 2, 3) for t in itertools.product(b" )]}x;\\n", repeat=n)]
texts = spellings.Texts()
texts.add(tuple(b")]}x)}])"))
found = spellings.table(Vocabulary.from_tokens(tokens, eos=[len(tokens)]), texts)
print(hashlib.sha256(found.tobytes() + repr(texts.flat).encode()).hexdigest())
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1


def test_tokens_of_a_line_may_lie_far_behind_its_beginning() -> None:
    """What is missing is more than 64 bytes."""
    text = "".join(f"{'    ' * i}try:\n{'    ' * (i + 1)}try:\n" for i in (0, 2))
    tokens = [*BYTES, b"x\n" + b" " * 12, b"except :x\n", b" " * 8, b" " * 4]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    matcher = grammar.matcher(text + " " * 16)
    end = text_of(grammar, matcher.shortest_completion())
    assert len(end) > 64
    assert grammar.closer.bound(matcher.state) == 7, end


def test_after_a_joined_line_an_empty_one_may_come() -> None:
    tokens = [*BYTES, b"\r\r", b"    ", b"except:x"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    matcher = grammar.matcher("if x:\n    try:\n        x\n       \\")
    assert grammar.closer.bound(matcher.state) == 3
    assert text_of(grammar, matcher.shortest_completion()) == b"\r\r    except:x"


def test_a_line_feed_behind_a_carriage_return_is_no_empty_line() -> None:
    tokens = [*BYTES, b" " * 5]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    for text, bound in (("\\\r", 3), ("\\\n", 3), ("\\", 4), ("\\\r\n", 3)):
        matcher = grammar.matcher("if x:\n    for i in y:\n    " + text)
        assert grammar.closer.bound(matcher.state) == bound, text
        assert len(matcher.shortest_completion()) == bound, text


def test_a_dot_behind_a_number_is_its_own() -> None:
    tokens = [*BYTES, b"._", b"in", b" in", b" x"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    for text, bound in (
        ("{x for 1", 5), ("{x for 1.", 4), ("del 12", 2), ("del 1j", 1), ("f(12", 1), ("12", 0),
    ):  # fmt: skip
        matcher = grammar.matcher(text)
        assert grammar.closer.bound(matcher.state) == bound, text
        assert len(matcher.shortest_completion()) == bound, text


def test_an_ending_that_does_not_fit_hides_none_that_does() -> None:
    """A backslash before the quote would keep it from ending the string: another is looked for."""
    tokens = [*BYTES, b'")\r', b":x", b"except"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher('try:\n f()\n f(f"{a}\\').state) == 4


def test_digits_of_an_escape_may_be_written_in_any_tokens() -> None:
    tokens = [*BYTES, b"AAAAAAAA", b"'])"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("f(['\\U0").state) == 4  # 0, 0, AAAAAAAA, '])


@pytest.mark.parametrize(("before", "after", "tokens"), [
    ("f([ # a", b"\x89\n", 2), ("if x: # a", b"\x89\n\n", 2), ("f('a", b"\x89')", 1),
])  # fmt: skip
def test_a_token_may_hold_the_end_of_a_character(before: str, after: bytes, tokens: int) -> None:
    made = [*BYTES, after, b"])", b" x"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(made, eos=[len(made)]))
    matcher = grammar.matcher(before)
    matcher.advance_text(b"\xe5\x8c")
    assert grammar.closer.bound(matcher.state) == tokens


def test_a_token_may_hold_two_bytes_of_a_character() -> None:
    tokens = [*BYTES, b"\x82\xac"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    matcher = grammar.matcher("f(x")
    matcher.advance_text(b"\xe7")
    assert grammar.closer.bound(matcher.state) == 2


def test_in_brackets_a_blank_may_lead_behind_a_new_line() -> None:
    tokens = [*BYTES, b" ])"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("f([ # a").state) == 2
    assert grammar.closer.bound(grammar.matcher("f([\\").state) == 2
    assert grammar.closer.bound(grammar.matcher("if x:\n  # a").state) == 3  # new line, 1, x


def test_a_word_that_only_a_blank_makes_one_token() -> None:
    tokens = [*BYTES, b" division", b" )"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("from __future__ import(").state) == 2


def test_an_operand_may_lie_in_two_tokens() -> None:
    tokens = [*BYTES, b":'", b"'})"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("f({x").state) == 2
    assert grammar.closer.bound(grammar.matcher("f([x").state) == 2  # ] and )
    tokens.append(b"})")  # so that `:x` and `})` are as few as can be without
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("f({1:1, x").state) == 2


def test_brackets_can_stand_where_a_target_must() -> None:
    tokens = [*BYTES, b"():"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    for text, bound in (("with x as", 2), ("with x as y, z as", 2), ("[() for ", 7)):
        assert grammar.closer.bound(grammar.matcher(text).state) == bound, text
    assert grammar.closer.bound(grammar.matcher("try:\n x\nexcept x as").state) == 4  # ` x:x`


def test_a_line_deeper_than_the_one_before() -> None:
    tokens = [*BYTES, b":\n", b" case", b" x", b":x", b"    "]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("match a,b").state) == 4
    assert grammar.closer.bound(grammar.matcher("if b:\n    match a,b").state) == 5


def test_in_brackets_a_token_may_end_in_a_new_line() -> None:
    tokens = [*BYTES, b"()]\n"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("[[a not in").state) == 2
    assert grammar.closer.bound(grammar.matcher("x = [[a not in").state) == 2
    assert grammar.closer.bound(grammar.matcher("if x[-").state) == 4  # (, ), ], :, x but a name


def test_a_subscript_may_be_a_colon() -> None:
    tokens = [*BYTES, b":],"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("*x[").state) == 1
    assert grammar.closer.bound(grammar.matcher("*x[-1 in").state) == 4


def test_operands_are_written_each_in_its_own_way() -> None:
    """One ends in `")` and a line, another is the name in `:_`."""
    tokens = [*BYTES, b'")\n', b"class", b" A", b":_"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    matcher = grammar.matcher("@f(a ==")
    assert grammar.closer.bound(matcher.state) == 5
    assert text_of(grammar, matcher.shortest_completion()) == b'"")\nclass A:_'


def test_of_an_ending_that_does_not_fit_the_rest_counts() -> None:
    """`());` and a new line may not follow a decorator, whatever they save."""
    tokens = [*BYTES, b"());\n", b'")\n', b"class", b" A", b":_"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("@f(a ==").state) == 5


def test_a_token_that_does_not_save_all_that_it_promised_may_be_the_best() -> None:
    """Behind the comment `});` and a line do not fit: ` }`, then ` )` and a line."""
    tokens = [*BYTES, b"});\n", b" }", b" )\n", b"class", b" A", b":_"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher("@f(a+{b # c").state) == 6


def test_a_sign_at_the_end_of_a_token_may_be_what_is_missing() -> None:
    tokens = [*BYTES, b'"]],\n', b'"]]']
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher('*[["a').state) == 1


@pytest.mark.parametrize(("before", "tokens"), [("@a", 4), ("f([ # a", 2)])
def test_which_byte_ends_a_character_is_free(before: str, tokens: int) -> None:
    """Not every byte makes a letter of this one, and only one is a token with a new line."""
    made = [*BYTES, b"\x89\n\n", b"\xbf\n\n", b"])", b"class", b" A", b":_"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(made, eos=[len(made)]))
    matcher = grammar.matcher(before)
    matcher.advance_text(b"\xcb")
    assert grammar.closer.bound(matcher.state) == tokens


@pytest.mark.parametrize(
    ("before", "tokens"), [("x # a", 1), ("# a", 1), ("x = '''a", 4), ("if x: # a", 2)]
)
def test_a_comment_needs_no_more_than_its_last_character(before: str, tokens: int) -> None:
    vocabulary = [*BYTES, b"\xa6\x82", b"\n x"]
    grammar = compile_grammar("python", Vocabulary.from_tokens(vocabulary, eos=[len(vocabulary)]))
    matcher = grammar.matcher(before)
    matcher.advance_text(b"\xe0")
    assert grammar.closer.bound(matcher.state) == tokens


def test_a_character_is_ended_by_a_token(joined: CompiledGrammar) -> None:
    """Of all that could follow the first byte of a letter, the one that is a token."""
    matcher = joined.matcher("f(")
    matcher.advance_text(b"\xe3")
    assert joined.closer.bound(matcher.state) == 2  # the rest of the letter, and )
    assert text_of(joined, matcher.shortest_completion()) == b"\x82\xac)"
    matcher = joined.matcher("x = '")
    matcher.advance_text(b"\xf0")
    assert joined.closer.bound(matcher.state) == 3  # no token holds three bytes, one holds two


@pytest.mark.parametrize(
    ("joined", "text", "bound"),
    [
        ([b"\texcept", b":x"], "def f():\n\ttry:\n\t\tx\n", 2),
        ([b"\t\tx"], "def f():\n\tif x:\n", 1),
        ([b"\n\t\t"], "def f():\n\tif x: # a", 2),
        ([b"\n\t\tx", b":\n\t\tx"], "def f():\n\tif x", 1),
        ([b" .", b"_:"], "with x as 80", 3),
        ([b" [...]"], "del 80", 1),
        ([b"().__"], "del 80", 1),
        ([b' "":'], "match x:\n case", 2),
        ([b" for", b" in", b" x", b" x)"], "def f(): ((await x,)", 4),
        ([b" for", b" in", b" x", b" x)"], "def f(): ((await x,", 5),
        ([b" for", b" in", b" x", b" x)"], "def f(): (await ", 5),
        ([b" for", b" in", b" x", b" x)"], "def f(): ([await ", 6),
        ([b" for", b" in", b" x", b" x)"], "(lambda x=await y: x", 4),
        ([b" with", b" x", b":x"], "async def f():\n async ", 3),
        ([b"._", b" import", b" x"], "x\nfrom __future__ ", 3),
        ([b" )"], "from __future__ import (division,", 1),
        ([b"_)", b"__)", b":x"], "match x:\n case (a as ", 2),
        ([b"()):"], "match x:\n case 1 | A(b", 2),
        ([b"=0):"], "match x:\n case 1 | A(b", 2),
        ([b".x):"], "match x:\n case 1 | A(b", 2),
        ([b"):", b"__)", b":_", b"x,"], "match x:\n case [a] | (", 2),
        ([b",'']]],\n", b"\tin", b"()]"], "[x for a[[[b", 3),
        ([b"\tfor", b"\tA", b"\tin", b' "', b'")]', b"()]"], "[x for a[f(y :=", 8),
        ([b"ad"], "'\\x", 2),
        ([b"ad"], "'\\U00", 5),
        ([b"ad", b"a'"], "'\\u1", 2),
        ([b"Decimal"], "'\\u1", 2),
        ([b"{$", b"}'"], "f'\\N", 2),
        ([b">}'"], "'\\N{", 1),
        ([b"]]];\n", b",'']]],\n"], "x[y[y:[", 1),
        ([b" case", b" _", b":_"], "match x:\\\r", 4),
    ],
)
def test_endings_that_were_found_by_every_beginning_of_the_rules(
    joined: list[bytes], text: str, bound: int
) -> None:
    """Lines indented by tabs; what follows a number that must be assigned to; patterns; what must
    become a comprehension further out; `async`, and `from __future__` where it is too late; of a
    character the digits, or the name."""
    tokens = [*BYTES, *joined]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))
    assert grammar.closer.bound(grammar.matcher(text).state) == bound


def text_of(grammar: CompiledGrammar, tokens: tuple[int, ...]) -> bytes:
    return b"".join(grammar.vocabulary.tokens[t] or b"" for t in tokens)


def least_after(grammar: CompiledGrammar, state: int) -> int:
    return int(grammar.closer.costs(state, 1).min())


STARTS = [
    "",
    "def f(x):\n    ",
    "f([x, {",
    "if x:\n    try:\n        x = f'{y",
    "@f(\n",
    "class A:\n  x = 1\n  ",
]


@settings(max_examples=30)
@given(st.sampled_from(STARTS), st.randoms(use_true_random=False))
def test_no_bound_is_more_than_one_above_that_after_some_token(
    python: CompiledGrammar, start: str, draw: random.Random
) -> None:
    """So that by induction over their length all are the shortest there are, and masks follow."""
    place = Place(python.matcher(start), start.encode())
    for found in compare(python, [place], draw):
        assert not found.is_too_high, found.text
        assert found.differ == 0, found.text


@pytest.mark.parametrize(("pattern", "instead"), [(r"$", ""), (r"(?<=\S) ", "\\\\\r")])
def test_no_beginning_of_the_rules_has_a_bound_that_is_too_high(
    python: CompiledGrammar, pattern: str, instead: str
) -> None:
    """Nor has any state on a shortest way from there to an end. As they are, and with lines joined
    instead of blanks."""
    sources = rules(Path(__file__).parent / "data" / "python_rules.txt")
    found = list(compare_every(python, (re.sub(pattern, instead, s) for s in sources)))
    assert len(found) > 9000
    assert [one.text for one in found if one.is_too_high] == []


@pytest.mark.parametrize("text", ["@f(", "f([x, {", "if x:\n    try:\n        x = f'{y", "x = ["])
def test_masks_do_not_depend_on_what_was_asked_before(python: CompiledGrammar, text: str) -> None:
    """Texts meet in a state with fewer and with more tokens left."""
    state, closer = python.matcher(text).state, python.closer
    alone = []
    for left in range(1, 14):
        closer.forget()
        alone.append(python.mask(closer.row(state, left)).copy())
    for first, second in itertools.permutations(range(1, 14), 2):
        closer.forget()
        python.mask(closer.row(state, first))
        assert (python.mask(closer.row(state, second)) == alone[second - 1]).all(), (first, second)


@settings(max_examples=150)
@given(st.sampled_from(["joined", "trained", "json"]), st.randoms(use_true_random=False))
def test_some_token_always_leads_to_less(
    joined: CompiledGrammar, python: CompiledGrammar, json_bytes: CompiledGrammar, which: str,
    draw: random.Random,
) -> None:  # fmt: skip
    """So that who follows the bounds comes to an end in time."""
    grammar = {"joined": joined, "trained": python, "json": json_bytes}[which]
    matcher = grammar.matcher()
    for _ in range(draw.randint(1, 30)):
        bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
        tokens = [int(t) for t in np.flatnonzero(bits) if not grammar.is_eos(int(t))]
        if not tokens:
            break
        matcher.advance(draw.choice(tokens))
        bound = grammar.closer.bound(matcher.state)
        assert (bound == 0) == matcher.can_stop()
        if bound:
            assert least_after(grammar, matcher.state) < bound


def test_no_token_is_forbidden_that_could_be_completed(
    python: CompiledGrammar, tokenizer: Tokenizer
) -> None:
    """With two tokens left a walk after each token says which can; SmolLM2's and Qwen's vocabularies
    are measured in docs/exactness.md."""
    draw = random.Random(7)
    source = (
        "def f(xs):\n    if g(xs[0], 'a') or not xs:\n        return [h(x, f'{x}b') for x in xs]\n"
        "    try:\n        y = {'k': (xs[1], -1), \"l\": [z(2)]}\n    finally:\n        pass\n"
    )
    tokens = tokenizer.encode(source).ids
    counts = np.zeros(3, np.int64)
    for _ in range(40):
        matcher = python.matcher()
        for token in tokens[: draw.randrange(len(tokens))]:
            matcher.advance(token)
        if matcher.remaining_lower_bound() <= 2:
            counts += examine(python, matcher.state, 2)
    assert counts[0] > 20_000
    assert counts[1] == 0
    assert counts[2] == 0
