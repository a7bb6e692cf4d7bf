# SPDX-License-Identifier: Apache-2.0
"""The options of every command that runs samples' programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox import choice, tiers
from gars_vllm.engine.verification.verification import Checking

_WHERE = (
    click.option(
        "--sandbox",
        type=click.Choice(["auto", *(tier.value for tier in tiers.Tier)]),
        default="auto",
        show_default=True,
        help="How programs are isolated; auto: the strongest of bwrap, namespaces, landlock.",
    ),
    click.option(
        "--i-know", is_flag=True, help="Allow rlimits: programs reach your files and the network."
    ),
    click.option("--docker-image", metavar="IMAGE", help="With --sandbox docker."),
)
_LIMITS = (
    click.option(
        "--workers", type=int, help="Programs that run at a time.  [default: one per core]"
    ),
    click.option(
        "--timeout",
        type=float,
        help="Seconds per program.  [default: 3, or 10 times the reference solution]",
    ),
    click.option(
        "--memory-mb", type=int, default=1024, show_default=True, help="Memory per program, MiB."
    ),
)

SANDBOX_OPTIONS = ("sandbox", "i_know", "docker_image", "workers", "timeout", "memory_mb")


@dataclass(frozen=True)
class Sandbox:
    """The values of the options."""

    name: str
    i_know: bool
    docker_image: str | None
    workers: int | None = None
    timeout: float | None = None
    memory_mb: int = 1024

    def checking(self) -> Checking:
        """Raises UserError if the sandbox is not available."""
        if self.docker_image is not None and self.name != tiers.Tier.DOCKER.value:
            raise UserError("--docker-image is for --sandbox docker: give that, too")
        if self.i_know and self.name not in ("auto", tiers.Tier.RLIMITS.value):
            raise UserError(f"--i-know is for --sandbox rlimits: it does nothing with {self.name}")
        how = Checking(
            tiers.Tier.RLIMITS, self.workers, self.timeout, self.memory_mb, self.docker_image
        )
        how.pool()  # checks the number of workers before a tier is tried
        return replace(how, tier=choice.choose(self.name, self.i_know, self.docker_image))

    def arguments(self) -> list[str]:
        """The same options for another command, with the tier that works here. Raises UserError
        if there is none."""
        options = ["--sandbox", str(self.checking().tier)]
        options += ["--i-know"] if self.i_know else []
        return options + (["--docker-image", self.docker_image] if self.docker_image else [])


def sandbox_options(*, limits: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Passes all of them to the command as one argument, `sandbox`. `limits`: also the options
    for workers and each program's limits."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(**given: Any) -> Any:
            where = [given.pop(name) for name in ("sandbox", "i_know", "docker_image")]
            more = ("workers", "timeout", "memory_mb") if limits else ()
            return command(sandbox=Sandbox(*where, *(given.pop(name) for name in more)), **given)

        for option in reversed((*_WHERE, *(_LIMITS if limits else ()))):
            called = option(called)
        return called

    return decorate
