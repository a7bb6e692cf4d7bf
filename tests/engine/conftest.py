# SPDX-License-Identifier: Apache-2.0
"""Models that differ from the tiny one of all tests; what a processor sees of vLLM."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.verification.verification import Checking

MakeModel = Callable[..., Path]
MakeConfig = Callable[..., Any]


@pytest.fixture
def vllm_config(tiny_model: Path) -> MakeConfig:
    """What a processor reads of vLLM's configuration: of the processors named, of drafted tokens."""

    def make(named: Any = None, drafted: int = 0) -> Any:
        model = types.SimpleNamespace(
            get_vocab_size=lambda: 512, tokenizer=str(tiny_model), max_model_len=1024, seed=0,
            logits_processors=named,
        )  # fmt: skip
        speculative = types.SimpleNamespace(num_speculative_tokens=drafted) if drafted else None
        return types.SimpleNamespace(model_config=model, speculative_config=speculative)

    return make


# vLLM takes twenty seconds to import: what wants a process that has imported it, and nothing of
# ours, is a fork of one that has.
_FORKS = """
import json, os, sys, traceback
import vllm, vllm.v1.sample.logits_processor, vllm.v1.worker.gpu.sample.logits_processor
from vllm import SamplingParams
ours = [name for name in sys.modules if name.startswith("gars_vllm")]
assert not ours, ours
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever a script prints
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        said = ""
        try:
            exec(json.loads(line), {"__name__": "__main__"})
        except BaseException:
            said = traceback.format_exc()
        print(json.dumps(said), file=answers, flush=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        print(json.dumps(f"it ended with {status}"), file=answers, flush=True)
"""


@pytest.fixture(scope="session")
def beside_vllm() -> Iterator[Callable[[str], None]]:
    """Runs a script in a process of its own, which has imported vLLM; fails if the script does."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _FORKS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    def run(script: str) -> None:
        process.stdin.write(json.dumps(script) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, "vLLM cannot be imported"
        assert not json.loads(answer), json.loads(answer)

    yield run
    process.stdin.close()
    process.stdout.close()
    process.wait()


@pytest.fixture
def until_samples() -> Callable[[subprocess.Popen[bytes], Path, int], None]:
    """Waits until a command has written so many samples; fails if it ends before."""

    def wait(process: subprocess.Popen[bytes], file: Path, count: int) -> None:
        deadline = time.monotonic() + 600
        while not file.exists() or file.read_bytes().count(b"\n") < count:
            said = process.stderr.read() if process.poll() is not None and process.stderr else b""
            assert process.poll() is None, said.decode()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    return wait


@pytest.fixture
def changed_model(tiny_model: Path, tmp_path: Path) -> MakeModel:
    """Copies of the model's folder with fields of its JSON files changed (None: taken out)."""

    def make(**files: dict[str, object]) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(tiny_model, folder, dirs_exist_ok=True)
        for name, fields in files.items():
            file = folder / f"{name}.json"
            record = json.loads(file.read_text())
            record |= fields
            file.write_text(json.dumps({k: v for k, v in record.items() if v is not None}))
        return folder

    return make


@pytest.fixture(scope="module")
def checking(tier: Tier) -> Checking:
    """In the strongest sandbox of this machine, a second for each program."""
    return Checking(tier, timeout=1.0)
