# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm grammar`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from gars_vllm.cli.console import progress
from gars_vllm.engine import acceptance, tokenizers
from gars_vllm.engine.errors import UserError
from gars_vllm.grammar import compile_grammar


@click.group()
def grammar() -> None:
    """Try a grammar on texts."""


@grammar.command()
@click.option("--language", default="python", show_default=True, help="python, json or a FILE.")
@click.option(
    "--tokenizer",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder with tokenizer.json, such as a model's.",
)
@click.option(
    "--prefix-file",
    type=click.Path(path_type=Path),
    help="Text that stands before each file and is not checked token by token: a prompt.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(
    language: str, tokenizer: Path, prefix_file: Path | None, as_json: bool,
    files: tuple[Path, ...],
) -> None:  # fmt: skip
    """Feed each of FILES token by token; exit with 1 if a token of any was refused."""
    reader = tokenizers.Encoder.of(tokenizer)
    prefix = "" if prefix_file is None else _read(prefix_file)
    texts = [(file, _read(file)) for file in files]
    with progress() as bar:
        task = bar.add_task(f"tables of {language}", total=None)
        compiled = compile_grammar(language, reader.vocabulary)
        bar.update(task, description="files", total=len(texts), completed=0)
        refused = 0
        for file, text in texts:
            found = acceptance.check(compiled, reader, text, prefix)
            refused += not found.accepted
            if as_json:
                click.echo(json.dumps({"file": str(file)} | found.to_json()))
            elif found.accepted:
                click.echo(f"{file}: accepted, {found.tokens:,} tokens")
            else:
                click.echo(f"{file}:{found.line}:{found.column}: {found.message}")
            bar.advance(task)
    if refused:
        raise click.exceptions.Exit(1)


def _read(file: Path) -> str:
    try:
        # newline="": a file's own line ends are part of what is checked
        with file.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
