# SPDX-License-Identifier: Apache-2.0
"""Models that differ from the tiny one of all tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

MakeModel = Callable[..., Path]


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
