# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
from gars_vllm.engine import tokenizers
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.tokenizers import CHECK_TEXT, Encoder


def test_a_good_tokenizer_is_taken_as_it_is(tiny_model: Path) -> None:
    found = tokenizers.load(tiny_model)
    assert not found.repaired
    assert found.folder == tiny_model
    assert len(found.vocabulary) == 512  # the model's width, the tokenizer's 500 padded
    assert found.vocabulary.eos == (0,)
    assert b"".join(found.vocabulary.texts(found.encode(CHECK_TEXT))) == CHECK_TEXT.encode()


def test_the_deepseek_trap_is_repaired(changed_model) -> None:  # type: ignore[no-untyped-def]
    """A byte-level tokenizer that says it is Llama's: transformers rebuilds it, blanks are lost."""
    from transformers import AutoTokenizer

    folder = changed_model(tokenizer_config={"tokenizer_class": "LlamaTokenizerFast"})
    broken = AutoTokenizer.from_pretrained(str(folder))
    ids = broken.encode(CHECK_TEXT, add_special_tokens=False)
    assert broken.decode(ids) != CHECK_TEXT, "transformers has mended this: drop the repair"
    found = tokenizers.load(folder)
    assert found.repaired
    assert found.folder != folder
    fixed = AutoTokenizer.from_pretrained(str(found.folder))
    ids = fixed.encode(CHECK_TEXT, add_special_tokens=False)
    assert fixed.decode(ids) == CHECK_TEXT
    assert ids == Encoder.of(folder).encode(CHECK_TEXT)
    assert found.vocabulary.eos == (0,)
    assert tokenizers.load(folder).folder == found.folder  # made once
    # what vLLM's worker reads from the copy has the width and the ends of the model's own
    from gars_vllm.grammar import Vocabulary

    assert Vocabulary.from_tokenizer(found.folder).digest == found.vocabulary.digest


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config": {"vocab_size": 400}}, "its tokenizer has 500 tokens and the model 400"),
        ({"config": {"vocab_size": 9000}}, "its tokenizer has 500 tokens and the model 9,000"),
        (
            {
                "config": {"eos_token_id": None},
                "generation_config": {"eos_token_id": None},
                "tokenizer_config": {"eos_token": None},
            },
            "no end-of-text token is named",
        ),
        ({"tokenizer": {"normalizer": {"type": "Lowercase"}}}, "do not join to the program again"),
        ({"tokenizer": {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}},
         "the bytes of its tokens cannot be known"),
    ],
)  # fmt: skip
def test_a_useless_tokenizer_is_refused(changed_model, files, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=message):
        tokenizers.load(changed_model(**files))


def test_a_missing_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds no tokenizer.json"):
        tokenizers.load(tmp_path)


def test_chat(tiny_model: Path, changed_model) -> None:  # type: ignore[no-untyped-def]
    found = tokenizers.load(tiny_model)
    ids = found.chat("hello", "```python\n")
    backend = Encoder.of(tiny_model).backend
    assert (
        backend.decode(ids, skip_special_tokens=False) == "<|user|>hello<|end|><|bot|>```python\n"
    )
    folder = changed_model()
    for file in folder.glob("*.jinja"):
        file.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="no chat template"):
        tokenizers.load(folder).chat("hello", "")
