# SPDX-License-Identifier: Apache-2.0
"""The user's sampling settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.constraints import Mask
from gars_vllm.engine.models.prompt_kinds import PromptEnd, PromptKind
from gars_vllm.engine.tasks import programs


class OnInvalid(StrEnum):
    """What to do with a finished sample that the language rejects in spite of the mask (a rule
    about names that no mask can decide): draw another, or keep it."""

    RESAMPLE = "resample"
    KEEP = "keep"


@dataclass(frozen=True)
class Settings:
    """`grammar`: a name, a file or "none". `temperature`: one or several; `n` samples of each
    task are drawn at each. `closing`: budget completion, i.e. samples are completed within
    `max_tokens`. `weights`: record the removed probability mass with each sample (weights.py).
    `logprobs`: record the mean log-probability of its tokens under the unmasked model at
    temperature 1. `require_statement`: draw again if a finished sample's function is only a
    docstring. `prompt_end`: where code prompts end."""

    n: int
    grammar: str = "python"
    prompt_kind: PromptKind = PromptKind.COMPLETION
    temperature: float | tuple[float, ...] = 0.8
    top_p: float = 0.95
    max_tokens: int = 512
    seed: int = 0
    closing: bool = True
    on_invalid: OnInvalid = OnInvalid.RESAMPLE
    mask: Mask = Mask.GARS
    weights: bool = True
    logprobs: bool = False
    require_statement: bool = False
    prompt_end: PromptEnd = PromptEnd.KEPT

    def __post_init__(self) -> None:
        if self.mask is Mask.SYNCODE and self.grammar not in ("python", "json"):
            raise UserError(f"--mask syncode knows python and json, not {self.grammar}")
        if self.prompt_end is not PromptEnd.KEPT and self.prompt_kind is PromptKind.CHAT:
            raise UserError(f"--prompt-end {self.prompt_end} is for --prompt-kind completion")
        if self.prompt_end is PromptEnd.HEALED and (
            self.grammar == "none" or self.mask is Mask.SYNCODE
        ):
            raise UserError(
                "--prompt-end healed needs a --grammar with our mask, which does the healing"
            )
        if self.require_statement and programs.language_of(self.grammar).is_empty is None:
            raise UserError(f"--require-statement is for Python, not {self.grammar}")
        if self.n < 1:
            raise UserError(f"n is {self.n}; draw at least one sample")
        if len(set(self.temperatures)) < len(self.temperatures) or not self.temperatures:
            raise UserError("temperatures must be distinct: give each once")
        for temperature in self.temperatures:
            if not 0 <= temperature < 100:
                raise UserError(f"temperature is {temperature:g}; it must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top-p is {self.top_p:g}; it must be above 0 and at most 1")
        if self.max_tokens < 1:
            raise UserError(f"max-tokens is {self.max_tokens}; it must be at least 1")
        if 0 in self.temperatures and self.n > 1:
            raise UserError(f"temperature 0 draws the same sample {self.n} times; use --n 1")

    @property
    def temperatures(self) -> tuple[float, ...]:
        return self.temperature if isinstance(self.temperature, tuple) else (self.temperature,)
