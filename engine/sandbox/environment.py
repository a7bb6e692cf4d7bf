# SPDX-License-Identifier: Apache-2.0
"""Isolates verdicts from the user's environment.

The worker, its judge and its jail get a fixed environment and start with the same flags. Hard
limits of the user's shell (`ulimit`) cannot be raised, so a limit below what a program is
guaranteed is an error.
"""

from __future__ import annotations

import os
import resource
import sys
import types
import warnings

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox.fixed_limits import FILE_BYTES, FILES

# No user site, no current folder on the path. PYTHON* variables are left out of the environment
# instead of using -E or -I, so that PYTHONHASHSEED can be set.
FLAGS = ("-s", "-P")
_FIXED = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # reproducible verdicts
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_LOADER = ("LD_LIBRARY_PATH",)  # some interpreters do not start without it
_DOCKER = ("HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")
_STACK_BYTES = 8 << 20
_CPU_SECONDS = 3600  # of the worker, which lives long
_PROCESSES = 512  # threads too


def for_judge(with_docker: bool = False) -> dict[str, str]:
    """The environment of the worker and its judge, optionally with docker's variables."""
    names: tuple[str, ...] = _LOADER
    if with_docker:
        names += (*_DOCKER, *(name for name in os.environ if name.startswith("DOCKER_")))
    kept = {name: os.environ[name] for name in names if name in os.environ}
    home = {"HOME": "/", "TMPDIR": os.environ.get("TMPDIR", "/tmp"), "TZ": "UTC"}
    return _FIXED | home | kept


def for_jail(scratch: str) -> dict[str, str]:
    """The program's complete environment; `scratch`: its writable folder."""
    kept = {name: os.environ[name] for name in _LOADER if name in os.environ}
    # For the C library at start: each thread's arena takes 64 MiB of address space. The jail
    # removes it from the environment again.
    arenas = {"MALLOC_ARENA_MAX": "2"}
    return _FIXED | {"HOME": scratch, "TMPDIR": scratch} | arenas | kept


def prepare_process() -> None:
    """Puts this process, a worker's, into the state in which verdicts are reached.

    Raises RuntimeError if `assert` is disabled: then every program would pass.
    """
    os.umask(0o022)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")  # errors would end tests
    if not __debug__ or not assert_works():
        raise RuntimeError("`assert` does nothing in this interpreter, and so no test can fail")


def assert_works() -> bool:
    """Whether a test's `assert` can fail, compiled as tests are."""
    try:
        exec(compile_with_asserts("assert False", "<check>"), {})
    except AssertionError:
        return True
    return False


def compile_with_asserts(source: str, name: str) -> types.CodeType:
    """Compiles with asserts, whatever the interpreter's optimisation level."""
    return compile(source, name, "exec", dont_inherit=True, optimize=0)


def check_limits(memory_mb: int = 0) -> None:
    """Raises the soft limits of this process permanently as far as programs need them.

    Raises UserError if a hard limit is below what a program is guaranteed: its verdict would
    depend on the shell.
    """
    wanted = [
        ("f", resource.RLIMIT_FSIZE, FILE_BYTES, f"files of {FILE_BYTES >> 20} MiB"),
        ("n", resource.RLIMIT_NOFILE, 2 * FILES, f"{FILES} open files, and their judges as many"),
        ("s", resource.RLIMIT_STACK, _STACK_BYTES, f"a stack of {_STACK_BYTES >> 20} MiB"),
        ("t", resource.RLIMIT_CPU, _CPU_SECONDS, "their own limit on time"),
        ("u", resource.RLIMIT_NPROC, _PROCESSES, "their threads"),
        ("v", resource.RLIMIT_AS, memory_mb << 20, f"{memory_mb} MiB of memory"),
    ]
    if sys.platform != "linux":
        wanted = wanted[:2]
    for letter, kind, least, what in wanted:
        soft, hard = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY and soft < least:
            if hard != resource.RLIM_INFINITY and hard < least:
                raise UserError(
                    f"`ulimit -{letter}` is too low here: programs are promised {what}, so raise "
                    "it, or ask for less where there is an option"
                )
            resource.setrlimit(kind, (least, hard))
