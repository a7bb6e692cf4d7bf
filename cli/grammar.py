# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm grammar`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from gars_vllm.cli.console import console, progress
from gars_vllm.engine import models
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.inspection import acceptance, explanation, walks
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.tasks.programs import check_grammar
from gars_vllm.grammar import compile_grammar
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

Callback = Callable[..., Any]


@click.group()
def grammar() -> None:
    """Test a grammar on texts."""


def _known(_context: click.Context, _option: click.Parameter, name: str) -> str:
    check_grammar(name)
    return name


def _about(command: Callback) -> Callback:
    """The options that select the mask."""
    language = click.option(
        "--language",
        default="python",
        show_default=True,
        callback=_known,
        help="python, json or a FILE.",
    )
    tokenizer = click.option(
        "--tokenizer",
        required=True,
        callback=lambda _context, _option, name: models.kept_folder(name),
        help="A folder with tokenizer.json, or the name of a model that has been fetched.",
    )
    return language(tokenizer(command))


@grammar.command()
@_about
@click.option(
    "--prefix-file",
    type=click.Path(path_type=Path),
    help="Text before each file that is not checked token by token: a prompt.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(
    language: str, tokenizer: Path, prefix_file: Path | None, as_json: bool,
    files: tuple[Path, ...],
) -> None:  # fmt: skip
    """Feed each of FILES token by token; exit with 1 if any token is refused."""
    prefix = "" if prefix_file is None else _read(prefix_file)
    texts = [(file, _read(file)) for file in files]
    reader = tokenizers.Encoder.of(tokenizer)
    with progress() as bar:
        task = bar.add_task(f"tables of {language}", total=None)
        compiled = compile_grammar(language, reader.vocabulary)
        bar.update(task, description="files", total=len(texts), completed=0)
        refused = 0
        for file, text in texts:
            result = acceptance.check(compiled, reader, text, prefix)
            refused += not result.accepted
            if as_json:
                click.echo(json.dumps({"file": str(file)} | result.to_json()))
            elif result.accepted:
                click.echo(f"{file}: accepted, {result.tokens:,} tokens")
            else:
                click.echo(f"{file}:{result.line}:{result.column}: {result.message}")
            bar.advance(task)
    if refused:
        raise click.exceptions.Exit(1)


@grammar.command()
@_about
@click.option("--walks", "count", default=1000, show_default=True, help="Number of walks.")
@click.option("--max-tokens", default=120, show_default=True, help="Budget of each walk.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--weights",
    type=click.Choice([w.value for w in walks.Weights]),
    default=walks.Weights.UNIFORM.value,
    show_default=True,
    help="How to draw among the allowed tokens: uniformly, byte by byte, or by their frequency in "
    "the standard library.",
)
@click.option(
    "--closing/--no-closing",
    default=True,
    show_default=True,
    help="Complete each walk within its budget.",
)
@click.option(
    "--prefix-file", type=click.Path(path_type=Path), help="Text that each walk begins with."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def walk(
    language: str, tokenizer: Path, count: int, max_tokens: int, seed: int, weights: str,
    closing: bool, prefix_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Random walks through the mask, judged by the language's own parser.

    Exits with 1 if a walk did not finish or a finished one is invalid.
    """
    walks.check_language(language)
    walks.check_counts(count, max_tokens)
    prefix = "" if prefix_file is None else _read(prefix_file)
    encoder = tokenizers.Encoder.of(tokenizer)
    with progress() as bar:
        task = bar.add_task(f"tables of {language}", total=None)
        compiled = compile_grammar(language, encoder.vocabulary)
        walks.check_prefix(compiled, prefix)
        bar.update(task, description="walks", total=count, completed=0)
        report = walks.walk(
            walks.GrammarWalker(compiled, closing),
            encoder.vocabulary,
            walks.weights_of(walks.Weights(weights), encoder.vocabulary, encoder),
            language, count, max_tokens, seed, (prefix,),
            progress=lambda report: bar.update(task, completed=report.walks),
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        _show_walks(report, language)
    if report.valid < report.walks:
        raise click.exceptions.Exit(1)


def _show_walks(report: walks.Report, language: str) -> None:
    out = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("walks", "tokens", "finished", "closed in time", "stuck", "valid"):
        table.add_column(heading, justify="right")
    numbers = (
        report.walks,
        report.tokens,
        report.finished,
        report.closed,
        report.stuck,
        report.valid,
    )
    table.add_row(*(f"{n:,}" for n in numbers))
    out.print(table)
    if not report.invalid:
        return
    classes = Counter(walks.kind_of(i.message) for i in report.invalid)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"errors of {language}'s parser")
    table.add_column("walks", justify="right")
    table.add_column("message", overflow="fold")
    for message, number in classes.most_common():
        table.add_row(str(number), escape(message))
    out.print(table)
    for one in report.invalid[:20]:
        click.echo(f"{one.message}: {one.text!r}")


@grammar.command()
@_about
@click.option("--prefix-file", type=click.Path(path_type=Path), help="Text before TEXT.")
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as one JSON object.")
@click.argument("text")
def explain(
    language: str, tokenizer: Path, prefix_file: Path | None, as_json: bool, text: str
) -> None:
    """Show the state after TEXT: what was read, what may come next, how it could end.

    TEXT is read token by token, up to the first that the mask refuses; `-` reads standard input.
    """
    prefix = "" if prefix_file is None else _read(prefix_file)
    encoder = tokenizers.Encoder.of(tokenizer)
    if text == "-":
        text = sys.stdin.read()
    compiled = compile_grammar(language, encoder.vocabulary)
    walks.check_prefix(compiled, prefix)
    explained = explanation.explain(compiled, encoder, text, prefix)
    if as_json:
        click.echo(json.dumps(explained.to_json()))
    else:
        _show_explanation(explained)


def _show_explanation(explained: explanation.Explanation) -> None:
    out = console()
    shown = Text(explained.read[-400:], style="green")
    shown.append(explained.pending, style="yellow")
    if explained.refused is not None:
        shown.append(explained.refused, style="bold red")
        shown.append(explained.after[:80], style="dim")
    out.print(shown)
    out.print()
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    rows = [
        ("read", f"{explained.tokens} tokens, to line {explained.line}, column {explained.column}")
    ]
    if explained.refused is not None:
        rows.append(("refused", f"token {explained.refused!r}: {explained.reason}"))
    elif explained.pending:
        rows.append(("in the middle of", f"{explained.pending!r}"))
    seen = "  ".join(
        f"{name} {piece!r}" if piece else name for name, piece in explained.terminals[-16:]
    )
    rows.append(("terminals seen", ("... " if len(explained.terminals) > 16 else "") + seen))
    if explained.blocks:
        rows.append(("blocks", "  ".join(f"column {c}: {kind}" for c, kind in explained.blocks)))
    rows.append(("open brackets", " ".join(explained.brackets) or "none"))
    if explained.parses > 1:
        rows.append(("parses", f"{explained.parses}, until what follows decides"))
    rows.append(("may come next", ", ".join(explained.expected) or "nothing"))
    rows.append(("tokens allowed", f"{explained.allowed:,} of {explained.vocabulary:,}"))
    rows.append(("may end here", "yes" if explained.can_stop else "no"))
    if not explained.can_stop:
        count = len(explained.completion)
        rows.append(
            ("to close", f"{count} token{'s' * (count != 1)}: {''.join(explained.completion)!r}")
            if count else ("to close", "the vocabulary cannot write an end")
        )  # fmt: skip
    for name, value in rows:
        table.add_row(name, escape(value))
    out.print(table)


def _read(file: Path) -> str:
    try:
        # newline="": line ends are checked, too
        with file.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
