# SPDX-License-Identifier: Apache-2.0
"""What a wheel puts into site-packages (gars_vllm and nothing else, importable on its own), and what
stands in it and in the source archive."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("engine", "grammar", "cli", "benchmarks")


def test_wheel(built: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"gars_vllm"}
    modules = sorted(
        n.removesuffix(".py").replace("/", ".")
        for n in names
        if n.endswith(".py") and not n.endswith("__init__.py")
    )
    sources = [p for part in PACKAGES for p in (ROOT / part).rglob("*.py")]
    assert len(modules) == len([p for p in sources if p.name != "__init__.py"])
    assert "gars_vllm/grammar/languages/python/python.lark" in names
    assert {f"gars_vllm/{part}/py.typed" for part in PACKAGES} <= set(names)
    # All but those that bring vLLM, which takes as long to import as all others together.
    light = [name for name in modules if ".vllm_" not in name and "cpu_sampling" not in name]
    code = (
        f"import importlib, sys\nsys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        f"for name in {light!r}:\n"
        "    module = importlib.import_module(name)\n"
        f"    assert module.__file__.startswith({str(tmp_path)!r}), module.__file__\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=tmp_path)


def test_what_is_told_of_the_wheel(built: Any) -> None:
    """Authors, addresses, keywords; the README with links that work outside the repository."""
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/METADATA"))
        told = email.message_from_bytes(archive.read(name))
    for field in ("Author", "Keywords", "License-Expression", "Requires-Python"):
        assert told[field], field
    assert "Typing :: Typed" in told.get_all("Classifier", [])
    urls = dict(url.split(", ") for url in told.get_all("Project-URL", []))
    assert urls.keys() == {"Repository", "Documentation", "Changelog", "Issues"}
    assert told["Description-Content-Type"] == "text/markdown"
    text = str(told.get_payload())
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [t for t in targets if not t.startswith("https://")] == []
    assert f"](https://{urls['Repository'].removeprefix('https://')}/raw/main/docs/" in text
    assert f"]({urls['Repository']}/blob/main/LICENSE)" in text


def test_the_readmes_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?://|#)([^)\s#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_source_archive(built: Any) -> None:
    """It holds what the repository does: docs, changelog, tests, and what `make` needs."""
    source = built.source
    for name in ("CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile", "requirements-cpu.lock"):
        assert (source / name).is_file(), name
    for folder in ("docs", "examples", "tests", *PACKAGES):
        here = {p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if p.is_file()}
        there = {p.relative_to(source) for p in (source / folder).rglob("*") if p.is_file()}
        assert {p for p in here if "__pycache__" not in p.parts} == there


def test_the_grammar_package_is_light(tmp_path: Path) -> None:
    """Usable without torch and vLLM, and without numba until a grammar is compiled."""
    code = (
        "import sys, gars_vllm.grammar\n"
        "heavy = {'torch', 'vllm', 'numba', 'transformers', 'lark', 'tokenizers'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
