# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm sample`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
from gars_vllm.cli import checks
from gars_vllm.cli.background_verifier import BackgroundVerifier
from gars_vllm.cli.sample_options import (
    AUTO,
    BackendOptions,
    DrawOptions,
    TaskOptions,
    grouped,
)
from gars_vllm.cli.sandbox_options import Sandbox, sandbox_options
from gars_vllm.cli.screen import Screen
from gars_vllm.engine import models
from gars_vllm.engine.backends import OnInvalid, Settings
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.constraints import Mask
from gars_vllm.engine.models import PromptEnd, PromptKind
from gars_vllm.engine.runs import sampling
from gars_vllm.engine.runs.config import settings_config
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.tasks import data_sets, programs
from gars_vllm.engine.verification.verification import Verification


@click.command()
@click.option("--model", default=models.DEFAULT, show_default=True, help="Name, hub id or folder.")
@click.option("--n", default=16, show_default=True, help="Samples per task.")
@click.option(
    "--tasks", "task_set", type=click.Choice([*data_sets.REGISTRY]), default=data_sets.HUMANEVAL
)
@click.option("--prompts", type=click.Path(path_type=Path), help="JSONL with your own prompts.")
@click.option("--limit", type=int, help="Only the first tasks.")
@click.option("--task-ids", help="Ids, numbers or ranges: HumanEval/3,7,10-19.")
@click.option("--grammar", default="python", show_default=True, help="python, json, FILE or none.")
@click.option(
    "--prompt-kind",
    type=click.Choice([AUTO, *(k.value for k in PromptKind)]),
    default=AUTO,
    show_default=True,
    help="The prompt itself, or a question in the model's chat template; auto: by model.",
)
@click.option(
    "--temperature",
    default="0.8",
    show_default=True,
    metavar="T[,T...]",
    help="Several: n samples at each, in one run.",
)
@click.option("--top-p", default=0.95, show_default=True)
@click.option("--max-tokens", default=512, show_default=True)
@click.option(
    "--closing/--no-closing",
    default=True,
    show_default=True,
    help="Complete samples within --max-tokens (budget completion).",
)
@click.option(
    "--on-invalid",
    type=click.Choice([o.value for o in OnInvalid]),
    default=OnInvalid.RESAMPLE.value,
    show_default=True,
    help="A finished sample that breaks a rule no mask can decide: draw another, or keep it.",
)
@click.option(
    "--mask",
    type=click.Choice([m.value for m in Mask]),
    default=Mask.GARS.value,
    show_default=True,
    help="Whose mask: ours, or SynCode's, to compare with (vLLM only).",
)
@click.option(
    "--weights/--no-weights",
    default=True,
    show_default=True,
    help="Record the probability mass that the grammar removed.",
)
@click.option(
    "--logprobs/--no-logprobs",
    default=False,
    show_default=True,
    help="Record each sample's mean log-probability under the model (for `select`).",
)
@click.option(
    "--require-statement",
    is_flag=True,
    help="Draw again if a finished sample's function is only a docstring.",
)
@click.option(
    "--prompt-end",
    type=click.Choice([AUTO, *(e.value for e in PromptEnd)]),
    default=AUTO,
    show_default=True,
    help="Where a code prompt ends: unchanged, without its trailing newline, or without its last "
    "token, with whose text a sample then begins; auto: by model.",
)
@click.option("--verify", "verifies", is_flag=True, help="Verify samples while others are drawn.")
@sandbox_options(limits=False)
@click.option("--seed", default=0, show_default=True)
@click.option("--backend", type=click.Choice(["vllm", "transformers"]), default="vllm")
@click.option("--batch", default=128, show_default=True, help="Samples in flight at a time.")
@click.option(
    "--base-url",
    "servers",
    multiple=True,
    metavar="URL",
    help="Sample from a running server (gars-vllm serve); repeatable.",
)
@click.option("--tensor-parallel-size", type=click.IntRange(1), help="GPUs per layer.")
@click.option("--pipeline-parallel-size", type=click.IntRange(1), help="Pipeline stages.")
@click.option("--data-parallel-size", type=click.IntRange(1), help="Parallel engines.")
@click.option("--distributed-executor-backend", type=click.Choice(["mp", "ray"]))
@click.option(
    "--engine-arg",
    "engine_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other vLLM engine argument, the value as JSON or text.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@grouped(wanted=TaskOptions, drawing=DrawOptions, source=BackendOptions)
def sample(
    model: str,
    wanted: TaskOptions,
    drawing: DrawOptions,
    source: BackendOptions,
    verifies: bool,
    sandbox: Sandbox,
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw n samples of every task.

    The same command continues an interrupted run. With a larger --n or --limit, other --task-ids
    or other temperatures a run grows: only missing samples are drawn. All other settings (model,
    grammar, prompts, tokens, seed) must stay the same.
    """
    spec = models.lookup(model)
    settings = drawing.settings(spec)
    programs.check_grammar(settings.grammar)
    _refuse_idle(settings, verifies, wanted.prompts)
    source.check(settings)
    every, chosen = wanted.load()
    if verifies and not any(task.test for task in chosen):
        raise UserError(f"--verify: none of the prompts in {wanted.prompts} has a test")
    usual = default_folder(spec.name, settings.grammar, drawing.temperature, settings.n)
    folder = RunFolder(out or usual)
    checks.writable_folder(folder.path)
    known = {"model": spec.name, "tasks": wanted.source}
    folder.check_place(known | settings_config(settings))
    verifier = BackgroundVerifier(folder.path, sandbox.arguments()) if verifies else None
    engine = source.engine()
    with Screen(verifier) as screen:
        files = models.resolve(spec, screen)
        drawn = sampling.run(
            folder, spec, files, chosen, settings, source.starter(engine),
            task_source=wanted.source, known=every, batch=source.batch,
            engine=engine, servers=source.servers, watcher=screen,
        )  # fmt: skip
        verified = None
        if verifier is not None:
            screen.stage("verifying the rest")
            verified = verifier.finish()
            screen.stage("")
    count = sum(1 for _ in folder.samples.read())
    if as_json:
        record = {"run": str(folder.path), "samples": count, "drawn": drawn}
        click.echo(json.dumps(record | ({"verification": verified} if verifies else {})))
    else:
        _show(folder, count, drawn, verified)


def _show(folder: RunFolder, count: int, drawn: int, verified: dict[str, Any] | None) -> None:
    """`count`: samples in the folder; `drawn`: by this call; `verified`: the verification, if
    requested."""
    nothing = "" if drawn else "nothing to draw: "
    there = f"{nothing}{count} samples in {folder.path}"
    if verified is None:
        click.echo(f"{there}; next: gars-vllm verify {shlex.quote(str(folder.path))}")
        return
    from gars_vllm.cli.verify import show

    click.echo(there)
    show(Verification.from_json(verified))
    click.echo(f"next: gars-vllm report {shlex.quote(str(folder.path))}")


def default_folder(model: str, grammar: str, temperature: str, n: int) -> Path:
    """Independent of n, so that a run can grow; older folders with n in their name are
    continued."""
    name = f"{Path(model).name}-{Path(grammar).stem}-t{temperature}"
    before = Path("runs") / f"{name}-n{n}"
    return before if (before / "run.json").is_file() else Path("runs") / name


def _refuse_idle(settings: Settings, verifies: bool, prompts: Path | None) -> None:
    sandbox = ("sandbox", "i_know", "docker_image")
    checks.refuse_idle(*sandbox, unless=verifies, because="is for --verify, which is missing")
    checks.refuse_idle(
        "task_set", unless=prompts is None, because="and --prompts both name tasks: give one"
    )
    # Options of our own mask: SynCode's has no budget and records no weights.
    ours = ("closing", "on_invalid", "weights")
    checks.refuse_idle(
        "mask", *ours, unless=settings.grammar != "none", because="does nothing with --grammar none"
    )
    checks.refuse_idle(
        *ours, unless=settings.mask is Mask.GARS, because="does nothing with --mask syncode"
    )
    checks.refuse_idle(
        "top_p", "seed", unless=any(settings.temperatures),
        because="does nothing at --temperature 0",
    )  # fmt: skip
