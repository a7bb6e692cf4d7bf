# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from gars_vllm.engine import prompts, tokenizers
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.programs import Mode
from gars_vllm.engine.prompts import COMPLETION_STOPS, PromptKind
from gars_vllm.engine.tasks import Task
from gars_vllm.engine.tokenizers import Encoder

CODE = Task("T/0", "def f(x):\n", "f", "def check(f): pass")
QUESTION = Task("T/1", "Three names, as JSON")


@pytest.mark.parametrize(
    ("task", "kind", "grammar", "prefix", "mode", "stop"),
    [
        (CODE, "completion", "python", "def f(x):\n", Mode.COMPLETION, ()),
        (CODE, "completion", "none", "def f(x):\n", Mode.COMPLETION, COMPLETION_STOPS),
        (CODE, "chat", "python", "", Mode.FENCE, ()),
        (CODE, "chat", "none", "", Mode.FENCE, ("\n```",)),
        (QUESTION, "chat", "json", "", Mode.TEXT, ()),
        (Task("T/2", "[1, ", None), "completion", "json", "[1, ", Mode.TEXT, ()),
        (Task("T/2", "A list:", grammar_prefix=""), "completion", "json", "", Mode.TEXT, ()),
    ],
)
def test_build(
    tiny_model: Path, task: Task, kind: str, grammar: str, prefix: str, mode: Mode,
    stop: tuple[str, ...],
) -> None:  # fmt: skip
    tokenizer = tokenizers.load(tiny_model)
    made = prompts.build(task, PromptKind(kind), grammar, tokenizer)
    assert (made.prefix, made.mode, made.stop) == (prefix, mode, stop)
    text = Encoder.of(tiny_model).backend.decode(list(made.ids), skip_special_tokens=False)
    if kind == "completion":
        assert text == task.prompt
    elif task is CODE:
        assert text.startswith("<|user|>Complete this Python code.")
        assert text.endswith("```python\ndef f(x):\n```<|end|><|bot|>```python\n")
    else:
        assert text == f"<|user|>{task.prompt}<|end|><|bot|>"


def test_context_length(tiny_model: Path) -> None:
    tokenizer = tokenizers.load(tiny_model)
    made = [
        prompts.build(t, PromptKind.COMPLETION, "none", tokenizer)
        for t in (CODE, Task("T/9", "x = 1\n" * 200))
    ]
    longest = len(made[1].ids)
    assert prompts.context_length(made, 100, None) == longest + 100
    assert prompts.context_length(made[:1], 100, 512) == len(made[0].ids) + 100
    with pytest.raises(UserError, match=r"T/9 has [\d,]+ tokens.*context of 512.*leave that task"):
        prompts.context_length(made, 100, 512)
    with pytest.raises(UserError, match=rf"use --max-tokens {512 - len(made[0].ids)} at most"):
        prompts.context_length(made[:1], 1000, 512)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('a system message comes first') }}", "a system message comes first"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ messages[0].content.nothing() }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_a_template_that_raises_is_one_line(tiny_model: Path, template: str, words: str) -> None:
    tokenizer = tokenizers.load(tiny_model)
    kept, tokenizer.loaded.chat_template = tokenizer.loaded.chat_template, template
    try:
        with pytest.raises(UserError, match=r"^the model's chat template cannot put T/0") as caught:
            prompts.build(CODE, PromptKind.CHAT, "python", tokenizer)
    finally:
        tokenizer.loaded.chat_template = kept
    assert words in str(caught.value)
    assert "use --prompt-kind completion" in str(caught.value)
