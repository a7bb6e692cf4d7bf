# SPDX-License-Identifier: Apache-2.0
"""A real byte-level BPE, trained here on the standard library: tests need no network."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from gars_vllm.grammar import CompiledGrammar, Vocabulary, compile_grammar
from numba.core import config, types
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

if config.BOUNDSCHECK:  # `make test-bounds`: no index of ours counts from the end either
    from numba.np import arrayobj

    arrayobj.fix_integer_index = lambda context, builder, kind, index, _size: context.cast(
        builder, index, kind, types.intp
    )

STDLIB = Path(sysconfig.get_paths()["stdlib"])


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    files = sorted(STDLIB.glob("*.py"))[:60]
    made.train([str(f) for f in files], trainer)
    return made


@pytest.fixture(scope="session")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary.from_tokenizer(tokenizer, eos=[0])


@pytest.fixture(scope="session")
def byte_vocabulary() -> Vocabulary:
    return Vocabulary.from_tokens([bytes([i]) for i in range(256)], eos=[256])


@pytest.fixture(scope="session")
def python(vocabulary: Vocabulary) -> CompiledGrammar:
    return compile_grammar("python", vocabulary)


@pytest.fixture(scope="session")
def python_bytes(byte_vocabulary: Vocabulary) -> CompiledGrammar:
    return compile_grammar("python", byte_vocabulary)


@pytest.fixture(scope="session")
def json_bytes(byte_vocabulary: Vocabulary) -> CompiledGrammar:
    return compile_grammar("json", byte_vocabulary)
