# SPDX-License-Identifier: Apache-2.0
"""The main job with a source of samples made up here, and once with a real vLLM."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from gars_vllm.engine import programs, sampling
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models import ModelFiles, ModelSpec
from gars_vllm.engine.report import summarise
from gars_vllm.engine.run_folder import RunFolder
from gars_vllm.engine.sampling import Drawn, Request, Settings
from gars_vllm.engine.tasks import Task, load_humaneval, load_prompts, select
from gars_vllm.grammar import Vocabulary, compile_grammar

TASKS = [Task(f"T/{i}", f"def f{i}(x):\n", f"f{i}", "def check(f): pass") for i in range(3)]
SPEC = ModelSpec("toy", "toy/toy", "none", False)


class Fixed:
    """Gives every sample the same text; stops after a number of samples, as a kill would."""

    name = "fixed"

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def draw(self, requests: Iterable[Request]) -> Iterator[Drawn]:
        for count, request in enumerate(requests):
            if count == self.limit:
                raise KeyboardInterrupt
            yield Drawn(request, "    return x\nif", 5, "stop")

    def mask_seconds(self) -> float:
        return 0.0

    def close(self) -> None:
        pass


def test_interrupted_run_continues(tmp_path: Path) -> None:
    settings = Settings(n=4, grammar="none")
    files = ModelFiles(tmp_path, "local")
    arguments = (SPEC, files, TASKS, settings)
    first = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        sampling.run(first, *arguments, lambda folder, s: Fixed(5))
    assert len(list(first.samples.read())) == 5
    import os

    os.close(first._lock or 0)
    second = RunFolder(tmp_path / "run")
    sampling.run(second, *arguments, lambda folder, s: Fixed(99))
    keys = [(r["task_id"], r["sample_index"]) for r in second.samples.read()]
    assert sorted(keys) == [(t.task_id, i) for t in TASKS for i in range(4)]
    summary = summarise(second)
    assert (summary.samples, summary.planned, summary.pass_at[1]) == (12, 12, None)


def test_completion_is_cut_where_the_function_ends() -> None:
    vocabulary = Vocabulary.from_tokens([bytes([i]) for i in range(256)], eos=[256])
    grammar = compile_grammar("python", vocabulary)
    text = '    s = """\nif x:\n"""\n    return s + "é"\n\nprint'
    end = programs.completion_end(grammar, "def f(x):\n", text)
    assert text[:end] == '    s = """\nif x:\n"""\n    return s + "é"\n\n'
    assert programs.is_valid("def f(x):\n" + text[:end], "python")
    assert not programs.is_valid("def f(:", "python")
    assert not programs.is_valid("{", "json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"temperature": 0.0, "n": 2}, "same sample 2 times"),
        ({"top_p": 0.0}, "top-p"),
    ],
)
def test_bad_settings(change: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings(**{"n": 1, **change})  # type: ignore[arg-type]


def test_select() -> None:
    tasks = load_humaneval()
    assert len(tasks) == 164
    assert [t.task_id for t in select(tasks, None, "3,HumanEval/7,10-11")] == [
        "HumanEval/3", "HumanEval/7", "HumanEval/10", "HumanEval/11"]  # fmt: skip
    assert len(select(tasks, 5, None)) == 5
    with pytest.raises(UserError, match="unknown task id 'HumanEval/999'"):
        select(tasks, None, "999")


def test_prompts_file(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps({"prompt": "def a():\n"}) + "\n{oops\n")
    with pytest.raises(UserError, match=r"p.jsonl:2: expected a JSON object"):
        load_prompts(file)


@pytest.mark.vllm
def test_vllm_samples_compile(tmp_path: Path) -> None:
    """A tiny random model draws hot: without the mask nothing it writes would parse."""
    from gars_vllm.engine.vllm_backend import VllmBackend
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers import models as token_models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    made = Tokenizer(token_models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [t.prompt for t in load_humaneval()],
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=["<|end|>"],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    folder = tmp_path / "model"
    config = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>").save_pretrained(folder)
    run = RunFolder(tmp_path / "run")
    settings = Settings(n=6, temperature=1.0, top_p=1.0, max_tokens=60, batch=16, context=512)
    tasks = load_humaneval()[:2]
    sampling.run(run, SPEC, ModelFiles(folder, "local"), tasks, settings, VllmBackend)
    rows = list(run.samples.read())
    assert len(rows) == 12
    finished = [r for r in rows if r["finish_reason"] == "stop"]
    assert all(r["valid"] for r in finished)
    grammar = compile_grammar("python", Vocabulary.from_tokenizer(folder))
    for row in rows:  # also those that were cut off: every one is a prefix of a program
        grammar.matcher(row["program"])
