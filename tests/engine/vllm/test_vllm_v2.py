# SPDX-License-Identifier: Apache-2.0
"""What Model Runner V2 does to a processor, done to ours on CPU tensors: slots are used again, rows
come in any order, requests come back with tokens, and drafts give a request several rows."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gars_vllm.engine.masking.weights import Weights
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks import programs
from gars_vllm.engine.vllm.processor import GrammarProcessor
from gars_vllm.grammar import compile_grammar
from vllm import SamplingParams

WIDTH, SLOTS, LENGTH = 512, 8, 96
PROMPT = [7, 8, 9]


class Runner:
    """The part of the runner's state that a processor sees, and the calls it makes in a step."""

    def __init__(self, model: Path, config: Any) -> None:
        self.model, self.encoder = model, Encoder.of(model)

        def numbers() -> Any:
            return types.SimpleNamespace(np=np.zeros(SLOTS, np.int32))

        self.states = types.SimpleNamespace(
            device=torch.device("cpu"), max_num_reqs=SLOTS, vocab_size=WIDTH,
            all_token_ids=types.SimpleNamespace(gpu=torch.zeros((SLOTS, LENGTH), dtype=torch.int32)),
            total_len=types.SimpleNamespace(gpu=torch.zeros(SLOTS, dtype=torch.int32)),
            prompt_len=numbers(), prefill_len=numbers(),
        )  # fmt: skip
        self.processor = GrammarProcessor(config, self.states)

    def add(
        self, slot: int, grammar: str | None, output: Sequence[int] = (), **params: Any
    ) -> bool:
        """A request, new or (with `output`) back after a preemption."""
        tokens = [*PROMPT, *output]
        self.states.prompt_len.np[slot] = len(PROMPT)
        self.states.prefill_len.np[slot] = len(tokens)
        args = {"grammar": grammar, **params.pop("args", {})} if grammar else None
        params.setdefault("max_tokens", 900)
        taken = self.processor.add_request(slot, SamplingParams(extra_args=args, **params))
        self.states.all_token_ids.gpu[slot, : len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
        self.states.total_len.gpu[slot] = len(tokens)
        return taken

    def draw(self, slot: int, tokens: Sequence[int]) -> None:
        """The tokens that a step has drawn for a slot."""
        at = int(self.states.total_len.gpu[slot])
        self.states.all_token_ids.gpu[slot, at : at + len(tokens)] = torch.tensor(
            tokens, dtype=torch.int32
        )
        self.states.total_len.gpu[slot] += len(tokens)

    def step(
        self, order: Sequence[int], chunks: int = 1, drafts: dict[int, list[int]] | None = None
    ) -> list[torch.Tensor]:
        """bool [WIDTH] for each row: what is allowed. Rows in the order of `order`; `drafts`: of
        some slots, the tokens drafted after the last."""
        self.processor.apply_staged_writes()
        found: list[torch.Tensor] = []
        for part in np.array_split(np.array(order), chunks):
            rows = [
                (s, i, t) for s in part for i, t in enumerate([-9, *(drafts or {}).get(int(s), [])])
            ]
            context = types.SimpleNamespace(
                idx_mapping_np=part, idx_mapping=torch.from_numpy(part),
                expanded_idx_mapping=torch.tensor([s for s, _, _ in rows]),
                expanded_local_pos=torch.tensor([i for _, i, _ in rows]),
                input_ids=torch.tensor([t for _, _, t in rows]),
            )  # fmt: skip
            logits = torch.randn(len(rows), WIDTH)
            before = logits.clone()
            after = self.processor.apply(logits, context)
            kept = torch.isfinite(after)
            assert torch.equal(after[kept], before[kept])
            found += list(kept)
        return found

    def allowed(self, grammar: str | None, text: str, remaining: int | None = None) -> torch.Tensor:
        if grammar is None:
            return torch.ones(WIDTH, dtype=torch.bool)
        matcher = programs.matcher(compile_grammar(grammar, self.encoder.vocabulary), text, "text")
        bits = np.unpackbits(matcher.mask(remaining).view(np.uint8), bitorder="little")[:WIDTH]
        return torch.from_numpy(bits.astype(bool))

    def check(self, found: list[torch.Tensor], wanted: Sequence[tuple[str | None, str]]) -> None:
        assert len(found) == len(wanted)
        for row, (grammar, text) in zip(found, wanted, strict=True):
            assert torch.equal(row, self.allowed(grammar, text)), (grammar, text)


@pytest.fixture
def runner(tiny_model: Path, vllm_config: Callable[..., Any]) -> Runner:
    return Runner(tiny_model, vllm_config())


def test_rows_in_any_order_declined_ones_among_them(runner: Runner) -> None:
    encode = runner.encoder.encode
    assert runner.add(5, "python")
    assert not runner.add(3, None)
    assert runner.add(0, "json")
    runner.check(runner.step([0, 3, 5]), [("json", ""), (None, ""), ("python", "")])
    runner.draw(0, encode('{"a')[:1])
    runner.draw(5, encode("def")[:1])
    first = {s: runner.encoder.vocabulary.texts(encode(t)[:1]) for s, t in ((0, '{"a'), (5, "def"))}
    texts = {s: b"".join(t).decode() for s, t in first.items()}
    wanted = {0: ("json", texts[0]), 3: (None, ""), 5: ("python", texts[5])}
    for order in ([5, 3, 0], [3, 0], [5], [0, 5, 3]):  # and called again: nothing moves on
        runner.check(runner.step(order), [wanted[s] for s in order])


def test_a_slot_is_used_again(runner: Runner) -> None:
    """By a request with another grammar, and by one without; nothing told that the first had gone."""
    runner.add(2, "python")
    runner.draw(2, runner.encoder.encode("x = (("))
    runner.check(runner.step([2]), [("python", "x = ((")])
    runner.add(2, "json")
    runner.check(runner.step([2]), [("json", "")])
    assert runner.add(2, None) is False
    runner.add(1, "json")
    runner.check(runner.step([2, 1]), [(None, ""), ("json", "")])


def test_what_is_left_in_a_slot_disturbs_nobody(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A request has ended, and a step too many has drawn a token after its end."""
    runner.add(2, "json")
    runner.draw(2, [*runner.encoder.encode("[1]"), 0])
    runner.step([2])
    runner.draw(2, [77])
    runner.add(4, "json")
    runner.check(runner.step([4]), [("json", "")])
    assert not caplog.records


def test_a_request_comes_back_after_a_preemption(runner: Runner) -> None:
    """With prompt and output as what is to be filled in, in a slot that another had."""
    output = runner.encoder.encode("while x:\n    y = [1, 2")
    runner.add(6, "json")
    runner.step([6])
    runner.add(6, "python", output)
    runner.check(runner.step([6]), [("python", "while x:\n    y = [1, 2")])
    runner.draw(6, runner.encoder.encode("]"))
    runner.check(runner.step([6]), [("python", "while x:\n    y = [1, 2]")])


def test_rows_of_an_unfinished_prefill_move_nothing(runner: Runner) -> None:
    runner.add(1, "python")
    for _ in range(3):
        runner.check(runner.step([1]), [("python", "")])


def test_more_tokens_than_a_step_gives(runner: Runner) -> None:
    runner.add(1, "python")
    runner.step([1])
    runner.draw(1, runner.encoder.encode("for i in (1, 2, 3"))
    runner.check(runner.step([1]), [("python", "for i in (1, 2, 3")])


def test_a_budget(runner: Runner) -> None:
    """Of max_tokens, and of what the model's context leaves."""
    output = runner.encoder.encode("x = ((1")
    runner.add(0, "python", output, max_tokens=len(output) + 2)
    runner.processor._v2._context = len(PROMPT) + len(output) + 2  # type: ignore[union-attr]
    runner.add(1, "python", output, max_tokens=90)
    wanted = runner.allowed("python", "x = ((1", 2)
    assert wanted.sum() < runner.allowed("python", "x = ((1").sum()
    for row in runner.step([0, 1]):
        assert torch.equal(row, wanted)


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_drafted_tokens(tiny_model: Path, vllm_config: Callable[..., Any], chunks: int) -> None:
    """Each row is masked after the drafts before it; what follows a forbidden draft, by nothing."""
    runner = Runner(tiny_model, vllm_config(drafted=3))
    encode = runner.encoder.encode
    (bracket,), (one,), (close,) = encode("("), encode("1"), encode("]")
    runner.add(4, "python")
    runner.add(1, None)
    runner.add(7, "json")
    runner.draw(4, [bracket])
    drafts = {4: [bracket, one, close], 1: [one], 7: [one]}
    rows = runner.step([7, 4, 1], chunks, drafts)
    python = [("python", "("), ("python", "(("), ("python", "((1"), (None, "")]
    wanted = [("json", ""), ("json", "1"), *python, (None, ""), (None, "")]
    runner.check(rows, wanted)
    assert not runner.allowed("python", "((1")[close]
    runner.draw(4, [bracket, one, 5])  # two drafts were taken, and one token after them
    text = b"".join(runner.encoder.vocabulary.texts([bracket, bracket, one, 5])).decode()
    runner.check(runner.step([4], 1, {4: [-1, -1]}), [("python", text), (None, ""), (None, "")])


def test_weights(
    tiny_model: Path, vllm_config: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of the distribution at the request's own temperature, by the position that was drawn for."""
    monkeypatch.setenv("GARS_WEIGHTS", str(tmp_path / "weights"))
    runner = Runner(tiny_model, vllm_config())
    weights = Weights(tmp_path / "weights")
    runner.add(3, "json", args={"grammar_key": 41}, temperature=0.5)
    runner.add(2, None)
    total = 0.0
    for text in ("", "[", "[1"):
        runner.processor.apply_staged_writes()
        logits = torch.randn(2, WIDTH)
        allowed = runner.allowed("json", text)
        step = float(torch.log((logits[1] / 0.5).double().softmax(0)[allowed].sum()))
        rows = np.array([2, 3])
        runner.processor.apply(logits, types.SimpleNamespace(idx_mapping_np=rows))
        total += step
        runner.draw(3, runner.encoder.encode("[1]"[len(text) : len(text) + 1]))
    found = weights.read(41, 3, timeout=0)
    assert found is not None
    assert found.log_z == pytest.approx(total, abs=1e-5)
