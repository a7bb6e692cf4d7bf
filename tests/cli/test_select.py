# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.main import main
from gars_vllm.cli.select import _MEANING
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.sandbox import choice
from gars_vllm.engine.verification.selection import ORACLE, SELECTORS

GOOD, WRONG, BROKEN = "    return a + b\n", "    return a - b\n", "    return (\n"
SAME = "    return  a+b  # so\n"
MakeRun = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def tier() -> str:
    try:
        return str(choice.choose("auto"))
    except UserError as error:
        pytest.skip(str(error))


def verified(make_run: MakeRun, hints: bool = False, logprobs: bool = False) -> None:
    """A run of three samples, two of them right, with its verdicts."""
    make_run(bodies=(WRONG, GOOD, SAME), n=3)
    if hints:
        prompts = Path("prompts.jsonl")
        prompts.write_text(prompts.read_text().replace("add(a, b)", "add(a: int, b: int)"))
    run = RunFolder(Path("run"))
    if logprobs:
        records = [r | {"mean_logprob": -0.1 * r["sample_index"]} for r in run.samples.read()]
        run.samples.path.write_text("".join(json.dumps(r) + "\n" for r in records))
    with run.results as results:
        for sample in run.samples.read():
            key = {name: sample[name] for name in ("task_id", "sample_index")}
            results.append(key | {"passed": key["sample_index"] > 0, "outcome": "passed"})


def output(*arguments: str) -> list[str]:
    result = CliRunner().invoke(main, ["select", *arguments])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) <= 100
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_table(make_run: MakeRun, tier: str) -> None:
    verified(make_run)
    lines = output("run")
    assert lines == [
        "",
        " selector    right    95 % interval",
        " ───────────────────────────────────────────────────────────────────────────────────────────",
        " random      0.667   0.667 to 0.667   any sample",
        " agreement   1.000   1.000 to 1.000   the commonest behaviour on inputs made from the prompt",
        " examples    0.667   0.667 to 0.667   satisfies the prompt's examples",
        " combined    1.000   1.000 to 1.000   examples, then agreement, then log-probability",
        " oracle      1.000   1.000 to 1.000   a sample that passes, if there is one (coverage)",
        "",
        f"2 problems; intervals: bootstrap over problems; sandbox: {tier}",
        "2 problems: with fewer than 20 the intervals are narrower than 95 % would be",
        "2 of them have no generated inputs: there only equal programs agree",
        "no log-probabilities in this run: sample with --logprobs to use them",
    ]


def test_what_is_known_is_not_noted(make_run: MakeRun, tier: str) -> None:
    verified(make_run, hints=True, logprobs=True)
    lines = output("run", "--workers", "1")
    assert " logprob     0.000   0.000 to 0.000   highest mean log-probability per token" in lines
    assert lines[-2:] == [
        f"2 problems; intervals: bootstrap over problems; sandbox: {tier}",
        "2 problems: with fewer than 20 the intervals are narrower than 95 % would be",
    ]


def test_one_problem_has_no_interval(make_run: MakeRun) -> None:
    verified(make_run)
    results = RunFolder(Path("run")).results.path
    results.write_text("".join(results.read_text().splitlines(keepends=True)[:3]))
    assert " random      0.667               -   any sample" in output("run")


def test_json(make_run: MakeRun, tier: str) -> None:
    verified(make_run, hints=True, logprobs=True)
    result = CliRunner().invoke(main, ["select", "run", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == ["run", "sandbox", "accuracies", "chosen", "blind", "logprobs"]
    assert (found["run"], found["sandbox"], found["blind"], found["logprobs"]) == (
        "run", tier, [], True,
    )  # fmt: skip
    assert [a["selector"] for a in found["accuracies"]] == [*SELECTORS, ORACLE]
    right = {a["selector"]: a["accuracy"] for a in found["accuracies"]}
    assert right == pytest.approx(
        {
            "random": 2 / 3,
            "agreement": 1,
            "examples": 2 / 3,
            "logprob": 0,
            "combined": 1,
            "oracle": 1,
        }
    )
    assert found["accuracies"][1] == {
        "selector": "agreement",
        "accuracy": 1.0,
        "interval": {"low": 1.0, "high": 1.0},
        "problems": 2,
        "per_problem": {"mine/0": 1.0, "mine/1": 1.0},
    }
    assert found["chosen"]["agreement"] == {"mine/0": 1, "mine/1": 1}
    assert found["chosen"]["logprob"] == {"mine/0": 0, "mine/1": 0}


def test_the_chosen_programs_are_written_and_verified(make_run: MakeRun) -> None:
    verified(make_run)
    lines = output("run", "--out", "chosen.jsonl")
    assert lines[-1] == "the choices of combined are in chosen.jsonl"
    chosen = [json.loads(line) for line in Path("chosen.jsonl").read_text().splitlines()]
    assert chosen == [
        {"task_id": f"mine/{i}", "sample_index": 1, "completion": GOOD} for i in range(2)
    ]
    output("run", "--out", "any.jsonl", "--by", "random")
    any_of = [json.loads(line) for line in Path("any.jsonl").read_text().splitlines()]
    assert [record["completion"] for record in any_of] == [WRONG, WRONG]
    result = CliRunner().invoke(main, ["verify", "chosen.jsonl", "--prompts", "prompts.jsonl"])
    assert result.exit_code == 0, result.output
    assert "pass@1 1.0000" in result.stdout
    quiet = CliRunner().invoke(main, ["select", "run", "--out", "chosen.jsonl", "--json"])
    assert quiet.exit_code == 0
    assert json.loads(quiet.stdout)["run"] == "run"
    assert Path("chosen.jsonl").read_text().count("\n") == 2


def test_prompts_may_be_given(make_run: MakeRun) -> None:
    verified(make_run)
    Path("prompts.jsonl").rename("elsewhere.jsonl")
    missing = CliRunner().invoke(main, ["select", "run"])
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr == "Error: prompts.jsonl cannot be read: No such file or directory\n"
    assert output("run", "--prompts", "elsewhere.jsonl")[3].startswith(" random ")


def test_every_selector_is_explained() -> None:
    assert list(_MEANING) == [*SELECTORS, ORACLE]
    text = CliRunner().invoke(main, ["select", "--help"]).stdout
    assert "--by [random|agreement|examples|logprob|combined]" in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["none"], "none does not exist: name a folder that `gars-vllm sample` wrote"),
        (["file"], "file is a file: name the folder that `gars-vllm sample` wrote"),
        (["empty"], "empty holds no finished sample yet: run its `gars-vllm sample` command again"),
        (["new run"], "new run has no verdicts: run `gars-vllm verify 'new run'` first"),
        (["run", "--workers", "0"], "workers is 0: it must be at least 1"),
        (["run", "--timeout", "0"], "timeout is 0.0: it must be a number of seconds above 0"),
        (
            ["run", "--memory-mb", "1"],
            "memory is 1 MiB: an interpreter needs 64, so give that or more",
        ),
        (
            ["run", "--sandbox", "rlimits"],
            "--sandbox rlimits is no sandbox: programs can read your files and use the network; add "
            "--i-know if that is all right",
        ),
        (
            ["run", "--prompts", "other.jsonl"],
            "the run holds a sample of mine/0, which is none of these tasks: give the prompts file "
            "of the run with --prompts",
        ),
        (
            ["run", "--by", "logprob", "--out", "out.jsonl"],
            "logprob has chosen nothing in this run: give another --by",
        ),
        (["run", "--out", "empty"], "empty is a folder: name a file"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    make_run: MakeRun, arguments: list[str], line: str
) -> None:
    verified(make_run)
    make_run("empty", bodies=())
    make_run("new run")
    Path("file").touch()
    Path("other.jsonl").write_text('{"task_id": "mine/9", "prompt": "def add(a, b):\\n"}\n')
    result = CliRunner().invoke(main, ["select", *arguments])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {line}\n")
    assert not Path("out.jsonl").exists()


def test_an_unknown_selector_is_refused(make_run: MakeRun) -> None:
    verified(make_run)
    result = CliRunner().invoke(main, ["select", "run", "--by", "oracle"])
    assert result.exit_code == 2
    assert "'oracle' is not one of 'random', 'agreement'" in result.stderr
