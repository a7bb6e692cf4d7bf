# SPDX-License-Identifier: Apache-2.0
"""Samples with vLLM in this process: all requests in flight at once, each yielded when it
finishes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gars_vllm.engine.backends.base import (
    Drawn,
    Job,
    Request,
    Requests,
    sampling_parameters,
    seed_of,
)
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.constraints import Mask
from gars_vllm.engine.masking.names import FILES_ALLOWED, STATISTICS, WEIGHTS
from gars_vllm.engine.masking.weights import Weights
from gars_vllm.engine.vllm import compat
from gars_vllm.engine.vllm.settings import (
    QUIET,
    cpu_engine,
    cpu_environment,
    on_cpu,
    processor,
    ranks_of,
)


class VllmBackend:
    """Starts the engine when constructed (half a minute on a CPU)."""

    name = "vllm"

    def __init__(self, job: Job) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gars-"))
        self._statistics = self._folder / "statistics.json"
        self._weights = Weights(self._folder / "weights")
        self._job = job
        for key, value in QUIET.items():
            os.environ.setdefault(key, value)
        self._environment = {
            STATISTICS: str(self._statistics),
            WEIGHTS: str(self._folder / "weights"),
            FILES_ALLOWED: "1",
        }
        os.environ.update(self._environment)
        extra: dict[str, object] = {}
        here = on_cpu()
        # Our sampler is for the V1 runner, which a CPU gets.
        self._draws = here and os.environ.get(compat.RUNNER, "0") == "0"
        if job.settings.mask is Mask.SYNCODE:  # it needs the V1 runner's lists of tokens
            os.environ.setdefault(compat.RUNNER, "0")
        if here:
            for key, value in cpu_environment(ranks_of(job.engine)).items():
                os.environ.setdefault(key, value)
            extra = cpu_engine()
        extra |= job.engine
        # Drafted tokens are verified several at a time, so a step's removed mass is not known.
        self._drafts = "speculative_config" in extra
        arguments = {
            "model": str(job.model),
            "tokenizer": str(job.tokenizer.folder),
            "seed": job.settings.seed,
            "logits_processors": [processor(self._draws)],
            "use_tqdm_on_load": False,
            "max_model_len": job.context,
            "max_num_seqs": job.batch,
            "enable_prefix_caching": True,
            **extra,
        }
        with warnings.catch_warnings():  # its scan of all modules touches deprecated ones
            warnings.simplefilter("ignore", FutureWarning)
            try:
                self._llm = compat.start(arguments)
            except (TypeError, ValueError) as error:  # unknown or invalid arguments
                self._forget()
                reason = " ".join(str(error).split())
                raise UserError(f"vLLM does not start: {reason[-400:]}") from error

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        """Yields samples as they finish."""
        waiting: dict[int, Request] = {}
        number = 0
        while requests or compat.is_busy(self._llm):
            for request in requests:
                waiting[number] = request
                params = self._params(request, number)
                compat.submit(self._llm, number, request.prompt.ids, params)
                number += 1
            for name, one in compat.step(self._llm):
                weight = None
                if self._weighs():
                    weight = self._weights.read(name, len(one.token_ids))
                finished = waiting.pop(name)
                yield Drawn(
                    finished,
                    tuple(one.token_ids),
                    one.text,
                    one.finish_reason or "error",
                    weight,
                    one.cumulative_logprob,
                    seed_of(self._job.settings.seed, finished),
                )

    def _params(self, request: Request, number: int) -> Any:
        settings = self._job.settings
        parameters = sampling_parameters(
            settings, request, number if self._weighs() else None, self._draws
        )
        return compat.params(
            temperature=parameters.temperature,
            top_p=parameters.top_p,
            seed=parameters.seed,
            max_tokens=settings.max_tokens,
            stop=list(request.prompt.stop) or None,
            stop_token_ids=list(self._job.tokenizer.vocabulary.eos),
            extra_args=parameters.args,
            logprobs=0 if settings.logprobs else None,
        )

    def _weighs(self) -> bool:
        settings = self._job.settings
        masked = settings.grammar != "none" and settings.mask is Mask.GARS
        return masked and settings.weights and not self._drafts

    def mask_seconds(self) -> float:
        """As last written by the processor, at most half a second ago."""
        try:
            return float(json.loads(self._statistics.read_text())["mask_seconds"])
        except (OSError, ValueError, KeyError):
            return 0.0

    def close(self) -> None:
        """Ends vLLM's processes."""
        with contextlib.suppress(Exception):  # an interrupt may have ended the worker already
            compat.end(self._llm)
        self._forget()

    def _forget(self) -> None:
        for name in self._environment:  # another engine in this process sets its own
            os.environ.pop(name, None)
        shutil.rmtree(self._folder, ignore_errors=True)
