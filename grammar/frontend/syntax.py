# SPDX-License-Identifier: Apache-2.0
"""Grammar text in Lark's syntax -> rules and terminals."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import literals, reduction
from gars_vllm.grammar.frontend.ebnf import Expander
from lark import load_grammar as lark_loader
from lark.exceptions import UnexpectedInput, VisitError
from lark.grammar import RuleOptions
from lark.lexer import Token

# Of Lark's Indenter, by the names that its own grammars have: the terminals that it makes, the
# line's end after which it makes them (one of these), and brackets, in which it makes none.
BLOCKS, LINE_ENDS = ("_INDENT", "_DEDENT"), ("_NEWLINE", "_NL")
BRACKETS = ("LPAR", "LSQB", "LBRACE"), ("RPAR", "RSQB", "RBRACE")
_LONGEST_NAME = 4000  # of a rule that a template makes: it holds the names of what is filled in
_SYNTAX = "not Lark grammar syntax here"
_PIECE = re.compile(
    r'//.*|"(?:\\.|[^"\\\n])*"i?|/(?:\\.|[^/\\\n])+/[a-z]*|(?P<left>^[ \t]*[?!]*)?[A-Za-z_]\w*',
    re.MULTILINE,
)
_DEFINES = re.compile(r"(\.[-+]?\d+|\{[^}\n]*\})?[ \t]*:")


@dataclass(frozen=True)
class Terminal:
    """A terminal as the grammar file defines it; `pattern` is a Python regular expression.

    `width`: the most characters that it can match, as Lark counts them. `written`: the length of
    the pattern as it is written. `texts`: of literals that are one terminal, each.
    """

    name: str
    pattern: str
    flags: int
    is_text: bool
    priority: int
    line: int
    column: int
    width: int = 0
    written: int = 0
    texts: tuple[str, ...] = ()

    @property
    def each(self) -> tuple[str, ...]:
        """The texts of a literal, or of several that are one terminal; none of an expression."""
        if self.texts or not self.is_text:
            return self.texts
        return (re.sub(r"\\(.)", r"\1", self.pattern, flags=re.DOTALL),)


@dataclass(frozen=True)
class Syntax:
    """Rules in plain BNF, and of the terminals that the text defines those that are used.

    A rule is (left side, right side); terminals and nonterminals share no names. Every rule is part
    of some sentence, and none can be reduced for ever (reduction.py). `lines`: where lines are
    indented, the terminals for a line's end, a block's beginning and its end.
    """

    source: str
    start: str
    rules: tuple[tuple[str, tuple[str, ...]], ...]
    rule_terminals: tuple[str, ...]
    terminals: tuple[Terminal, ...]
    ignored: tuple[str, ...] = field(default=())
    lines: tuple[str, ...] = ()


def parse(text: str, source: str, start: str = "start", declared: bool = False) -> Syntax:
    """Reads a grammar. `declared`: it may use terminals that it only declares.

    Raises GrammarFileError with file, line and column.
    """
    texts = {source: text}
    try:
        grammar = _loaded(texts, source).build()
        terminals, rules = _compiled(grammar)
    except Exception as error:  # Lark's loader raises what it meets: KeyError, re.error ...
        raise GrammarFileError(_one_line(error, texts)) from error
    if not any(left == start for left, _ in rules):
        raise GrammarFileError(f"{source}:1:1: no rule named {start!r}; add one or name another")
    kept, places = reduction.useful(rules, start), _Places(text)
    if not kept:
        line, column = places.find(start, definition=True) or (1, 1)
        raise GrammarFileError(
            f"{source}:{line}:{column}: rule {start!r} can never end: whatever is written for it "
            "needs more to follow; give it an alternative that ends"
        )
    plain = reduction.terminating(kept, start)
    wanted = {*grammar.ignore, *_symbols(plain)}
    terminals = [t for t in terminals if t.name in wanted]
    _refuse_patterns(source, terminals, places)
    kept_apart = [*grammar.ignore, *LINE_ENDS, *BRACKETS[0], *BRACKETS[1]]
    plain, terminals, each = literals.merged(plain, terminals, kept_apart)
    used = sorted(_symbols(plain) - {left for left, _ in plain})
    missing = [name for name in used if name not in {t.name for t in terminals}]
    lines: tuple[str, ...] = ()
    if not declared and set(missing) == set(BLOCKS):
        lines = _lines(texts, used, grammar.ignore)
    elif not declared and missing:
        _refuse_declared(texts, missing)
    return Syntax(
        source=source,
        start=start,
        rules=tuple(plain),
        rule_terminals=tuple(used),
        terminals=tuple(_terminal(t, places, each.get(t.name, ())) for t in terminals),
        ignored=tuple(grammar.ignore),
        lines=lines,
    )


def _symbols(rules: Iterable[tuple[str, tuple[str, ...]]]) -> set[str]:
    return {symbol for _, right in rules for symbol in right}


def imported(text: str, source: str) -> list[str]:
    """Hashes of the files that a grammar imports, in the order in which they are read."""
    if "%import" not in text:
        return []
    texts = {source: text}
    try:
        return [str(digest) for digest in _loaded(texts, source).used_files.values()]
    except Exception as error:
        raise GrammarFileError(_one_line(error, texts)) from error


def _loaded(texts: dict[str, str], source: str) -> Any:
    """Lark's builder with the file and all it imports read; their texts are added to `texts`."""
    builder = lark_loader.GrammarBuilder(True, [])
    try:
        builder.load_grammar(texts[source], source)
    finally:
        for path in builder.used_files:
            if isinstance(path, str):
                texts[path] = Path(path).read_text("utf-8", "replace")
    return builder


def _compiled(grammar: Any) -> tuple[list[Any], list[tuple[str, tuple[str, ...]]]]:
    """Lark's terminals, and plain rules: what lark.load_grammar.Grammar.compile does, but for how
    the rules are written out (ebnf.py)."""
    to_pattern = lark_loader.PrepareLiterals() * lark_loader.TerminalTreeToPattern()
    terminals = [
        lark_loader.TerminalDef(name, to_pattern.transform(tree), priority)
        for name, (tree, priority) in grammar.term_defs
        if tree
    ]
    definitions = grammar.rule_defs
    anonymous = lark_loader.PrepareAnonTerminals(terminals)  # adds to both
    anonymous.rule_options = RuleOptions(keep_all_tokens=True)
    prepare = lark_loader.PrepareLiterals() * lark_loader.ValidateSymbols() * anonymous
    prepare *= lark_loader.ApplyTemplates(definitions)
    expander = Expander()
    for name, parameters, tree, _ in definitions:  # grows while it is walked
        if len(name) > _LONGEST_NAME:
            template = str(name).split("{")[0]
            raise GrammarFileError(f"rule {template!r}: its templates lead to ever more rules")
        if tree is None:
            raise GrammarFileError(f"rule {str(name)!r} is declared, not defined")
        if not parameters:
            expander.add(name, prepare.transform(tree))
    return terminals, expander.all()


def _refuse_patterns(source: str, terminals: Iterable[Any], places: _Places) -> None:
    for terminal in terminals:
        if reason := _objection(terminal.pattern):
            line, column = places.of_terminal(terminal)
            raise GrammarFileError(
                f"{source}:{line}:{column}: terminal {terminal.name}: no regular expression of "
                f"Python: {reason}"
            )


def _lines(texts: dict[str, str], used: Iterable[str], ignored: Iterable[str]) -> tuple[str, ...]:
    ends = [name for name in LINE_ENDS if name in used and name not in ignored]
    if len(ends) != 1:
        raise GrammarFileError(
            f"{_place(texts, BLOCKS)}: with _INDENT and _DEDENT, name the new lines that the rules "
            "have _NEWLINE or _NL, not both, and do not ignore them"
        )
    return (ends[0], *BLOCKS)


def _refuse_declared(texts: dict[str, str], missing: Sequence[str]) -> None:
    name = missing[0]
    indents = "INDENT" in name or "DEDENT" in name
    why = "for indentation declare and use _INDENT and _DEDENT" if indents else "define it"
    place = _place(texts, (name,))
    raise GrammarFileError(f"{place}: terminal {name} is declared, not defined; {why}")


def _one_line(error: BaseException, texts: dict[str, str]) -> str:
    mentioned: list[str] = []
    if isinstance(error, VisitError):  # a range, or an expression that cannot be read
        mentioned = [str(t) for t in error.obj.scan_values(lambda t: isinstance(t, Token))]
        mentioned += [p.raw for p in error.obj.scan_values(_objection)]
        is_range = error.rule == "range"
        error = (
            ValueError("a range goes from one character to another") if is_range else error.orig_exc
        )
    source, last = next(iter(texts)), list(texts)[-1]
    message = " ".join(str(error).split())
    if isinstance(error, RecursionError):
        return f"{source}:1:1: it imports itself, or is nested too deeply"
    if isinstance(error, OSError):
        place = _place(texts, (Path(error.filename or "").stem,))
        return f"{place}: cannot read the imported {error.filename}: {error.strerror}"
    if told := re.search(r"(?:, at )?line (\d+),? col(?:umn)? (\d+)", message):
        # A file is parsed before what it imports is read: the last one that was read is at fault.
        reason = message[: told.start()]
        reason = _SYNTAX if reason.startswith("Unexpected") else reason or _SYNTAX
        return f"{last}:{told[1]}:{told[2]}: {reason}"
    if isinstance(error, UnexpectedInput):
        return f"{last}:{max(error.line, 1)}:{max(error.column, 1)}: {_SYNTAX}"
    if len(error.args) == 2 and isinstance(error.args[1], SyntaxError):
        mentioned = [f'"{error.args[0]}"', f"/{error.args[0]}/"]
        message = f"not an escape that Python knows: {error.args[0]}"
    # Lark names the rule, the terminal or the literal, not the place.
    for form in (r"'(\w+)'", r'"[^"]*"', r"[A-Za-z_]\w*"):
        mentioned = mentioned or re.findall(form, message)[::-1]
    return f"{_place(texts, mentioned)}: {message or type(error).__name__}"


def _objection(pattern: Any) -> str:
    """What Python says against a terminal's regular expression, if anything."""
    try:
        _ = pattern.max_width
    except AttributeError:  # no pattern
        return ""
    except Exception as error:  # re.error, or that of the module `regex`
        return str(error)
    return ""


class _Places:
    """Line and column of each name and literal of a text: of its definition, and of the first
    mention that is none. What Lark has parsed does not say where it stood."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.definitions: dict[str, int] = {}
        self.mentions: dict[str, int] = {}
        for piece in _PIECE.finditer(text):
            indent = piece["left"] or ""
            at = piece.start() + len(indent)
            defines = piece["left"] is not None and _DEFINES.match(text, piece.end())
            found = self.definitions if defines else self.mentions
            found.setdefault(piece[0][len(indent) :], at)

    def find(self, name: str, definition: bool) -> tuple[int, int] | None:
        at = (self.definitions if definition else self.mentions).get(name)
        if at is None:
            return None
        return self._text.count("\n", 0, at) + 1, at - self._text.rfind("\n", 0, at)

    def of_terminal(self, definition: Any) -> tuple[int, int]:
        """Of one of Lark's terminals, which may be a literal, or imported."""
        return (
            self.find(definition.name, definition=True)
            or self.find(definition.pattern.raw or "", definition=False)
            or self.find(definition.name.split("__")[-1], definition=False)
            or (1, 1)
        )


def _place(texts: dict[str, str], names: Sequence[str]) -> str:
    """file:line:column of the first of these names that is used somewhere, else defined, else of
    the grammar's beginning."""
    places = [(source, _Places(text)) for source, text in texts.items()]
    for definition in (False, True):
        for name, (source, known) in itertools.product(names, places):
            if found := known.find(name, definition):
                return f"{source}:{found[0]}:{found[1]}"
    return f"{next(iter(texts))}:1:1"


def _terminal(definition: Any, places: _Places, texts: tuple[str, ...]) -> Terminal:
    flags = 0
    for letter in definition.pattern.flags:
        flags |= getattr(re, letter.upper())
    is_text = definition.pattern.type == "str"
    name, pattern = definition.name, definition.pattern.value
    line, column = places.of_terminal(definition)
    return Terminal(
        name,
        re.escape(pattern) if is_text else pattern,
        flags,
        is_text,
        definition.priority,
        line,
        column,
        int(definition.pattern.max_width),
        len(pattern),
        texts,
    )
