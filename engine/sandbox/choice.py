# SPDX-License-Identifier: Apache-2.0
"""Selects the isolation tier; a tier is tried by running a program in it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox.outcome import Limits, Program
from gars_vllm.engine.sandbox.tiers import Tier, reason_against
from gars_vllm.engine.sandbox.worker import JailFailed, Worker


def try_jail(tier: Tier, image: str | None = None) -> str | None:
    """Runs a program in a jail: None if it passes, else the reason."""
    worker = Worker(tier, image)
    try:
        program = Program("def f():\n    return 1\n", "f", "def check(f):\n    assert f() == 1\n")
        verdict = worker.run(program, Limits(30, 1024))
        return None if verdict.passed else f"{verdict.outcome}: {verdict.detail}"
    except (JailFailed, OSError) as error:
        return str(error)
    finally:
        worker.close()


@functools.cache
def available(tier: Tier, image: str | None = None) -> str | None:
    """None if the tier works here, which is tried by running a program in it; else the reason."""
    return reason_against(tier) or try_jail(tier, image)


def choose(name: str, is_known_weak: bool = False, image: str | None = None) -> Tier:
    """The tier for `name`: a tier's name, or "auto" for the strongest that works here.

    Raises UserError with the reason if it does not work here, or if it means resource limits
    only and `is_known_weak` is false.
    """
    if name == "auto":
        reasons = []
        for tier in (Tier.BWRAP, Tier.NAMESPACES, Tier.LANDLOCK):
            reason = available(tier)
            if reason is None:
                return tier
            reasons.append(f"{tier}: {reason}")
        if is_known_weak:
            return Tier.RLIMITS
        raise UserError(
            f"no sandbox works here ({'; '.join(reasons)}): use --sandbox docker, or --sandbox "
            "rlimits --i-know, under which programs can read your files and use the network"
        )
    tier = Tier(name)
    if tier is Tier.RLIMITS and not is_known_weak:
        raise UserError(
            "--sandbox rlimits is no sandbox: programs can read your files and use the network; "
            "add --i-know if that is all right"
        )
    if tier is Tier.DOCKER and not image:
        raise UserError("--sandbox docker needs --docker-image, say python:3.11-slim")
    reason = available(tier, image)
    if reason is not None:
        raise UserError(f"--sandbox {tier} does not work here: {reason}")
    return tier


def tiers_here() -> Sequence[tuple[Tier, str | None]]:
    """Each tier except docker, which needs an image, with the reason why it does not work, or
    None."""
    return [(t, available(t)) for t in (Tier.BWRAP, Tier.NAMESPACES, Tier.LANDLOCK, Tier.RLIMITS)]
