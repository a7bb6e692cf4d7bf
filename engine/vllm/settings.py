# SPDX-License-Identifier: Apache-2.0
"""How vLLM is set up where it has no GPU, and what it is kept from saying."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.names import CPU_PROCESSOR, PROCESSOR
from gars_vllm.engine.vllm import compat

# Warnings of vLLM's own that no user of ours can act on.
QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore::FutureWarning",
}


def on_cpu() -> bool:
    """Whether torch sees no GPU. By NVML, as vLLM itself asks: CUDA's own count would start CUDA in
    this process, and an engine that vLLM forks from it then fails ("Cannot re-initialize CUDA").
    """
    import torch

    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    return not torch.cuda.is_available()


def cpu_environment(ranks: int = 1) -> dict[str, str]:
    """What vLLM's CPU backend must find in its environment not to crawl; the user's own wins.

    `ranks`: processes that share the cores (see `ranks_of`).

    By default it keeps one core back, which leaves one of two, takes most of the memory for its
    key-value cache, and runs its engine in a process between ours and the worker's, which takes
    ten seconds to start and has nothing to do that ours has not.
    """
    cores = sorted(os.sched_getaffinity(0))
    if ranks > len(cores):
        raise UserError(f"{ranks} processes of vLLM want a core each, and there are {len(cores)}")
    groups = [cores[i * len(cores) // ranks : (i + 1) * len(cores) // ranks] for i in range(ranks)]
    return {
        compat.THREADS: "|".join(",".join(map(str, group)) for group in groups),
        "VLLM_CPU_KVCACHE_SPACE": "2",
        compat.ONE_PROCESS: "0",
    }


def ranks_of(engine: Mapping[str, Any]) -> int:
    """How many processes run a model under these arguments of vLLM's engine."""
    kinds = ("tensor", "pipeline", "data")
    return math.prod(int(engine.get(f"{kind}_parallel_size", 1)) for kind in kinds)


def cpu_dtype() -> str:
    """bfloat16 where the processor multiplies it, else float32: without it is 20 times slower."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "bfloat16" if "amx_bf16" in flags or "avx512_bf16" in flags else "float32"


def cpu_engine() -> dict[str, Any]:
    """The arguments of vLLM's engine that suit a CPU.

    Compilation takes longer than a small run, and a block of 128 tokens, which is its default,
    shares next to nothing of a short prompt.
    """
    return {
        "dtype": cpu_dtype(),
        "enforce_eager": True,
        "block_size": 32,
        "compilation_config": {"custom_ops": ["all"]},  # its own kernels, not torch's
    }


def processor(draws: bool) -> str:
    """The name of the one that vLLM is told to load; `draws`: our own sampler draws the tokens."""
    return CPU_PROCESSOR if draws else PROCESSOR
