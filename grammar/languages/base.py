# SPDX-License-Identifier: Apache-2.0
"""What a language is to the rest of the package: one object.

A language from a .lark file needs no more than a name and its tables. One with rules of its own
gives what it has; docs/adding-a-language.md walks through an example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gars_vllm.grammar.frontend.tables import LanguageTables

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar
    from gars_vllm.grammar.languages.words import Words

State = tuple[int, ...]


@dataclass(frozen=True)
class Completing:
    """What the budget completion must know of a language to bring its texts to their end.

    `insertions`: what a text may owe beside what its stack says, in the order in which it is tried;
    `line_owes`, `bracket_owes`, `around_owes`: flags of the register `flags`, and of a bracket's
    third field, that say that it does, and that a bracket around it does. `separators`: bytes that
    mean nothing between two terminals, None: found out from the lexer. `at_line`: kinds of lexer
    states at a line's start. `open_line`: a text may end in the middle of a line.
    """

    insertions: tuple[bytes, ...] = ()
    flags: int = 0
    line_owes: int = 0
    bracket_owes: int = 0
    around_owes: int = 0
    separators: bytes | None = None
    at_line: tuple[str, ...] = ("line",)
    open_line: bool = False


@dataclass(frozen=True)
class Language:
    """A language, by what distinguishes it.

    `name`: for messages and caches. `depends`: all that its tables depend on, beside the sources of
    this package. `tables`: compiles them. `rules`: the address of its compiled rules
    (runtime/rules.py), 0 for none. `registers`: of a text's beginning, from RULES_OWN on,
    where it may end with a fence or not. `completion`: of the state after a prefix, the one whose
    text ends with the function that the prefix ends in. `objection`: what the language's own
    compiler or reader says against a text, None where nothing; `has_objections`: it is at hand.
    `words`: for `grammar explain`, where words.Words does not do.

    For prompts and programs: `fences`: what may name the language after three backticks, the first
    is written, empty: an answer is the bare text; `comment`: begins a comment that goes to the
    line's end; `is_empty`: a program whose function (of this name, None: the last one) has nothing
    but documentation for a body; `preamble`: what a prompt holds before the function of a name,
    which belongs to the program.
    """

    name: str
    depends: tuple[object, ...]
    tables: Callable[[], LanguageTables]
    rules: Callable[[LanguageTables], int] | None = None
    registers: Callable[[bool], Sequence[int]] | None = None
    completion: Callable[[CompiledGrammar, State], State] | None = None
    completing: Completing = field(default_factory=Completing)
    words: Callable[[], Words] | None = None
    objection: Callable[[str], str | None] | None = None
    has_objections: bool = False
    fences: tuple[str, ...] = ()
    comment: str = ""
    is_empty: Callable[[str, str | None], bool] | None = None
    preamble: Callable[[str, str | None], str] | None = None
