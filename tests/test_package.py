# SPDX-License-Identifier: Apache-2.0
"""What a wheel puts into site-packages: gars_vllm and nothing else, importable on its own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_wheel(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "-w", str(tmp_path), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"gars_vllm"}
    modules = sorted(
        n.removesuffix(".py").replace("/", ".")
        for n in names
        if n.endswith(".py") and not n.endswith("__init__.py")
    )
    sources = [
        p
        for part in ("engine", "grammar", "cli", "benchmarks")
        for p in (ROOT / part).rglob("*.py")
    ]
    assert len(modules) == len([p for p in sources if p.name != "__init__.py"])
    assert "gars_vllm/grammar/languages/python.lark" in names
    code = (
        f"import importlib, sys\nsys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        f"for name in {modules!r}:\n"
        "    module = importlib.import_module(name)\n"
        f"    assert module.__file__.startswith({str(tmp_path)!r}), module.__file__\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=tmp_path)


def test_the_grammar_package_is_light(tmp_path: Path) -> None:
    """Usable without torch and vLLM, and without numba until a grammar is compiled."""
    code = (
        "import sys, gars_vllm.grammar\n"
        "heavy = {'torch', 'vllm', 'numba', 'transformers', 'lark', 'tokenizers'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
