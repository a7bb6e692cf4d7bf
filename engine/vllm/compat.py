# SPDX-License-Identifier: Apache-2.0
"""Access to vLLM's private parts: versions, variables, attributes, workarounds.

The only module to adapt to a new version of vLLM. It imports vLLM lazily, since it must be
importable even if vLLM is broken.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

VERSION = "0.32.0"  # the version that this module is written for and tested with
RUNNER = "VLLM_USE_V2_MODEL_RUNNER"  # "0": V1; unset: vLLM's choice, which is V1 on a CPU
THREADS = "VLLM_CPU_OMP_THREADS_BIND"
ONE_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"  # "0": the engine runs in the caller's process
_INTERFACES = (
    "vllm.v1.sample.logits_processor",
    "vllm.v1.worker.gpu.sample.logits_processor",
)
T = TypeVar("T")


def interfaces() -> list[type]:
    """The base classes of logits processors that this vLLM has: for V1, for V2."""
    classes = []
    for name in _INTERFACES:
        try:
            classes.append(importlib.import_module(name).LogitsProcessor)
        except (ImportError, AttributeError):
            continue
    return classes


def is_v2(is_pin_memory: bool | None) -> bool:
    """Which runner constructs a processor: V1 passes three arguments, V2 two."""
    return is_pin_memory is None


class EngineConfig:
    """The parts of vLLM's configuration that a processor reads."""

    def __init__(self, vllm_config: Any) -> None:
        self._model = vllm_config.model_config
        self._speculative = getattr(vllm_config, "speculative_config", None)

    @property
    def width(self) -> int:
        """The width of the logits."""
        return int(self._model.get_vocab_size())

    @property
    def context(self) -> int:
        """The maximum number of tokens of prompt and output together."""
        return int(self._model.max_model_len)

    @property
    def tokenizer(self) -> str:
        """A folder or a hub id."""
        return str(self._model.tokenizer)

    @property
    def processors(self) -> tuple[Any, ...]:
        """The processors that vLLM was told to load, names or classes; not installed plug-ins."""
        return tuple(self._model.logits_processors or ())

    @property
    def seed(self) -> int:
        return int(self._model.seed or 0)

    @property
    def drafted(self) -> int:
        """The number of tokens drafted per step."""
        return int(getattr(self._speculative, "num_speculative_tokens", 0) or 0)

    @property
    def of_model(self) -> Any:
        """The model's config.json, as transformers reads it; None if there is none."""
        return getattr(self._model, "hf_config", None)


# The V1 runner


def follow(
    rows: dict[int, T], update: Any, make: Callable[[Any, Any, list[int]], T | None]
) -> None:
    """Updates `rows` by a BatchUpdate: requests are removed, added (`make` gets parameters,
    prompt and output tokens; None: not tracked) and moved. An addition may replace a row that
    was never removed."""
    if update is None:
        return
    for index in update.removed:
        rows.pop(index, None)
    for index, params, prompt, output in update.added:
        rows.pop(index, None)
        made = make(params, prompt, output)
        if made is not None:
            rows[index] = made
    for first, second, direction in update.moved:
        a, b = rows.pop(first, None), rows.pop(second, None)
        if a is not None:
            rows[second] = a
        if b is not None and direction.name == "SWAP":
            rows[first] = b


def added_params(update: Any) -> Iterator[Any]:
    """The parameters of the requests added by a BatchUpdate."""
    for _, params, _, _ in update.added if update is not None else ():
        yield params


# Model Runner V2


class RequestStates:
    """V2's request states by slot. On the host: `prompts` and `known`, int32 [slots], the number
    of tokens of each prompt, and of the prompt plus the tokens kept over a preemption. On
    `device`: `tokens`, int32 [slots, context], and `totals`, int32 [slots], the number of valid
    tokens."""

    def __init__(self, states: Any) -> None:
        self._states = states
        self.slots: int = states.max_num_reqs
        self.device: Any = states.device

    @property
    def prompts(self) -> NDArray[np.int32]:
        held: NDArray[np.int32] = self._states.prompt_len.np
        return held

    @property
    def known(self) -> NDArray[np.int32]:
        held: NDArray[np.int32] = self._states.prefill_len.np
        return held

    @property
    def tokens(self) -> Any:
        return self._states.all_token_ids.gpu

    @property
    def totals(self) -> Any:
        return self._states.total_len.gpu


def slots_of(context: Any) -> NDArray[np.int64]:
    """The slot of each request of a step, in the order of their rows of logits."""
    slots: NDArray[np.int64] = context.idx_mapping_np
    return slots


def drafted_rows(context: Any) -> list[tuple[int, int, int]]:
    """For each row of logits under speculative decoding: the slot, the row's position within the
    slot, and the token that it follows."""
    parts = (context.expanded_idx_mapping, context.expanded_local_pos, context.input_ids)
    return list(zip(*(part.cpu().tolist() for part in parts), strict=True))


# Workarounds


def keep_llvmlite_from_vllm() -> None:
    """Lets vLLM scan the modules of a process that has loaded numba.

    To replace its Triton kernels on a CPU, vLLM 0.32 asks every object in every module for a
    `__dict__`. llvmlite's library handle returns a function wrapper for any name, on which vLLM
    then calls `.get` (triton_utils/dispatcher.py). This makes it return an empty dict. Running
    the engine in its own process would also avoid this, but starts ten seconds later.
    """
    from llvmlite.binding import ffi

    functions = getattr(ffi.lib, "_fntab", None)
    if isinstance(functions, dict):
        functions["__dict__"] = {}


def permit_amx() -> None:
    """Requests permission from Linux to use AMX tiles, for all threads of this process.

    vLLM 0.32's CPU attention uses them in bfloat16 without asking; oneDNN asks, but not with
    every model. Without permission the process may end with an illegal instruction; it may also
    work by chance while the core still holds another process's tile state.
    """
    if sys.platform == "linux" and platform.machine() == "x86_64":
        arch_prctl, request_permission, tile_data = 158, 0x1023, 18
        # Fails harmlessly without AMX.
        ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data)


def command_line() -> None:
    """Runs vLLM's command line with this process's arguments. vllm-cpu 0.32 asks for the version
    of a package `vllm`, which is not its name."""
    find = importlib.metadata.version

    def version(distribution_name: str) -> str:
        try:
            return find(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return f"{find('vllm-cpu')}+cpu"

    importlib.metadata.version = version
    from vllm.entrypoints.cli.main import main

    main()


# The engine in this process


def start(arguments: Mapping[str, Any]) -> Any:
    """An engine, `vllm.LLM`, in this process. vLLM reads its environment when it is imported,
    here.

    Raises TypeError or ValueError for unknown or invalid arguments.
    """
    keep_llvmlite_from_vllm()
    from vllm import LLM

    return LLM(**arguments)


def params(**fields: Any) -> Any:
    """`vllm.SamplingParams`."""
    from vllm import SamplingParams

    return SamplingParams(**fields)


def submit(llm: Any, number: int, ids: tuple[int, ...], params: Any) -> None:
    """Submits a request; `step` returns its number."""
    from vllm.inputs import TokensPrompt

    llm.llm_engine.add_request(str(number), TokensPrompt(prompt_token_ids=[*ids]), params)


def is_busy(llm: Any) -> bool:
    return bool(llm.llm_engine.has_unfinished_requests())


def step(llm: Any) -> Iterator[tuple[int, Any]]:
    """One step of the engine: yields the number and the output (`token_ids`, `text`,
    `finish_reason`, `cumulative_logprob`) of each request that finished."""
    for output in llm.llm_engine.step():
        if output.finished:
            yield int(output.request_id.split("-")[0]), output.outputs[0]


def end(llm: Any) -> None:
    """Ends the engine's processes."""
    llm.llm_engine.engine_core.shutdown()
