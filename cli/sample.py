# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm sample`."""

from __future__ import annotations

import datetime
import json
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import click
from gars_vllm.cli import checks
from gars_vllm.cli.beside import Beside
from gars_vllm.cli.console import progress
from gars_vllm.cli.live_terminal import Above, live_console
from gars_vllm.cli.sandbox_options import Sandbox, sandbox_options
from gars_vllm.engine import extras, models, tasks
from gars_vllm.engine.backends import Backend, Job, OnInvalid, Settings
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.extras import Extra
from gars_vllm.engine.masking.constraints import Mask
from gars_vllm.engine.models.prompt_kinds import PromptEnd, PromptKind
from gars_vllm.engine.runs import sampling
from gars_vllm.engine.runs.config import settings_config
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.tasks import programs
from gars_vllm.engine.verification.verification import Verification
from rich.console import Group
from rich.live import Live
from rich.progress import Progress, TaskID
from rich.text import Text


@click.command()
@click.option("--model", default=models.DEFAULT, show_default=True, help="Name, hub id or folder.")
@click.option("--n", default=16, show_default=True, help="Samples per task.")
@click.option("--tasks", "task_set", type=click.Choice([tasks.HUMANEVAL]), default=tasks.HUMANEVAL)
@click.option("--prompts", type=click.Path(path_type=Path), help="JSONL with your own prompts.")
@click.option("--limit", type=int, help="Only the first so many tasks.")
@click.option("--task-ids", help="Ids, numbers or ranges: HumanEval/3,7,10-19.")
@click.option("--grammar", default="python", show_default=True, help="python, json, FILE or none.")
@click.option(
    "--prompt-kind",
    type=click.Choice(["auto", *(k.value for k in PromptKind)]),
    default="auto",
    show_default=True,
    help="The prompt itself, or a question in the model's chat template; auto: as the model likes.",
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
    help="Bring samples to a valid end within --max-tokens.",
)
@click.option(
    "--on-invalid",
    type=click.Choice([o.value for o in OnInvalid]),
    default=OnInvalid.RESAMPLE.value,
    show_default=True,
    help="A finished sample that breaks a rule no mask decides: draw another, or keep it.",
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
    help="Write what the grammar took from the model with each sample.",
)
@click.option(
    "--logprobs/--no-logprobs",
    default=False,
    show_default=True,
    help="Write each sample's mean log-probability under the model (for `select`).",
)
@click.option(
    "--require-statement",
    is_flag=True,
    help="A finished sample whose function is only its docstring is no answer: draw another.",
)
@click.option(
    "--prompt-end",
    type=click.Choice(["auto", *(e.value for e in PromptEnd)]),
    default="auto",
    show_default=True,
    help="A code prompt as it is, without its last line end, or without its last token, with whose "
    "text a sample then begins; auto: as the model likes.",
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
    help="Sample from a running server (gars-vllm serve); again for more.",
)
@click.option("--tensor-parallel-size", type=click.IntRange(1), help="GPUs that share each layer.")
@click.option("--pipeline-parallel-size", type=click.IntRange(1), help="GPUs in a row.")
@click.option("--data-parallel-size", type=click.IntRange(1), help="Engines side by side.")
@click.option("--distributed-executor-backend", type=click.Choice(["mp", "ray"]))
@click.option(
    "--engine-arg",
    "engine_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other argument of vLLM's engine, the value as JSON or text.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def sample(
    model: str, n: int, task_set: str, prompts: Path | None, limit: int | None,
    task_ids: str | None, grammar: str, prompt_kind: str, temperature: str, top_p: float,
    max_tokens: int, closing: bool, on_invalid: str, mask: str, weights: bool, logprobs: bool,
    require_statement: bool, prompt_end: str, verifies: bool, sandbox: Sandbox, seed: int,
    backend: str, batch: int, servers: tuple[str, ...], tensor_parallel_size: int | None,
    pipeline_parallel_size: int | None, data_parallel_size: int | None,
    distributed_executor_backend: str | None, engine_args: tuple[str, ...], out: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Draw n samples of every task.

    The same command again continues an interrupted run. With a larger --n or --limit, other
    --task-ids or other temperatures a run grows: what its folder lacks is drawn, nothing is drawn
    again. Everything else (model, grammar, prompts, tokens, seed) must stay as it was.
    """
    spec = models.lookup(model)
    kind = spec.prompt if prompt_kind == "auto" else PromptKind(prompt_kind)
    settings = Settings(
        n, grammar, kind, _temperatures(temperature), top_p, max_tokens, seed, closing,
        OnInvalid(on_invalid), Mask(mask), weights, logprobs, require_statement,
        spec.prompt_end(kind) if prompt_end == "auto" else PromptEnd(prompt_end),
    )  # fmt: skip
    programs.check_grammar(grammar)
    _refuse_idle(settings, verifies, prompts)
    if logprobs and backend != "vllm":
        raise UserError("--logprobs needs --backend vllm")
    if batch < 1:
        raise UserError(f"batch is {batch}; it must be at least 1")
    engine = _engine(
        engine_args,
        {
            "tensor_parallel_size": tensor_parallel_size,
            "pipeline_parallel_size": pipeline_parallel_size,
            "data_parallel_size": data_parallel_size,
            "distributed_executor_backend": distributed_executor_backend,
        },
    )
    if engine and (backend != "vllm" or servers):
        raise UserError(
            f"{next(iter(engine))} is an argument of vLLM's engine: give it to the server"
            if servers
            else f"{next(iter(engine))} needs --backend vllm"
        )
    if servers and backend != "vllm":
        raise UserError("--base-url samples from vLLM's servers: leave --backend away")
    if servers and settings.mask is Mask.SYNCODE:
        raise UserError("--mask syncode samples in this process: leave --base-url away")
    _refuse_missing(settings, backend, servers)
    source = str(prompts.resolve()) if prompts else task_set
    every = tasks.load_prompts(prompts) if prompts else tasks.load_humaneval()
    chosen = tasks.select(every, limit, task_ids)
    if verifies and not any(task.test for task in chosen):
        raise UserError(f"--verify: none of the prompts in {prompts} has a test")
    folder = RunFolder(out or default_folder(spec.name, grammar, temperature, n))
    checks.writable_folder(folder.path)
    folder.check_place({"model": spec.name, "tasks": source} | settings_config(settings))
    beside = Beside(folder.path, sandbox.arguments()) if verifies else None
    with Screen(beside) as screen:
        files = models.resolve(spec, screen)
        drawn = sampling.run(
            folder, spec, files, chosen, settings, _backend(backend, servers, engine),
            task_source=source, known=every, batch=batch,
            engine=engine, servers=servers, watcher=screen,
        )  # fmt: skip
        verified = None
        if beside is not None:
            screen.stage("verifying the rest")
            verified = beside.finish()
            screen.stage("")
    count = sum(1 for _ in folder.samples.read())
    if as_json:
        record = {"run": str(folder.path), "samples": count, "drawn": drawn}
        click.echo(json.dumps(record if beside is None else record | {"verification": verified}))
        return
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
    """The same for any n, so that a run grows; one of before, which had n in its name, goes on."""
    name = f"{Path(model).name}-{Path(grammar).stem}-t{temperature}"
    before = Path("runs") / f"{name}-n{n}"
    return before if (before / "run.json").is_file() else Path("runs") / name


def _refuse_idle(settings: Settings, verifies: bool, prompts: Path | None) -> None:
    sandbox = ("sandbox", "i_know", "docker_image")
    checks.refuse_idle(*sandbox, unless=verifies, because="is for --verify, which is missing")
    checks.refuse_idle(
        "task_set", unless=prompts is None, because="and --prompts both name tasks: give one"
    )
    # What belongs to our own mask: SynCode's knows no budget and records nothing.
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


def _refuse_missing(settings: Settings, backend: str, servers: Sequence[str]) -> None:
    """Raises UserError when a package is missing that this way of sampling needs."""
    if servers:
        extras.require(Extra.CLIENT, "--base-url")
    elif backend == "transformers":
        extras.require(Extra.TRANSFORMERS, "--backend transformers")
    else:
        extras.require(Extra.ENGINE, "sampling with vLLM")
    if settings.mask is Mask.SYNCODE:
        from gars_vllm.engine.masking import syncode_mask

        if not syncode_mask.is_installed():
            raise UserError(syncode_mask.MISSING)


def _temperatures(text: str) -> float | tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--temperature {text}: give a number, or several: 0.2,0.8,1.2") from None
    return found[0] if len(found) == 1 else found


_QUIET_SECONDS = 30.0
_OURS = frozenset({"model", "tokenizer", "seed", "logits_processors", "use_tqdm_on_load"})


def _engine(given: tuple[str, ...], named: dict[str, object]) -> dict[str, object]:
    """The arguments of vLLM's engine that a user has given."""
    found = {name: value for name, value in named.items() if value is not None}
    for item in given:
        key, equals, text = item.partition("=")
        name = key.strip().lstrip("-").replace("-", "_")
        if not equals or not name.isidentifier():
            raise UserError(f"--engine-arg {item}: give KEY=VALUE, say max_num_batched_tokens=64")
        if name in _OURS:
            raise UserError(f"--engine-arg {name}: that is set by gars-vllm itself")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def _backend(
    name: str, servers: Sequence[str], engine: dict[str, object]
) -> Callable[[Job], Backend]:
    """Imported when it is asked for: each brings its own gigabyte of libraries."""
    if servers:
        from gars_vllm.engine.backends.remote import RemoteBackend

        return RemoteBackend
    if engine.get("data_parallel_size", 1) != 1:
        from gars_vllm.engine.backends.served import ServedBackend

        return ServedBackend
    if name == "transformers":
        from gars_vllm.engine.backends.transformers import TransformersBackend

        return TransformersBackend
    from gars_vllm.engine.backends.vllm import VllmBackend

    return VllmBackend


class Screen(sampling.Watcher, models.Download):
    """What `sample` shows while it works, on standard error: a bar for each long step; under that
    of the samples how far and how fast the run is. Where that is no terminal: a line for each step,
    and for the samples one each tenth of them, or each half minute."""

    def __init__(self, beside: Beside | None = None) -> None:
        self._beside = beside
        self._bar: Progress = progress(live_console())
        self._above = Above(self._bar.console)
        self._stage: TaskID | None = None
        self._samples: TaskID | None = None
        self._figures = Text("", style="dim")
        self._live = Live(
            Group(self._bar, self._figures), console=self._bar.console, refresh_per_second=4,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._download: TaskID | None = None
        self._said = (0.0, -1)  # when, at which tenth

    def __enter__(self) -> Screen:
        if not self._bar.disable:
            self._above.__enter__()
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._beside is not None and error is not None:
            self._beside.abort()
        if not self._bar.disable:
            self._above.__exit__(kind, error, trace)
            self._live.stop()

    def note(self, text: str) -> None:
        click.echo(text, err=True)  # `Above` shows it above the view

    def step(self, text: str, done: int, total: int) -> None:
        if self._download is None:
            self._download = self._bar.add_task("", total=total)
        self._bar.update(self._download, completed=done, total=total, description=text)
        if text:
            self._say(text)

    def stage(self, text: str) -> None:
        if self._stage is not None:
            self._bar.remove_task(self._stage)
            self._stage = None
        if text:
            self._stage = self._bar.add_task(text, total=None)
            self._say(text)

    def samples(self, state: sampling.State) -> None:
        if self._beside is not None and state.done:
            self._beside.start()
        figures = self.figures(state)
        if self._samples is None:
            self._samples = self._bar.add_task("samples", total=state.total, estimated=True)
        self._bar.update(self._samples, completed=state.done)
        self._figures.plain = figures
        if state.drawn and self._bar.disable:
            now, tenth = time.monotonic(), 10 * state.done // state.total
            if tenth > self._said[1] or now - self._said[0] > _QUIET_SECONDS:
                self._said = (now, tenth)
                click.echo(f"{state.done} of {state.total} samples, {figures}", err=True)

    def figures(self, state: sampling.State) -> str:
        """Problems done, speed, the mask's share, what is solved, the time that is left."""
        parts = [f"{state.problems_done} of {state.problems} problems done"]
        if state.drawn:
            parts.append(f"{state.drawn / state.seconds:.1f} samples/s")
            parts.append(f"{state.tokens / state.seconds:.0f} tokens/s")
            parts.append(f"mask {state.mask_seconds / state.seconds:.1%}")
        if self._beside is not None and "solved" in self._beside.state:
            found = self._beside.state
            parts.append(f"{found['verified']} verified, {found['solved']} solved")
        if state.drawn and state.done < state.total:
            left = (state.total - state.done) * state.seconds / state.drawn
            parts.append(f"{datetime.timedelta(seconds=round(left))} left")
        return ", ".join(parts)

    def _say(self, text: str) -> None:
        if self._bar.disable:
            click.echo(text, err=True)
