# SPDX-License-Identifier: Apache-2.0
"""What is left of a terminal's regular expression: ordered threads, as in Pike's machine."""

from __future__ import annotations

from dataclasses import dataclass, field

from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend.lexer import LexTerminal
from gars_vllm.grammar.frontend.regex import Ahead, Behind, Nfa, RegexError

UNKNOWN = -1  # the byte before the beginning of a terminal


MATCH, MATCHED = -1, -2  # a thread that has just matched; one that matched earlier


Condition = tuple[bool, frozenset[int]]  # negative, states of the look-ahead


Conditions = frozenset[Condition]


Thread = tuple[int, Conditions]


Threads = tuple[Thread, ...]


NO_CONDITIONS: Conditions = frozenset()


@dataclass(frozen=True)
class ContextualSpec:
    """`terminals` in Lark's order, all in one mode. `unless`: of an expression the literals that it
    matches as a whole, which win where both are accepted. `embedded`: those of them that are not
    tried where the expression is (Lark's `_create_unless`). `lines`: see LexerSpec; the first
    is the symbol of the terminal of new lines (LineOp.LINES), which is always tried."""

    terminals: tuple[LexTerminal, ...]
    unless: dict[int, tuple[int, ...]] = field(default_factory=dict)
    embedded: dict[int, tuple[int, ...]] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


class ThreadAutomaton:
    """Threads of single terminals, and how they take a byte."""

    def __init__(self, spec: ContextualSpec) -> None:
        self.nfa = Nfa(look_around=True)
        self.begins: list[int] = []
        self.ends: dict[int, int] = {}
        for index, terminal in enumerate(spec.terminals):
            end = self.nfa.state()
            try:
                self.begins.append(self.nfa.add_regex(terminal.pattern, terminal.flags, end))
            except RegexError as error:
                raise GrammarFileError(f"terminal {terminal.name}: {error}") from error
            self.ends[end] = index
        self.same_as = self._same_as()
        self._targets: dict[tuple[int, int], list[int]] = {}
        self._stepped: dict[tuple[Threads, int], Threads] = {}
        self._looks: dict[tuple[frozenset[int], int], frozenset[int]] = {}

    def _same_as(self) -> list[int]:
        """Per byte the least one that every edge and every look-behind treats alike."""
        cuts = {0}
        for edges in self.nfa.edges:
            for low, high, _ in edges:
                cuts |= {low, high + 1}
        behind = [a.bytes for a in self.nfa.assertions.values() if isinstance(a, Behind)]
        found: list[int] = []
        for byte in range(256):
            new = byte in cuts or any((byte in b) != (byte - 1 in b) for b in behind)
            found.append(byte if new else found[-1])
        return found

    def start(self, terminal: int) -> Threads:
        """The threads where the terminal begins; what was before it is not known."""
        return self._cut(self._closure(self.begins[terminal], NO_CONDITIONS, UNKNOWN, set()))

    def step(self, threads: Threads, byte: int) -> Threads:
        """The threads after a byte, in order, without those that a match has ruled out."""
        key = (threads, byte)
        found = self._stepped.get(key)
        if found is None:
            after: list[Thread] = []
            seen: set[Thread] = set()
            for state, conditions in threads:
                kept = self.step_conditions(conditions, byte)
                if kept is None:
                    continue
                if state < 0:
                    after.append((MATCHED, kept))
                    continue
                for target in self._edges(state, byte):
                    after += self._closure(target, kept, byte, seen)
            found = self._stepped[key] = self._cut(after)
        return found

    def _edges(self, state: int, byte: int) -> list[int]:
        key = (state, byte)
        found = self._targets.get(key)
        if found is None:
            edges = self.nfa.edges[state]
            found = self._targets[key] = [to for low, high, to in edges if low <= byte <= high]
        return found

    def _closure(
        self, state: int, conditions: Conditions, before: int, seen: set[Thread]
    ) -> list[Thread]:
        """Threads that wait for a byte or match, in the order in which `re` tries them."""
        found: list[Thread] = []
        todo = [(state, conditions)]
        while todo:
            thread = todo.pop()
            if thread in seen or (thread[0], NO_CONDITIONS) in seen:
                continue
            seen.add(thread)
            state, conditions = thread
            if state in self.ends:
                found.append((MATCH, conditions))
            elif self.nfa.edges[state]:
                found.append(thread)
            assertion = self.nfa.assertions.get(state)
            if isinstance(assertion, Behind):
                if before < 0:
                    raise RegexError("a look-behind at the beginning of a terminal")
                if (before in assertion.bytes) == assertion.negative:
                    continue
            elif isinstance(assertion, Ahead):
                looks = self._look_closure((assertion.start,))
                if self.nfa.ahead_end in looks:
                    if assertion.negative:
                        continue
                else:
                    conditions = conditions | {(assertion.negative, looks)}
            todo += [(to, conditions) for to in reversed(self.nfa.epsilon[state])]
        return found

    def _cut(self, threads: list[Thread]) -> Threads:
        """Drops what comes after a match; after one that depends on what follows, the others are
        taken where it fails."""
        out: list[Thread] = []
        failed: Conditions = NO_CONDITIONS
        for state, conditions in threads:
            thread = (state, conditions | failed)
            if thread in out:
                continue
            out.append(thread)
            if (state == MATCH and not conditions) or (state == MATCHED and not thread[1]):
                break
            if state == MATCH:
                if len(conditions) > 1:
                    raise RegexError("several look-aheads at the end of a terminal")
                ((negative, looks),) = conditions
                failed = failed | {(not negative, looks)}
        return tuple(out)

    # --- look-aheads
    def _look_closure(self, states: tuple[int, ...] | frozenset[int]) -> frozenset[int]:
        seen, todo = set(states), list(states)
        while todo:
            for target in self.nfa.epsilon[todo.pop()]:
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        return frozenset(s for s in seen if self.nfa.edges[s] or s == self.nfa.ahead_end)

    def step_conditions(self, conditions: Conditions, byte: int) -> Conditions | None:
        """What is left of them after a byte; None where one fails."""
        if not conditions:
            return conditions
        kept = set()
        for negative, looks in conditions:
            key = (looks, byte)
            after = self._looks.get(key)
            if after is None:
                targets = frozenset(to for s in looks for to in self._edges(s, byte))
                after = self._looks[key] = self._look_closure(targets)
            if self.nfa.ahead_end in after or not after:
                if negative == (self.nfa.ahead_end in after):
                    return None
                continue
            kept.add((negative, after))
        return frozenset(kept)


def has_matched(threads: Threads | frozenset[Thread]) -> bool:
    return any(state < 0 and not conditions for state, conditions in threads)


def holds_at_end(conditions: Conditions) -> bool:
    return all(negative for negative, _ in conditions)
