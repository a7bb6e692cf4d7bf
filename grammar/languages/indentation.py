# SPDX-License-Identifier: Apache-2.0
"""Registers and levels of languages whose lines are indented: what their rules and the budget
completion, which has to write such lines, agree on."""

from __future__ import annotations

from gars_vllm.grammar.runtime.memory import RULES_OWN

# Registers: the column of a line's content so far; the same with a tab as one
COLUMN, TAB_COLUMN = RULES_OWN, RULES_OWN + 1
# An open level, a node of SCOPES: its columns; the third field is the rules' own
BLOCK_COLUMN, BLOCK_TABS = range(2)
