# SPDX-License-Identifier: Apache-2.0
"""Startup cost: each language and vocabulary in separate processes, cold and warm.

    python -m gars_vllm.benchmarks.compile [--syncode] [FOLDER_WITH_TOKENIZER_JSON...]

"nothing cached": neither compiled kernels nor tables are on disk. "kernels cached": numba's
machine code is, the tables are not. "warm": both are. "grammar": the call that compiles or loads
the grammar; "first mask": from there to a mask, an advance and a mask near the end of a budget.
Reading the vocabulary and importing modules is not counted; numba's lazily loaded modules are in
a separate note. "added": peak resident memory above that before. Peers: preparing their
tokenizer and the grammar.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from gars_vllm.benchmarks import texts
from gars_vllm.benchmarks.tables import Result, Value, say
from gars_vllm.benchmarks.texts import Cutter
from gars_vllm.engine.masking import syncode_mask

LANGUAGES = ("python", "json")

_COMMON = """
import json, sys, time
from pathlib import Path
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
def peak():  # ru_maxrss would start from the parent process's
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
def tell(grammar, mask, before, numba=0.0):
    figures = {"grammar": grammar, "mask": mask, "peak": peak(), "added": peak() - before}
    figures["numba"] = numba
    print(json.dumps(figures))
folder = Path(sys.argv[1])
"""

_OURS = (
    _COMMON
    + """
language = sys.argv[2]
import lark
from numba.core.registry import cpu_target
started = time.perf_counter()
cpu_target.target_context.refresh()
numba = time.perf_counter() - started
from gars_vllm.grammar import Vocabulary, compile_grammar
import gars_vllm.grammar.compiled
vocabulary = Vocabulary.from_tokenizer(folder)
vocabulary.digest
before = resident()
started = time.perf_counter()
grammar = compile_grammar(language, vocabulary)
made = time.perf_counter()
matcher = grammar.matcher()
token = next(i for i, t in enumerate(vocabulary.tokens) if t == b"[")
matcher.mask()
matcher.advance(token)
matcher.mask(20)
tell(made - started, time.perf_counter() - made, before, numba)
"""
)

_PEER = (
    _COMMON
    + """
from gars_vllm.benchmarks import peers
from gars_vllm.benchmarks.texts import Cutter
cutter = Cutter(folder)
cutter.vocabulary, cutter.loaded()
import xgrammar, llguidance.hf
before = resident()
started = time.perf_counter()
mask = getattr(peers, sys.argv[2])(cutter)
made = time.perf_counter()
mask.begin().mask()
tell(made - started, time.perf_counter() - made, before)
"""
)


def _child(code: str, *arguments: str, cache: Path | None = None) -> dict[str, float]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as usual
    if cache is not None:
        environment["GARS_CACHE"] = str(cache)
        environment["NUMBA_CACHE_DIR"] = str(cache.with_name("kernels"))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _row(
    name: str, language: str, cutter: Cutter, label: str, figures: dict[str, float], disk: int
) -> dict[str, Value]:
    return {
        "mask": name, "language": language, "vocabulary": len(cutter.vocabulary), "": label,
        "grammar s": figures["grammar"], "first mask s": figures["mask"],
        "peak MB": figures["peak"] / 1e6, "added MB": figures["added"] / 1e6,
        "disk MB": disk / 1e6 if disk else "-",
    }  # fmt: skip


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def ours(cutter: Cutter, language: str, numba: list[float]) -> list[dict[str, Value]]:
    """`numba`: receives the seconds that numba's own modules took."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name) / "cache"
        for label in ("nothing cached", "kernels cached", "warm"):
            say(f"{cutter.name}: {language}, {label}")
            if label == "kernels cached":
                for file in cache.rglob("*.gars"):
                    file.unlink()
            figures = _child(_OURS, str(cutter.folder), language, cache=cache)
            numba.append(figures["numba"])
            rows.append(_row("gars-vllm", language, cutter, label, figures, _size(cache)))
    return rows


def run(folders: tuple[Path, ...] = (), syncode: bool = False) -> list[Result]:
    result = Result("Start of a grammar, seconds and megabytes")
    numba: list[float] = []
    for cutter in texts.cutters(folders):
        for language in LANGUAGES:
            result.rows += ours(cutter, language, numba)
        for peer in ("XGrammar", "Llguidance"):
            say(f"{cutter.name}: {peer}")
            figures = _child(_PEER, str(cutter.folder), peer)
            result.rows.append(_row(peer.lower(), "json", cutter, "", figures, 0))
        if syncode and syncode_mask.is_installed():
            say(f"{cutter.name}: SynCode's store (minutes)")
            with tempfile.TemporaryDirectory() as name:
                for label in ("nothing cached", "warm"):
                    figures = _child(_PEER, str(cutter.folder), "SynCode", cache=Path(name))
                    size = _size(Path(name))
                    result.rows.append(_row("syncode", "python", cutter, label, figures, size))
    result.notes.append(f"numba's own modules: {statistics.median(numba):.2f} s more")
    return [result]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--syncode", action="store_true", help="include SynCode; takes minutes")
    args = parser.parse_args()
    for result in run(tuple(args.folders), args.syncode):
        result.show()


if __name__ == "__main__":
    main()
