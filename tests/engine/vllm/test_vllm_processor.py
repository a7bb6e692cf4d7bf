# SPDX-License-Identifier: Apache-2.0
"""What vLLM's V1 runner does to a processor, done to ours: rows come, move, swap and go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gars_vllm.engine.masking.syncode_mask import SynCodeMask, is_installed
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks import programs
from gars_vllm.engine.vllm.processor import GrammarProcessor
from gars_vllm.grammar import Vocabulary, compile_grammar
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

UNIDIRECTIONAL, SWAP = MoveDirectionality.UNIDIRECTIONAL, MoveDirectionality.SWAP
WIDTH = 512


@pytest.fixture
def processor(vllm_config: Callable[..., Any]) -> GrammarProcessor:
    return GrammarProcessor(vllm_config(), torch.device("cpu"), False)


def params(
    grammar: str | None, prefix: str = "", mode: str = "text", max_tokens: int | None = None,
    **more: Any,
) -> SamplingParams:  # fmt: skip
    args = {"grammar": grammar, "grammar_prefix": prefix, "grammar_mode": mode}
    return SamplingParams(extra_args=args if grammar else None, max_tokens=max_tokens, **more)


def update(processor: GrammarProcessor, size: int, added=(), removed=(), moved=()) -> None:  # type: ignore[no-untyped-def]
    processor.update_state(BatchUpdate(size, list(removed), list(added), list(moved)))


def expected(tiny_model: Path, grammar: str, prefix: str, tokens: list[int]) -> torch.Tensor:
    """bool [WIDTH], by a matcher of its own."""
    compiled = compile_grammar(grammar, Encoder.of(tiny_model).vocabulary)
    matcher = programs.matcher(compiled, prefix, "text")
    for token in tokens:
        matcher.advance(token)
    allowed = torch.zeros(WIDTH, dtype=torch.bool)
    for token in range(WIDTH):
        allowed[token] = bool(matcher.mask()[token // 32] >> (token % 32) & 1)
    return allowed


def check(processor: GrammarProcessor, rows: list[torch.Tensor | None]) -> None:
    """The masked logits are -inf where a row's grammar forbids and untouched elsewhere."""
    logits = torch.randn(len(rows), WIDTH)
    before = logits.clone()
    after = processor.apply(logits)
    for row, allowed in enumerate(rows):
        kept = torch.ones(WIDTH, dtype=torch.bool) if allowed is None else allowed
        assert torch.equal(after[row][kept], before[row][kept])
        assert torch.isinf(after[row][~kept]).all()


def test_mixed_rows_move_and_go(processor: GrammarProcessor, tiny_model: Path) -> None:
    encode = Encoder.of(tiny_model).encode
    outputs: list[list[int]] = [[], [], []]
    update(
        processor, 3,
        added=[(0, params("python"), None, outputs[0]), (1, params(None), None, outputs[1]),
               (2, params("json"), None, outputs[2])],
    )  # fmt: skip
    check(
        processor,
        [expected(tiny_model, "python", "", []), None, expected(tiny_model, "json", "", [])],
    )
    outputs[0] += encode("def f(")
    outputs[1] += encode("anything (")
    outputs[2] += encode('{"a')
    python = expected(tiny_model, "python", "def f(", [])
    json_ = expected(tiny_model, "json", '{"a', [])
    check(processor, [python, None, json_])
    check(processor, [python, None, json_])  # called twice for one step: nothing moves on
    update(processor, 3, moved=[(0, 2, SWAP)])
    check(processor, [json_, None, python])
    update(processor, 2, removed=[1], moved=[(2, 1, UNIDIRECTIONAL)])
    check(processor, [json_, python])
    # an add may take the place of a row that was never removed
    update(processor, 2, added=[(0, params(None), None, [])])
    check(processor, [None, python])
    update(processor, 1, removed=[1])
    check(processor, [None])
    assert not processor._v1


def test_a_preempted_request_comes_back_with_its_tokens(
    processor: GrammarProcessor, tiny_model: Path
) -> None:
    output = Encoder.of(tiny_model).encode("x = (1,")
    update(processor, 1, added=[(0, params("python", "y = 2\n"), None, list(output))])
    check(processor, [expected(tiny_model, "python", "y = 2\n", output)])


def test_a_prefix_that_does_not_fit_is_left_free(processor: GrammarProcessor) -> None:
    update(processor, 1, added=[(0, params("python", "x = )"), None, [])])
    check(processor, [None])


def test_hidden_tokens_end_the_request(
    processor: GrammarProcessor, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a text that is not known nothing can be allowed but its end; other requests go on."""
    update(
        processor, 2,
        added=[(0, params("python"), None, [-1]), (1, params("python"), None, [])],
    )  # fmt: skip
    only_end = torch.zeros(WIDTH, dtype=torch.bool)
    only_end[0] = True
    before = torch.randn(2, WIDTH)
    after = processor.apply(before.clone())
    assert torch.equal(torch.isfinite(after[0]), only_end)
    assert torch.isfinite(after[1]).sum() > 50
    assert [r.levelname for r in caplog.records] == ["ERROR"]
    assert "--logits-processors gars_vllm.engine.vllm.processor:GrammarProcessor" in caplog.text


def test_a_forbidden_token_frees_its_request(
    processor: GrammarProcessor, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outputs = [Encoder.of(tiny_model).encode("x = )"), Encoder.of(tiny_model).encode("x = (")]
    added = [(i, params("python"), None, output) for i, output in enumerate(outputs)]
    update(processor, 2, added=added)
    check(processor, [None, expected(tiny_model, "python", "x = (", [])])
    outputs[0].append(5)
    check(processor, [None, expected(tiny_model, "python", "x = (", [])])
    assert len(caplog.records) == 1
    assert "a request is no longer constrained by its grammar: token" in caplog.text


def test_where_two_rules_leave_nothing_the_grammar_decides(
    processor: GrammarProcessor, tiny_model: Path
) -> None:
    """min_tokens has taken EOS away from a text that can only end."""
    tokens = Encoder.of(tiny_model).encode("1")
    update(
        processor, 2,
        added=[(0, params("json", max_tokens=9, min_tokens=8), None, tokens),
               (1, params("python", min_tokens=8), None, [])],
    )  # fmt: skip
    logits = torch.randn(2, WIDTH)
    logits[0] = -torch.inf
    logits[1, 0] = -torch.inf  # EOS
    after = processor.apply(logits)
    allowed = expected(tiny_model, "json", "", tokens)
    assert torch.equal(after[0] == 0, allowed)
    assert torch.isinf(after[0][~allowed]).all()
    assert torch.isinf(after[1, 0])  # here the other tokens are enough


def bits_of(mask: np.ndarray) -> torch.Tensor:  # type: ignore[type-arg]
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[:WIDTH]
    return torch.from_numpy(bits.astype(bool))


def test_requests_are_checked_in_the_front_end() -> None:
    GrammarProcessor.validate_params(params(None))
    GrammarProcessor.validate_params(params("python", "def f():\n", mode="completion"))
    GrammarProcessor.validate_params(SamplingParams(extra_args={"program": "x", "draw_more": 3}))
    free = SamplingParams(structured_outputs=StructuredOutputsParams(regex="a+"))
    GrammarProcessor.validate_params(free)
    wrong = [
        (params("pythn"), "unknown grammar 'pythn'; use python"),
        (params("python", "x = )"), "grammar_prefix does not fit python"),
        (
            SamplingParams(
                extra_args={"grammar": "json", "grammar_prefix": "[", "grammar_heal": "}"}
            ),
            "grammar_heal does not fit json after the prefix",
        ),
        (SamplingParams(extra_args={"grammar_prefix": "x"}), "grammar_prefix without grammar"),
        (SamplingParams(extra_args={"grammer": "python"}), "grammer is no .*did you mean grammar?"),
        (
            SamplingParams(extra_args={"grammar": "json", "grammar_closing": "maybe"}),
            r"grammar_closing is true or false .*: got 'maybe'",
        ),
        (
            params("json", structured_outputs=StructuredOutputsParams(regex="a+")),
            "grammar=json and structured_outputs",
        ),
    ]
    for asked, message in wrong:
        with pytest.raises(ValueError, match=message) as error:
            GrammarProcessor.validate_params(asked)
        assert "\n" not in str(error.value)


def test_a_server_opens_no_file_that_a_client_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret.lark"
    file.write_text('start: "a"')
    monkeypatch.delenv("GARS_GRAMMAR_FILES", raising=False)
    other = tmp_path / "other.lark"
    for allowed in ("", "0", str(other), f"{other}:{tmp_path}"):
        monkeypatch.setenv("GARS_GRAMMAR_FILES", allowed)
        for name in (str(file), f"{file}/.", f"{tmp_path}/../{tmp_path.name}/secret.lark"):
            with pytest.raises(ValueError, match=r"takes no grammar from that file; start it with"):
                GrammarProcessor.validate_params(params(name))
    for allowed in ("1", f"{other}:{file}"):
        monkeypatch.setenv("GARS_GRAMMAR_FILES", allowed)
        GrammarProcessor.validate_params(params(str(file)))


def test_the_table_grows(processor: GrammarProcessor, tiny_model: Path) -> None:
    """More distinct masks than the table begins with; the earlier ones stay right."""
    encode = Encoder.of(tiny_model).encode
    texts = ["(" * i + "[" * j for i in range(12) for j in range(12)]
    added = [(i, params("python"), None, encode(t)) for i, t in enumerate(texts)]
    update(processor, len(texts), added=added)
    rows = [expected(tiny_model, "python", t, []) for t in texts]
    check(processor, list(rows))
    check(processor, list(rows))


def test_a_budget_brings_the_text_to_its_end(processor: GrammarProcessor, tiny_model: Path) -> None:
    """The mask is the matcher's for the tokens that are left, counted by the output."""
    encode = Encoder.of(tiny_model).encode
    compiled = compile_grammar("python", Encoder.of(tiny_model).vocabulary)
    output = encode("x = ((1")
    asked = params("python", max_tokens=len(output) + 2)
    free = params("python", max_tokens=len(output) + 2)
    assert free.extra_args is not None
    free.extra_args["grammar_closing"] = False
    update(processor, 2, added=[(0, asked, None, output), (1, free, None, list(output))])
    matcher = compiled.matcher("x = ((1")
    masks = [matcher.mask(2), matcher.mask()]
    bits = [np.unpackbits(m.view(np.uint8), bitorder="little")[:WIDTH] for m in masks]
    rows = [torch.from_numpy(b.astype(bool)) for b in bits]
    assert rows[0].sum() < rows[1].sum()
    check(processor, list(rows))


def test_the_models_context_is_a_budget_too(processor: GrammarProcessor, tiny_model: Path) -> None:
    """vLLM ends a request where its context is full, whatever max_tokens says (here 1,024)."""
    output = Encoder.of(tiny_model).encode("x = ((1")
    prompt = [5] * (1024 - len(output) - 2)
    update(processor, 1, added=[(0, params("python", max_tokens=900), prompt, output)])
    compiled = compile_grammar("python", Encoder.of(tiny_model).vocabulary)
    check(processor, [bits_of(compiled.matcher("x = ((1").mask(2))])


def test_syncode_takes_our_place(
    processor: GrammarProcessor, tiny_model: Path, tmp_path: Path
) -> None:
    if not is_installed():
        pytest.skip("syncode is not installed")
    encoder = Encoder.of(tiny_model)
    prompt, output = encoder.encode('{"a": '), encoder.encode("[1")
    asked = params("json")
    assert asked.extra_args is not None
    asked.extra_args["grammar_mask"] = "syncode"
    update(processor, 2, added=[(0, asked, prompt, output), (1, params(None), None, [])])
    loaded = tokenizers.load(tiny_model).loaded
    vocabulary = Vocabulary.from_tokenizer(tiny_model, WIDTH)
    allowed = SynCodeMask("json", loaded, vocabulary, tmp_path).allowed([*prompt, *output])
    assert 0 < allowed.sum() < WIDTH
    check(processor, [torch.from_numpy(allowed), None])
