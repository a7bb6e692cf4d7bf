# SPDX-License-Identifier: Apache-2.0
"""The main job: every missing sample of every task, written as it finishes."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from gars_vllm.engine import programs, prompts, run_surroundings, tokenizers
from gars_vllm.engine.constraints import Mask
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models import ModelFiles, ModelSpec, parameters_of
from gars_vllm.engine.prompts import Prompt, PromptEnd, PromptKind
from gars_vllm.engine.run_config import Layout, changes, grown, tasks_config
from gars_vllm.engine.run_folder import RunFolder
from gars_vllm.engine.sample_record import record_of
from gars_vllm.engine.tasks import HUMANEVAL, Task
from gars_vllm.engine.tokenizers import Tokenizer
from gars_vllm.engine.weights import Weight
from gars_vllm.grammar import CompiledGrammar, GrammarError, compile_grammar

FINISHED = frozenset({"stop", "closed"})  # it ended by itself, or was brought to an end in time
MAX_GIVEN_UP = 10  # draws for one sample; the next is kept, valid or not
_MASK_LOOK_SECONDS = 2.0  # between looks at the mask's time: a server is asked for it


class OnInvalid(StrEnum):
    """What becomes of a finished sample that the language rejects in spite of the grammar (a rule
    about names that no mask decides): another is drawn in its place, or it is kept."""

    RESAMPLE = "resample"
    KEEP = "keep"


@dataclass(frozen=True)
class Settings:
    """What a user asks for, beside model and tasks. `grammar`: a name, a file, or "none".
    `temperature`: one, or several: then `n` samples of each task are drawn at each.
    `closing`: samples are brought to their end within `max_tokens`; `weights`: what the grammar
    took from the model is written with each (weights.py); `logprobs`: so is the mean
    log-probability of its tokens under the model, without grammar and temperature.
    `require_statement`: a finished sample whose function is only its docstring is no answer, and
    another is drawn. `prompt_end`: where code prompts end."""

    n: int
    grammar: str = "python"
    prompt_kind: PromptKind = PromptKind.COMPLETION
    temperature: float | tuple[float, ...] = 0.8
    top_p: float = 0.95
    max_tokens: int = 512
    seed: int = 0
    closing: bool = True
    on_invalid: OnInvalid = OnInvalid.RESAMPLE
    mask: Mask = Mask.GARS
    weights: bool = True
    logprobs: bool = False
    require_statement: bool = False
    prompt_end: PromptEnd = PromptEnd.KEPT

    def __post_init__(self) -> None:
        if self.mask is Mask.SYNCODE and self.grammar not in ("python", "json"):
            raise UserError(f"--mask syncode knows python and json, not {self.grammar}")
        if self.prompt_end is not PromptEnd.KEPT and self.prompt_kind is PromptKind.CHAT:
            raise UserError(f"--prompt-end {self.prompt_end} is for --prompt-kind completion")
        if self.prompt_end is PromptEnd.HEALED and (
            self.grammar == "none" or self.mask is Mask.SYNCODE
        ):
            raise UserError(
                "--prompt-end healed needs our mask, which sees to it: name a --grammar"
            )
        if self.require_statement and not programs.is_python(self.grammar):
            raise UserError(f"--require-statement is for Python, not {self.grammar}")
        if self.n < 1:
            raise UserError(f"n is {self.n}; draw at least one sample")
        if len(set(self.temperatures)) < len(self.temperatures) or not self.temperatures:
            raise UserError("temperatures must be different ones: give each once")
        for temperature in self.temperatures:
            if not 0 <= temperature < 100:
                raise UserError(f"temperature is {temperature:g}; it must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top-p is {self.top_p:g}; it must be above 0 and at most 1")
        if self.max_tokens < 1:
            raise UserError(f"max-tokens is {self.max_tokens}; it must be at least 1")
        if 0 in self.temperatures and self.n > 1:
            raise UserError(f"temperature 0 draws the same sample {self.n} times; use --n 1")

    @property
    def temperatures(self) -> tuple[float, ...]:
        return self.temperature if isinstance(self.temperature, tuple) else (self.temperature,)

    @property
    def layout(self) -> Layout:
        """Of a run that holds nothing yet."""
        return Layout().grown(self.n, self.temperatures)


@dataclass(frozen=True)
class Wishes:
    """What a vLLM is asked for one sample: `args` as `extra_args`, over HTTP `vllm_xargs`."""

    args: dict[str, Any] | None
    temperature: float
    top_p: float
    seed: int


def wishes_of(settings: Settings, request: Request, key: int | None, draws: bool) -> Wishes:
    """`key`: where the sample's weight is to be kept, if it is; `draws`: our own sampler is loaded
    there, which draws the token and makes it the greatest (vllm_cpu_sampler.py)."""
    args: dict[str, Any] = {}
    prompt, temperature = request.prompt, request.temperature
    seed = seed_of(settings.seed, request)
    if settings.grammar != "none":
        args = {
            "grammar": settings.grammar,
            "grammar_prefix": prompt.prefix,
            "grammar_mode": str(prompt.mode),
            "grammar_closing": int(settings.closing),  # HTTP knows numbers and texts
            "grammar_mask": str(settings.mask),
        }
        if prompt.heal:
            args["grammar_heal"] = prompt.heal
        if key is not None:
            args["grammar_key"] = key
    if draws and temperature > 0:
        args["draw"] = [temperature, settings.top_p]
        return Wishes(args, 0.0, 1.0, seed)
    return Wishes(args or None, temperature, settings.top_p, seed)


@dataclass(frozen=True)
class Job:
    """What a backend is started with. `context`: tokens of the longest prompt and sample;
    `batch`: samples that are in flight at a time; `engine`: the user's own
    arguments to vLLM's engine, which win; `servers`: addresses of servers that draw instead."""

    model: Path
    tokenizer: Tokenizer
    settings: Settings
    context: int
    batch: int
    engine: Mapping[str, Any] = field(default_factory=dict)
    servers: Sequence[str] = ()
    prompt_tokens: Mapping[str, int] = field(default_factory=dict)  # by task


@dataclass(frozen=True)
class Request:
    """One sample to draw; `draws`: how many were drawn for it before and given up, `spent`: their
    tokens."""

    prompt: Prompt
    index: int
    temperature: float
    draws: int = 0
    spent: int = 0


class Requests:
    """What is still to be drawn. Iterating takes them out; more may be added meanwhile."""

    def __init__(self, waiting: Iterable[Request] = ()) -> None:
        self._waiting = deque(waiting)

    def add(self, request: Request) -> None:
        self._waiting.append(request)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[Request]:
        while self._waiting:
            yield self._waiting.popleft()


@dataclass(frozen=True)
class Drawn:
    """A sample as a backend gives it: `text` is `ids` decoded, without what ended it; `weight`:
    what the grammar took from the model, where the backend knows; `logprob`: where it was asked."""

    request: Request
    ids: tuple[int, ...]
    text: str
    finish_reason: str
    weight: Weight | None = None
    logprob: float | None = None  # of all tokens together, natural logarithm
    seed: int | None = None  # of the random numbers that drew it, where the backend knows


class Backend(Protocol):
    """A source of samples."""

    name: str

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        """Yields each sample when it has finished; ends when there are no more requests then."""

    def mask_seconds(self) -> float:
        """Seconds spent in the mask so far."""

    def close(self) -> None:
        """Gives memory and processes back."""


@dataclass(frozen=True)
class State:
    """How far a run is: `done` of `total` samples, and the problems all of whose samples are there.
    Of this session: `drawn` samples, `tokens` with those given up, and `seconds`, `mask_seconds` of
    them in the mask."""

    done: int
    total: int
    problems_done: int
    problems: int
    drawn: int = 0
    tokens: int = 0
    seconds: float = 0.0
    mask_seconds: float = 0.0


class Watcher:
    """What a caller is told while a run goes on; does nothing itself."""

    def note(self, text: str) -> None:
        """Something that the user should know, one line."""

    def stage(self, text: str) -> None:
        """Something that takes seconds to minutes begins; "" when it has ended."""

    def samples(self, state: State) -> None:
        """A sample more is on disk, or sampling begins."""


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
    """Draws the samples that `folder` lacks, and returns how many that were.

    A run that holds fewer samples of a task, fewer tasks or fewer temperatures than are asked for
    grows; one that holds more keeps them. `known`: all tasks of the source, of which `tasks` may be
    some. Raises UserError before anything is written.
    """
    watcher = watcher or Watcher()
    watcher.stage("reading the tokenizer")
    tokenizer = tokenizers.load(files.folder)
    ours = settings.grammar if settings.mask is Mask.GARS else "none"
    asked = [
        prompts.build(t, settings.prompt_kind, ours, tokenizer, settings.prompt_end) for t in tasks
    ]
    context = prompts.context_length(asked, settings.max_tokens, _limit(files.folder))
    if ours != "none":
        width = len(tokenizer.vocabulary)
        watcher.stage(f"tables of {settings.grammar} for {width:,} tokens (kept for later)")
    grammar = _compiled(ours, tokenizer, asked)
    config = _config(spec, files, tasks, settings, grammar, getattr(backend, "name", "?"))
    config["tasks"] = task_source
    with folder:
        held = folder.create_or_resume(
            config, lambda held: grown(held, settings.layout, tasks, known or tasks)
        )
        for note in _growth(config, *held):
            watcher.note(note)
        done = folder.samples.open()
        layout = Layout.of(held[1])
        wanted = [(i, t) for t in settings.temperatures for i in layout.indices(t)[: settings.n]]
        missing = [
            Request(prompt, index, temperature)
            for prompt in asked
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
                {prompt.task.task_id: len(prompt.ids) for prompt in asked},
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
    asked: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> list[str]:
    """What became of a run that held another number of samples, tasks or temperatures."""
    notes = []
    grows = ", ".join(f"{n} {old} -> {new}" for n, old, new in changes(before or after, after))
    if grows:
        notes.append(f"the run grows: {grows}")
    keeps = ", ".join(f"{name} {there}" for name, _, there in changes(asked, after))
    if keeps:
        notes.append(f"the run holds more than this asks for, and keeps it: {keeps}")
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
    """`of`: the problems and the samples that were asked for, those that are there included."""
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
                asked = drawn.request
                spent = asked.spent + len(drawn.ids)
                requests.add(replace(asked, draws=asked.draws + 1, spent=spent))
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
        known = folder.load()["info"].get("prompt_tokens") or {}  # of tasks not asked for now
        about = {
            "versions": run_surroundings.versions(),
            "machine": run_surroundings.machine(),
            "parameters": parameters_of(job.model),
            "prompt_tokens": {**known, **job.prompt_tokens},
        }
        try:
            folder.add_session(session, about)
        finally:  # on a full disk, too
            source.close()


def _is_given_up(record: dict[str, Any], settings: Settings) -> bool:
    """Another sample is to be drawn in place of this one: it has finished, and is not valid or not
    what was required."""
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


def seed_of(seed: int, request: Request) -> int:
    """The seed of one draw, from 0 to 2**53 - 1, which any reader of JSON keeps whole.

    It depends on the run's seed, the task, the sample's index and how often it was drawn before:
    a run that was interrupted draws what it would have drawn, and runs of one seed, with a grammar
    and without, draw their samples in pairs.
    """
    text = f"{seed}:{request.prompt.task.task_id}:{request.index}:{request.draws}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11


def _limit(model: Path) -> int | None:
    """The model's context in tokens, where its config.json says so."""
    try:
        config = json.loads((model / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{model / 'config.json'} cannot be read: {error}") from None
    for part in (config, config.get("text_config", {})):
        for name in ("max_position_embeddings", "n_positions", "max_sequence_length"):
            if isinstance(part.get(name), int):
                return int(part[name])
    return None


def _compiled(name: str, tokenizer: Tokenizer, asked: Sequence[Prompt]) -> CompiledGrammar | None:
    if name == "none":
        return None
    grammar = compile_grammar(name, tokenizer.vocabulary)
    for number, prompt in enumerate(asked):
        try:
            matcher = programs.matcher(grammar, prompt.prefix, prompt.mode)
            if number == 0:
                # Compiles here, and for all processes, what the first steps would wait for.
                matcher.mask()
                with contextlib.suppress(GrammarError):  # one token will not always do
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
    """What defines a run: a folder with another configuration is another run's (run_config.py)."""
    return {
        "model": spec.name,
        "model_source": files.source,
        "backend": backend,
        **tasks_config(tasks),
        "grammar_hash": grammar.digest if grammar else None,
        **settings_config(settings),
        **settings.layout.to_config(),
    }


def settings_config(settings: Settings) -> dict[str, Any]:
    """What a run's configuration says of its settings; not how many samples at which temperatures,
    which may grow."""
    asked = asdict(settings)
    del asked["n"], asked["temperature"]
    for name in ("logprobs", "require_statement", "prompt_end"):  # as runs were before these were
        if asked[name] == type(settings).__dataclass_fields__[name].default:
            del asked[name]
    if settings.prompt_kind is PromptKind.CHAT:
        asked["chat_preamble"] = True  # answers once were programs without it: no run mixes the two
    return asked
