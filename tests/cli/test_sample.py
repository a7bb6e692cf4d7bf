# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main
from gars_vllm.cli.sample import default_folder
from gars_vllm.cli.screen import Screen
from gars_vllm.engine.backends import Settings
from gars_vllm.engine.runs.config import Layout, settings_config
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.runs.sampling import State


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
        (["--temperature", "0.8,x"], "--temperature 0.8,x: give a number, or several: 0.2,0.8,1.2"),
        (["--logprobs", "--backend", "transformers"], "--logprobs needs --backend vllm"),
        (["--verify", "--sandbox", "rlimits"], "--sandbox rlimits is no sandbox"),
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-tokens", "9"], "max_tokens = 200, not 9"),
        (["--grammar", "none"], 'grammar = "python", not "none"'),
        (["--prompt-kind", "chat"], 'prompt_kind = "completion", not "chat"'),
        (["--model", "qwen2.5-coder-0.5b"], 'model = "smollm2-135m", not "qwen2.5-coder-0.5b"'),
        (["--seed", "3"], "seed = 0, not 3"),
    ],
)
def test_another_run_is_refused_before_a_model_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gars_vllm.engine.models.resolve", lambda *_: 1 / 0)
    settings = Settings(n=4, max_tokens=200)
    config = {"model": "smollm2-135m", "tasks": "humaneval", "task_ids": ["HumanEval/0"]}
    with RunFolder(Path("run")) as run:
        run.create_or_resume(
            config
            | settings_config(settings)
            | Layout().grown(settings.n, settings.temperatures).to_config()
        )
    usual = ["sample", "--model", "smollm2-135m", "--max-tokens", "200", "--out", "run"]
    usual += ["--prompt-end", "kept"]
    result = CliRunner().invoke(main, [*usual, *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: run holds a run with {said}: choose another --out, or ask for the same to "
        "continue that run\n"
    )
    for more in (["--n", "9"], ["--limit", "2"], ["--temperature", "0.2,0.8"], ["--n", "1"]):
        result = CliRunner().invoke(main, [*usual, *more])
        assert isinstance(result.exception, ZeroDivisionError)  # these may differ


def test_the_folder_has_no_number_of_samples_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("org/model", "none", "0.2,0.8", 16)
    assert default_folder(*asked) == Path("runs/model-none-t0.2,0.8")
    old = Path("runs/model-none-t0.2,0.8-n16")  # as it was before runs could grow
    with RunFolder(old) as run:
        run.create_or_resume({})
    assert default_folder(*asked) == old


class Verifier:
    state = {"verified": 120, "solved": 7}  # noqa: RUF012

    def start(self) -> None:
        pass


def test_what_is_said_while_it_samples(capsys: pytest.CaptureFixture[str]) -> None:
    """Piped: a line each tenth, no control characters; no line is longer than a terminal's."""
    with Screen(Verifier()) as screen:  # type: ignore[arg-type]
        screen.samples(State(0, 2000, 0, 20))
        for done in range(1, 2001):
            screen.samples(
                State(done, 2000, done // 100, 20, done, done * 50, done / 8, done / 200)
            )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[5] == (
        "1000 of 2000 samples, 10 of 20 problems done, 8.0 samples/s, 400 tokens/s, mask 4.0%, "
        "120 verified, 7 solved, 0:02:05 left"
    )
    assert lines[-1].endswith("mask 4.0%, 120 verified, 7 solved")
    assert len(screen.figures(State(1000, 2000, 10, 20, 1000, 50000, 125, 5))) <= 100


def test_models_are_listed() -> None:
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 0
    assert "deepseek-6.7b-base" in result.stdout
