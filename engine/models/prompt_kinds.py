# SPDX-License-Identifier: Apache-2.0
"""How a model can be asked: facts of a model, which the catalogue states and `sample` may
overrule."""

from __future__ import annotations

from enum import StrEnum


class PromptEnd(StrEnum):
    """Where a code prompt ends: as it is written; before its last line end; or before its last
    token, with whose text the first tokens that are drawn must begin (token healing)."""

    KEPT = "kept"
    NO_NEWLINE = "no-newline"
    HEALED = "healed"


class PromptKind(StrEnum):
    """`completion`: the model goes on with the prompt itself. `chat`: the model is asked in its
    chat template and answers with a fenced block that the prompt has opened."""

    COMPLETION = "completion"
    CHAT = "chat"
