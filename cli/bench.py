# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm bench`."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path

import click
from gars_vllm.cli import checks
from gars_vllm.engine import extras
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.extras import Extra

WHAT = {
    "mask": "mask_latency",
    "step": "batch_step",
    "compile": "compile",
    "throughput": "throughput",
}


@click.command()
@click.argument("what", nargs=-1, type=click.Choice(list(WHAT)))
@click.option(
    "--tokenizer",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with tokenizer.json; repeatable. Default: those of the local models.",
)
@click.option("--model", default="smollm2-135m", show_default=True, help="For throughput.")
@click.option(
    "--syncode", is_flag=True, help="Include SynCode, whose store takes minutes to build."
)
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="For step: SVG or PNG file."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per table.")
def bench(
    what: tuple[str, ...], folders: tuple[Path, ...], model: str, syncode: bool,
    plot: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare the mask with xgrammar, llguidance and SynCode.

    WHAT: mask (time per token), step (one step of many samples), compile (startup), throughput
    (sampling end to end); all of them by default. Nothing else should run meanwhile.
    """
    if importlib.util.find_spec("gars_vllm.benchmarks") is None:
        raise UserError("the benchmarks are not installed: install gars-vllm from its repository")
    chosen = set(what or WHAT)
    checks.refuse_idle("plot", unless="step" in chosen, because="is for step: name that, too")
    checks.refuse_idle("model", unless="throughput" in chosen, because="is for throughput only")
    checks.refuse_idle(
        "folders", unless=chosen != {"throughput"}, because="is not for throughput: give --model"
    )
    checks.refuse_idle("syncode", unless=chosen != {"step"}, because="does nothing with step")
    extras.require(Extra.ENGINE, "`gars-vllm bench`")
    if syncode:
        from gars_vllm.engine.masking import syncode_mask

        if not syncode_mask.is_installed():
            raise UserError(syncode_mask.MISSING)
    if plot is not None:
        importlib.import_module("gars_vllm.benchmarks.plot").check(plot)
    for name in what or tuple(WHAT):
        module = importlib.import_module(f"gars_vllm.benchmarks.{WHAT[name]}")
        if name == "throughput":
            results = module.run(model, syncode=syncode)
        elif name == "step":
            results = module.run(folders)
        else:
            results = module.run(folders, syncode)
        if name == "step" and plot is not None:
            importlib.import_module("gars_vllm.benchmarks.plot").cost_per_token(
                results[0].rows, plot
            )
        for result in results:
            if as_json:
                click.echo(json.dumps({"title": result.title, "rows": result.rows}))
            else:
                result.show()
