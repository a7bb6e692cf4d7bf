# SPDX-License-Identifier: Apache-2.0
"""What the sampling loop and a source of samples say to each other."""

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


def seed_of(seed: int, request: Request) -> int:
    """The seed of one draw, from 0 to 2**53 - 1, which any reader of JSON keeps whole.

    It depends on the run's seed, the task, the sample's index and how often it was drawn before:
    a run that was interrupted draws what it would have drawn, and runs of one seed, with a grammar
    and without, draw their samples in pairs.
    """
    text = f"{seed}:{request.prompt.task.task_id}:{request.index}:{request.draws}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11


@dataclass(frozen=True)
class SamplingParameters:
    """What a vLLM is asked for one sample: `args` as `extra_args`, over HTTP `vllm_xargs`."""

    args: dict[str, Any] | None
    temperature: float
    top_p: float
    seed: int


def sampling_parameters(
    settings: Settings, request: Request, key: int | None, draws: bool
) -> SamplingParameters:
    """`key`: where the sample's weight is to be kept, if it is; `draws`: our own sampler is loaded
    there, which draws the token and makes it the greatest (vllm/cpu_sampler.py)."""
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
        return SamplingParameters(args, 0.0, 1.0, seed)
    return SamplingParameters(args or None, temperature, settings.top_p, seed)
