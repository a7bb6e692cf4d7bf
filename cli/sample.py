# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm sample`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from gars_vllm.cli.console import console, progress
from gars_vllm.engine import models, sampling, tasks
from gars_vllm.engine.run_folder import RunFolder


@click.command()
@click.option("--model", default=models.DEFAULT, show_default=True, help="Name, hub id or folder.")
@click.option("--n", default=16, show_default=True, help="Samples per task.")
@click.option("--tasks", "task_set", type=click.Choice(["humaneval"]), default="humaneval")
@click.option("--prompts", type=click.Path(path_type=Path), help="JSONL with your own prompts.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many tasks.")
@click.option("--task-ids", help="Ids, numbers or ranges: HumanEval/3,7,10-19.")
@click.option("--grammar", default="python", show_default=True, help="python, json, FILE or none.")
@click.option("--temperature", default=0.8, show_default=True)
@click.option("--top-p", default=0.95, show_default=True)
@click.option("--max-tokens", default=512, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def sample(
    model: str, n: int, task_set: str, prompts: Path | None, limit: int | None,
    task_ids: str | None, grammar: str, temperature: float, top_p: float, max_tokens: int,
    seed: int, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Draw n samples of every task; run again to continue."""
    settings = sampling.Settings(n, grammar, temperature, top_p, max_tokens, seed)
    spec = models.lookup(model)
    every = tasks.load_prompts(prompts) if prompts else tasks.load_humaneval()
    chosen = tasks.select(every, limit, task_ids)
    files = models.resolve(spec)
    name = f"{Path(spec.name).name}-{Path(grammar).stem}-t{temperature:g}-n{n}"
    folder = RunFolder(out or Path("runs") / name)
    from gars_vllm.engine.vllm_backend import VllmBackend

    began = time.monotonic()
    with progress("sampling") as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, tokens: int) -> None:
            rate = tokens / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, total=total, description=f"{rate:.0f} tokens/s")

        sampling.run(folder, spec, files, chosen, settings, VllmBackend, show)
    count = sum(1 for _ in folder.samples.read())
    if as_json:
        click.echo(json.dumps({"run": str(folder.path), "samples": count}))
    else:
        console().print(f"{count} samples in {folder.path}; next: gars-vllm verify {folder.path}")
