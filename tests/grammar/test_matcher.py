# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.grammar import (
    CompiledGrammar,
    GrammarError,
    GrammarFileError,
    Vocabulary,
    compile_grammar,
)
from gars_vllm.grammar import disk_cache as store


def test_fork_and_rollback(python: CompiledGrammar) -> None:
    ids = {t: i for i, t in enumerate(python.vocabulary.tokens) if t}
    matcher = python.matcher("x = ")
    before = matcher.mask_id()
    twin = matcher.fork()
    for byte in b"(1)\n":
        matcher.advance(ids[bytes([byte])])
    assert twin.length == 0
    assert matcher.can_stop()
    matcher.rollback(4)
    assert matcher.mask_id() == before == twin.mask_id()
    with pytest.raises(ValueError, match="cannot take back"):
        matcher.rollback(1)


def test_eos_is_allowed_exactly_where_the_text_may_stop(json_bytes: CompiledGrammar) -> None:
    matcher = json_bytes.matcher()
    for byte in b'{"a": [1]}':
        bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
        assert bool(bits[256]) == matcher.can_stop()
        assert not matcher.can_stop()
        matcher.advance(byte)
    assert matcher.can_stop()
    matcher.advance(256)
    with pytest.raises(GrammarError):
        matcher.advance(10)


def test_masks_equal_single_steps(python: CompiledGrammar) -> None:
    """Every bit of a mask says what `advance` does, memo or not."""
    ids = {t: i for i, t in enumerate(python.vocabulary.tokens) if t}
    matcher = python.matcher()
    for byte in b"def f(a):\n    if a: x = f'{a}' + [1":
        matcher.advance(ids[bytes([byte])])
        bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
        for token in range(1, len(python.vocabulary), 7):
            try:
                matcher.fork().advance(token)
                lives = True
            except GrammarError:
                lives = False
            assert bool(bits[token]) == lives, python.vocabulary.tokens[token]


def test_bad_prefix_names_the_position(python: CompiledGrammar) -> None:
    with pytest.raises(GrammarError, match="line 2, column 3"):
        python.matcher("x = 1\n  y\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start: A\nA: /a/\nB: /b", r"bad.lark:3:4"),
        ("start: X a\na: X a\nX: /x/\n", "bad.lark:1:1: rule 'start' can never end"),
        ("start: A\nA: /(?>ab|a)b/\n", r"bad.lark:2:1: terminal A: an atomic group"),
        ("start: A\nA: /(?<!x)a/\n", r"bad.lark:2:1: terminal A: a look-behind at the beginning"),
        ("start: A\nA: /a*/\n", r"bad.lark:2:1: terminal A matches the empty text"),
        ("start: nothing\n", r"bad.lark:1:8: Rule 'nothing' used but not defined"),
    ],
)
def test_bad_grammar_files(
    tmp_path: Path, byte_vocabulary: Vocabulary, text: str, message: str
) -> None:
    file = tmp_path / "bad.lark"
    file.write_text(text)
    with pytest.raises(GrammarFileError, match=message) as caught:
        compile_grammar(file, byte_vocabulary)
    assert "\n" not in str(caught.value)


def test_own_grammar(tmp_path: Path, byte_vocabulary: Vocabulary) -> None:
    file = tmp_path / "sum.lark"
    file.write_text('start: INT ("+" INT)*\nINT: /[0-9]+/\nWS: " "+\n%ignore WS\n')
    matcher = compile_grammar(file, byte_vocabulary).matcher()
    matcher.advance_text("1 + 23")
    assert matcher.can_stop()
    with pytest.raises(GrammarError):
        matcher.advance_text(" 4")


def test_damaged_cache_is_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, byte_vocabulary: Vocabulary
) -> None:
    monkeypatch.setenv("GARS_CACHE", str(tmp_path))
    first = compile_grammar("json", byte_vocabulary)
    (file,) = store.folder().glob("*.gars")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again = compile_grammar("json", byte_vocabulary)
    assert (again.table.text == first.table.text).all()
    assert len(file.read_bytes()) == len(whole)


def test_import_is_light() -> None:
    code = "import sys, gars_vllm.grammar; print([m for m in ('torch', 'vllm', 'numba') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_cache_keeps_the_files_used_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, byte_vocabulary: Vocabulary
) -> None:
    monkeypatch.setenv("GARS_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "_KEPT", 2)
    for number, name in enumerate(("old", "used")):
        file = store.folder() / f"{name}.gars"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
        os.utime(file, (number + 1, number + 1))
    compile_grammar("json", byte_vocabulary)
    left = {f.stem for f in store.folder().glob("*.gars")}
    assert len(left) == 2
    assert "used" in left


def test_a_cached_grammar_names_the_file_that_is_asked_for(
    tmp_path: Path, byte_vocabulary: Vocabulary
) -> None:
    for name in ("first.lark", "second.lark"):
        file = tmp_path / name
        file.write_text('start: "a"\n')
        with pytest.raises(GrammarError, match=f"{name}: 'b' cannot stand"):
            compile_grammar(file, byte_vocabulary).matcher("b")
