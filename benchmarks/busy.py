# SPDX-License-Identifier: Apache-2.0
"""Samples under memory pressure: prompts prefilled in chunks, requests preempted.

    python -m gars_vllm.benchmarks.busy [--model NAME] [--limit N] [--n N] [--blocks N] [--chunk N]

vLLM gets so few KV cache blocks that it must preempt requests, and so few tokens per step that a
prompt takes several steps. Every finished sample must be valid.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from gars_vllm.benchmarks.tables import Result
from gars_vllm.engine import models
from gars_vllm.engine.backends import Settings
from gars_vllm.engine.backends.vllm import VllmBackend
from gars_vllm.engine.runs import sampling
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.runs.sampling import FINISHED
from gars_vllm.engine.tasks import data_sets


class Counted(VllmBackend):
    """Counts vLLM's preemptions."""

    preemptions = 0.0

    def close(self) -> None:
        metrics = {m.name: m for m in self._llm.get_metrics()}
        Counted.preemptions = metrics["vllm:num_preemptions"].value
        super().close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--blocks", type=int, default=36, help="of 32 tokens")
    parser.add_argument("--chunk", type=int, default=64, help="tokens a step")
    args = parser.parse_args()
    engine: dict[str, Any] = {
        "num_gpu_blocks_override": args.blocks, "max_num_batched_tokens": args.chunk,
        "enable_chunked_prefill": True, "disable_log_stats": False,
    }  # fmt: skip
    spec = models.lookup(args.model)
    files = models.resolve(spec)
    settings = Settings(n=args.n, max_tokens=args.max_tokens, temperature=args.temperature)
    chosen = data_sets.load_humaneval()[: args.limit]

    with tempfile.TemporaryDirectory() as name:
        run = RunFolder(Path(name) / "run")
        batch = min(args.chunk, 64)
        sampling.run(run, spec, files, chosen, settings, Counted, batch=batch, engine=engine)
        records = list(run.samples.read())
        session = run.load()["info"]["sessions"][-1]
    reasons = Counter(r["finish_reason"] for r in records)
    finished = [r for r in records if r["finish_reason"] in FINISHED]
    result = Result(f"{args.model}, HumanEval's first {args.limit} problems, n = {args.n}")
    result.rows.append(
        {
            "blocks": args.blocks, "tokens a step": args.chunk, "samples": len(records),
            "finished": len(finished), "closed": reasons["closed"],
            "invalid": sum(not r["valid"] for r in finished),
            "drawn again": sum(r["given_up"] for r in records),
            "without weight": sum(r.get("log_z") is None for r in records),
            "preempted": int(Counted.preemptions), "tokens": session["tokens"],
            "seconds": round(session["seconds"], 1),
        }
    )  # fmt: skip
    result.show()


if __name__ == "__main__":
    main()
