# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
from gars_vllm.engine.sandbox import choice
from gars_vllm.engine.sandbox.foreman import Foreman
from gars_vllm.engine.sandbox.tiers import Tier


@pytest.fixture(scope="module", params=[Tier.BWRAP, Tier.NAMESPACES, Tier.LANDLOCK])
def foreman(request: pytest.FixtureRequest) -> Iterator[Foreman]:
    """A foreman of each tier that works on this machine."""
    reason = choice.available(request.param)
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    one = Foreman(request.param)
    yield one
    one.close()
