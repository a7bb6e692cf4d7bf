# SPDX-License-Identifier: Apache-2.0
"""A real vLLM engine with a tiny random model, which draws hot: unmasked, nothing would parse."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main
from gars_vllm.engine.backends.base import Drawn, Job
from gars_vllm.engine.backends.settings import Settings
from gars_vllm.engine.backends.vllm import VllmBackend
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.models.catalogue import lookup
from gars_vllm.engine.models.files import ModelFiles
from gars_vllm.engine.models.prompt_kinds import PromptKind
from gars_vllm.engine.runs import sampling
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.vllm.settings import on_cpu
from gars_vllm.grammar import compile_grammar

pytestmark = pytest.mark.vllm
BATCH = 8  # samples at once, in every engine here: other batches may round differently


class Lasting(VllmBackend):
    """An engine that outlives a run, for all tests of this module; a run calls it for its backend.

    A run has to ask for no weights: its requests are numbered anew, and weights kept by number.
    """

    def __init__(self, model: Path) -> None:
        self._first = Job(model, tokenizers.load(model), Settings(n=1), 1024, BATCH)
        super().__init__(self._first)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile another engine may be this process's: vLLM has one at a time."""
        self.end()
        try:
            yield
        finally:
            super().__init__(self._first)

    def __call__(self, job: Job) -> Lasting:
        assert not job.settings.weights
        assert job.batch <= BATCH
        self._job = job
        return self

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[Lasting]:
    made = Lasting(tiny_model)
    yield made
    made.end()


def test_rows_with_and_without_a_grammar_share_a_batch(tiny_model: Path, engine: Lasting) -> None:
    """Python, JSON and no grammar at all, in one engine, at once."""
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    tokenizer = tokenizers.load(tiny_model)
    prompt = TokensPrompt(prompt_token_ids=tokenizer.encode("x = 1\n"))
    kinds = ["python", "json", None] * 8
    outputs = engine._llm.generate(
        [prompt] * len(kinds),
        [
            SamplingParams(
                temperature=1.0, max_tokens=40, stop_token_ids=[0],
                extra_args={"grammar": kind} if kind else None,
            )
            for kind in kinds
        ],
        use_tqdm=False,
    )  # fmt: skip
    free = 0
    for kind, output in zip(kinds, outputs, strict=True):
        one = output.outputs[0]
        text = b"".join(tokenizer.vocabulary.tokens[i] or b"" for i in one.token_ids)
        if kind is None:
            free += not _is_prefix(tokenizer, "python", text)
            continue
        assert _is_prefix(tokenizer, kind, text)
        if kind == "json":  # whole, be it by its budget
            json.loads(text)
        else:
            with warnings.catch_warnings(action="ignore"):  # `1()` is a program all the same
                compile(text, "sample", "exec")
    assert free, "a random model that writes Python unasked: the rows without a grammar had one"


def _is_prefix(tokenizer: tokenizers.Tokenizer, grammar: str, text: bytes) -> bool:
    try:
        compile_grammar(grammar, tokenizer.vocabulary).matcher().advance_text(text)
    except ValueError:
        return False
    return True


def test_kill_9_loses_only_what_was_in_flight(
    tiny_model: Path, tmp_path: Path, until_samples: Callable[..., None], engine: Lasting
) -> None:
    """The command itself, killed with all its processes in the middle, and run again (here, where
    vLLM is imported already)."""
    out = tmp_path / "run"
    command = [
        sys.executable, "-m", "gars_vllm.cli.main", "sample", "--model", str(tiny_model),
        "--task-ids", "0-9", "--n", "16", "--max-tokens", "80", "--batch", str(BATCH), "--out", str(out),
        "--temperature", "1.0",
    ]  # fmt: skip
    first = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    file = out / "samples.jsonl"
    until_samples(first, file, 30)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = file.read_bytes()
    kept = before[: before.rfind(b"\n") + 1]
    assert 30 <= kept.count(b"\n") < 160
    with engine.away():
        done = CliRunner().invoke(main, command[3:])
    assert done.exit_code == 0, done.output
    assert file.read_bytes().startswith(kept)
    records = [json.loads(line) for line in file.read_text().splitlines()]
    keys = [(r["task_id"], r["sample_index"]) for r in records]
    assert sorted(keys) == sorted((f"HumanEval/{t}", i) for t in range(10) for i in range(16))
    assert len(set(keys)) == 160
    assert len({r["seed"] for r in records}) == 160
    again = RunFolder(tmp_path / "again")
    settings = Settings(n=16, max_tokens=80, temperature=1.0, weights=False)
    files = ModelFiles(tiny_model, "local")
    spec, asked = lookup(str(tiny_model)), load_humaneval()[:10]
    sampling.run(again, spec, files, asked, settings, engine, batch=BATCH)
    undisturbed = list(again.samples.read())
    assert len(undisturbed) == 160
    drawn = {(r["task_id"], r["sample_index"]): r["program"] for r in records}
    same = sum(drawn[r["task_id"], r["sample_index"]] == r["program"] for r in undisturbed)
    assert same >= 156  # where bfloat16 rounds differently in other batches, the text may part
    assert all(r["valid"] for r in records)
    assert {r["finish_reason"] for r in records} == {"stop", "closed"}
    assert len(RunFolder(out).load()["info"]["sessions"]) == 1  # the killed one could not write


def test_chat_at_two_temperatures_with_log_probabilities(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Lasting
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    seen: list[Drawn] = []
    record_of = sampling.record_of
    monkeypatch.setattr(
        sampling, "record_of", lambda d, *more: seen.append(d) or record_of(d, *more)
    )
    run = RunFolder(tmp_path / "run")
    settings = Settings(
        n=8, prompt_kind=PromptKind.CHAT, temperature=(0.7, 1.3), max_tokens=60, logprobs=True,
        weights=False,
    )  # fmt: skip
    spec = lookup(str(tiny_model))
    files = ModelFiles(tiny_model, "local")
    sampling.run(run, spec, files, load_humaneval()[:1], settings, engine, batch=BATCH)
    records = list(run.samples.read())
    assert sorted((r["sample_index"], r["temperature"]) for r in records) == [
        (i, 0.7 if i < 8 else 1.3) for i in range(16)
    ]
    model = AutoModelForCausalLM.from_pretrained(str(tiny_model), dtype=torch.float32).eval()
    for drawn in seen[:6]:  # of the model alone, at temperature 1
        ids = torch.tensor([[*drawn.request.prompt.ids, *drawn.ids]])
        with torch.inference_mode():
            logprobs = model(ids).logits[0, -len(drawn.ids) - 1 : -1].log_softmax(-1)
        theirs = logprobs.gather(1, torch.tensor(drawn.ids)[:, None]).mean()
        ours = next(r for r in records if r["sample_index"] == drawn.request.index)
        assert ours["mean_logprob"] == pytest.approx(theirs.item(), abs=0.02)
    grammar = compile_grammar("python", tokenizers.load(tiny_model).vocabulary)
    for record in records:
        assert grammar.matcher(record["program"]).can_stop()
        assert record["valid"]


def test_a_gpu_is_asked_for_by_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's own count starts CUDA, and what vLLM forks from this process then fails (on a GPU)."""
    import torch

    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    asked = []
    monkeypatch.setenv(name, "")  # so that what is set here is undone
    monkeypatch.delenv(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(os.environ[name]) or True)
    assert not on_cpu()
    assert asked == ["1"]
