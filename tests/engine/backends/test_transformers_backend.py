# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gars_vllm.engine.backends.settings import Settings
from gars_vllm.engine.backends.transformers import (
    GrammarLogits,
    SynCodeLogits,
    TransformersBackend,
)
from gars_vllm.engine.masking.constraints import Mask
from gars_vllm.engine.masking.syncode_mask import SynCodeGaveUp, SynCodeMask, is_installed
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.models.catalogue import lookup
from gars_vllm.engine.models.files import ModelFiles
from gars_vllm.engine.models.prompt_kinds import PromptKind
from gars_vllm.engine.runs import sampling
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.tasks import prompts
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.grammar import compile_grammar


def run(tiny_model: Path, folder: Path, **settings: object) -> list[dict[str, object]]:
    folder_ = RunFolder(folder)
    spec, files = lookup(str(tiny_model)), ModelFiles(tiny_model, "local")
    asked = Settings(**{"n": 6, "temperature": 1.0, "max_tokens": 60, **settings})  # type: ignore[arg-type]
    tasks = load_humaneval()[:2]
    sampling.run(folder_, spec, files, tasks, asked, TransformersBackend, batch=4)
    return list(folder_.samples.read())


@pytest.mark.parametrize("kind", list(PromptKind))
def test_every_sample_is_valid(tiny_model: Path, tmp_path: Path, kind: PromptKind) -> None:
    records = run(tiny_model, tmp_path / "run", prompt_kind=kind, top_p=1.0, max_tokens=12)
    assert len(records) == 12
    grammar = compile_grammar("python", tokenizers.load(tiny_model).vocabulary)
    for record in records:
        program = str(record["program"])
        assert grammar.matcher(program).can_stop()
        assert record["valid"], program
    assert {r["finish_reason"] for r in records} <= {"stop", "closed"}
    assert any(r["finish_reason"] == "closed" for r in records)
    for record in records:
        assert float(str(record["log_z"])) < 0
        assert 0 <= int(str(record["smallest_log_z_at"])) < int(str(record["tokens"]))


def test_without_the_closing(tiny_model: Path, tmp_path: Path) -> None:
    records = run(tiny_model, tmp_path / "run", closing=False, top_p=1.0, max_tokens=12)
    assert {r["finish_reason"] for r in records} <= {"stop", "length"}
    assert all(r["valid"] for r in records if r["finish_reason"] == "stop")
    assert not all(r["valid"] for r in records)


def test_without_a_grammar(tiny_model: Path, tmp_path: Path) -> None:
    records = run(tiny_model, tmp_path / "run", grammar="none")
    assert not any(r["valid"] for r in records)
    assert not any(
        stop in str(r["completion"]) for r in records for stop in prompts.COMPLETION_STOPS
    )


def test_syncode_takes_our_place(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is allowed is SynCode's; rows that have ended, and steps where it gives up, are free."""
    if not is_installed():
        pytest.skip("syncode is not installed")
    tokenizer = tokenizers.load(tiny_model)
    vocabulary = tokenizer.vocabulary
    mask = SynCodeMask("json", tokenizer.loaded, vocabulary, tmp_path)
    end = vocabulary.eos[0]
    processor = SynCodeLogits(mask, frozenset(vocabulary.eos))
    prompt = tokenizer.encode('{"a": ', special=False)
    processor(torch.tensor([prompt] * 3), torch.zeros(3, 520))
    one = tokenizer.encode("[", special=False)
    odd = tokenizer.encode("]", special=False)
    assert len(one) == len(odd) == 1
    scores = torch.randn(3, 520)
    before = scores.clone()
    rows = [[*prompt, *one], [*prompt, end], [*prompt, *odd]]
    after = processor(torch.tensor(rows), scores)
    allowed = torch.from_numpy(mask.allowed(rows[0]))
    assert 0 < int(allowed.sum()) < len(vocabulary)
    assert torch.equal(torch.isfinite(after[0, : len(vocabulary)]), allowed)
    assert torch.isinf(after[0, len(vocabulary) :]).all()
    assert torch.equal(after[0, : len(vocabulary)][allowed], before[0, : len(vocabulary)][allowed])
    assert torch.equal(after[1], before[1])
    with pytest.raises(SynCodeGaveUp):
        mask.allowed(rows[2])
    assert torch.equal(after[2], before[2])
    assert processor.seconds > 0


def test_a_run_with_syncode(tiny_model: Path, tmp_path: Path) -> None:
    if not is_installed():
        pytest.skip("syncode is not installed")
    settings = {"mask": Mask.SYNCODE, "grammar": "json", "max_tokens": 4, "n": 2}
    records = run(tiny_model, tmp_path / "run", **settings)
    assert len(records) == 4
    assert not any("log_z" in r and r["log_z"] is not None for r in records)


def test_allowed_tokens_keep_their_logits(tiny_model: Path) -> None:
    tokenizer = tokenizers.load(tiny_model)
    task = load_humaneval()[0]
    prompt = prompts.build(task, PromptKind.COMPLETION, "python", tokenizer)
    grammar = compile_grammar("python", tokenizer.vocabulary)
    processor = GrammarLogits(grammar, prompt, 2)
    ids = torch.tensor([prompt.ids] * 2)
    drawn = torch.tensor([tokenizer.encode("    return (", special=False)[:3]] * 2)
    processor(ids, torch.zeros(2, 512))
    scores = torch.randn(2, 512)
    before = scores.clone()
    after = processor(torch.cat([ids, drawn], dim=1), scores)
    reader = grammar.matcher(task.prompt, completion=True)
    for token in drawn[0].tolist():
        reader.advance(token)
    allowed = torch.tensor([bool(reader.mask()[t // 32] >> (t % 32) & 1) for t in range(512)])
    assert 0 < int(allowed.sum()) < 512
    assert torch.equal(after[:, allowed], before[:, allowed])
    assert torch.isinf(after[:, ~allowed]).all()
