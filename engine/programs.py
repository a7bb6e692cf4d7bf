# SPDX-License-Identifier: Apache-2.0
"""What a sample's program is: defined once, for the mask, the verification and the report."""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gars_vllm.grammar import CompiledGrammar

# Where a completion without a grammar is taken to end (Chen et al., 2021).
STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def completion_end(grammar: CompiledGrammar, prefix: str, text: str) -> int:
    """How many characters of `text` belong to the completion.

    It ends before the line that begins a statement at the level of the prompt's own function.
    """
    data = text.encode()
    matcher = grammar.matcher(prefix, completion=True)
    for position in range(len(data)):
        matcher.advance_text(data[position : position + 1])
        if matcher.is_done():
            return len(data[: data.rfind(b"\n", 0, position) + 1].decode("utf-8", "replace"))
    return len(text)


def is_valid(program: str, grammar: str) -> bool:
    """The language's own judgement of a whole program."""
    try:
        if grammar == "json":
            json.loads(program)
            return True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(program, "sample", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def is_python(grammar: str) -> bool:
    return re.fullmatch(r"none|python(3\.\d+)?", grammar) is not None
