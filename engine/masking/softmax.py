# SPDX-License-Identifier: Apache-2.0
"""softmax(logits / temperature) on a CPU, in reused memory.

For 128 rows of 49,152 the two results take 50 MB. Allocating them at every step costs page
faults (4.0 ms instead of 3.1 on two cores) and evicts the model's own memory.
"""

from __future__ import annotations

import torch


class Softmax:
    """Each call overwrites the previous result."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def __call__(self, logits: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
        """float [rows, vocabulary] like `logits`; `temperature`: same dtype, [rows]."""
        size = logits.numel()
        if len(self._memory) < 2 * size or self._memory.dtype != logits.dtype:
            self._memory = torch.empty(2 * size, dtype=logits.dtype)
        scaled, probabilities = self._memory[: 2 * size].view(2, *logits.shape)
        # Dividing by a scalar is faster.
        alike = bool((temperature == temperature[0]).all()) if len(temperature) else True
        by = temperature[:1] if alike else temperature
        torch.div(logits, by.unsqueeze(1), out=scaled)
        # torch's softmax is fast with -inf; its exp and logsumexp are ten times slower.
        return torch.softmax(scaled, 1, out=probabilities)
