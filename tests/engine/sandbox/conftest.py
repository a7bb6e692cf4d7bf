# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
from gars_vllm.engine.sandbox import choice
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.sandbox.worker import Worker


@pytest.fixture(scope="module", params=[Tier.BWRAP, Tier.NAMESPACES, Tier.LANDLOCK])
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    """A worker of each tier that works on this machine."""
    reason = choice.available(request.param)
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    one = Worker(request.param)
    yield one
    one.close()
