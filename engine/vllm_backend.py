# SPDX-License-Identifier: Apache-2.0
"""vLLM as a source of samples: all requests in flight at once, each given back when it ends."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from gars_vllm.engine.sampling import Drawn, Request, Settings

_PROCESSOR = "gars_vllm.engine.vllm_processor:GrammarProcessor"


class VllmBackend:
    """Starts the engine when made (half a minute on a CPU)."""

    name = "vllm"

    def __init__(self, folder: Path, settings: Settings) -> None:
        # Before vLLM is imported: its workers inherit the environment. See docs for the reasons.
        cores = os.cpu_count() or 1
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{cores - 1}")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        self._statistics = Path(tempfile.mkstemp(suffix=".json")[1])
        os.environ["GARS_STATISTICS"] = str(self._statistics)
        import torch
        from vllm import LLM

        on_cpu = not torch.cuda.is_available()
        extra = {"dtype": "float32", "enforce_eager": True, "block_size": 32} if on_cpu else {}
        self._llm = LLM(
            model=str(folder),
            seed=settings.seed,
            max_model_len=settings.context,
            max_num_seqs=settings.batch,
            logits_processors=[_PROCESSOR],
            enable_prefix_caching=True,
            **extra,
        )
        self._settings = settings

    def draw(self, requests: Iterable[Request]) -> Iterator[Drawn]:
        """Yields samples as they finish."""
        from vllm import SamplingParams

        engine = self._llm.llm_engine
        waiting: dict[str, Request] = {}
        for number, request in enumerate(requests):
            args = None
            if request.grammar:
                args = {
                    "grammar": request.grammar,
                    "grammar_prefix": request.prefix,
                    "grammar_mode": request.mode,
                }
            params = SamplingParams(
                temperature=self._settings.temperature,
                top_p=self._settings.top_p,
                max_tokens=self._settings.max_tokens,
                stop=list(request.stop) or None,
                extra_args=args,
            )
            waiting[str(number)] = request
            engine.add_request(str(number), request.prompt, params)
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    one = output.outputs[0]
                    yield Drawn(
                        waiting.pop(output.request_id.split("-")[0]),
                        one.text,
                        len(one.token_ids),
                        one.finish_reason or "error",
                    )

    def mask_seconds(self) -> float:
        try:
            return float(json.loads(self._statistics.read_text())["mask_seconds"])
        except (OSError, ValueError, KeyError):
            return 0.0

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()
        self._statistics.unlink(missing_ok=True)
