# SPDX-License-Identifier: Apache-2.0
"""Probabilities at the rows' temperatures, whatever was in the memory before."""

from __future__ import annotations

import pytest
import torch
from gars_vllm.engine.masking.softmax import Softmax


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softmax(dtype: torch.dtype) -> None:
    softmax = Softmax()
    for rows, temperatures in ((3, [0.5, 1.0, 1.4]), (5, [0.8] * 5), (2, [1.4, 0.1]), (1, [0.7])):
        logits = torch.randn((rows, 70), dtype=dtype)
        logits[:, ::3] = -torch.inf
        before = logits.clone()
        temperature = torch.tensor(temperatures, dtype=dtype)
        found = softmax(logits, temperature)
        wanted = (before / temperature[:, None]).softmax(1)
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
        assert torch.equal(logits, before)


def test_the_memory_is_used_again() -> None:
    softmax = Softmax()
    first = softmax(torch.randn((8, 50)), torch.ones(8))
    second = softmax(torch.randn((4, 50)), torch.ones(4))
    start = softmax._memory.data_ptr()
    size = 4 * softmax._memory.numel()
    assert all(start <= t.data_ptr() < start + size for t in (first, second))
