# SPDX-License-Identifier: Apache-2.0
"""Kernels that check every index (`make test-bounds`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.engine.inspection import walks
from gars_vllm.grammar import CompiledGrammar
from numba.core import config

ASK = "from gars_vllm.grammar.runtime import jit; print(jit.folder())"
OUTSIDE = """
import numpy as np
from gars_vllm.grammar import compile_grammar, Vocabulary
from gars_vllm.grammar.runtime import calls
grammar = compile_grammar("json", Vocabulary.from_tokens([b"[", b"]"], eos=[2]))
calls.apply(grammar.tables[:9], grammar.nodes, grammar.scratch, 0, 0, 1)
"""


def test_checked_kernels_are_kept_apart(tmp_path: Path) -> None:
    folders = set()
    for checked in ("0", "1"):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_BOUNDSCHECK": checked}
        asked = subprocess.run(
            [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
        )
        folders.add(asked.stdout)
    assert len(folders) == 2


@pytest.mark.skipif(not config.BOUNDSCHECK, reason="make test-bounds")
def test_what_is_called_by_its_address_knows_how_long_arrays_are() -> None:
    """Numba cannot raise there: it reports the error, which this run of the tests takes for one."""
    done = subprocess.run([sys.executable, "-c", OUTSIDE], capture_output=True, text=True)
    assert "IndexError: index is out of bounds" in done.stderr


@pytest.mark.skipif(not config.BOUNDSCHECK, reason="make test-bounds")
def test_a_thousand_walks(python: CompiledGrammar) -> None:
    walker = walks.GrammarWalker(python, True)
    weights = np.ones(len(python.vocabulary))
    found = walks.walk(walker, python.vocabulary, weights, "python", 1000, 120, 0, ("",))
    assert (found.finished, found.stuck) == (1000, 0)
