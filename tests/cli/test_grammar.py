# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from gars_vllm.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|end|>"])
    folder = tmp_path_factory.mktemp("tokenizer")
    made.save(str(folder / "tokenizer.json"))
    return folder


def check(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["grammar", "check", "--tokenizer", str(folder), *arguments])


def test_check(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.py").write_text("x = 1\n")
    Path("bad.py").write_text("x = 1\ny = é)\n")
    assert check(folder, "good.py").stdout == "good.py: accepted, 6 tokens\n"
    result = check(folder, "good.py", "bad.py")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].startswith("bad.py:2:6: ')' refused; expected ")
    result = check(folder, "--json", "good.py", "bad.py")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first == {"file": "good.py", "accepted": True, "tokens": 6}
    assert (second["accepted"], second["line"], second["column"], second["token"]) == (
        False,
        2,
        6,
        ")",
    )
    assert second["position"] == 12


def test_check_after_a_prefix(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompt").write_text("def f(x):\n")
    Path("body").write_text("    return x\n")
    assert check(folder, "body").exit_code == 1
    assert check(folder, "--prefix-file", "prompt", "body").exit_code == 0
    Path("prompt").write_text("def f(x:\n)")
    result = check(folder, "--prefix-file", "prompt", "body")
    assert result.exit_code == 2
    assert "cannot stand at line 2, column 1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "nowhere.py cannot be read: No such file"),
        (["latin.py"], "latin.py is not UTF-8 (byte 5): save it as UTF-8"),
        (["--language", "cobol", "ok.py"], "unknown grammar 'cobol'; use python"),
        (["--language", "bad.lark", "ok.py"], "bad.lark:2:"),
        (["--language", "twice.lark", "ok.py"], "twice.lark:2:1: terminal A: a back-reference"),
        (["--language", "none.lark", "ok.py"], "none.lark: cannot read the grammar"),
    ],
)
def test_bad_input(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ok.py").write_text("x = 1\n")
    Path("latin.py").write_bytes(b"x = '\xe9'\n")
    Path("bad.lark").write_text('start: A\nA: "a\n')
    Path("twice.lark").write_text("start: A\nA: /(a)\\1/\n")
    result = check(folder, *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("")
    result = check(tmp_path, str(tmp_path / "x.py"))
    assert result.exit_code == 2
    assert "tokenizer.json" in result.stderr


def grammar(folder: Path, command: str, *arguments: str, text: str | None = None) -> Result:
    every = ["grammar", command, "--tokenizer", str(folder), *arguments]
    return CliRunner().invoke(main, every, input=text)


def test_walk(folder: Path, tmp_path: Path) -> None:
    result = grammar(folder, "walk", "--walks", "20", "--max-tokens", "30", "--weights", "trie")
    assert result.exit_code == 0
    assert result.stdout.split("\n")[1].split() == [
        "walks", "tokens", "finished", "closed", "in", "time", "stuck", "valid",
    ]  # fmt: skip
    prefix = tmp_path / "p.py"
    prefix.write_text("def f(x):\n    '''doc'''\n")
    result = grammar(folder, "walk", "--walks", "5", "--prefix-file", str(prefix), "--json")
    record = json.loads(result.stdout)
    assert (record["walks"], record["finished"], record["stuck"]) == (5, 5, 0)
    assert record["invalid"] == []
    result = grammar(folder, "walk", "--walks", "5", "--max-tokens", "3", "--no-closing", "--json",
                     "--language", "json")  # fmt: skip
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--walks", "0"], "walks and max-tokens must be at least 1"),
        (["--language", "python3.9"], "unknown grammar 'python3.9'; use python, "),
        (["--prefix-file", "no.py"], "no.py cannot be read"),
    ],
)
def test_walk_refuses(folder: Path, arguments: list[str], message: str) -> None:
    result = grammar(folder, "walk", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_explain(folder: Path) -> None:
    result = grammar(folder, "explain", "x = f() = 2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "x = f() = 2"
    shown = {line[:16].strip(): line[16:].strip() for line in lines[2:]}
    assert shown["refused"].startswith("token ' ': ' ' cannot follow; expected '=='")
    assert shown["may end here"] == "no"
    record = json.loads(
        grammar(folder, "explain", "--json", "--language", "json", "-", text="[1,").stdout
    )
    assert json.loads("[1," + "".join(record["completion"]))[0] == 1
    assert record["brackets"] == []
