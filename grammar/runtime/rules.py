# SPDX-License-Identifier: Apache-2.0
"""What the recogniser asks the rules of a language.

Rules are three compiled functions of (tables, nodes, scratch, terminal, target), where `target` is
the configuration that the terminal is being applied to:

- `before_shift`: REFUSE it; SKIP it, it is no part of what the parser sees (or has been shifted);
  or SHIFT its symbol. Terminals from `tables[TERMINALS]` on are 1, 2, ... blanks at a line's start.
- `after_shift`: what changes with it; false where it could not stand after all.
- `at_end` (no terminal): closes what the end of a text closes; false where it cannot end.

A language compiles them into one function, `_entry` (languages/python/rules.py), written
out in each: numba's cache never finds a function that another one made. Rules may shift other
symbols themselves (runtime/calls.py). What they keep between the calls of one terminal lies at
NOTES_AT; what they keep of a text, in the registers and in the two lists.
"""

from __future__ import annotations

from gars_vllm.grammar.runtime import address
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import RULES_AT

REFUSE, SKIP, SHIFT = range(3)
BEFORE_SHIFT, AFTER_SHIFT, AT_END = range(3)

_call = address.caller(RULES_AT)


@njit
def has_rules(scratch):  # type: ignore[no-untyped-def]
    """The working memory names a language's rules."""
    return scratch[RULES_AT] != 0 or scratch[RULES_AT + 1] != 0


@njit
def ask(tables, nodes, scratch, which, terminal, target):  # type: ignore[no-untyped-def]
    """One of the three, of the language whose rules the working memory names."""
    return _call(tables, nodes, scratch, None, which, terminal, target, 0)
