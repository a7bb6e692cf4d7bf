# SPDX-License-Identifier: Apache-2.0
"""vLLM's settings on a CPU, and its log level."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.names import CPU_PROCESSOR, PROCESSOR
from gars_vllm.engine.vllm import compat

# Suppresses vLLM's warnings that users cannot act on.
QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore::FutureWarning",
}


def on_cpu() -> bool:
    """Whether torch sees no GPU. Uses NVML like vLLM: CUDA's own count would initialise CUDA in
    this process, and an engine that vLLM forks then fails ("Cannot re-initialize CUDA")."""
    import torch

    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    return not torch.cuda.is_available()


def cpu_environment(ranks: int = 1) -> dict[str, str]:
    """Environment variables that vLLM's CPU backend needs for full speed; the user's own take
    precedence.

    `ranks`: processes that share the cores (see `ranks_of`).

    By default vLLM reserves one core (of two), takes most of the memory for its KV cache, and
    runs its engine in an additional process, which takes ten seconds to start.
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
    """The number of processes that run a model with these engine arguments."""
    kinds = ("tensor", "pipeline", "data")
    return math.prod(int(engine.get(f"{kind}_parallel_size", 1)) for kind in kinds)


def cpu_dtype() -> str:
    """bfloat16 if the processor multiplies it, else float32: emulated bfloat16 is 20 times
    slower."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "bfloat16" if "amx_bf16" in flags or "avx512_bf16" in flags else "float32"


def cpu_engine() -> dict[str, Any]:
    """vLLM engine arguments for a CPU.

    Compilation takes longer than a small run, and the default block of 128 tokens makes short
    prompts share almost no prefix.
    """
    return {
        "dtype": cpu_dtype(),
        "enforce_eager": True,
        "block_size": 32,
        "compilation_config": {"custom_ops": ["all"]},  # vLLM's kernels instead of torch's
    }


def processor(draws: bool) -> str:
    """The import path of the processor to load; `draws`: with our own sampler."""
    return CPU_PROCESSOR if draws else PROCESSOR
