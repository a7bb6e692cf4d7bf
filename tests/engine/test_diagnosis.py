# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gars_vllm.engine import diagnosis, extras, models
from gars_vllm.engine.diagnosis import Finding, State, diagnose


def find(name: str) -> Finding:
    return next(f for f in diagnose() if f.name == name)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "hub_answers", lambda: False)


def test_this_machine_is_fit() -> None:
    """The suite runs where sampling works, so nothing may be bad here."""
    found = diagnose()
    assert [f for f in found if f.state is State.BAD] == []
    assert find("Python").value.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert find("vLLM").value == diagnosis.VLLM
    assert find("vLLM's runner").value.startswith("V1")
    assert all(f.advice for f in found if f.state is not State.OK)


def test_missing_and_foreign_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"vllm": "0.99.0", "torch": "2.13.0+cpu", "torchvision": "0.28"}
    monkeypatch.setattr(diagnosis, "installed", versions.get)
    found = {f.name: f for f in diagnosis._packages()}
    assert found["vLLM"].state is State.LOOK
    assert found["numba"].state is State.BAD
    assert found["torchvision"].advice.endswith("pip uninstall torchvision")
    versions.clear()
    lacking = {extras.Extra.CLIENT: "openai", extras.Extra.TRANSFORMERS: "torch"}
    monkeypatch.setattr(extras, "missing", lacking.get)
    assert {f.name: f for f in diagnosis._packages()}["vLLM"].state is State.BAD
    del lacking[extras.Extra.CLIENT]  # one can sample from a server
    assert {f.name: f for f in diagnosis._packages()}["vLLM"].state is State.LOOK


@pytest.mark.parametrize("is_checkout", [True, False])
def test_users_of_pip_are_told_pip(monkeypatch: pytest.MonkeyPatch, is_checkout: bool) -> None:
    monkeypatch.setattr(diagnosis, "installed", lambda _: None)
    monkeypatch.setattr(extras, "in_repository", lambda: is_checkout)
    told = {f.name: f.advice or f.value for f in diagnosis._packages()}
    for name in ("vLLM", "torch", "transformers", "xgrammar", "numba", "openai", "matplotlib"):
        assert ("make setup" in told[name]) is is_checkout, told[name]
        assert "pip install" in told[name] or is_checkout


def test_settings_that_make_it_crawl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "auto")
    assert find("VLLM_CPU_OMP_THREADS_BIND").state is State.LOOK
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-1")
    assert find("VLLM_CPU_OMP_THREADS_BIND").value == "0-1 (yours)"


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GARS_CACHE", str(tmp_path / "a" / "b"))
    assert find("cache").state is not State.BAD
    monkeypatch.setattr(diagnosis.os, "access", lambda *_: False)
    assert find("cache").state is State.BAD
