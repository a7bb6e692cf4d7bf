# SPDX-License-Identifier: Apache-2.0
"""Terminals, folders and disks that are not as one would like: one line, and nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main
from gars_vllm.cli.plain_text import SPELT
from gars_vllm.engine.sandbox.tiers import Tier

MakeRun = Callable[..., Path]
GARS = [sys.executable, "-m", "gars_vllm.cli.main"]
WARM = Path(__file__).with_name("warm.py")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_encoding_of_standard_output(make_results: MakeRun, encoding: str) -> None:
    make_results("one", {0.8: [4, 2, 0, 1]}, n=4, broken=1)
    make_results("zwei_é_日", {0.8: [4, 3, 1, 1]}, n=4)
    names = ["one", "zwei_é_日"]

    def shown(*command: str) -> str:
        result = CliRunner(charset=encoding).invoke(main, command)
        assert result.exit_code == 0, (command, result.exception)
        return result.stdout_bytes.decode(encoding)

    text = shown("report", *names, "--per-problem")
    assert "pass@1" in text
    assert "coverage: problems solved" in text
    assert max(len(line) for line in text.splitlines() if "\\" not in line) <= 100
    if encoding == "ascii":
        assert "***" in text  # the plot
        assert r"zwei_\xe9_" in text
    assert "one problem" not in shown("compare", *names)
    assert "licence" in shown("models")
    refused = CliRunner(charset=encoding).invoke(main, ["report", "nö"])
    assert refused.exit_code == 2


def test_a_terminal_of_ascii(make_results: MakeRun) -> None:
    make_results("run")
    done = subprocess.run(
        [*GARS, "report", "run"], env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert "pass@1" in done.stdout.decode("ascii")


def in_a_shell(script: str, before: str = "", shell: str = "sh -c", **more: str) -> list[str]:
    """What a script of the shell prints, in which "gars" is the command: its output, both streams,
    and its exit code. The commands are one process's (warm.py), which starts after `before`."""
    for name in ("asked", "said"):
        os.mkfifo(name)
    asked, said = Path("asked").absolute(), Path("said").absolute()
    warm = (
        'gars() { echo "$*" >&3; while IFS= read -r line <&4; do\n'
        '[ "$line" = END ] && break; echo "$line"; done; }\n'
        f"{sys.executable} {WARM} 3<{asked} 4>{said} &\nexec 3>{asked} 4<{said}\n"
    )
    command = [*shell.split(), f"set -e\n{before}\n{warm}\nset +e\n{script}\nexec 3>&-\nwait"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | more
    )
    if "Operation not permitted" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip("no file system can be mounted here")
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_every_command_keeps_to_ascii(make_run: MakeRun, tier: Tier) -> None:
    """click's own texts, too, which it would write in UTF-8 there."""
    make_run("nö", bodies=("    return a + b  # é日\n", "    raise ValueError('日é')\n"))
    Path("é.py").write_text("x = 'é日'\n")
    commands = [
        "verify nö", "report nö --csv é.csv", "compare nö nö", "verify fehlt_é", "sample --model é",
        "é", "verify --é", "grammar check é.py --tokenizer é", "verify --help", "doctor é",
    ]  # fmt: skip
    script = "".join(f"gars {command}; echo ====\n" for command in commands)
    printed = "\n".join(in_a_shell(script, PYTHONIOENCODING="ascii"))
    assert printed.isascii()
    assert "Traceback" not in printed
    for command, text in zip(commands, printed.split("\n===="), strict=False):
        assert text.endswith(("\nexit 0", "\nexit 2")), text
        assert ("nö" in command) == (r"n\xf6" in text), command


def test_piped_output_is_as_wide_as_columns_says(
    make_results: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_results("one", {0.8: [4, 2, 0, 1], 1.4: [3, 0, 0, 1]})
    for columns, widest in (("60", 60), ("160", 160), ("", 100), ("x", 100)):
        monkeypatch.setenv("COLUMNS", columns)
        for command in (["report", "one", "--per-problem"], ["compare", "one", "one"]):
            lines = CliRunner().invoke(main, command).stdout.splitlines()
            assert max(map(len, lines)) <= widest, (columns, command)
            assert command[0] == "compare" or max(map(len, lines)) > widest - 40


def test_what_stands_for_a_character() -> None:
    line = "─│└┤…\u2800\u28ff→"
    assert line.encode("ascii", SPELT) == b"-|++. *>"
    assert "aé日\ud800".encode("ascii", SPELT) == b"a\\xe9\\u65e5\\ud800"
    assert "é日".encode("latin-1", SPELT) == b"\xe9\\u65e5"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", SPELT)


def on_tmpfs(script: str, *, size: str = "400k") -> list[str]:
    """In a small file system of its own that holds the working folder."""
    Path("full").mkdir()
    mount = f"mount -t tmpfs -o size={size} none full; cp -r run prompts.jsonl full; cd full"
    return in_a_shell(script, mount, "unshare -rm sh -c")


FILL = "dd if=/dev/zero of=fill bs=1k 2>/dev/null; "


def test_a_full_disk(make_run: MakeRun, tier: Tier) -> None:
    make_run()
    lines = on_tmpfs(
        FILL + f"gars verify run --sandbox {tier}; wc -c < run/results.jsonl\n"
        "gars verify run --with compile; gars report run --html x.html; ls\n"
        f"rm fill; gars verify run --sandbox {tier} | tail -1; wc -l < run/results.jsonl\n"
    )
    assert lines == [
        "Error: run/results.jsonl cannot be written: No space left on device", "exit 2", "0",
        "Error: run/checks/compile.jsonl cannot be written: No space left on device", "exit 2",
        "Error: x.html cannot be written: No space left on device", "exit 2",
        "fill", "prompts.jsonl", "run",
        "exit 0", "4",
    ]  # fmt: skip


def test_a_folder_that_may_only_be_read(make_run: MakeRun, tier: Tier) -> None:
    make_run()
    Path("answers.jsonl").write_text(json.dumps({"task_id": "mine/0", "completion": "    pass\n"}))
    lines = on_tmpfs(
        "mount -o remount,ro none .; gars verify run; gars verify run --with compile\n"
        "gars select run --out x; gars verify ../answers.jsonl --prompts prompts.jsonl --out x\n"
        "gars sample --out run2; gars sample --out run; gars report run | tail -1\n"
    )
    reason = "cannot be written: Read-only file system"
    assert lines == [
        f"Error: run/results.jsonl {reason}", "exit 2", f"Error: run/checks {reason}", "exit 2",
        f"Error: x {reason}", "exit 2", f"Error: x {reason}", "exit 2",
        f"Error: run2 {reason}", "exit 2", f"Error: run {reason}", "exit 2",
        "exit 0",
    ]  # fmt: skip


def test_other_errors_of_the_machine_are_one_line(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()

    def fails(*_: object) -> None:
        raise OSError(24, "Too many open files", "somewhere")

    monkeypatch.setattr("gars_vllm.cli.report.summarise", fails)
    result = CliRunner().invoke(main, ["report", "run"])
    assert (result.exit_code, result.stderr) == (2, "Error: somewhere: Too many open files\n")
