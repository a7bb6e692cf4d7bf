# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.grammar import (
    CompiledGrammar,
    GrammarFileError,
    Vocabulary,
    compile_grammar,
    explain,
    languages,
)
from gars_vllm.grammar.frontend import lalr, literals, syntax


def parsed(text: str) -> syntax.Syntax:
    return syntax.parse(text, "x.lark")


def _digest(file: Path) -> str:
    return languages.digest(languages.find(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start: %s" % ("(" * 2000 + '"a"' + ")" * 2000), "x.lark:1:1: it imports itself, or is nested"),
        ('start: ("a"\n', "x.lark:1:12: not Lark grammar syntax here"),
        ('a: "x"\n', "x.lark:1:1: no rule named 'start'"),
        ('\nstart: "\\x"\n', r"x.lark:2:8: not an escape that Python knows"),
        ('start: "a"~5..2\n', "x.lark:1:1: rule 'start': ~ 5..2 is no range"),
        ('start: t{"a"}\nt{x}: "b" t{t{x}} | x\n', "x.lark:1:8: rule 't': its templates lead"),
        ("%declare x\nstart: x\n", "x.lark:1:10: rule 'x' is declared, not defined"),
        ("%declare X\nstart: X\n", "x.lark:1:10: terminal X is declared, not defined; define it"),
        (
            'start: "a" _INDENT "b" _DEDENT\n%declare _INDENT _DEDENT\n',
            "x.lark:1:12: with _INDENT and _DEDENT, name the new lines",
        ),
        ('start: "a"\nx: y\n', "x.lark:2:4: Rule 'y' used but not defined"),
        ("// A is a word\nstart: A\nA: b\nb: /x/\n", "x.lark:3:4: Rules aren't allowed inside"),
        ("start: A\nA: A\n", "x.lark:1:8: Recursion in terminal 'A'"),
        ("%import .nosuch.X\nstart: X\n", "x.lark:1:10: cannot read the imported nosuch.lark"),
        ("%import common.NOSUCH\nstart: NOSUCH\n", "x.lark:1:16: Rule 'NOSUCH' used but not"),
        ('start: x\n  // start: "b"\n x: "a" x\n', "x.lark:1:1: rule 'start' can never end"),
        ('start: "a"\nstart: "b"\n', "x.lark:1:1: Rule 'start' defined more than once"),
        ('start: "ab".."c"\n', "x.lark:1:8: a range goes from one character to another"),
        ('start: ("a"\n | "")\n', "x.lark:2:4: Empty terminals are not allowed"),
        ("start: /[a/\n", "x.lark:1:8: terminal __ANON_0: no regular expression of Python: .*unterminated"),
        ("start: A\nA: /a/ | /(b/\n", "x.lark:2:10: missing"),
        ('start: "a"\n%llguidance {}\n', "x.lark:2:1: not Lark"),
    ],
)  # fmt: skip
def test_a_bad_file_gets_one_line(text: str, message: str) -> None:
    with pytest.raises(GrammarFileError, match=message) as caught:
        parsed(text)
    assert "\n" not in str(caught.value)


def test_a_bad_imported_file_is_the_one_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "inner.lark").write_text('x: "a"\nY: (\n')
    (tmp_path / "main.lark").write_text("%import .inner.x\nstart: x\n\n\n")
    with pytest.raises(GrammarFileError, match=r"inner\.lark:2:5: "):
        languages.find(tmp_path / "main.lark").tables()


def test_a_file_that_imports_itself(tmp_path: Path) -> None:
    (tmp_path / "main.lark").write_text("%import .main.start\n")
    with pytest.raises(GrammarFileError, match="imports itself"):
        _digest(tmp_path / "main.lark")


def test_terminals_are_found_in_the_file() -> None:
    made = parsed(
        '// A: comment\n%import common.INT -> NUM\nstart: A "b" /c/ NUM (D)\nA.2: "x"\nD: "(" | /y/\n'
    )
    places = {t.name: (t.line, t.column) for t in made.terminals}
    assert places["A"] == (4, 1)
    assert places["B"] == (3, 10)
    assert places["NUM"] == (2, 23)
    assert places["D"] == (5, 1)
    assert places["__ANON_0"] == (3, 14)


def test_rules_without_a_sentence_are_left_out_and_their_terminals() -> None:
    made = parsed('start: "a" x | "b"\nx: "c" x\ny: "d"\n')
    assert made.rules == (("start", ("B",)),)
    assert made.rule_terminals == ("B",)


@pytest.mark.parametrize(
    "rule",
    [
        " ".join(f'["x{i}"]' for i in range(60)),
        " ".join(f'("x{i}" | "y{i}")' for i in range(60)),
        " ".join(f'("x{i}" | "y{i}")*' for i in range(60)),
        '"a"~0..1000000000',
        '("a" | "b")~999999999999999999999',
        '("a" | "b" ["c"])~100..300',
    ],
)
def test_options_and_repetitions_do_not_multiply(rule: str) -> None:
    started = time.process_time()
    made = parsed(f"start: {rule}\n")
    table = lalr.build(made)
    assert len(made.rules) < 500
    assert len(table.items) < 1000
    assert time.process_time() - started < 5


@pytest.mark.parametrize(("least", "most"), [(0, 3), (2, 9), (9, 9), (13, 20), (0, 30), (17, 40)])
def test_a_repetition_counts(least: int, most: int) -> None:
    lengths: dict[str, set[int]] = {}
    rules = parsed(f'start: "a"~{least}..{most}\n').rules
    while True:
        before = {name: set(found) for name, found in lengths.items()}
        for left, right in rules:
            sums = {0}
            for symbol in right:
                more = {1} if symbol == "A" else lengths.get(symbol, set())
                sums = {a + b for a in sums for b in more}
            lengths.setdefault(left, set()).update(sums)
        if before == lengths:
            break
    assert lengths["start"] == set(range(least, most + 1))


def test_a_star_of_stars_is_one_star() -> None:
    assert len(parsed('start: (("a"*)+ | ["b"])*\n').rules) == 6


def test_too_many_rules_are_refused_in_time() -> None:
    text = "start: " + " | ".join(f"r{i}" for i in range(3000)) + "\n"
    text += "".join(f'r{i}: "a{i}" "b{i}"\n' for i in range(3000))
    started = time.process_time()
    with pytest.raises(GrammarFileError, match=r"x.lark:1:1: the grammar is too large"):
        lalr.build(parsed(text))
    assert time.process_time() - started < 15


def test_many_literals_of_one_place_are_one_terminal() -> None:
    words = " | ".join(f'"lit{i}"' for i in range(5000))
    started = time.process_time()
    made = parsed(f'start: word ("," word)*\nword: {words}\n')
    table = lalr.build(made)
    assert time.process_time() - started < 5
    assert table.action.shape[1] == 3
    (merged,) = (t for t in made.terminals if "AND_4999_MORE" in t.name)
    # the longest first, as Lark's lexer tries them
    assert merged.pattern.index("lit4999") < merged.pattern.index("lit49|")


@pytest.mark.parametrize(
    ("other", "left_out"),
    [
        ('| NAME\nNAME: /[a-k]+\\d*/\n', set()),  # a name of letters that no literal is made of
        # too few for a terminal of their own: `lit3` could be a name
        ("| NAME\nNAME: /[a-z]+[0-9]/\n", {f"LIT{i}" for i in range(10)}),
        ('| "lit7abc" "!"\n', {"LIT7"}),  # goes on where `lit7` ends
        # as long as `lit100` to `lit299`, which go on after `lit10` to `lit29`, `lit1` and `lit2`
        ("| X\nX: /li?t.../\n", {f"LIT{i}" for i in (1, 2, *range(10, 30), *range(100, 300))}),
    ],
)  # fmt: skip
def test_literals_that_the_lexer_tells_apart_stay(other: str, left_out: set[str]) -> None:
    words = " | ".join(f'"lit{i}"' for i in range(300))
    made = parsed(f"start: {words} {other}")
    assert {
        t.name for t in made.terminals if t.name.startswith("LIT") and "MORE" not in t.name
    } == (left_out | ({"LIT7ABC"} if "abc" in other else set()))


def test_literals_of_two_places_stay_apart() -> None:
    words = [" | ".join(f'"{kind}{i}"' for i in range(50)) for kind in "ab"]
    made = parsed(f"start: a b a\na: {words[0]}\nb: {words[1]}\n")
    assert sorted(made.rule_terminals) == ["A0_AND_49_MORE", "B0_AND_49_MORE"]


def test_keywords_that_could_be_names_are_one_terminal() -> None:
    words = " | ".join(f'"word{chr(97 + i // 26)}{chr(97 + i % 26)}"' for i in range(600))
    made = parsed(f'start: (NAME "=" word | word NAME)+\nword: {words}\nNAME: /[a-z]+/\n')
    assert len(made.terminals) == 3
    (merged,) = (t for t in made.terminals if "MORE" in t.name)
    assert len(merged.texts) == len(merged.each) == 600


@pytest.mark.parametrize("name", ["", '| NAME\nNAME: /[a-z]+/\n%ignore " "'])
def test_too_many_literals_are_refused_in_time(name: str, tmp_path: Path) -> None:
    rng = random.Random(1)
    words = {"".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(6000)}
    file = tmp_path / "words.lark"
    every = " | ".join(f'"{word}"' for word in sorted(words))
    file.write_text(f"start: (word | NUMBER)*\nNUMBER: /[0-9]+/\nword: {every} {name}\n")
    started = time.process_time()
    with pytest.raises(
        GrammarFileError, match=r"words.lark:1:1: its literals need at least [\d,]+ "
    ):
        languages.find(file).tables()
    assert time.process_time() - started < 5


def test_states_of_words() -> None:
    assert literals.count_states({}) == 1
    assert literals.count_states({"ab": 1}) == 2
    assert literals.count_states({"ab": 1, "cb": 1}) == 2
    assert literals.count_states({"ab": 1, "cb": 2}) == 3
    assert literals.count_states({"a": 1, "ab": 1, "b": 1}) == 2
    assert literals.count_states({f"{i:03}": 1 for i in range(1000)}) == 3
    assert literals.count_states({f"{i:03}": i for i in range(1000)}) == 111
    assert literals.count_states({"é": 1, "è": 1}) == 2


# Patterns that Python's terminals of these names have, or that look like its layout.
PATTERNS = (
    "/[a-z]+/", "/[0-9]+/", "/#[^\\n]*/", "/\"[^\"\\n]*\"/", "/\\n+/", "/\\\\\\n/", '"    "', '"("', '")"', '":"',
    '"else"', '"for"', '"```"', '"="', '"{"', '"}"',
)  # fmt: skip
RULES = """start: (assignment | try_else | rest)+
assignment: LPAR single_target RPAR COLON NAME
single_target: NAME
try_else: ELSE COLON NAME
rest: {}
LPAR: "("
RPAR: ")"
COLON: ":"
ELSE: "else"
NAME: /[a-z]+/
"""
USED = ("LPAR", "RPAR", "COLON", "ELSE", "NAME")


def named_like_python(draw: random.Random, names: list[str]) -> str:
    """A grammar whose terminals, and some rules, have names of Python's grammar."""
    chosen = draw.sample([n for n in names if n not in USED], 6)
    rest = " | ".join(" ".join(draw.choices(chosen, k=draw.randint(1, 3))) for _ in range(4))
    patterns = draw.sample(PATTERNS, len(chosen))
    lines = [f"{name}: {pattern}\n" for name, pattern in zip(chosen, patterns, strict=True)]
    ignored = f"%ignore {draw.choice(chosen)}\n" if draw.random() < 0.5 else ""
    return RULES.format(rest) + "".join(lines) + ignored


@pytest.mark.parametrize("seed", range(12))
def test_names_of_python_say_nothing_in_a_lark_file(
    python_bytes: CompiledGrammar, byte_vocabulary: Vocabulary, tmp_path: Path, seed: int
) -> None:
    """A grammar and its twin under other names: the same masks, endings and places in the text."""
    draw = random.Random(seed)
    spec = python_bytes.frontend.machine.spec
    names = {n for t in spec.terminals for n in (t.name, t.symbol or "")}
    text = named_like_python(draw, sorted(n for n in names if re.fullmatch("[A-Z][A-Z0-9_]+", n)))
    twin = re.sub(r"\b(?=[A-Z][A-Z0-9_]+\b)", "Q_", text)  # Lark's order goes by names, too
    twin = twin.replace("assignment", "one").replace("try_else", "two").replace("single_", "a_")
    grammars = []
    for name, written in (("named", text), ("twin", twin)):
        (tmp_path / f"{name}.lark").write_text(written)
        grammars.append(compile_grammar(tmp_path / f"{name}.lark", byte_vocabulary))
    for _ in range(20):
        one, other = (g.matcher() for g in grammars)
        read = b""
        for left in range(16, 0, -1):
            assert (one.mask() == other.mask()).all(), (text, read)
            assert one.completion() == other.completion(), (text, read)
            assert (one.mask(left) == other.mask(left)).all(), (text, read, left)
            bits = np.unpackbits(one.mask(left).view(np.uint8), bitorder="little")
            token = int(draw.choice(np.flatnonzero(bits).tolist()))
            if token == 256:
                break
            read += bytes([token])
            one.advance(token)
            other.advance(token)
        seen = [explain.trace(g, g.matcher().state, read) for g in grammars]
        assert [(s.begin, s.end) for s in seen[0].seen] == [(s.begin, s.end) for s in seen[1].seen]
        assert seen[0].pending == seen[1].pending
        words = [re.sub(r"\bQ_", "", w) for w in explain.expected(other.grammar, other.state)]
        assert sorted(words) == sorted(explain.expected(one.grammar, one.state)), (text, read)


def test_all_that_is_read_belongs_to_the_digest(tmp_path: Path) -> None:
    seen = set()
    for folder, inner in (("a", "A"), ("b", "B")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "main.lark").write_text("%import .other.x\nstart: x\n")
        (tmp_path / folder / "other.lark").write_text("%import .deep.D\nx: D\n")
        (tmp_path / folder / "deep.lark").write_text(f'D: "{inner}"\n')
        seen.add(_digest(tmp_path / folder / "main.lark"))
    assert len(seen) == 2
    (tmp_path / "a" / "deep.lark").write_text('D: "B"\n')
    assert _digest(tmp_path / "a" / "main.lark") == _digest(tmp_path / "b" / "main.lark")
