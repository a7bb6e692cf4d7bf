# SPDX-License-Identifier: Apache-2.0
"""The mask as a logits processor for both of vLLM's runners.

Loaded by name, `--logits-processors gars_vllm.engine.vllm.processor:GrammarProcessor`, or found
by vLLM as an installed plug-in (plugin.py). For a request's parameters see constraints.py.

The class implements both interfaces, since vLLM refuses a processor without the interface of the
selected runner. The front end imports this module to check requests, so it is light; the masking
code is imported with an engine's first request that has a grammar.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gars_vllm.engine.masking.names import STATISTICS, WEIGHTS
from gars_vllm.engine.vllm import compat
from vllm.v1.sample.logits_processor import LogitsProcessor as V1Processor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2Processor

if TYPE_CHECKING:
    import torch
    from gars_vllm.engine.masking.constraints import Grammars
    from gars_vllm.engine.masking.masker import Masker
    from gars_vllm.engine.vllm.v1 import V1Rows
    from gars_vllm.engine.vllm.v2 import V2Slots

logger = logging.getLogger(__name__)
_WRITE_EVERY = 0.5  # seconds


class GrammarProcessor(V1Processor, V2Processor):  # type: ignore[misc]  # vLLM is not checked
    """See the module. V1 constructs it with a device, V2 with its request states."""

    draws: ClassVar[bool] = False  # also samples the tokens (cpu_processor.py)

    def __init__(self, vllm_config: Any, where: Any, is_pin_memory: bool | None = None) -> None:
        self._config, self._where = compat.EngineConfig(vllm_config), where
        self._v1: V1Rows | None = None
        self._v2: V2Slots | None = None
        self._grammars: Grammars | None = None
        self._masker: Masker | None = None
        self._seconds, self._written = 0.0, 0.0

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuses invalid requests in the front end. Raises ValueError."""
        if sampling_params.extra_args:
            from gars_vllm.engine.masking import constraints

            constraints.validate(sampling_params)

    def is_argmax_invariant(self) -> bool:
        return False

    # The V1 runner

    def update_state(self, batch_update: Any) -> None:
        if self._v1 is None:
            if not any(map(asks, compat.added_params(batch_update))):
                return
            # Existing requests have no grammar, so they need not be tracked.
            self._start_v1()
            assert self._v1 is not None
        started = time.perf_counter()
        self._v1.update(batch_update)
        self._seconds += time.perf_counter() - started

    # Model Runner V2

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        if self._v2 is None:
            if not asks(sampling_params):
                return False
            self._start_v2()
            assert self._v2 is not None
        return self._v2.add(req_idx, sampling_params)

    def apply_staged_writes(self) -> None:
        if self._v2 is not None:
            started = time.perf_counter()
            self._v2.stage()
            self._seconds += time.perf_counter() - started

    # Both

    def apply(self, logits: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        if not self._v1 and self._v2 is None:
            return logits
        started = time.perf_counter()
        if self._v2 is not None:
            self._v2.apply(logits, ctx)
        elif self._v1 is not None:
            self._v1.apply(logits)
        now = time.perf_counter()
        self._seconds += now - started
        if now - self._written > _WRITE_EVERY:
            self._write()
            self._written = now
        return logits

    def _start_v1(self) -> None:
        from gars_vllm.engine.vllm.v1 import V1Rows

        grammars, masker = self._parts(self._where)
        self._v1 = V1Rows(grammars, masker, self._config.context)

    def _start_v2(self) -> None:
        from gars_vllm.engine.vllm.v2 import V2Slots

        states = compat.RequestStates(self._where)
        grammars, masker = self._parts(states.device)
        self._v2 = V2Slots(grammars, masker, states, self._config.context, self._config.drafted)

    def _parts(self, device: torch.device) -> tuple[Grammars, Masker]:
        from gars_vllm.engine.masking.constraints import Grammars
        from gars_vllm.engine.masking.masker import Masker
        from gars_vllm.engine.masking.weights import Weights

        config = self._config
        grammars = Grammars(config.tokenizer, config.width)
        path = os.environ.get(WEIGHTS)
        weights = None
        if path:
            try:
                weights = Weights(Path(path))
            except OSError as error:
                logger.warning("samples get no weights: %s", error)
        masker = Masker(config.width, device, weights, self.draws)
        masker.set_ends(grammars.ends(config.of_model))
        self._grammars, self._masker = grammars, masker
        return grammars, masker

    def _write(self) -> None:
        path = os.environ.get(STATISTICS)
        if path and self._grammars is not None:
            seconds = self._seconds - (self._masker.drawing_seconds if self._masker else 0.0)
            record = {"mask_seconds": seconds, "masks": self._grammars.row_counts()}
            with contextlib.suppress(OSError):  # the reader is gone
                Path(path).write_text(json.dumps(record))


def asks(params: Any) -> bool:
    """A request has a grammar."""
    return bool((params.extra_args or {}).get("grammar"))
