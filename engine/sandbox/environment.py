# SPDX-License-Identifier: Apache-2.0
"""What of its surroundings may reach a verdict: nothing.

The worker, its judge and its jail get an environment made here, whatever the user's holds, and
start with the same flags. The limits that the user's shell has set (`ulimit`) cannot be undone
where they are hard ones, so a limit below what a program is promised is an error.
"""

from __future__ import annotations

import os
import resource
import sys
import types
import warnings

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox.fixed_limits import FILE_BYTES, FILES

# No user's packages or start-up file, no current folder on the path. PYTHON* variables are left
# out of the environment instead (-E, -I), so that PYTHONHASHSEED can be ours.
FLAGS = ("-s", "-P")
_FIXED = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the same verdict every time
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_LOADER = ("LD_LIBRARY_PATH",)  # without it an interpreter may not start at all
_DOCKER = ("HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")
_STACK_BYTES = 8 << 20
_CPU_SECONDS = 3600  # of the process that watches all programs of a core
_PROCESSES = 512  # threads too


def for_judge(with_docker: bool = False) -> dict[str, str]:
    """The environment of the worker and its judge; with what docker's command needs."""
    names: tuple[str, ...] = _LOADER
    if with_docker:
        names += (*_DOCKER, *(name for name in os.environ if name.startswith("DOCKER_")))
    kept = {name: os.environ[name] for name in names if name in os.environ}
    home = {"HOME": "/", "TMPDIR": os.environ.get("TMPDIR", "/tmp"), "TZ": "UTC"}
    return _FIXED | home | kept


def for_jail(scratch: str) -> dict[str, str]:
    """All that a program finds in its environment; `scratch`: where it may write."""
    kept = {name: os.environ[name] for name in _LOADER if name in os.environ}
    # For the C library when it starts: a thread's own arena takes 64 MiB of address space. The cell
    # takes it out of the environment again.
    arenas = {"MALLOC_ARENA_MAX": "2"}
    return _FIXED | {"HOME": scratch, "TMPDIR": scratch} | arenas | kept


def prepare_process() -> None:
    """Puts this process, a worker's, into the state that verdicts are reached in.

    Raises RuntimeError where `assert` does nothing: there every program would pass.
    """
    os.umask(0o022)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")  # as errors they would end tests; printed they help nobody
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
    """Compiles with asserts, at whatever level the interpreter itself was started."""
    return compile(source, name, "exec", dont_inherit=True, optimize=0)


def check_limits(memory_mb: int = 0) -> None:
    """Lifts the soft limits of this process as far as programs need them, for good.

    Raises UserError where a hard limit is below what a program is promised: its verdict would
    depend on the shell that it was started from.
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
