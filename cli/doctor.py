# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from gars_vllm.cli.console import console
from gars_vllm.engine.diagnosis import State, diagnose
from rich import box
from rich.markup import escape
from rich.table import Table

_STYLE = {State.OK: "green", State.LOOK: "yellow", State.BAD: "bold red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Show what is installed, which of vLLM's runners is used, and what to change.

    Exits with 1 if sampling cannot work.
    """
    findings = diagnose()
    if as_json:
        click.echo(json.dumps([asdict(f) for f in findings], indent=2))
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("found", overflow="fold")
        table.add_column("what to do", overflow="fold")
        for f in findings:
            state = f"[{_STYLE[f.state]}]{f.state}[/]"
            table.add_row(escape(f.name), state, escape(f.value), escape(f.advice))
        console().print(table)
    if any(f.state is State.BAD for f in findings):
        raise click.exceptions.Exit(1)
