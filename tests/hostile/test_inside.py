# SPDX-License-Identifier: Apache-2.0
"""The hostile programs before the second judge, which is in the jail with them: none passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gars_vllm.engine.sandbox import choice
from gars_vllm.engine.sandbox.outcome import Program
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.sandbox.worker import Worker

from tests.hostile.test_hostile import CORPUS, LIMITS, Hostile

SHARED_FILES = "import os\n"  # a test that uses it is judged inside
OUTSIDE = {name: "0" for name in ("PORT", "UDP", "PID")} | {"NUL": "\0"}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    tier = next((t for t in (Tier.NAMESPACES, Tier.LANDLOCK) if choice.available(t) is None), None)
    if tier is None:
        pytest.skip("no sandbox works here")
    one = Worker(tier)
    yield one
    one.close()


@pytest.mark.full
@pytest.mark.parametrize("hostile", CORPUS, ids=[h.name for h in CORPUS])
def test_a_hostile_program_does_not_pass_inside(
    hostile: Hostile, worker: Worker, tmp_path: Path
) -> None:
    text = hostile.text
    for name in ("OUTSIDE", "SECRET", "SOCKET", "ABSTRACT"):
        text = text.replace(f"@{name}@", str(tmp_path / name))
    for name, value in OUTSIDE.items():
        text = text.replace(f"@{name}@", value)
    verdict = worker.run(Program(text, "f", SHARED_FILES + hostile.test()), LIMITS)
    assert not verdict.passed, verdict
    assert verdict.judge == "inside"
