# SPDX-License-Identifier: Apache-2.0
"""Defines a sample's program, for the mask, the verification and the report.

The program is the prefix that the grammar has read plus the generated text, up to the program's
end, which the grammar's state determines depending on the mode.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from gars_vllm.grammar import GrammarError, languages
from gars_vllm.grammar.languages import Language
from gars_vllm.grammar.languages.python import oracle

if TYPE_CHECKING:
    from gars_vllm.grammar import CompiledGrammar, Matcher


class Mode(StrEnum):
    """`completion`: a program ends before a statement at the level of the function that the
    prefix ends in, or before a comment at the margin with which the generated text ends.
    `fence`: before a line that begins with three backticks. `text`: at the end of the text. In
    each mode it may also end with the text wherever it is whole."""

    COMPLETION = "completion"
    FENCE = "fence"
    TEXT = "text"


def matcher(grammar: CompiledGrammar, prefix: str, mode: Mode | str) -> Matcher:
    """The matcher of a sample. Raises GrammarError if the prefix does not fit the grammar."""
    return grammar.matcher(prefix, mode == Mode.COMPLETION, mode == Mode.FENCE)


@dataclass(frozen=True)
class Reading:
    """The part `text` of a generated text that belongs to the program, and whether the program
    is `whole`, i.e. may end there."""

    text: str
    whole: bool


def read(grammar: CompiledGrammar, prefix: str, mode: Mode, drawn: bytes) -> Reading:
    """The part of a generated text that belongs to the program.

    Text after the program's end is cut at the last line start at which the program was whole.
    (Not at the last newline: that may be a lone carriage return, or follow a backslash.)
    """
    reader = matcher(grammar, prefix, mode)
    end = 0
    for position, byte in enumerate(drawn, start=1):
        try:
            reader.advance_text(bytes([byte]))
        except GrammarError:  # generated without the grammar: `is_valid` judges it
            return Reading(drawn.decode("utf-8", "replace"), False)
        if reader.is_done():
            drawn = drawn[:end]
            break
        if byte in b"\r\n" and reader.can_stop():
            end = position
    whole = reader.can_stop()
    # The sample was stopped at a comment at the margin (constraints.py).
    comment = grammar.language.comment.encode()
    if whole and mode is Mode.COMPLETION and end and comment and drawn[end:].startswith(comment):
        drawn = drawn[:end]
    return Reading(drawn.decode("utf-8", "replace"), whole)


@functools.cache
def of_bytes(name: str) -> CompiledGrammar:
    """The grammar for a vocabulary of single bytes: enough to read a text, and quick to compile."""
    from gars_vllm.grammar import Vocabulary, compile_grammar

    return compile_grammar(
        name, Vocabulary.from_tokens([bytes([b]) for b in range(256)] + [None], [256])
    )


def is_whole(drawn: str, grammar: str, prefix: str = "", mode: Mode | str = Mode.TEXT) -> bool:
    """Whether a text generated under these request parameters is a whole program.

    For requests that vLLM finished with "length" it tells budget completion from a cut-off text.
    Raises GrammarError if the prefix does not fit.
    """
    return read(of_bytes(grammar), prefix, Mode(mode), drawn.encode()).whole


def is_valid(program: str, grammar: str, compiled: CompiledGrammar | None = None) -> bool:
    """The language's own verdict on a whole program.

    Where no oracle is available (another Python version, a grammar file) the grammar decides.
    """
    language = language_of(grammar)
    if language.objection is not None and language.has_objections:
        return language.objection(program) is None
    if compiled is None:
        return oracle.objection(program) is None
    try:
        reader = compiled.matcher()
        reader.advance_text(program)
    except GrammarError:
        return False
    return reader.can_stop()


def is_empty(program: str, grammar: str, function: str | None) -> bool | None:
    """Whether the body of the named function, or of the program's last statement if that is a
    function, is only documentation; None if the language has no such check."""
    has_no_body = language_of(grammar).is_empty
    return None if has_no_body is None else has_no_body(program, function)


def meaning(program: str) -> str:
    """A hash that is equal for programs that differ only in comments and layout."""
    tree = oracle.parsed(program)
    text = program if tree is None else "\n".join(_flat(tree))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _flat(tree: ast.AST) -> Iterator[str]:
    """A syntax tree in prefix notation. `ast.dump` is recursive and fails on trees that the
    compiler accepts: a thousand chained `elif`, operators or calls."""
    stack: list[object] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.AST):
            yield type(node).__name__
            stack += [getattr(node, name, None) for name in reversed(node._fields)]
        elif isinstance(node, list):
            yield str(len(node))
            stack += reversed(node)
        elif type(node) is int:  # `repr` raises for very long ints
            yield hex(node)
        else:
            yield repr(node)


@functools.cache
def language_of(grammar: str) -> Language:
    """The language of a grammar; Python for "none", since samples without a grammar are Python."""
    return languages.find("python" if grammar == "none" else grammar)


def check_grammar(name: str) -> None:
    """Raises GrammarFileError if there is no such grammar; compiles nothing."""
    if name != "none":
        languages.digest(languages.find(name))
