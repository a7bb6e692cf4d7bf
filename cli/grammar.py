# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm grammar check`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from gars_vllm.grammar import GrammarError, Vocabulary, compile_grammar


@click.group()
def grammar() -> None:
    """Try a grammar on texts."""


@grammar.command()
@click.option("--language", default="python", show_default=True)
@click.option("--tokenizer", required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(language: str, tokenizer: Path, as_json: bool, files: tuple[Path, ...]) -> None:
    """Feed each file token by token; exit 1 if any token is refused."""
    from tokenizers import Tokenizer

    compiled = compile_grammar(language, Vocabulary.from_tokenizer(tokenizer))
    encoder = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    refused = 0
    for file in files:
        text = file.read_text("utf-8")
        matcher = compiled.matcher()
        row: dict[str, object] = {"file": str(file), "accepted": True}
        ids = encoder.encode(text, add_special_tokens=False).ids
        position = 0
        try:
            for token in ids:
                matcher.advance(token)
                position += len(compiled.vocabulary.tokens[token] or b"")
            if not matcher.can_stop():
                raise GrammarError("the text is not complete", position)
        except GrammarError as error:
            refused += 1
            before = text.encode()[:position]
            row |= {
                "accepted": False,
                "position": position,
                "line": before.count(b"\n") + 1,
                "column": position - before.rfind(b"\n"),
                "expected": list(error.expected),
                "message": str(error),
            }
        row["tokens"] = len(ids)
        if as_json:
            click.echo(json.dumps(row))
        elif row["accepted"]:
            click.echo(f"{file}: accepted, {len(ids)} tokens")
        else:
            click.echo(f"{file}:{row['line']}:{row['column']}: {row['message']}")
    if refused:
        raise click.exceptions.Exit(1)
