# SPDX-License-Identifier: Apache-2.0
"""A model of a few thousand random weights, and a tokenizer trained here: no network, no downloads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from gars_vllm.engine.sandbox import choice
from gars_vllm.engine.sandbox.tiers import Tier
from hypothesis import settings

# A first call may compile the kernels: seconds on one core, and no fault of the example.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

CHAT = (
    "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|bot|>{% endif %}"
)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One for all of pytest-xdist's workers: each of Python's grammars takes seconds to compile."""
    import os

    from gars_vllm.grammar import disk_cache

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    os.environ["GARS_CACHE"] = str(folder / "cache")
    disk_cache._KEPT = 300  # of which most are small


@dataclass(frozen=True)
class Built:
    """A source archive, the wheel made from it, and the folder that it was unpacked to."""

    sdist: Path
    wheel: Path
    source: Path


_BUILD = (
    "import sys\nfrom setuptools import build_meta\n"
    "print(getattr(build_meta, sys.argv[1])(sys.argv[2]))\n"
)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built as for PyPI, the wheel from the source archive, from a copy: what lies in the build
    folder of a checkout would be packed too."""
    folder = tmp_path_factory.mktemp("built")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns(
        ".*_cache", ".git", ".venv", ".typecheck", ".hypothesis", "__pycache__", "build", "dist",
        "*.egg-info",
    )  # fmt: skip
    root = Path(__file__).parents[1]

    def ignore(folder: str, names: list[str]) -> set[str]:
        users = {"runs"} if Path(folder) == root else set()  # not engine/runs
        return ignored(folder, names) | users

    shutil.copytree(root, tree, ignore=ignore, symlinks=True)

    def build(kind: str, where: Path) -> Path:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _BUILD, f"build_{kind}", str(folder)],
            cwd=where, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return folder / done.stdout.split()[-1]

    sdist = build("sdist", tree)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    return Built(sdist, build("wheel", source), source)


@pytest.fixture(scope="session")
def tier() -> Tier:
    """The strongest tier of this machine."""
    for one in (Tier.BWRAP, Tier.NAMESPACES, Tier.LANDLOCK):
        if choice.available(one) is None:
            return one
    pytest.skip("no sandbox works on this machine")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as vLLM and transformers load it: Llama of one layer, byte-level BPE of 500."""
    import torch
    from gars_vllm.engine.tasks.data_sets import load_humaneval
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers import models as token_models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    made = Tokenizer(token_models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        [t.prompt for t in load_humaneval()],
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=["<|end|>", "<|user|>", "<|bot|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)  # the same weights in every run
    config = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=2048,
        eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer.json of SentencePiece's kind, which knows `x = 1`."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    pieces = [
        "<unk>",
        "</s>",
        *(f"<0x{i:02X}>" for i in range(256)),
        "▁",
        "x",
        "=",
        "1",
        "▁x",
        "▁=",
        "▁1",
    ]
    made = Tokenizer(
        models.BPE(
            {p: i for i, p in enumerate(pieces)}, [("▁", "x"), ("▁", "="), ("▁", "1")],
            unk_token="<unk>", byte_fallback=True, fuse_unk=True,
        )
    )  # fmt: skip
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(["</s>"])
    folder = tmp_path_factory.mktemp("sentencepiece")
    made.save(str(folder / "tokenizer.json"))
    return folder
