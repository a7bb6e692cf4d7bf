# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "qwen2.5-coder-0.5"], "unknown model 'qwen2.5-coder-0.5'; did you mean"),
        (["--n", "0"], "n is 0; draw at least one sample"),
        (["--temperature", "0"], "temperature 0 draws the same sample 16 times"),
        (["--task-ids", "999"], "unknown task id 'HumanEval/999': did you mean HumanEval/99"),
        (["--task-ids", "9-3"], "task ids 9-3: the range runs backwards, write 3-9"),
        (["--engine-arg", "max_num_seqs"], "--engine-arg max_num_seqs: give KEY=VALUE"),
        (["--engine-arg", "model=x"], "--engine-arg model: that is set by gars-vllm itself"),
        (
            ["--tensor-parallel-size", "2", "--backend", "transformers"],
            "tensor_parallel_size needs --backend vllm",
        ),
        (
            ["--engine-arg", "dtype=half", "--base-url", "http://127.0.0.1:9/v1"],
            "dtype is an argument of vLLM's engine: give it to the server",
        ),
        (
            ["--base-url", "http://127.0.0.1:9/v1", "--backend", "transformers"],
            "--base-url samples from vLLM's servers: leave --backend away",
        ),
        (["--prompts", "nowhere.jsonl"], "nowhere.jsonl cannot be read: No such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["sample", *arguments])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_models_are_listed() -> None:
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 0
    assert "deepseek-6.7b-base" in result.stdout
