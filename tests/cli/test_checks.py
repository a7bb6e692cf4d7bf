# SPDX-License-Identifier: Apache-2.0
"""What costs nothing is refused first: no model, tokenizer or sandbox is looked at before."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gars_vllm.benchmarks import throughput
from gars_vllm.cli import checks
from gars_vllm.cli.main import main
from gars_vllm.engine import models
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.sandbox import choice

MakeRun = Callable[..., Path]
UNKNOWN = "unknown grammar 'nosuch'; use python, "


@pytest.fixture
def _dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dear must not be reached."""

    def reached(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was reached")

    monkeypatch.setattr(models, "resolve", reached)
    monkeypatch.setattr(tokenizers, "load", reached)
    monkeypatch.setattr(tokenizers.Encoder, "of", reached)
    monkeypatch.setattr(choice, "choose", reached)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        yield busy.getsockname()[1]


@pytest.mark.usefixtures("_dear")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sample --grammar nosuch", UNKNOWN),
        ("sample --grammar nosuch.lark", "nosuch.lark: cannot read the grammar: No such file"),
        ("serve --grammar python --grammar nosuch", UNKNOWN),
        ("grammar check --tokenizer nowhere --language nosuch x.py", UNKNOWN),
        ("grammar walk --tokenizer nowhere --language nosuch", UNKNOWN),
        ("grammar explain --tokenizer nowhere --language nosuch x", UNKNOWN),
        ("sample --out /proc/x", "/proc/x cannot be written: "),
        ("sample --out prompts.jsonl", "prompts.jsonl is a file: name a folder"),
        ("sample --out prompts.jsonl/x", "is a file"),
        ("sample --out .", "is not empty and not a run"),
        ("sample --out torn", "torn/run.json: not JSON"),
        ("sample --i-know", "--i-know is for --verify, which is missing"),
        ("sample --sandbox bwrap", "--sandbox is for --verify, which is missing"),
        ("sample --verify --docker-image x", "--docker-image is for --sandbox docker"),
        ("sample --prompts prompts.jsonl --tasks humaneval", "--tasks and --prompts both name"),
        ("sample --grammar none --on-invalid keep", "--on-invalid does nothing with --grammar"),
        ("sample --n 1 --temperature 0 --top-p 0.9", "--top-p does nothing at --temperature 0"),
        ("sample --grammar none --no-closing", "--closing does nothing with --grammar none"),
        ("sample --grammar none --no-weights", "--weights does nothing with --grammar none"),
        ("sample --mask syncode --no-closing", "--closing does nothing with --mask syncode"),
        ("sample --mask syncode --no-weights", "--weights does nothing with --mask syncode"),
        ("sample --mask syncode --on-invalid keep", "--on-invalid does nothing with --mask sync"),
        ("sample --mask syncode --base-url http://127.0.0.1:9/v1", "leave --base-url away"),
        ("sample --n 1 --temperature 0 --seed 5", "--seed does nothing at --temperature 0"),
        ("sample --verify --sandbox bwrap --i-know", "--i-know is for --sandbox rlimits"),
        ("sample --verify --prompts testless.jsonl", "none of the prompts in testless.jsonl has"),
        ("sample --tensor-parallel-size 2 --base-url http://127.0.0.1:9/v1", "give it to the serv"),
        ("serve --port {taken}", "no server can listen on 127.0.0.1:"),
        ("serve --host nosuch.invalid", "no server can listen on nosuch.invalid:8000"),
        ("grammar check --tokenizer nowhere nosuch.py", "nosuch.py cannot be read: No such file"),
        ("grammar walk --tokenizer nowhere --walks 0", "walks and max-tokens must be at least 1"),
        ("grammar walk --tokenizer nowhere --prefix-file nosuch", "nosuch cannot be read: No such"),
        ("grammar explain --tokenizer nowhere --prefix-file nosuch x", "nosuch cannot be read: No"),
        ("verify run --with lint --timeout 3", "--timeout does nothing with --with lint, which"),
        ("verify run --with compile,types --sandbox bwrap", "--sandbox does nothing with --with"),
        ("verify run --sandbox bwrap --i-know", "--i-know is for --sandbox rlimits"),
        ("select run --sandbox bwrap --i-know", "--i-know is for --sandbox rlimits"),
        ("report run --html x --csv x", "--html and --csv both name x"),
        ("verify run --docker-image x", "--docker-image is for --sandbox docker"),
        ("verify prompts.jsonl --with lint", "--with is for a run: of a file the tests run"),
        ("verify prompts.jsonl --out no/x", "no/x cannot be written: there is no folder no"),
        ("verify prompts.jsonl --out run", "run is a folder: name a file"),
        ("select run --by random", "--by is for --out: give that, too"),
        ("select run --out no/x", "no/x cannot be written: there is no folder no"),
        ("report run --json --per-problem", "--per-problem does nothing with --json"),
        ("report run --json --no-plot", "--plot does nothing with --json"),
        ("report torn --html /proc/x.html", "/proc/x.html cannot be written: "),
        ("report torn --csv prompts.jsonl/x", "is a file"),
        ("report torn --png /proc/x", "/proc/x cannot be written: "),
        ("bench mask --plot x.svg", "--plot is for step: name that, too"),
        ("bench mask --model smollm2-135m", "--model is for throughput only"),
        ("bench throughput --tokenizer .", "--tokenizer is not for throughput: give --model"),
        ("bench step --syncode", "--syncode does nothing with step"),
        ("compare torn run --html /proc/x.html", "/proc/x.html cannot be written: "),
    ],
)
def test_refused_first(make_run: MakeRun, taken: int, command: str, message: str) -> None:
    make_run()
    Path("torn").mkdir()
    Path("torn/run.json").write_text("{")
    Path("testless.jsonl").write_text('{"task_id": "a", "prompt": "x = "}\n')
    command = command.replace("{taken}", str(taken))
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(main, command.split())
    assert (result.exit_code, result.stdout) == (2, ""), (result.output, result.exception)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


def test_options_that_do_something(make_run: MakeRun) -> None:
    make_run()
    for command in ("verify run --with compile", "report run --json", "report run --no-plot"):
        result = CliRunner().invoke(main, command.split())
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "options",
    [
        *(throughput.MASKS | throughput.SYNCODE).values(),
        ("--on-invalid", "keep", "--no-closing", "--no-weights"),
        ("--n", "1", "--temperature", "0", "--grammar", "none"),
        ("--verify", "--i-know"),
        ("--base-url", "http://127.0.0.1:9/v1", "--logprobs", "--no-weights"),
    ],
)
def test_options_that_go_together(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sample` comes to the model; those of `bench throughput` are among them."""

    def reached(*_: Any) -> Any:
        raise UserError("the model is next")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "resolve", reached)
    result = CliRunner().invoke(main, ["sample", *options])
    assert result.stderr.splitlines()[-1] == "Error: the model is next", result.stderr


def test_where_files_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    checks.writable_file(None)
    checks.writable_file(file)
    checks.writable_file(tmp_path / "new")
    checks.writable_file(Path("/dev/null"))
    checks.writable_file(tmp_path / "a" / "b", makes_folders=True)
    checks.writable_folder(None)
    checks.writable_folder(tmp_path)
    checks.writable_folder(tmp_path / "a" / "b")
    for bad in (tmp_path, tmp_path / "a" / "b", file / "x"):
        with pytest.raises(UserError, match=r"name a file|cannot be written"):
            checks.writable_file(bad)
    for bad in (file, file / "x"):
        with pytest.raises(UserError, match=r"name a folder|is a file"):
            checks.writable_folder(bad)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
