# SPDX-License-Identifier: Apache-2.0
"""The options of every command that runs samples' programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from gars_vllm.engine.sandbox import tiers
from gars_vllm.engine.verification import Checking

_WHERE = (
    click.option(
        "--sandbox",
        type=click.Choice(["auto", *(tier.value for tier in tiers.Tier)]),
        default="auto",
        show_default=True,
        help="How programs are shut in; auto: the strongest of bwrap, namespaces, landlock.",
    ),
    click.option(
        "--i-know", is_flag=True, help="Allow rlimits: programs reach your files and the network."
    ),
    click.option("--docker-image", metavar="IMAGE", help="With --sandbox docker."),
)
_LIMITS = (
    click.option("--workers", type=int, help="Programs that run at a time.  [default: one a core]"),
    click.option(
        "--timeout",
        type=float,
        help="Seconds for each program.  [default: 3, or 10 times the task's own solution]",
    ),
    click.option(
        "--memory-mb", type=int, default=1024, show_default=True, help="Memory for each, MiB."
    ),
)


def sandbox_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--sandbox and its kin: where programs run."""
    for option in reversed(_WHERE):
        command = option(command)
    return command


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--workers, --timeout, --memory-mb: how many programs run, and what each may use."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


def checking(
    sandbox: str,
    i_know: bool,
    docker_image: str | None,
    workers: int | None = None,
    timeout: float | None = None,
    memory_mb: int = 1024,
) -> Checking:
    """What the options ask for. Raises UserError when it cannot be had."""
    asked = Checking(tiers.Tier.RLIMITS, workers, timeout, memory_mb, docker_image)
    asked.pool()  # refuses what is no number of workers, before anything is tried
    tier = tiers.choose(sandbox, i_know, docker_image)
    return Checking(tier, workers, timeout, memory_mb, docker_image)
