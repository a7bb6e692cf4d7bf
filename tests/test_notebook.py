# SPDX-License-Identifier: Apache-2.0
"""The notebook, run from end to end on its small setting: a tiny model, two problems."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "humaneval.ipynb"


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)


@pytest.mark.parametrize(
    "backend",
    ["transformers", pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.full])],
)
@pytest.mark.usefixtures("tier")
def test_it_runs(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """With transformers no engine of vLLM has to start."""
    setting = {
        "MODEL": str(tiny_model), "N": "3", "LIMIT": "2", "MAX_TOKENS": "40", "OUT": "out",
        "TEMPERATURE": "1.0",
    }  # fmt: skip
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if backend != "vllm":
        (sampling,) = (c for c in notebook.cells if '"--temperature",' in c.source)
        sampling.source = sampling.source.replace(
            '"--temperature",', f'"--backend",\n        "{backend}",\n        "--temperature",'
        )
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "6 samples in out/python" in printed
    assert "valid, of all" in printed
    assert "b: out/python" in printed
    assert "chosen by" in printed
    images = [
        output for cell in notebook.cells for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]  # fmt: skip
    assert len(images) == 1
    assert (tmp_path / "out" / "page.html").stat().st_size > 10_000
