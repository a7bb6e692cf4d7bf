# SPDX-License-Identifier: Apache-2.0
"""The bytes of tokens, beside what the tokenizers library's own decoders make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.grammar import Vocabulary, VocabularyError
from tokenizers import Tokenizer

REPLACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
FALLBACK = {"type": "ByteFallback"}
FUSE = {"type": "Fuse"}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}

# Whether a text's first token loses a blank, and the decoder.
DECODERS: dict[str, tuple[bool, dict[str, Any]]] = {
    "byte-level": (False, BYTE_LEVEL),
    "gemma": (False, {"type": "Sequence", "decoders": [REPLACE, FALLBACK, FUSE]}),
    "llama": (True, {"type": "Sequence", "decoders": [REPLACE, FALLBACK, FUSE, STRIP]}),
    "strip each token": (False, {"type": "Sequence", "decoders": [
        REPLACE, {"type": "Strip", "content": " ", "start": 2, "stop": 0}, FUSE]}),
    "strip the text of another character": (False, {"type": "Sequence", "decoders": [
        FUSE, STRIP | {"content": "_"}]}),
    "strip both ends of each token": (False, {"type": "Strip", "content": "_", "start": 2, "stop": 1}),
    "bytes alone": (False, FALLBACK),
    "a mark of two characters": (False, REPLACE | {"pattern": {"String": "##"}}),
    "a prefix, then byte-level": (False, {"type": "Sequence", "decoders": [
        REPLACE | {"content": ""}, BYTE_LEVEL]}),
    "metaspace": (True, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}),
    "metaspace, first": (True, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}),
    "metaspace, never": (False, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}),
    "metaspace, as it was": (True, {"type": "Metaspace", "replacement": "▁"}),
    "wordpiece": (True, {"type": "WordPiece", "prefix": "##", "cleanup": False}),
    "fuse": (False, FUSE),
    "nothing": (False, {"type": "Sequence", "decoders": []}),
}  # fmt: skip

PIECES = [
    "a", "▁", "▁▁▁▁", "▁a", "a▁b", "▁a▁", "ab##", "##", "##a", "###", "Ġa", "ĠĠĊ", "é", "ü", "日", "\ufffd",
    "<0x41>", "<0x0A>", "<0x20>", "<0xE2>", "<0xff>", "<0xzz>", "<0x 4>", "<0x4>", "<0x041>", "  x ", "_x_",
    " ", "  ", "\n\n", "don't", ".", "</s", "<s>", "ï¿½", "Ã", "\t▁",
]  # fmt: skip


def record(decoder: object, pieces: list[str] = PIECES, **fields: object) -> dict[str, Any]:
    """A tokenizer.json of these pieces and of five added ones, the first of them special."""
    model = {"type": "BPE", "vocab": {p: i for i, p in enumerate(pieces)}, "merges": []}
    added = [
        {
            "id": len(pieces) + i, "content": content, "special": content == "<|end|>",
            "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        }
        for i, content in enumerate(("<|end|>", "▁▁▁▁▁▁▁", "ĠĠĠ", "ÿ", "<x>"))
    ]  # fmt: skip
    return {"version": "1.0", "truncation": None, "padding": None, "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": decoder,
            "added_tokens": added, "model": model} | fields  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
def test_the_bytes_of_a_token_are_what_the_library_makes_of_it(name: str) -> None:
    loses_blank, decoder = DECODERS[name]
    backend = Tokenizer.from_str(json.dumps(record(decoder)))
    found = Vocabulary.from_tokenizer(backend)
    assert found.leading_space == loses_blank
    assert len(found) == len(PIECES) + 5
    ids = [i for i in range(len(found)) if backend.id_to_token(i) != "<|end|>"]
    for index in ids:
        before, whole = (
            backend.decode(row, skip_special_tokens=False) for row in ([0], [0, index, 0])
        )
        text = found.tokens[index] or b""
        expected = before.encode() + text + (found.tokens[0] or b"")
        assert expected.decode("utf-8", "replace") == whole, backend.id_to_token(index)
    assert found.tokens[len(PIECES)] is None


def test_an_added_run_of_blanks_is_blanks() -> None:
    """Gemma's: every indentation is one."""
    found = Vocabulary.from_tokenizer(Tokenizer.from_str(json.dumps(record(DECODERS["gemma"][1]))))
    assert found.tokens[len(PIECES) + 1] == b" " * 7


def test_an_added_token_of_byte_level_is_read_as_any_other() -> None:
    """DeepSeek-Coder adds `ÿ` and its like for bytes that no text in UTF-8 holds."""
    found = Vocabulary.from_tokenizer(Tokenizer.from_str(json.dumps(record(BYTE_LEVEL))))
    assert found.tokens[len(PIECES) + 2 : len(PIECES) + 4] == (b"   ", b"\xff")


def test_bytes_that_are_no_text() -> None:
    file = record(DECODERS["gemma"][1])
    tokens = Vocabulary.from_tokenizer(Tokenizer.from_str(json.dumps(file))).tokens
    assert tokens[PIECES.index("<0xE2>")] == b"\xe2"
    assert tokens[PIECES.index("<0xff>")] == b"\xff"
    assert tokens[PIECES.index("<0xzz>")] == b"<0xzz>"
    assert tokens[PIECES.index("\ufffd")] == b"\xef\xbf\xbd"


def write(folder: Path, content: object) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def test_tokens_that_no_text_is_written_with(tmp_path: Path) -> None:
    """Special, unknown, empty, unused; `<s>` is text where the file says no more (HTML has it)."""
    pieces = ["<unk>", "<s>", "a", ""]
    file = record(FUSE, pieces)
    file["model"] |= {"unk_token": "<unk>", "vocab": {"<unk>": 0, "<s>": 1, "a": 2, "": 4}}
    file["added_tokens"] = [{"id": 6, "content": "<eos>", "special": True}]
    found = Vocabulary.from_tokenizer(write(tmp_path, file), size=9)
    assert found.tokens == (None, b"<s>", b"a", *[None] * 6)


def test_unigram(tmp_path: Path) -> None:
    vocabulary = [["<unk>", 0.0], ["▁a", -1.0], ["a", -2.0], ["a", -2.5]]
    file = record(
        DECODERS["metaspace"][1], model={"unk_id": 0, "vocab": vocabulary}, added_tokens=[]
    )
    found = Vocabulary.from_tokenizer(write(tmp_path, file))
    assert found.tokens == (None, b" a", b"a", b"a")
    assert found.texts([1, 1]) == [b"a", b" a"]


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (None, "neither byte-level"),
        ({"type": "CTC"}, r"a step \(CTC\) that may read a token by those around it"),
        ({"type": "BPEDecoder", "suffix": "</w>"}, r"\(BPEDecoder\) that may read"),
        ({"type": "Later"}, r"\(Later\) that may read"),
        ({"type": "WordPiece", "prefix": "##", "cleanup": True}, r"\(WordPiece\) that takes blanks away"),
        (REPLACE | {"pattern": {"Regex": "▁"}}, r"\(Replace\) that replaces by a regular expression"),
        ({"type": "Sequence", "decoders": [FUSE, REPLACE]}, r"\(Replace\) that comes after its tokens"),
        ({"type": "Sequence", "decoders": [FALLBACK, REPLACE]}, r"\(Replace\) that comes after its tokens"),
        ({"type": "Sequence", "decoders": [FALLBACK, STRIP]}, r"\(Strip\) that comes after its tokens"),
        ({"type": "Sequence", "decoders": [BYTE_LEVEL, REPLACE]}, r"\(Replace\) that comes after"),
    ],
)  # fmt: skip
def test_a_decoder_that_cannot_be_followed_is_refused(
    tmp_path: Path, decoder: object, message: str
) -> None:
    with pytest.raises(VocabularyError, match=message) as caught:
        Vocabulary.from_tokenizer(write(tmp_path, record(decoder)))
    assert str(caught.value).startswith(f"{tmp_path / 'tokenizer.json'}: the tokenizer's decoder")
    assert "the bytes of its tokens cannot be known" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not a tokenizer.json"),
        ({}, "not a tokenizer.json"),
        ({"model": {"vocab": 5}}, "not a tokenizer.json"),
        ({"model": {"vocab": {"a": "b"}}, "decoder": FUSE}, "not a tokenizer.json"),
        ({"model": {"vocab": {"a": -1}}, "decoder": FUSE}, "ids from -1 to -1"),
        ({"model": {"vocab": {"a": 10**12}}, "decoder": FUSE}, "ids from 1000000000000 to"),
        ({"model": {"vocab": {"\ud800": 0}}, "decoder": FUSE}, "not a tokenizer.json"),
        ({"model": {"vocab": {"a": 0}}, "decoder": {"type": "Replace"}}, "not a tokenizer.json"),
        ({"model": {"vocab": {"a": 0, "b": 0}}, "decoder": FUSE}, "'a' and 'b' have one id"),
        ({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1}]}, "not a tokenizer.json"),
    ],
)  # fmt: skip
def test_what_is_no_tokenizer_is_refused_in_one_line(
    tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(VocabularyError, match=message) as caught:
        Vocabulary.from_tokenizer(write(tmp_path, content))
    assert str(caught.value).startswith(f"{tmp_path / 'tokenizer.json'}: ")
    assert "\n" not in str(caught.value)
