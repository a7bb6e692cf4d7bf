# SPDX-License-Identifier: Apache-2.0
"""The plug-in that vLLM finds (entry point `vllm.logits_processors`) and loads into every
engine.

It must do no harm: an import error would stop vLLM, so this module can always be imported.
Masking code is imported when a request first uses a grammar; if that fails, such requests are
refused and all others continue.
"""

from __future__ import annotations

import logging
from typing import Any

from gars_vllm.engine.masking.names import CPU_PROCESSOR, PROCESSOR
from gars_vllm.engine.vllm import compat

logger = logging.getLogger(__name__)


def _idle() -> type:
    """A processor for both interfaces, as far as this vLLM has them, that does nothing."""

    def validate_params(cls: type, params: Any) -> None:
        if (params.extra_args or {}).get("grammar"):
            raise ValueError("gars-vllm does not work with this vLLM: grammars are not available")

    return type(
        "GrammarPlugin",
        tuple(compat.interfaces()),
        {
            "__init__": lambda self, *_: None,
            "__doc__": "Does nothing: gars-vllm could not be imported.",
            "validate_params": classmethod(validate_params),
            "is_argmax_invariant": lambda self: True,
            "update_state": lambda self, batch_update: None,
            "add_request": lambda self, req_idx, sampling_params: False,
            "apply_staged_writes": lambda self: None,
            "apply": lambda self, logits, ctx=None: logits,
        },
    )


def _plugin() -> type:
    from gars_vllm.engine.vllm.processor import GrammarProcessor, asks

    def _is_ours(named: Any) -> bool:
        if isinstance(named, type):
            return issubclass(named, GrammarProcessor)
        return named in (PROCESSOR, CPU_PROCESSOR)

    class GrammarPlugin(GrammarProcessor):
        """Idle if vLLM also loads one of our processors by name, which then masks."""

        def __init__(self, vllm_config: Any, where: Any, is_pin_memory: bool | None = None) -> None:
            super().__init__(vllm_config, where, is_pin_memory)
            self._idle = any(_is_ours(p) for p in compat.EngineConfig(vllm_config).processors)

        @classmethod
        def validate_params(cls, sampling_params: Any) -> None:
            try:
                super().validate_params(sampling_params)
            except (ImportError, OSError) as error:
                if asks(sampling_params):
                    raise ValueError(f"gars-vllm cannot be used here: {error}") from error

        def update_state(self, batch_update: Any) -> None:
            if not self._idle:
                super().update_state(batch_update)

        def add_request(self, req_idx: int, sampling_params: Any) -> bool:
            return not self._idle and super().add_request(req_idx, sampling_params)

    return GrammarPlugin


GrammarPlugin: type
try:
    GrammarPlugin = _plugin()
except Exception as error:
    logger.error("gars-vllm cannot be used here, and vLLM continues without it: %s", error)
    GrammarPlugin = _idle()
