# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm serve`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click
from gars_vllm.cli import checks
from gars_vllm.engine import extras, models
from gars_vllm.engine.extras import Extra
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.tasks.programs import check_grammar
from gars_vllm.engine.vllm.server import command
from gars_vllm.grammar import compile_grammar


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("model", default=models.DEFAULT)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--grammar", "grammars", multiple=True, default=("python", "json"), show_default=True,
    help="Compiled before the server starts; allows requests to name a FILE.lark.",
)  # fmt: skip
@click.argument("vllm_args", nargs=-1, type=click.UNPROCESSED)
def serve(
    model: str, host: str, port: int, grammars: tuple[str, ...], vllm_args: tuple[str, ...]
) -> None:
    """Start vLLM's OpenAI server for MODEL with the grammar plug-in.

    Further arguments are those of `vllm serve`, say --tensor-parallel-size 2. A client requests
    a grammar with extra_body={"vllm_xargs": {"grammar": "python"}}; `gars-vllm sample
    --base-url` is one.
    """
    spec = models.lookup(model)
    for grammar in grammars:
        check_grammar(grammar)
    extras.require(Extra.ENGINE, "`gars-vllm serve`")
    checks.free_port(host, port)
    files = models.resolve(spec)
    tokenizer = tokenizers.load(files.folder)
    for grammar in grammars:
        compile_grammar(grammar, tokenizer.vocabulary)
    arguments, environment = command(
        files.folder, tokenizer.folder, spec.name, tokenizer.vocabulary.digest,
        Path(tempfile.mkdtemp(prefix="gars-serve-")),
        ["--host", host, "--port", str(port), *vllm_args],
        files=[str(Path(name).resolve()) for name in grammars if name.endswith(".lark")],
    )  # fmt: skip
    click.echo(
        f"gars-vllm sample --model {model} --base-url http://{host}:{port}/v1   once it is up",
        err=True,
    )
    os.execve(arguments[0], arguments, environment)
