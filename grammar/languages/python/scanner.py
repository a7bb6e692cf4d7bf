# SPDX-License-Identifier: Apache-2.0
"""Python's lines, and what `:` and `}` can mean, as states of the lexer."""

from __future__ import annotations

from gars_vllm.grammar.frontend.lexer import CONTENT, Builder, LexerSpec, LexerState, Viability

# Kinds of states at a line's start: where a statement has ended; after a backslash there, and after
# its newline; in the three backticks that end a text.
AT_LINE = ("line", "joined", "join", "fence")


class Scanner(Builder):
    """`fields`: for f-strings, per mode with replacement fields the mode of its format spec."""

    own_bytes = frozenset(b"\t\n\f\r #:\\`}")

    def __init__(self, spec: LexerSpec, fields: tuple[tuple[str, str], ...]) -> None:
        super().__init__(spec)
        self.fields = fields

    def step(self, state: LexerState, byte: int) -> list[tuple[tuple[int, ...], LexerState]]:
        kind, q, backup = state
        if kind == "line":
            return self._line(q, byte)
        if kind == "fence":
            return self._fence(q, byte)
        if kind == "done":
            return [((), state)] if byte in b" \t\r\n" else []
        if kind == "continued":  # as content, but the text cannot end right after the newline
            return [((), ("continued", 1, None))] if byte in b" \t\f" else self._content(byte)
        if kind == "join":
            join = (self.by_name["JOIN"],)
            return [(join, ("joined", int(byte == 13), None))] if byte in b"\r\n" else []
        if kind == "joined":  # as a line, but the text cannot end right after the newline
            return [((), ("joined", 0, None))] if q and byte == 10 else self._line(0, byte)
        return self._dfa(q, backup, byte)

    def _dfa(
        self, q: int, backup: tuple[int, bytes] | None, byte: int
    ) -> list[tuple[tuple[int, ...], LexerState]]:
        if q in self.content_starts:
            return self._content(byte, q)
        return self.plain_step(q, backup, byte)

    def after(self, terminal: int) -> LexerState:
        if self.spec.terminals[terminal].name == "LINE_COMMENT":
            return ("line", 0, None)
        if self.spec.terminals[terminal].name == "CONTINUATION":
            return ("continued", 0, None)
        return self.mode_state(self.spec.terminals[terminal].next_mode)

    def _content(self, byte: int, q: int = -1) -> list[tuple[tuple[int, ...], LexerState]]:
        if byte in b"\n\r":
            return [((self.by_name["NEWLINE"],), ("line", int(byte == 13), None))]
        start = self.start_of[CONTENT]
        if byte in b" \t\f":
            return [((), ("dfa", start, None))]
        results = self.plain_step(start if q < 0 else q, None, byte)
        for number, (mode, spec_mode) in enumerate(self.fields):
            if byte == ord("}"):
                results.append(((self.by_name[f"FRB{number}"],), self.mode_state(mode)))
            if byte == ord(":"):
                results.append(((self.by_name[f"FCOLON{number}"],), self.mode_state(spec_mode)))
        return results

    def _line(self, after_cr: int, byte: int) -> list[tuple[tuple[int, ...], LexerState]]:
        line: LexerState = ("line", 0, None)
        if byte == 10 and after_cr:
            return [((), line)]
        simple = {9: "TAB", 10: "BLANK", 12: "FORM_FEED", 13: "BLANK"}
        if byte in simple:
            return [((self.by_name[simple[byte]],), ("line", int(byte == 13), None))]
        if byte == 32:
            return [((len(self.spec.terminals),), line)]
        if byte == ord("#"):
            return self.plain_step(self.start_of["line comment"], None, byte)
        if byte == ord("`"):
            return [((), ("fence", 1, None))]
        if byte == ord("\\"):
            return [((), ("join", 0, None))]
        begin = self.by_name["BEGIN"]
        return [((begin, *emitted), state) for emitted, state in self._content(byte)]

    def _fence(self, count: int, byte: int) -> list[tuple[tuple[int, ...], LexerState]]:
        if byte != ord("`"):
            return []
        if count < 2:
            return [((), ("fence", count + 1, None))]
        return [((self.by_name["FENCE"],), ("done", 0, None))]

    def ends(self, state: LexerState) -> tuple[int, ...] | None:
        kind, q, _ = state
        end = self.by_name["END"]
        if kind in ("line", "done"):
            return (end,)
        if kind in ("fence", "join", "joined"):
            return None
        newline = self.by_name["NEWLINE"]
        if kind == "continued":
            return (newline, end) if q else None
        if q not in self.dfa.starts and self.label[q] >= 0:
            name = self.spec.terminals[self.label[q]].name
            if name == "CONTINUATION":
                return None
            if name == "LINE_COMMENT":
                return (end,)
        completed = super().ends(state)
        return completed and (*completed[:-1], newline, end)

    def viable(self, state: LexerState) -> tuple[Viability, ...]:
        kind, q, _ = state
        if kind == "fence":
            return (Viability((), (self.by_name["FENCE"],), (b"`" * (3 - q),)),)
        if kind != "dfa" or q in self.dfa.starts:
            return (Viability((), None),)
        if self._is_comment(q):
            # Only a line's end can follow a comment, so that must be possible (`x = #` is dead).
            return (Viability((self.label[q],), (self.by_name["NEWLINE"],), (b"\n",)),)
        return super().viable(state)

    def _is_comment(self, q: int) -> bool:
        label = self.label[q]
        return label >= 0 and self.spec.terminals[label].name == "COMMENT"
