# SPDX-License-Identifier: Apache-2.0
"""What is measured is what is said: all engines read the same documents, token by token."""

from __future__ import annotations

from pathlib import Path

import pytest
from gars_vllm.benchmarks import mask_latency, texts
from gars_vllm.benchmarks.peers import Llguidance, Ours, XGrammar
from gars_vllm.benchmarks.texts import Cutter
from gars_vllm.engine.errors import UserError


def test_all_engines_take_the_json_documents(tiny_model: Path) -> None:
    cutter = Cutter(tiny_model)
    documents = [cutter.cut(t) for t in texts.json_documents()[::40]]
    masks = [Ours(cutter, "json"), XGrammar(cutter), Llguidance(cutter)]
    times = mask_latency.microseconds(masks, documents)
    assert [len(t) for t in times] == [sum(map(len, documents))] * 3
    assert all((t > 0).all() for t in times)


def test_a_text_is_cut_without_a_blank_that_is_not_its_own(sentencepiece: Path) -> None:
    cutter = Cutter(sentencepiece)
    for text in ("x = 1", " x", "= x\n", "y"):
        assert (
            b"".join(cutter.vocabulary.tokens[i] or b"?" for i in cutter.cut(text)) == text.encode()
        )


def test_only_walks_count_as_misses(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "python_texts", lambda: ["x = 1\n", "x = 1\n"])
    (row,) = mask_latency.misses(Cutter(tiny_model)).rows
    assert 1 <= int(row["misses"]) <= 6


def test_without_tokenizers_one_line_says_what_to_do(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="give a folder that does"):
        texts.cutters((tiny_model, tmp_path))
    monkeypatch.setenv("GARS_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="or run `make demo` first"):
        texts.cutters()
