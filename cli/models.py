# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm models`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from gars_vllm.cli.console import console
from gars_vllm.engine.models import DEFAULT, MODELS, cache_folder
from rich.table import Table


@click.command()
@click.option("--json", "as_json", is_flag=True)
def models(as_json: bool) -> None:
    """List the models that have a short name."""
    if as_json:
        click.echo(json.dumps([asdict(m) for m in MODELS]))
        return
    table = Table("name", "hub id", "licence", "kind", "here")
    for m in MODELS:
        here = "yes" if (cache_folder() / m.name / "config.json").is_file() else ""
        name = f"{m.name} (default)" if m.name == DEFAULT else m.name
        table.add_row(name, m.hub_id, m.licence, "chat" if m.chat else "base", here)
    console().print(table)
