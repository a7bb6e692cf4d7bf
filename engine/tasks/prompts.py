# SPDX-License-Identifier: Apache-2.0
"""Turns a task into a model's prompt, and determines where the grammar applies in the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models.prompt_kinds import PromptEnd, PromptKind
from gars_vllm.engine.models.tokenizers import Tokenizer
from gars_vllm.engine.tasks import programs
from gars_vllm.engine.tasks.programs import Mode
from gars_vllm.engine.tasks.tasks import Task

# Stop strings of unconstrained completions (Chen et al. 2021, section 2.1).
COMPLETION_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
_QUESTION = (
    "Complete this Python code. Answer with the whole program, its imports and the given code "
    "included, in one code block and nothing else.\n\n```python\n{prompt}```"
)


@dataclass(frozen=True)
class Prompt:
    """`ids`: the model's input. `prefix`: what the grammar reads before the first generated
    token: the prompt, or for chat the `preamble`; a sample's program is `prefix` plus the
    generated text. `mode`: how a program ends. `stop`: stop strings for samples without a
    grammar. `heal`: what the generated text must begin with."""

    task: Task
    ids: tuple[int, ...]
    prefix: str
    mode: Mode
    stop: tuple[str, ...]
    heal: str = ""


def build(
    task: Task,
    kind: PromptKind,
    grammar: str,
    tokenizer: Tokenizer,
    end: PromptEnd = PromptEnd.KEPT,
) -> Prompt:
    """Raises UserError if the model cannot be prompted in this way.

    `end` applies to code prompts of tasks without a `grammar_prefix`; others are unchanged.
    """
    free = grammar == "none"
    language = programs.language_of(grammar)
    if kind is PromptKind.COMPLETION:
        mode = Mode.COMPLETION if language.completion is not None else Mode.TEXT
        stop = COMPLETION_STOPS if free else ()
        if task.grammar_prefix is not None:
            ids = tokenizer.encode(task.prompt)
            return Prompt(task, tuple(ids), task.grammar_prefix, mode, stop)
        text = task.prompt
        if end is PromptEnd.NO_NEWLINE:
            text = text.removesuffix("\n").removesuffix("\r")
        made = Prompt(task, tuple(tokenizer.encode(text)), text, mode, stop)
        return _healed(made, tokenizer) if end is PromptEnd.HEALED and not free else made
    question = task.prompt
    if task.entry_point is not None:
        code = task.prompt if task.prompt.endswith("\n") else task.prompt + "\n"
        question = _QUESTION.format(prompt=code)
    fence = f"```{language.fences[0]}\n" if language.fences else ""
    ids = _chat(task, question, fence, tokenizer)
    prefix = task.grammar_prefix or ""
    if language.preamble is not None and task.grammar_prefix is None:
        prefix = language.preamble(task.prompt, task.entry_point)
    mode = Mode.FENCE if fence else Mode.TEXT
    return Prompt(task, tuple(ids), prefix, mode, ("\n```",) if free else ())


def _healed(prompt: Prompt, tokenizer: Tokenizer) -> Prompt:
    """The prompt without its last token; unchanged if that token's text is not a suffix of the
    prompt, or is all of it."""
    heal = tokenizer.vocabulary.tokens[prompt.ids[-1]] or b""
    whole = prompt.prefix.encode()
    try:
        text, before = heal.decode(), whole.removesuffix(heal).decode()
    except UnicodeDecodeError:  # the token splits a character
        return prompt
    if not text or len(prompt.ids) < 2 or before + text != prompt.prefix:
        return prompt
    return replace(prompt, ids=prompt.ids[:-1], prefix=before, heal=text)


def _chat(task: Task, question: str, opener: str, tokenizer: Tokenizer) -> list[int]:
    try:
        return tokenizer.chat(question, opener)
    except UserError:
        raise
    except Exception as error:  # a template can raise anything
        raise UserError(
            f"the model's chat template cannot put {task.task_id} ({type(error).__name__}: "
            f"{error}); use --prompt-kind completion, or mend its chat_template.jinja"
        ) from error


def context_length(prompts: Sequence[Prompt], max_tokens: int, limit: int | None) -> int:
    """The number of tokens of the longest prompt and its sample together.

    Raises UserError if that exceeds `limit`, the model's context.
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
