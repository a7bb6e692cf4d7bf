# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from gars_vllm.cli import doctor as module
from gars_vllm.cli.main import main
from gars_vllm.engine.diagnosis import Finding, State


@pytest.mark.parametrize(("state", "code"), [(State.OK, 0), (State.LOOK, 0), (State.BAD, 1)])
def test_doctor(monkeypatch: pytest.MonkeyPatch, state: State, code: int) -> None:
    found = [Finding("torch", "2.13"), Finding("vLLM", "odd", state, "do this")]
    monkeypatch.setattr(module, "diagnose", lambda: found)
    shown = CliRunner().invoke(main, ["doctor"])
    assert shown.exit_code == code
    assert "do this" in shown.stdout
    assert "\x1b" not in shown.stdout
    as_json = CliRunner().invoke(main, ["doctor", "--json"])
    assert as_json.exit_code == code
    assert json.loads(as_json.stdout)[1] == {
        "name": "vLLM", "value": "odd", "state": str(state), "advice": "do this",
    }  # fmt: skip
