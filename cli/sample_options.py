# SPDX-License-Identifier: Apache-2.0
"""The options of `sample` as three objects: tasks, sampling, backend."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gars_vllm.engine import extras, tasks
from gars_vllm.engine.backends import Backend, Job, OnInvalid, Settings
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.extras import Extra
from gars_vllm.engine.masking.constraints import Mask
from gars_vllm.engine.models import ModelSpec, PromptEnd, PromptKind
from gars_vllm.engine.tasks import Task, data_sets

AUTO = "auto"
_OURS = frozenset({"model", "tokenizer", "seed", "logits_processors", "use_tqdm_on_load"})


def grouped(**groups: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Passes the options named like a dataclass's fields to the command as one such object. Goes
    below the options."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(**given: Any) -> Any:
            made = {
                name: group(**{field.name: given.pop(field.name) for field in fields(group)})
                for name, group in groups.items()
            }
            return command(**made, **given)

        return called

    return decorate


@dataclass(frozen=True)
class TaskOptions:
    """Task selection; see `--help`."""

    task_set: str
    prompts: Path | None
    limit: int | None
    task_ids: str | None

    @property
    def source(self) -> str:
        """The source as named in a run's configuration."""
        return str(self.prompts.resolve()) if self.prompts else self.task_set

    def load(self) -> tuple[list[Task], list[Task]]:
        """All tasks of the source, and the selected ones. Raises UserError."""
        every = data_sets.tasks_of(self.source)
        return every, tasks.select(every, self.limit, self.task_ids)


@dataclass(frozen=True)
class DrawOptions:
    """Sampling settings; see `--help`."""

    n: int
    grammar: str
    prompt_kind: str
    temperature: str
    top_p: float
    max_tokens: int
    closing: bool
    on_invalid: str
    mask: str
    weights: bool
    logprobs: bool
    require_statement: bool
    prompt_end: str
    seed: int

    def settings(self, spec: ModelSpec) -> Settings:
        """The settings for this model, which determines "auto". Raises UserError."""
        kind = spec.prompt if self.prompt_kind == AUTO else PromptKind(self.prompt_kind)
        end = spec.prompt_end(kind) if self.prompt_end == AUTO else PromptEnd(self.prompt_end)
        return Settings(
            n=self.n,
            grammar=self.grammar,
            prompt_kind=kind,
            temperature=_temperatures(self.temperature),
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            seed=self.seed,
            closing=self.closing,
            on_invalid=OnInvalid(self.on_invalid),
            mask=Mask(self.mask),
            weights=self.weights,
            logprobs=self.logprobs,
            require_statement=self.require_statement,
            prompt_end=end,
        )


def _temperatures(text: str) -> float | tuple[float, ...]:
    try:
        temperatures = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--temperature {text}: give a number, or several: 0.2,0.8,1.2") from None
    return temperatures[0] if len(temperatures) == 1 else temperatures


@dataclass(frozen=True)
class BackendOptions:
    """Backend selection; see `--help`."""

    backend: str
    batch: int
    servers: Sequence[str]
    tensor_parallel_size: int | None
    pipeline_parallel_size: int | None
    data_parallel_size: int | None
    distributed_executor_backend: str | None
    engine_args: Sequence[str]

    def engine(self) -> dict[str, object]:
        """The vLLM engine arguments given by the user. Raises UserError."""
        named = (
            "tensor_parallel_size",
            "pipeline_parallel_size",
            "data_parallel_size",
            "distributed_executor_backend",
        )
        given = {name: getattr(self, name) for name in named}
        arguments = {name: value for name, value in given.items() if value is not None}
        for item in self.engine_args:
            key, equals, text = item.partition("=")
            name = key.strip().lstrip("-").replace("-", "_")
            if not equals or not name.isidentifier():
                raise UserError(
                    f"--engine-arg {item}: give KEY=VALUE, say max_num_batched_tokens=64"
                )
            if name in _OURS:
                raise UserError(f"--engine-arg {name}: that is set by gars-vllm itself")
            try:
                arguments[name] = json.loads(text)
            except ValueError:
                arguments[name] = text
        return arguments

    def check(self, settings: Settings) -> None:
        """Raises UserError if the backend cannot draw such samples, or a package is missing."""
        if settings.logprobs and self.backend != "vllm":
            raise UserError("--logprobs needs --backend vllm")
        if self.batch < 1:
            raise UserError(f"batch is {self.batch}; it must be at least 1")
        first = next(iter(self.engine()), None)
        if first is not None and self.servers:
            raise UserError(f"{first} is an argument of vLLM's engine: give it to the server")
        if first is not None and self.backend != "vllm":
            raise UserError(f"{first} needs --backend vllm")
        if self.servers and self.backend != "vllm":
            raise UserError("--base-url samples from vLLM's servers: leave --backend away")
        if self.servers and settings.mask is Mask.SYNCODE:
            raise UserError("--mask syncode samples in this process: leave --base-url away")
        self._refuse_missing(settings)

    def _refuse_missing(self, settings: Settings) -> None:
        if self.servers:
            extras.require(Extra.CLIENT, "--base-url")
        elif self.backend == "transformers":
            extras.require(Extra.TRANSFORMERS, "--backend transformers")
        else:
            extras.require(Extra.ENGINE, "sampling with vLLM")
        if settings.mask is Mask.SYNCODE:
            from gars_vllm.engine.masking import syncode_mask  # imports torch

            if not syncode_mask.is_installed():
                raise UserError(syncode_mask.MISSING)

    def starter(self, engine: Mapping[str, object]) -> Callable[[Job], Backend]:
        """Imports the backend on demand: each needs a gigabyte of libraries."""
        if self.servers:
            from gars_vllm.engine.backends.remote import RemoteBackend

            return RemoteBackend
        if engine.get("data_parallel_size", 1) != 1:
            from gars_vllm.engine.backends.served import ServedBackend

            return ServedBackend
        if self.backend == "transformers":
            from gars_vllm.engine.backends.transformers import TransformersBackend

            return TransformersBackend
        from gars_vllm.engine.backends.vllm import VllmBackend

        return VllmBackend
