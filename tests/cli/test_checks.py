# SPDX-License-Identifier: Apache-2.0
"""What costs nothing is refused first: no model, tokenizer or sandbox is looked at before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gars_vllm.cli import checks
from gars_vllm.cli.main import main
from gars_vllm.engine import models, tokenizers
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox import tiers

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
    monkeypatch.setattr(tiers, "choose", reached)


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
        ("verify run --out x", "a run's verdicts go to run/results.jsonl"),
        ("verify run --docker-image x", "--docker-image is for --sandbox docker"),
        ("verify prompts.jsonl --with lint", "--with is for a run: of a file the tests run"),
        ("verify prompts.jsonl --out no/x", "no/x cannot be written: there is no folder no"),
        ("verify prompts.jsonl --out run", "run is a folder: name a file"),
        ("select run --by random", "--by says what --out gets: give that, too"),
        ("select run --out no/x", "no/x cannot be written: there is no folder no"),
        ("report run --json --per-problem", "--per-problem does nothing with --json"),
        ("report run --json --no-plot", "--plot does nothing with --json"),
        ("report torn --html /proc/x.html", "/proc/x.html cannot be written: "),
        ("report torn --csv prompts.jsonl/x", "is a file"),
        ("report torn --png /proc/x", "/proc/x cannot be written: "),
        ("bench mask --plot x.svg", "--plot is of step: name that, too"),
        ("bench mask --model smollm2-135m", "--model is of throughput alone"),
        ("bench throughput --tokenizer .", "--tokenizer is not of throughput: give --model"),
        ("bench step --syncode", "--syncode does nothing with step"),
        ("compare torn run --html /proc/x.html", "/proc/x.html cannot be written: "),
    ],
)
def test_refused_first(make_run: MakeRun, command: str, message: str) -> None:
    make_run()
    Path("torn").mkdir()
    Path("torn/run.json").write_text("{")
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
