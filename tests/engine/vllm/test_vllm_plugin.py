# SPDX-License-Identifier: Apache-2.0
"""Installed beside a vLLM, it does no harm there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gars_vllm.engine.masking.names import PROCESSOR
from gars_vllm.engine.vllm import plugin as vllm_plugin
from gars_vllm.engine.vllm.processor import GrammarProcessor
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate


def test_the_plugin_is_idle_where_the_processor_was_named(vllm_config: Callable[..., Any]) -> None:
    cpu = torch.device("cpu")
    added = [(0, SamplingParams(extra_args={"grammar": "python"}), None, [])]
    for named, masks in (([PROCESSOR], False), ([GrammarProcessor], False), (["x:Y"], True)):
        plugin = vllm_plugin.GrammarPlugin(vllm_config(named), cpu, False)
        plugin.update_state(BatchUpdate(1, [], added, []))
        logits = plugin.apply(torch.zeros(1, 512))
        assert bool(torch.isinf(logits).any()) is masks
        assert plugin.add_request(0, SamplingParams()) is False


def test_the_plugin_imports_nothing_until_it_is_asked(beside_vllm: Callable[[str], None]) -> None:
    """Nor does vLLM stop where what it needs cannot be imported: the request is refused."""
    beside_vllm("""
import sys, types
sys.modules["numba"] = None  # as if it were broken
from importlib.metadata import entry_points
[point] = entry_points(group="vllm.logits_processors", name="gars-vllm")
plugin = point.load()
assert not {"gars_vllm.engine.masking.masker", "gars_vllm.grammar.compiled", "xgrammar"} & set(sys.modules)
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate
plugin.validate_params(SamplingParams())
try:
    plugin.validate_params(SamplingParams(extra_args={"grammar": "python"}))
except ValueError as error:
    assert "gars-vllm cannot be used here" in str(error), error
else:
    raise AssertionError("not refused")
made = plugin(types.SimpleNamespace(model_config=types.SimpleNamespace(logits_processors=None)), "cpu", False)
made.update_state(BatchUpdate(1, [], [(0, SamplingParams(), None, [])], []))
logits = object()
assert made.apply(logits) is logits
""")


def test_a_plugin_that_cannot_be_imported_stops_nothing(beside_vllm: Callable[[str], None]) -> None:
    """Both interfaces are kept, so that either runner takes the class, and it does nothing."""
    beside_vllm("""
import sys
sys.modules["gars_vllm.engine.vllm.processor"] = None  # as if it were broken
from gars_vllm.engine.vllm.plugin import GrammarPlugin
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor as V1
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2
assert issubclass(GrammarPlugin, V1) and issubclass(GrammarPlugin, V2)
GrammarPlugin.validate_params(SamplingParams())
try:
    GrammarPlugin.validate_params(SamplingParams(extra_args={"grammar": "python"}))
except ValueError as error:
    assert "does not work with this vLLM" in str(error)
else:
    raise AssertionError("not refused")
for made in (GrammarPlugin("config", "device", False), GrammarPlugin("config", "states")):
    made.update_state(None)
    assert made.add_request(0, SamplingParams()) is False
    made.apply_staged_writes()
    assert made.apply(1, 2) == 1
""")
