# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from gars_vllm.engine.tasks import programs
from gars_vllm.engine.tasks.programs import Mode, meaning
from gars_vllm.grammar import CompiledGrammar, Vocabulary, compile_grammar


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.from_tokens([bytes([i]) for i in range(256)], eos=[256])


@pytest.fixture(scope="module")
def python(vocabulary: Vocabulary) -> CompiledGrammar:
    return compile_grammar("python", vocabulary)


@pytest.mark.parametrize(
    ("mode", "prefix", "drawn", "kept"),
    [
        (Mode.COMPLETION, "def f(x):\n", '    s = """\nif x:\n"""\n    return s + "é"\n\nprint',
         '    s = """\nif x:\n"""\n    return s + "é"\n\n'),
        (Mode.COMPLETION, "def f(x):\n", "    return 1", "    return 1"),
        (Mode.COMPLETION, "def f(x):\n", "    return x\\\n\rprint", "    return x\\\n\r"),
        (Mode.COMPLETION, "def f(x):\n", "    return x\r\n# c\n\\\nprint", "    return x\r\n# c\n"),
        (Mode.FENCE, "", "x = 1\n```", "x = 1\n"),
        (Mode.FENCE, "", 's = """\n```\n"""\n```\nDone', 's = """\n```\n"""\n'),
        (Mode.TEXT, "", "x = 1\ny", "x = 1\ny"),
        (Mode.TEXT, "", "x = = 1", "x = = 1"),
    ],
)  # fmt: skip
def test_where_a_program_ends(
    python: CompiledGrammar, mode: Mode, prefix: str, drawn: str, kept: str
) -> None:
    assert programs.read(python, prefix, mode, drawn.encode()).text == kept


def test_a_character_cut_in_half_is_replaced(python: CompiledGrammar) -> None:
    found = programs.read(python, "", Mode.TEXT, "x = 'é".encode()[:-1])
    assert found == programs.Reading("x = '\ufffd", False)
    assert programs.read(python, "", Mode.TEXT, "x = 'é'".encode()).whole


def test_validity_is_the_languages_own(vocabulary: Vocabulary, tmp_path: Path) -> None:
    assert programs.is_valid("def f(x):\n    return x", "python")
    assert not programs.is_valid("def f(:", "none")
    assert not programs.is_valid("x = '\0'", "python")
    assert programs.is_valid('{"a": [1, 2]}', "json")
    assert not programs.is_valid("{", "json")
    file = tmp_path / "ab.lark"
    file.write_text('start: "a" start | "b"\n')
    compiled = compile_grammar(str(file), vocabulary)
    assert programs.is_valid("aab", str(file), compiled)
    assert not programs.is_valid("aa", str(file), compiled)
    assert not programs.is_valid("x = 1", str(file), compiled)


@pytest.mark.parametrize(
    ("program", "function", "found"),
    [
        ('def f(x):\n    """Text."""\n', "f", True),
        ('def f(x):\n    """Text."""\n    "and more"\n    # nothing\n', "f", True),
        ('async def f(x):\n    """Text."""\n', "f", True),
        ('def f(x):\n    """Text."""\n    pass\n', "f", False),
        ('def f(x):\n    """Text."""\n    ...\n', "f", False),
        ('def f(x):\n    f"""Text."""\n', "f", False),
        ('def f(x):\n    b"""Text."""\n', "f", False),
        ("def g(x):\n    return x\ndef f(x):\n    'Text.'\n", "f", True),
        ("def g(x):\n    'Text.'\ndef f(x):\n    return x\n", "f", False),
        ("def f(x):\n    'Text.'\ndef f(x):\n    return x\n", "f", False),
        ("def g(x):\n    'Text.'\n", "f", False),
        ("def g(x):\n    'Text.'\n", None, True),
        ("def g(x):\n    'Text.'\nx = 1\n", None, False),
        ("class f:\n    'Text.'\n", "f", False),
        ("'Text.'\n", None, False),
        ("def f(x):\n    'Text.\n", "f", False),
        ("", None, False),
    ],
)
def test_only_a_docstring(program: str, function: str | None, found: bool) -> None:
    assert programs.is_empty(program, "python", function) is found


def test_whole() -> None:
    assert programs.is_whole('{"a": 1}', "json")
    assert not programs.is_whole('{"a": 1', "json")
    assert programs.is_whole("    return 1\nprint(", "python", "def f():\n", "completion")
    assert not programs.is_whole("    return (1\n", "python", "def f():\n", "completion")


def test_the_language_of_a_grammar() -> None:
    assert programs.language_of("python3.12").name == "python3.12"
    assert programs.language_of("none").name == programs.language_of("python").name
    assert programs.language_of("json").name == "json"
    assert programs.is_empty("[]", "json", None) is None


def test_meaning_is_what_comments_and_layout_do_not_change() -> None:
    assert meaning("x=1") == meaning("x = 1  # one\n\n")
    assert meaning("x = 1") != meaning("x = 2")
    assert meaning("x = (") != meaning("x = ( ")
    assert len({meaning(t) for t in ("\udc80", "x\0", "(" * 999)}) == 3
