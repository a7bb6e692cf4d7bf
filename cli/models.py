# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm models`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from gars_vllm.cli.console import console
from gars_vllm.engine.models.catalogue import DEFAULT, MODELS
from gars_vllm.engine.models.files import folder_of
from rich.table import Table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def models(as_json: bool) -> None:
    """List the models with short names; any hub id or folder works, too."""
    if as_json:
        click.echo(json.dumps([asdict(m) for m in MODELS]))
        return
    # The hub ids need all 100 columns.
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("name", "hub id", "kind", "prompt", "licence"):
        table.add_column(heading, no_wrap=True)
    for m in MODELS:
        name = f"{m.name} *" if m.name == DEFAULT else m.name
        table.add_row(name, m.hub_id, "chat" if m.chat else "base", str(m.prompt), m.licence)
    console().print(table)
    ours = [m for m in MODELS if m.gguf is not None]
    click.echo("* the default; any hub id or folder works, too")
    click.echo(f"{', '.join(m.name for m in ours)}: from PyPI where the hub does not answer,")
    click.echo(f"kept in {folder_of(ours[0]).parent}")
