# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.models.prompt_kinds import PromptEnd, PromptKind
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks import programs, prompts
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.tasks.programs import Mode
from gars_vllm.engine.tasks.prompts import COMPLETION_STOPS
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.grammar import compile_grammar
from gars_vllm.grammar.languages.python import oracle

CODE = Task("T/0", "def f(x):\n", "f", "def check(f): pass")
TYPED = Task("T/3", "from typing import List\n\n\ndef f(x: List[int]) -> int:\n", "f", "...")
QUESTION = Task("T/1", "Three names, as JSON")


@pytest.mark.parametrize(
    ("task", "kind", "grammar", "prefix", "mode", "stop"),
    [
        (CODE, "completion", "python", "def f(x):\n", Mode.COMPLETION, ()),
        (CODE, "completion", "none", "def f(x):\n", Mode.COMPLETION, COMPLETION_STOPS),
        (CODE, "chat", "python", "", Mode.FENCE, ()),
        (CODE, "chat", "none", "", Mode.FENCE, ("\n```",)),
        (TYPED, "chat", "python", "from typing import List\n\n\n", Mode.FENCE, ()),
        (TYPED, "chat", "none", "from typing import List\n\n\n", Mode.FENCE, ("\n```",)),
        (TYPED, "chat", "json", "", Mode.TEXT, ()),
        (
            replace(TYPED, grammar_prefix="import os\n"),
            "chat",
            "python",
            "import os\n",
            Mode.FENCE,
            (),
        ),
        (TYPED, "completion", "python", TYPED.prompt, Mode.COMPLETION, ()),
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
    elif task is QUESTION:
        assert text == f"<|user|>{task.prompt}<|end|><|bot|>"


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("def f():\n", ""),
        ("import os\n\ndef g():\n    return 1\n@os.x\ndef f():\n    ''\n",
         "import os\n\ndef g():\n    return 1\n\n\n"),
        ("import os\nasync def f(a,\n    b):\n", "import os\n\n\n"),
        ("import os\nclass f(g):\n", "import os\n\n\n"),
        ("import os\ndef f_2():\n", ""),
        ("import os\nasync  def\tf(:\n\n  (", "import os\n\n\n"),
        ("X = 1\ndef f():\n    pass\nY = X\ndef f():\n", "X = 1\ndef f():\n    pass\nY = X\n\n\n"),
        ("# only a comment\n\ndef f():\n", ""),
        ("Write\n\ndef f():\n\nthat adds.", ""),
        ("Please write\n\ndef f():\n\nthat adds.", ""),
        ("'''\ndef f():\n'''\n", ""),
        ("import os", ""),
    ],
)  # fmt: skip
def test_what_stands_before_the_function(prompt: str, found: str) -> None:
    assert oracle.preamble(prompt, "f") == found
    assert oracle.preamble(prompt, None) == ""


def test_humanevals_answers_have_the_prompts_imports_and_helpers(tiny_model: Path) -> None:
    """The mask has read them, an answer may repeat them or leave them out."""
    grammar = compile_grammar("python", tokenizers.load(tiny_model).vocabulary)
    tasks = load_humaneval()
    found = {task.task_id: oracle.preamble(task.prompt, task.entry_point) for task in tasks}
    assert sum(map(bool, found.values())) == 26
    assert found["HumanEval/0"] == "from typing import List\n\n\n"
    assert "def encode_cyclic" in found["HumanEval/38"]
    for task in tasks:
        before = found[task.task_id]
        head = before.rstrip("\n")
        answer = task.prompt + (task.canonical_solution or "")
        assert answer.lstrip("\n").startswith(head.lstrip("\n"))
        rest = answer.lstrip("\n")[len(head.lstrip("\n")) :].lstrip("\n")
        for text in (answer, rest):
            reader = programs.matcher(grammar, before, Mode.FENCE)
            reader.advance_text(text.rstrip() + "\n```")
            assert reader.is_done()
            assert oracle.objection(before + text) is None
        assert programs.meaning(before + rest) == programs.meaning(answer)


@pytest.mark.parametrize(
    ("end", "shown", "prefix", "heal"),
    [
        (PromptEnd.KEPT, "def f(x):\n", "def f(x):\n", ""),
        (PromptEnd.NO_NEWLINE, "def f(x):", "def f(x):", ""),
        (PromptEnd.HEALED, "def f(x", "def f(x", "):\n"),
    ],
)
def test_where_a_prompt_ends(
    tiny_model: Path, end: PromptEnd, shown: str, prefix: str, heal: str
) -> None:
    tokenizer = tokenizers.load(tiny_model)

    def build(task: Task, kind: PromptKind = PromptKind.COMPLETION) -> prompts.Prompt:
        return prompts.build(task, kind, "python", tokenizer, end)

    made = build(CODE)
    text = tokenizer.vocabulary.texts(made.ids)
    if end is PromptEnd.HEALED:  # whatever this tokenizer's last token is
        last = tokenizer.vocabulary.tokens[tokenizer.encode(CODE.prompt)[-1]]
        assert last is not None
        heal = last.decode()
        shown = prefix = CODE.prompt.removesuffix(heal)
    assert (b"".join(text).decode(), made.prefix, made.heal) == (shown, prefix, heal)
    answered = replace(CODE, grammar_prefix="x = 1\n")
    for task, kind in ((answered, PromptKind.COMPLETION), (CODE, PromptKind.CHAT)):
        assert build(task, kind) == prompts.build(task, kind, "python", tokenizer)
    for prompt in ("x", "", "x = 'é"):  # nothing but one token, none, or part of a character
        short = Task("T/5", prompt + "\n" if prompt and end is PromptEnd.NO_NEWLINE else prompt)
        found = build(short) if prompt else None
        assert found is None or found.prefix + found.heal == prompt


def test_without_a_grammar_nothing_is_healed(tiny_model: Path) -> None:
    made = prompts.build(
        CODE, PromptKind.COMPLETION, "none", tokenizers.load(tiny_model), PromptEnd.HEALED
    )
    assert (made.prefix, made.heal) == (CODE.prompt, "")


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
