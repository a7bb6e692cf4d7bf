# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main

MakeResults = Callable[..., Path]


def test_json_holds_a_comparison_for_each_shared_temperature(make_results: MakeResults) -> None:
    make_results("one", {0.8: [4, 2] * 10, 1.4: [3, 0] * 10})
    make_results("two", {1.4: [4, 1] * 10, 2.0: [0, 0] * 10})
    result = CliRunner().invoke(main, ["compare", "one", "two", "--json"])
    (found,) = json.loads(result.stdout)
    assert (found["a"], found["b"]) == ("one @ 1.4", "two @ 1.4")
    assert found["at"][0]["difference"]["won"] == 20
    assert found["verdict"].startswith("pass@1: b is better (+0.250)")


def test_two_models_are_named_and_not_paired(make_results: MakeResults) -> None:
    for name in ("one", "two"):
        make_results(name)
    file = Path("two/run.json")
    file.write_text(file.read_text().replace('"toy"', '"other"'))
    result = CliRunner().invoke(main, ["compare", "one", "two", "--html", "page.html"])
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert {"a: one b: two", "model toy other", "grammar python python", "temperature 0.8 0.8"} <= {
        *lines
    }
    assert "the models differ: samples are not paired, only problems are" in lines
    assert not any(word in result.stdout for word in ("is better", "noise", "one seed"))
    assert (
        "b: two (other, grammar python, temperature 0.8); a: one (toy, "
        in Path("page.html").read_text()
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["one", "none"], "none does not exist: name a folder that `gars-vllm sample` wrote"),
        (["one", "cold"], "one and cold have no verified problem in common"),
        (["sweep", "one"], "sweep @ 0.2 and one have no temperature in common"),
        (
            ["one", "one", "--html", "file/page.html"],
            "file/page.html cannot be written: file is a file",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    make_results: MakeResults, arguments: list[str], line: str
) -> None:
    make_results("one")
    make_results("cold", first=50)
    make_results("sweep", {0.2: [1], 0.4: [1]})
    Path("file").touch()
    result = CliRunner().invoke(main, ["compare", *arguments])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {line}\n")
