# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.models.tokenizers import CHECK_TEXT, Encoder


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


def added(index: int, content: str, special: bool = False) -> dict[str, object]:
    return {
        "id": index, "content": content, "special": special,
        "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
    }  # fmt: skip


def test_special_tokens_written_in_a_program_are_text(tiny_model: Path) -> None:
    encoder = Encoder.of(tiny_model)
    text = "x = '<|end|>' # <|user|>\n"
    assert b"".join(encoder.vocabulary.texts(encoder.encode(text))) == text.encode()


def test_a_token_that_is_decoded_otherwise_is_refused_by_name(changed_model) -> None:  # type: ignore[no-untyped-def]
    """An id that the library gives to another token: it takes no number from the file."""
    special = [added(i, name, True) for i, name in enumerate(("<|end|>", "<|user|>", "<|bot|>"))]
    folder = changed_model(tokenizer={"added_tokens": [*special, added(505, "<tool>")]})
    with pytest.raises(UserError, match=r"make b'<tool>' of token 505 \(None\) in a text"):
        Encoder.of(folder)


@pytest.mark.parametrize(
    ("vocabulary", "decoder", "message"),
    [
        ({"a": 0, "b": 1}, None, "neither byte-level"),
        ({"日": 0}, {"type": "Fuse"}, "none of its tokens is plain text"),
        ({"a": 0, "b": "c"}, {"type": "Fuse"}, "not a tokenizer.json"),
    ],
)  # fmt: skip
def test_what_is_refused_without_a_model(
    tmp_path: Path, vocabulary: object, decoder: object, message: str
) -> None:
    record = {"version": "1.0", "added_tokens": [], "decoder": decoder,
              "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message) as caught:
        Encoder.of(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_the_library_cannot_read(changed_model) -> None:  # type: ignore[no-untyped-def]
    folder = changed_model(tokenizer={"pre_tokenizer": {"type": "Later"}})
    with pytest.raises(UserError, match="the tokenizers library cannot read it"):
        tokenizers.load(folder)


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
