# SPDX-License-Identifier: Apache-2.0
"""How a task is put to a model, and where in its answer the grammar applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gars_vllm.engine import programs
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.programs import Mode
from gars_vllm.engine.tasks import Task
from gars_vllm.engine.tokenizers import Tokenizer

# Where a completion without a grammar is taken to end (Chen et al. 2021, section 2.1).
COMPLETION_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
_FENCE = "```python\n"
_QUESTION = (
    "Complete this Python code. Answer with the whole program, its imports and the given code "
    "included, in one code block and nothing else.\n\n```python\n{prompt}```"
)


class PromptKind(StrEnum):
    """`completion`: the model goes on with the prompt itself. `chat`: the model is asked in its
    chat template and answers with a fenced block that the prompt has opened."""

    COMPLETION = "completion"
    CHAT = "chat"


@dataclass(frozen=True)
class Prompt:
    """`ids`: what the model reads. `prefix`: what the grammar has read before the first sampled
    token; a sample's program is `prefix` and what is drawn. `mode`: how a program ends. `stop`:
    strings that end a sample where no grammar does."""

    task: Task
    ids: tuple[int, ...]
    prefix: str
    mode: Mode
    stop: tuple[str, ...]


def build(task: Task, kind: PromptKind, grammar: str, tokenizer: Tokenizer) -> Prompt:
    """Raises UserError when the model cannot be asked in this way."""
    free = grammar == "none"
    python = programs.is_python(grammar)
    if kind is PromptKind.COMPLETION:
        ids = tokenizer.encode(task.prompt)
        prefix = task.prompt if task.grammar_prefix is None else task.grammar_prefix
        mode = Mode.COMPLETION if python else Mode.TEXT
        return Prompt(task, tuple(ids), prefix, mode, COMPLETION_STOPS if free else ())
    question = task.prompt
    if task.entry_point is not None:
        code = task.prompt if task.prompt.endswith("\n") else task.prompt + "\n"
        question = _QUESTION.format(prompt=code)
    ids = _chat(task, question, _FENCE if python else "", tokenizer)
    prefix = task.grammar_prefix or ""
    mode = Mode.FENCE if python else Mode.TEXT
    return Prompt(task, tuple(ids), prefix, mode, ("\n```",) if free else ())


def _chat(task: Task, question: str, opener: str, tokenizer: Tokenizer) -> list[int]:
    try:
        return tokenizer.chat(question, opener)
    except UserError:
        raise
    except Exception as error:  # a template is a program of the model's
        raise UserError(
            f"the model's chat template cannot put {task.task_id} ({type(error).__name__}: "
            f"{error}); use --prompt-kind completion, or mend its chat_template.jinja"
        ) from error


def context_length(prompts: Sequence[Prompt], max_tokens: int, limit: int | None) -> int:
    """Tokens that the longest prompt and its sample need together.

    Raises UserError when that is more than `limit`, the model's context.
    """
    longest = max(prompts, key=lambda p: len(p.ids))
    needed = len(longest.ids) + max_tokens
    if limit is not None and needed > limit:
        room = limit - len(longest.ids)
        advice = (
            f"use --max-tokens {room} at most" if room > 0 else "leave that task out (--task-ids)"
        )
        raise UserError(
            f"the prompt of {longest.task.task_id} has {len(longest.ids):,} tokens, and with "
            f"{max_tokens:,} more for the sample it exceeds the model's context of {limit:,}: "
            f"{advice}"
        )
    return needed
