# SPDX-License-Identifier: Apache-2.0
"""The interface between the sampling loop and a backend."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gars_vllm.engine.backends.settings import Settings
from gars_vllm.engine.masking.weights import Weight
from gars_vllm.engine.models.tokenizers import Tokenizer
from gars_vllm.engine.tasks.prompts import Prompt


@dataclass(frozen=True)
class Job:
    """What a backend needs to start. `context`: tokens of the longest prompt and sample
    together; `batch`: samples in flight at a time; `engine`: the user's vLLM engine arguments,
    which take precedence; `servers`: base URLs to sample from."""

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
    """One sample to draw. `draws`: how often it was drawn and discarded before; `spent`: the
    tokens of those draws."""

    prompt: Prompt
    index: int
    temperature: float
    draws: int = 0
    spent: int = 0


class Requests:
    """A queue of pending requests. Iterating removes them; more may be added meanwhile."""

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
    """A generated sample. `text` is `ids` decoded, without the stop string or EOS; `weight`: the
    removed probability mass, if the backend records it; `logprob`: if requested."""

    request: Request
    ids: tuple[int, ...]
    text: str
    finish_reason: str
    weight: Weight | None = None
    logprob: float | None = None  # of all tokens together, natural logarithm
    seed: int | None = None  # of its random numbers, if the backend knows it


class Backend(Protocol):
    """Generates samples."""

    name: str

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        """Yields each sample when it finishes; ends when no requests are left."""

    def mask_seconds(self) -> float:
        """Seconds spent on masks so far."""

    def close(self) -> None:
        """Frees memory and ends processes."""


def seed_of(seed: int, request: Request) -> int:
    """The seed of one draw, from 0 to 2**53 - 1 so that every JSON reader keeps it exact.

    Depends on the run's seed, the task, the sample's index and the number of earlier draws: an
    interrupted run draws the same samples when continued, and runs of one seed with and without
    a grammar draw paired samples.
    """
    text = f"{seed}:{request.prompt.task.task_id}:{request.index}:{request.draws}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11


@dataclass(frozen=True)
class SamplingParameters:
    """vLLM's sampling parameters for one sample: `args` go to `extra_args`, over HTTP to
    `vllm_xargs`."""

    args: dict[str, Any] | None
    temperature: float
    top_p: float
    seed: int


def sampling_parameters(
    settings: Settings, request: Request, key: int | None, draws: bool
) -> SamplingParameters:
    """`key`: where the sample's weight is stored, None for nowhere; `draws`: our own sampler is
    loaded, which draws the token and makes it the argmax (vllm/cpu_sampler.py)."""
    args: dict[str, Any] = {}
    prompt, temperature = request.prompt, request.temperature
    seed = seed_of(settings.seed, request)
    if settings.grammar != "none":
        args = {
            "grammar": settings.grammar,
            "grammar_prefix": prompt.prefix,
            "grammar_mode": str(prompt.mode),
            "grammar_closing": int(settings.closing),  # vllm_xargs takes numbers and strings
            "grammar_mask": str(settings.mask),
        }
        if prompt.heal:
            args["grammar_heal"] = prompt.heal
        if key is not None:
            args["grammar_key"] = key
    if draws and temperature > 0:
        args["draw"] = [temperature, settings.top_p]
        return SamplingParameters(args, 0.0, 1.0, seed)
    return SamplingParameters(args or None, temperature, settings.top_p, seed)
