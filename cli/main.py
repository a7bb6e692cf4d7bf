# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm`: sample, verify, report, models, grammar."""

from __future__ import annotations

import importlib
import sys

import click

COMMANDS = ("sample", "verify", "report", "models", "grammar")


class LazyGroup(click.Group):
    """Imports a command when it is used, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(f"gars_vllm.cli.{cmd_name}"), cmd_name)
        assert isinstance(found, click.Command)
        return found


@click.group(cls=LazyGroup)
@click.version_option(package_name="gars-vllm")
def cli() -> None:
    """Grammar-augmented repeated sampling on vLLM."""


def main() -> None:
    """The console script. Bad input: one line and exit code 2; Ctrl-C: 130."""
    from gars_vllm.engine.errors import UserError
    from gars_vllm.grammar import GrammarError, GrammarFileError, VocabularyError

    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (UserError, GrammarError, GrammarFileError, VocabularyError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; what was finished is on disk, the same command continues", err=True)
        sys.exit(130)
