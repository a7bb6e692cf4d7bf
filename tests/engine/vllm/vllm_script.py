# SPDX-License-Identifier: Apache-2.0
"""Runs engines of vLLM's in a process of its own, whose environment says which runner.

Reads one JSON object: `model`, `cores` to run on, and `engines`, which are made one after the other:
`engine` (arguments of LLM), `requests` (`prompt`, token ids, and `params`, of SamplingParams),
`abort` (requests to abort after some steps). Prints one for each engine: for each request the
`outputs` (`tokens`, `reason`, `weight`), and what the engine counted.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from gars_vllm.engine.masking.names import PROCESSOR, WEIGHTS

SETTINGS: dict[str, Any] = {
    "dtype": "float32", "enforce_eager": True, "block_size": 32, "max_model_len": 1024,
    "logits_processors": [PROCESSOR], "disable_log_stats": False, "seed": 0,
}  # fmt: skip


def main() -> None:
    spec = json.load(sys.stdin)
    os.sched_setaffinity(0, spec["cores"])
    from gars_vllm.engine.vllm import compat
    from gars_vllm.engine.vllm import settings as vllm_settings

    for key, value in vllm_settings.cpu_environment().items() if vllm_settings.on_cpu() else ():
        os.environ.setdefault(key, value)
    compat.keep_llvmlite_from_vllm()
    for one in spec["engines"]:
        print("\nRESULT" + json.dumps(_run(spec["model"], **one)), flush=True)


def _run(
    model: str, engine: dict[str, Any], requests: list[dict[str, Any]], abort: list[int]
) -> dict[str, Any]:
    from gars_vllm.engine.masking.weights import Weights
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.sampling_params import RequestOutputKind

    os.environ[WEIGHTS] = f"{tempfile.mkdtemp()}/weights"
    weights = Weights(Path(os.environ[WEIGHTS]))
    llm = LLM(model=model, **(SETTINGS | engine))
    running = llm.llm_engine
    for number, request in enumerate(requests):
        params = request["params"]
        if "logit_bias" in params:  # JSON's keys are strings
            params["logit_bias"] = {int(k): v for k, v in params["logit_bias"].items()}
        params["output_kind"] = RequestOutputKind.FINAL_ONLY
        prompt = TokensPrompt(prompt_token_ids=request["prompt"])
        running.add_request(str(number), prompt, SamplingParams(**params))
    results: dict[int, Any] = {}
    steps = 0
    while running.has_unfinished_requests():
        for output in running.step():
            number = int(output.request_id.split("-")[0])
            if output.finished:
                key = (requests[number]["params"].get("extra_args") or {}).get("grammar_key")
                results[number] = [
                    {
                        "tokens": list(one.token_ids),
                        "reason": one.finish_reason,
                        "weight": _weight(weights, key, len(one.token_ids)),
                    }
                    for one in output.outputs
                ]
        steps += 1
        if steps == 4 and abort:
            names = list(running.output_processor.request_states)
            running.abort_request(
                [n for n in names if int(n.split("-")[0]) in abort], internal=True
            )
    counts = {m.name: m.value for m in llm.get_metrics() if hasattr(m, "value")}
    v2 = bool(running.vllm_config.use_v2_model_runner)
    running.engine_core.shutdown()
    return {
        "outputs": [results.get(i) for i in range(len(requests))],
        "preemptions": counts.get("vllm:num_preemptions"),
        "accepted": counts.get("vllm:spec_decode_num_accepted_tokens"),
        "hits": counts.get("vllm:prefix_cache_hits"),
        "v2": v2,
        "steps": steps,
    }


def _weight(weights: Any, key: int | None, tokens: int) -> Any:
    found = None if key is None else weights.read(key, tokens)
    return found and found.to_json()


if __name__ == "__main__":
    main()
