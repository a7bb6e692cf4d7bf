# SPDX-License-Identifier: Apache-2.0
"""The command `gars-vllm` and its subcommands, each imported on demand."""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import importlib.util
import sys
from typing import Any

import click
from gars_vllm.cli.plain_text import take_any_text

# name -> its line in --help; the command is the object of this name in its module
COMMANDS = {
    "sample": "Sample programs from a model under a grammar.",
    "verify": "Run the tests of a run's samples.",
    "select": "Select one sample per problem without its tests, and measure the accuracy.",
    "report": "Report the statistics of one or more runs.",
    "compare": "Compare two runs, problem by problem.",
    "serve": "Start vLLM's OpenAI server with the grammar in it.",
    "models": "List the models with short names.",
    "grammar": "Test a grammar on texts.",
    "bench": "Compare the mask with xgrammar, llguidance and SynCode.",
    "doctor": "Show what is installed and which settings to change.",
}
RESUMABLE = frozenset({"sample", "verify"})


class Refused(click.ClickException):
    """Bad input: one line on standard error and exit code 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Interrupted(click.ClickException):
    """Ctrl-C: one line on standard error and exit code 130."""

    exit_code = 130

    def show(self, file: Any = None) -> None:
        click.echo(self.format_message(), file=file, err=True)


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, not for --help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if _module_exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS or not _module_exists(cmd_name):
            return None
        try:
            module = importlib.import_module(f"gars_vllm.cli.{cmd_name}")
        except ModuleNotFoundError as error:
            raise _lacking(error, cmd_name) from error
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def main(self, *args: Any, **extra: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            take_any_text(stream)
        return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise _lacking(error, str(ctx.invoked_subcommand)) from error
        except ValueError as error:
            # our own errors are one line for the user; any other is a bug
            if type(error).__module__.startswith("gars_vllm."):
                raise Refused(str(error)) from error
            raise
        except OSError as error:
            # A full disk, an unreadable file: not a bug. click handles closed pipes.
            if error.errno in (None, errno.EPIPE):
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise Refused(f"{where}{error.strerror or error}") from error
        except (KeyboardInterrupt, click.Abort):
            again = ctx.invoked_subcommand in RESUMABLE
            hint = ": the same command continues where this one stopped" if again else ""
            raise Interrupted(f"Interrupted{hint}") from None


def _lacking(error: ModuleNotFoundError, command: str) -> Exception:
    """A one-line error for a package of an extra; any other missing module is a bug."""
    from gars_vllm.engine import extras

    explained = extras.explain(error, f"`gars-vllm {command}`")
    return error if explained is None else Refused(str(explained))


def _module_exists(name: str) -> bool:
    return importlib.util.find_spec(f"gars_vllm.cli.{name}") is not None


def version() -> str:
    """The installed version of gars-vllm."""
    try:
        return importlib.metadata.version("gars-vllm")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


@click.group(
    name="gars-vllm",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version(), prog_name="gars-vllm")
def main() -> None:
    """Grammar-augmented repeated sampling on vLLM: many programs, every one of them valid."""


if __name__ == "__main__":
    main()
