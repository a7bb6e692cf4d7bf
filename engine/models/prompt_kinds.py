# SPDX-License-Identifier: Apache-2.0
"""How a model can be prompted: the catalogue's defaults, which `sample` may override."""

from __future__ import annotations

from enum import StrEnum


class PromptEnd(StrEnum):
    """Where a code prompt ends: as written; before its trailing newline; or before its last
    token, with whose text the generated text must begin (token healing)."""

    KEPT = "kept"
    NO_NEWLINE = "no-newline"
    HEALED = "healed"


class PromptKind(StrEnum):
    """`completion`: the model continues the prompt. `chat`: the prompt is put in the model's
    chat template, which opens a fenced code block."""

    COMPLETION = "completion"
    CHAT = "chat"
