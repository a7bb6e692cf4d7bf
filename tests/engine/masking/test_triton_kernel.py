# SPDX-License-Identifier: Apache-2.0
"""The kernel for a GPU, by Triton's interpreter, beside float64 and beside torch's operations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gars_vllm.engine.masking import mask_table

SIZES = [40, 4096, 9001]
CASES = [(size, dtype) for size in SIZES for dtype in (torch.float32, torch.bfloat16)]
SLOTS = [0, 1, 2, 3, 4, 1, 5, 3, 3, 5]
HEATS = [1.0, 0.7, 1.4, 1.0, 2.0, 0.1, 1.0, 1.0, 0.5, 1.0]
REVIVED = [1, 1, 1, 1, 1, 1, 0, 0, 1, 1]
SPARE = 3  # so that rows do not lie one behind the other
SCRIPT = """
import sys, torch
from gars_vllm.engine.masking.triton_kernel import last_tokens, weigh
cases = torch.load(sys.argv[1])
for memory, rows, asked in cases:
    memory[0] = weigh(memory[1][:, :-3], rows, asked)
tokens, totals = torch.load(sys.argv[3])
last = {width: last_tokens(tokens[:, :-3], totals, width) for width in (1, 4)}
torch.save(([memory for memory, _, _ in cases], last), sys.argv[2])
"""


def bits_of(size: int) -> torch.Tensor:
    """bool [masks, vocabulary]: all, some, one in a hundred, the last only, two, nothing."""
    draw = torch.Generator().manual_seed(size)
    shares = torch.tensor([1.1, 0.5, 0.01, 0, 0, 0])[:, None]
    bits = torch.rand((6, size), generator=draw) < shares
    bits[3, size - 1] = bits[4, 2] = bits[4, 5] = True
    return bits


def logits_of(size: int, dtype: torch.dtype) -> torch.Tensor:
    """[rows, vocabulary + SPARE]: one that was -inf before, exp(-200), a tie with what is lost."""
    memory = torch.randn((len(SLOTS), size + SPARE), generator=torch.Generator().manual_seed(1))
    memory[1, 7] = -torch.inf
    memory[3, size - 1] = -200
    memory[4, [1, 2]] = 9.0
    memory[[7, 8], size - 1] = -torch.inf  # another rule forbids what the mask allows
    return memory.to(dtype)


def packed(bits: torch.Tensor) -> torch.Tensor:
    """int32 [masks, words]."""
    some = np.packbits(bits.numpy(), axis=1, bitorder="little")
    some = np.pad(some, ((0, 0), (0, -some.shape[1] % 4)))
    return torch.from_numpy(some.view(np.int32).copy())


@pytest.fixture(scope="module", params=["triton", "torch"])
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[list[torch.Tensor]]:
    """Of each case what is returned, and the memory of the logits afterwards."""
    temperatures = np.array(HEATS, np.float32).view(np.int32)
    asked = torch.from_numpy(np.array([SLOTS, temperatures, REVIVED], np.int32))
    cases = [(logits_of(*case), packed(bits_of(case[0])), asked) for case in CASES]
    if request.param == "torch":
        made = []
        for memory, rows, _ in cases:
            logits = memory[:, :-SPARE].clone()  # xgrammar's kernel wants rows without gaps
            made.append([mask_table.weigh_by_torch(logits, rows, asked), memory])
            memory[:, :-SPARE] = logits
        return made
    pytest.importorskip("triton")
    return interpreted(tmp_path_factory.mktemp("triton"), cases)[0]


def interpreted(folder: Path, cases: list[Any]) -> tuple[Any, dict[int, torch.Tensor]]:
    """What the kernels make of these cases, and of `slots`."""
    torch.save([([None, m], rows, a) for m, rows, a in cases], folder / "cases")
    torch.save(slots(), folder / "slots")
    # Triton asks for this when it is imported.
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    files = [str(folder / name) for name in ("cases", "found", "slots")]
    subprocess.run([sys.executable, "-c", SCRIPT, *files], env=environment, check=True)
    return torch.load(folder / "found")  # type: ignore[no-any-return]


def slots() -> tuple[torch.Tensor, torch.Tensor]:
    """More slots than a program of the kernel takes, some with fewer tokens than are asked for."""
    tokens = torch.arange(300 * 20, dtype=torch.int32).view(300, 20)
    return tokens, torch.randint(0, 17, (300,), generator=torch.Generator().manual_seed(0)).int()


def test_last_tokens(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    tokens, totals = slots()
    for width, found in interpreted(tmp_path, [])[1].items():
        assert found.shape == (300, width + 1)
        assert torch.equal(found[:, width], totals)
        for row, held, total in zip(found, tokens, totals.tolist(), strict=True):
            count = min(width, total)
            assert torch.equal(row[width - count : width], held[total - count : total])


@pytest.mark.parametrize("number", range(len(CASES)))
def test_masked_and_weighed(found: list[list[torch.Tensor]], number: int) -> None:
    size, dtype = CASES[number]
    (log_z, lost), memory = found[number]
    before, kept = logits_of(size, dtype), bits_of(size)[SLOTS]
    assert torch.equal(memory[:, size:], before[:, size:])
    left = before[:, :size].masked_fill(~kept, -torch.inf)
    revived = left.clone()
    revived[8, size - 1] = 0  # not row 9, whose mask allows nothing, nor 7, which did not ask
    assert torch.equal(memory[:, :size], revived)

    temperatures = torch.tensor(HEATS).double()[:, None]
    wanted = (left / temperatures).logsumexp(1) - (before[:, :size] / temperatures).logsumexp(1)
    torch.testing.assert_close(log_z.double(), wanted, atol=2e-5, rtol=1e-5)
    is_lost = left.amax(1) < before[:, :size].amax(1)
    assert lost.tolist() == is_lost.float().tolist()
    assert (is_lost[[0, 4]].any(), is_lost[3]) == (False, True)
    assert log_z[0] == 0
    assert log_z[6] == -torch.inf


COMPILE = """
import triton
from gars_vllm.engine.masking import triton_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
for dtype in ("*fp32", "*bf16", "*fp16"):
    types = {"logits": dtype, "rows": "*i32", "parameters": "*i32", "out": "*fp32"}
    types |= dict.fromkeys(("logits_stride", "rows_stride", "count", "size"), "i32")
    source = ASTSource(triton_kernel._weigh, types | {"BLOCK": "constexpr"}, {"BLOCK": 4096})
    for architecture in (80, 90):
        made = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
        assert made.asm["cubin"]
types = {"tokens": "*i32", "totals": "*i32", "out": "*i32", "BLOCK": "constexpr"}
types |= dict.fromkeys(("tokens_stride", "slots", "width"), "i32")
source = ASTSource(triton_kernel._last_tokens, types, {"BLOCK": 128})
assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]
print("compiled")
"""


def test_compiles_for_gpus() -> None:
    """The interpreter takes what the compiler does not, say annotations. No GPU is needed."""
    pytest.importorskip("triton")
    command = [sys.executable, "-W", "ignore", "-c", COMPILE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["compiled"], done.stderr
