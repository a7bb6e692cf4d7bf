# SPDX-License-Identifier: Apache-2.0
"""The notebook, run from end to end on its small setting: a tiny model, two problems."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "humaneval.ipynb"


@pytest.fixture
def _small(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = {
        "MODEL": str(tiny_model), "N": "3", "LIMIT": "2", "MAX_TOKENS": "40", "OUT": "out",
        "TEMPERATURE": "1.0",
    }  # fmt: skip
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def the_notebook(backend: str) -> Any:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if backend != "vllm":
        (sampling,) = (c for c in notebook.cells if '"--temperature",' in c.source)
        sampling.source = sampling.source.replace(
            '"--temperature",', f'"--backend",\n        "{backend}",\n        "--temperature",'
        )
    return notebook


def check(printed: str, images: int) -> None:
    assert "6 samples in out/python" in printed
    assert "valid, of all" in printed
    assert "b: out/python" in printed
    assert "selector" in printed
    assert images == 1
    assert Path("out/page.html").stat().st_size > 10_000


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)


@pytest.mark.usefixtures("tier", "_small")
def test_its_cells_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Here, and its commands too: torch and transformers are loaded once, and no kernel starts."""
    run = subprocess.run

    def run_here(command: list[str], **options: Any) -> Any:
        if command[:3] != [sys.executable, "-m", "gars_vllm.cli.main"]:
            return run(command, **options)
        done = CliRunner().invoke(main, command[3:])
        known = done.exception is None or isinstance(done.exception, SystemExit)
        error = done.stderr if known else repr(done.exception)
        return subprocess.CompletedProcess(command, done.exit_code, done.stdout, error)

    monkeypatch.setattr(subprocess, "run", run_here)
    scope: dict[str, Any] = {}
    shown = []
    for cell in the_notebook("transformers").cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "cell", "exec"), scope)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), scope))
    images = [one for one in shown if one is not None]
    assert all(one.data.startswith(b"\x89PNG") for one in images)
    check(capsys.readouterr().out, len(images))


@pytest.mark.full
@pytest.mark.parametrize("backend", ["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
@pytest.mark.usefixtures("tier", "_small")
def test_it_runs(tmp_path: Path, backend: str) -> None:
    """As its readers run it."""
    notebook = the_notebook(backend)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    images = [one for one in outputs if "image/png" in one.get("data", {})]
    check("".join(output.get("text", "") for output in outputs), len(images))
