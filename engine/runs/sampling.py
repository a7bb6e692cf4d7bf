# SPDX-License-Identifier: Apache-2.0
"""Draws every missing sample of every task, and writes each when it finishes."""

from __future__ import annotations

import contextlib
import datetime
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gars_vllm.engine.backends.base import Backend, Job, Request, Requests
from gars_vllm.engine.backends.settings import OnInvalid, Settings
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.constraints import Mask
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.models.catalogue import ModelSpec
from gars_vllm.engine.models.files import ModelFiles
from gars_vllm.engine.models.parameters import parameters_of
from gars_vllm.engine.models.tokenizers import Tokenizer
from gars_vllm.engine.runs import environment
from gars_vllm.engine.runs.config import Layout, changes, grown, settings_config, tasks_config
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.runs.sample_record import record_of
from gars_vllm.engine.tasks import programs, prompts
from gars_vllm.engine.tasks.data_sets import HUMANEVAL
from gars_vllm.engine.tasks.prompts import Prompt
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.grammar import CompiledGrammar, GrammarError, compile_grammar

FINISHED = frozenset({"stop", "closed"})  # by EOS or a stop string; by budget completion
MAX_GIVEN_UP = 10  # discarded draws per sample; the next one is kept, valid or not
_MASK_LOOK_SECONDS = 2.0  # between queries of the mask time, which may be HTTP requests


@dataclass(frozen=True)
class State:
    """Progress of a run: `done` of `total` samples, and problems whose samples are complete. In
    this session: `drawn` samples, `tokens` including discarded ones, `seconds`, and
    `mask_seconds` of them."""

    done: int
    total: int
    problems_done: int
    problems: int
    drawn: int = 0
    tokens: int = 0
    seconds: float = 0.0
    mask_seconds: float = 0.0


class Watcher:
    """Callbacks during a run; the default does nothing."""

    def note(self, text: str) -> None:
        """A one-line message for the user."""

    def stage(self, text: str) -> None:
        """A step of seconds to minutes begins; "" when it ends."""

    def samples(self, state: State) -> None:
        """Sampling begins, or another sample is on disk."""


def run(
    folder: RunFolder,
    spec: ModelSpec,
    files: ModelFiles,
    tasks: Sequence[Task],
    settings: Settings,
    backend: Callable[[Job], Backend],
    *,
    task_source: str = HUMANEVAL,
    known: Sequence[Task] | None = None,
    batch: int = 128,
    engine: Mapping[str, Any] | None = None,
    servers: Sequence[str] = (),
    watcher: Watcher | None = None,
) -> int:
    """Draws the samples missing from `folder` and returns their number.

    A run with fewer samples of a task, fewer tasks or fewer temperatures than requested grows;
    one with more keeps them. `known`: all tasks of the source; `tasks` may be a subset. Raises
    UserError before anything is written.
    """
    watcher = watcher or Watcher()
    watcher.stage("reading the tokenizer")
    tokenizer = tokenizers.load(files.folder)
    ours = settings.grammar if settings.mask is Mask.GARS else "none"
    built = [
        prompts.build(t, settings.prompt_kind, ours, tokenizer, settings.prompt_end) for t in tasks
    ]
    context = prompts.context_length(built, settings.max_tokens, _limit(files.folder))
    if ours != "none":
        width = len(tokenizer.vocabulary)
        watcher.stage(f"tables of {settings.grammar} for {width:,} tokens (kept for later)")
    grammar = _compiled(ours, tokenizer, built)
    config = _config(spec, files, tasks, settings, grammar, getattr(backend, "name", "?"))
    config["tasks"] = task_source
    with folder:
        held = folder.create_or_resume(
            config, lambda held: grown(held, _layout(settings), tasks, known or tasks)
        )
        for note in _growth(config, *held):
            watcher.note(note)
        done = folder.samples.open()
        layout = Layout.of(held[1])
        wanted = [(i, t) for t in settings.temperatures for i in layout.indices(t)[: settings.n]]
        missing = [
            Request(prompt, index, temperature)
            for prompt in built
            for index, temperature in wanted
            if (prompt.task.task_id, index) not in done
        ]
        total = len(tasks) * len(wanted)
        left = Counter(request.prompt.task.task_id for request in missing)
        watcher.samples(State(total - len(missing), total, len(tasks) - len(left), len(tasks)))
        if missing:
            watcher.stage(f"starting {getattr(backend, 'name', 'the backend')}")
            job = Job(
                files.folder, tokenizer, settings, context, batch, engine or {}, servers,
                {prompt.task.task_id: len(prompt.ids) for prompt in built},
            )  # fmt: skip
            try:
                source = backend(job)
            except UserError:
                folder.forget()
                raise
            _draw(folder, source, job, missing, (len(tasks), total), grammar, watcher)
    watcher.stage("")
    return len(missing)


def _growth(
    wanted: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> list[str]:
    """Notes on a run that held another number of samples, tasks or temperatures."""
    notes = []
    grows = ", ".join(f"{n} {old} -> {new}" for n, old, new in changes(before or after, after))
    if grows:
        notes.append(f"the run grows: {grows}")
    keeps = ", ".join(f"{name} {there}" for name, _, there in changes(wanted, after))
    if keeps:
        notes.append(f"the run holds more than requested, and keeps it: {keeps}")
    return notes


def _draw(
    folder: RunFolder,
    source: Backend,
    job: Job,
    missing: Sequence[Request],
    of: tuple[int, int],
    grammar: CompiledGrammar | None,
    watcher: Watcher,
) -> None:
    """`of`: the requested problems and samples, including existing ones."""
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    tokens = finished = 0
    problems, total = of
    left = Counter(request.prompt.task.task_id for request in missing)
    requests = Requests(missing)
    mask_seconds, looked = 0.0, began
    watcher.stage("")
    try:
        for drawn in source.draw(requests):
            tokens += len(drawn.ids)
            record = record_of(drawn, job, grammar)
            if _is_given_up(record, job.settings):
                request = drawn.request
                spent = request.spent + len(drawn.ids)
                requests.add(replace(request, draws=request.draws + 1, spent=spent))
                continue
            folder.samples.append(record)
            finished += 1
            task_id = drawn.request.prompt.task.task_id
            left[task_id] -= 1
            if not left[task_id]:
                del left[task_id]
            now = time.monotonic()
            if now - looked > _MASK_LOOK_SECONDS:
                mask_seconds, looked = source.mask_seconds(), now
            done = total - len(missing) + finished
            watcher.samples(
                State(
                    done, total, problems - len(left), problems, finished, tokens, now - began,
                    mask_seconds,
                )
            )  # fmt: skip
    finally:
        session = {
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.monotonic() - began,
            "tokens": tokens,
            "samples": finished,
            "mask_seconds": source.mask_seconds(),
            "batch": job.batch,
            "n": job.settings.n,
            "temperatures": list(job.settings.temperatures),
            "tasks": problems,
        }
        known = folder.load()["info"].get("prompt_tokens") or {}  # also of tasks not requested now
        about = {
            "versions": environment.versions(),
            "machine": environment.machine(),
            "parameters": parameters_of(job.model),
            "prompt_tokens": {**known, **job.prompt_tokens},
        }
        try:
            folder.add_session(session, about)
        finally:  # even if the disk is full
            source.close()


def _is_given_up(record: dict[str, Any], settings: Settings) -> bool:
    """The sample is discarded and drawn again: it finished, but is invalid or not what was
    required."""
    resamples = (
        settings.on_invalid is OnInvalid.RESAMPLE
        and settings.grammar != "none"
        and settings.mask is Mask.GARS
    )
    is_empty = settings.require_statement and record["only_docstring"]
    return (
        record["finish_reason"] in FINISHED
        and ((resamples and not record["valid"]) or is_empty)
        and record["given_up"] < MAX_GIVEN_UP
    )


def _limit(model: Path) -> int | None:
    """The model's context in tokens, if its config.json says so."""
    try:
        config = json.loads((model / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{model / 'config.json'} cannot be read: {error}") from None
    for part in (config, config.get("text_config", {})):
        for name in ("max_position_embeddings", "n_positions", "max_sequence_length"):
            if isinstance(part.get(name), int):
                return int(part[name])
    return None


def _compiled(name: str, tokenizer: Tokenizer, built: Sequence[Prompt]) -> CompiledGrammar | None:
    if name == "none":
        return None
    grammar = compile_grammar(name, tokenizer.vocabulary)
    for number, prompt in enumerate(built):
        try:
            matcher = programs.matcher(grammar, prompt.prefix, prompt.mode)
            if number == 0:
                # Compiles kernels now, for all processes, instead of in the first steps.
                matcher.mask()
                with contextlib.suppress(GrammarError):  # one token is not always enough
                    matcher.mask(1)
        except GrammarError as error:
            raise UserError(
                f"the prompt of {prompt.task.task_id} does not fit the grammar: {error}"
            ) from error
    return grammar


def _config(
    spec: ModelSpec,
    files: ModelFiles,
    tasks: Sequence[Task],
    settings: Settings,
    grammar: CompiledGrammar | None,
    backend: str,
) -> dict[str, Any]:
    """What defines a run: a folder with another configuration holds another run (config.py)."""
    return {
        "model": spec.name,
        "model_source": files.source,
        "backend": backend,
        **tasks_config(tasks),
        "grammar_hash": grammar.digest if grammar else None,
        **settings_config(settings),
        **_layout(settings).to_config(),
    }


def _layout(settings: Settings) -> Layout:
    """The layout of a new run."""
    return Layout().grown(settings.n, settings.temperatures)
