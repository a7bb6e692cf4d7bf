# SPDX-License-Identifier: Apache-2.0
"""Programs at and beyond CPython's limits, among those of a run: every command gets past them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main
from gars_vllm.engine.tasks import programs
from gars_vllm.grammar.languages.python import oracle

MakeRun = Callable[..., Path]


def line(text: str) -> str:
    return f"    x = {text}\n    return a + b\n"


TAKEN = {  # by CPython
    "elif": "    if a == 0:\n        pass\n" + "    elif a == 9:\n        pass\n" * 999 + line("a"),
    "calls": line("str(a)" + ".replace('x', 'y')" * 1000),
    "not": line("not " * 1000 + "a"),
    "sum": line(" + ".join(["a"] * 1500)),
    "power": line(" ** ".join(["1"] * 1000)),
    "choice": line("a if a else " * 1000 + "0"),
    "lambda": line("lambda: " * 1000 + "0"),
    "brackets": line("[" * 199 + "a" + "]" * 199),
    "digits": line("0x" + "f" * 5000),
    "hint": f"    x: {'int | ' * 2000}int = 1\n    return a + b\n",
    "walrus": line("".join(f"(y{i} := " for i in range(90)) + "1" + ")" * 90),
}
REFUSED = {
    "elifs": "    if a == 0:\n        pass\n"
    + "    elif a == 9:\n        pass\n" * 3000
    + line("a"),
    "attributes": line("a" + ".b" * 5000),
    "sums": line(" + ".join(["a"] * 50_000)),
    "open": line("(" * 100_000),
    "nots": line("not " * 100_000 + "a"),
    "nul": line("'\0'"),
    "surrogate": line("'\udc80'"),
}
VALUES = {  # what a program gives is deep
    "list": "    x = []\n    for _ in range(20_000):\n        x = [x]\n    return x\n",
    "tuple": "    x = ()\n    for _ in range(20_000):\n        x = (x,)\n    return x\n",
    "int": "    return 10**10_000\n",
}


@pytest.mark.parametrize("name", [*TAKEN, *REFUSED])
def test_a_meaning_is_that_of_the_whole_program(name: str) -> None:
    body = (TAKEN | REFUSED)[name]
    text = "def add(a, b):\n" + body
    assert (oracle.objection(text) is None) is (name in TAKEN)
    assert programs.meaning(text) == programs.meaning(text)
    assert programs.meaning(text) != programs.meaning(text.replace("x", "z"))
    if name in TAKEN:
        assert oracle.parsed(text) is not None
        assert programs.meaning(text) == programs.meaning(text.replace(" = ", "  =  ") + "# end\n")
    assert not programs.is_valid("[" * 100_000, "json")


def test_no_program_ends_a_command(make_run: MakeRun) -> None:
    bodies = {"right": "    return a + b\n"} | TAKEN | REFUSED | VALUES
    make_run(bodies=tuple(bodies.values()), n=len(bodies))
    make_run("other", bodies=tuple(bodies.values()), n=len(bodies))

    def done(*arguments: str) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.stdout

    done("verify", "run", "--with", "tests,compile,examples,lint")
    names = list(bodies)
    for file in ("results", "checks/compile", "checks/lint"):
        verdicts = {name: set[bool]() for name in names}
        for text in Path(f"run/{file}.jsonl").read_text().splitlines():
            record = json.loads(text)
            verdicts[names[record["sample_index"]]].add(record["passed"])
        assert all(len(found) == 1 for found in verdicts.values()), (file, verdicts)
        passed = {name for name in names if True in verdicts[name]}
        if file == "results":
            assert passed == {"right", *TAKEN}
        elif file == "checks/compile":
            assert passed == {"right", *TAKEN, *VALUES}
        else:  # ruff has limits of its own
            assert {"right", *TAKEN} <= passed
    Path("other/results.jsonl").write_bytes(Path("run/results.jsonl").read_bytes())
    assert "wrong answer" in done("report", "run", "--html", "page.html", "--csv", "numbers.csv")
    assert json.loads(done("report", "run", "--json"))[0]["verified"] == 2 * len(bodies)
    assert "problems" in done("select", "run", "--out", "chosen.jsonl")
    assert "neither run is" in done("compare", "run", "other")
    done("verify", "chosen.jsonl", "--prompts", "prompts.jsonl", "--out", "results.jsonl")
