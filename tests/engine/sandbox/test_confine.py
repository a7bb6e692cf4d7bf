# SPDX-License-Identifier: Apache-2.0
"""What the kernel is told; what comes of it is tested by running programs (test_foreman, hostile)."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import pytest
from gars_vllm.engine.sandbox import confine

HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("column", HEADERS)
def test_the_numbers_are_the_kernels(column: int) -> None:
    header = HEADERS[column]
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    pairs = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    theirs = {name: int(number) for name, number in pairs}
    # the generic table gives some the names that 32 bits have too
    theirs |= {"newfstatat": theirs.get("fstatat", theirs.get("newfstatat", -1))}
    ours = {name: numbers[column] for name, numbers in confine._CALLS.items()}
    known = {name: number for name, number in ours.items() if name in theirs and number >= 0}
    assert len(known) > 150
    assert known == {name: theirs[name] for name in known}
    missing = {name for name, number in ours.items() if number < 0}
    assert {name for name in missing if name in theirs} <= {"renameat", "getrlimit", "setrlimit"}


def answer(
    filter_: list[bytes], number: int, first: int = 0, second: int = 0, machine: int | None = None
) -> int:
    """What a filter says to a call: the kernel's classic BPF, the few operations that are used."""
    data = {
        0: number,
        4: confine._AUDIT[confine._MACHINE] if machine is None else machine,
        16: first,
        24: second,
    }
    place, accumulator = 0, 0
    while True:
        code, yes, no, k = struct.unpack("=HBBI", filter_[place])
        place += 1
        if code == 0x20:
            accumulator = data[k]
        elif code == 0x05:
            place += k
        elif code == 0x06:
            return int(k)
        elif code == 0x54:
            accumulator &= k
        else:
            test = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}
            place += yes if test[code] else no


ALLOW, NOTIFY, ERRNO, KILL = 0x7FFF0000, 0x7FC00000, 0x00050000, 0x80000000


def test_the_filter_answers_every_call_as_the_lists_say() -> None:
    program = confine._program(77, NOTIFY)
    assert len(program) < 4096  # the kernel's limit
    expected = dict.fromkeys(range(600), ERRNO | 38)
    expected |= {confine._call(n): ALLOW for n in confine.ALLOWED}
    expected |= {confine._call(n): NOTIFY for n in confine.FORBIDDEN}
    expected |= {confine._call(n): ERRNO | 1 for n in confine._REFUSED}
    by_argument = {confine._call(n) for n in confine._BY_ARGUMENT}
    for number, found in expected.items():
        if number >= 0 and number not in by_argument:
            assert answer(program, number) == found, number
    assert answer(program, 0, machine=0x40000003) == KILL  # i386's numbers mean other calls
    assert answer(program, 1 << 30) == ERRNO | 38  # x32's too


@pytest.mark.parametrize(
    ("name", "argument", "found"),
    [
        ("clone", 0x11, NOTIFY),
        ("clone", 0x10F00, ALLOW),
        ("kill", 77, ALLOW),
        ("kill", 1, NOTIFY),
        ("kill", 0xFFFFFFFF, NOTIFY),
        ("tgkill", 77, ALLOW),
        ("tgkill", 78, NOTIFY),
        ("prlimit64", 0, ALLOW),
        ("prlimit64", 1, NOTIFY),
        ("socket", 2, NOTIFY),
        ("socket", 10, NOTIFY),
        ("socket", 16, NOTIFY),
        ("socket", 1, ERRNO | 97),
        ("prctl", 15, ALLOW),
        ("prctl", 4, ERRNO | 1),
        ("clone3", 0, ERRNO | 38),
        ("sched_setaffinity", 0, ALLOW),
        ("sched_setaffinity", 1, ERRNO | 1),
    ],
)
def test_calls_that_an_argument_decides(name: str, argument: int, found: int) -> None:
    assert answer(confine._program(77, NOTIFY), confine._call(name), argument) == found


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (1, 1 | 0o2000000 | 0o4000), ALLOW),  # close on exec, not blocking
        ("socketpair", (1, 2), ERRNO | 97),
        ("socketpair", (1, 5), ERRNO | 97),
        ("socketpair", (16, 1), ERRNO | 97),
        ("fcntl", (3, 0), ALLOW),
        ("fcntl", (3, 1030), ALLOW),
        ("fcntl", (3, 8), ERRNO | 1),
        ("fcntl", (3, 10), ERRNO | 1),
        ("fcntl", (3, 15), ERRNO | 1),
        ("fcntl", (3, 1024), ERRNO | 1),
        ("ioctl", (3, 0x5401), ALLOW),
        ("ioctl", (3, 0x8901), ERRNO | 25),
        ("ioctl", (3, 0x5412), ERRNO | 25),  # TIOCSTI: types into a terminal
    ],
)
def test_calls_that_two_arguments_decide(name: str, arguments: tuple[int, int], found: int) -> None:
    assert answer(confine._program(77, NOTIFY), confine._call(name), *arguments) == found


def test_what_is_dangerous_is_allowed_nowhere() -> None:
    never = {"fork", "vfork", "execve", "execveat", "ptrace", "socket", "connect", "bind", "kill", "mount",
             "unshare", "setns", "bpf", "io_uring_setup", "pidfd_getfd", "process_vm_readv", "chroot",
             "clone", "clone3", "chmod", "fchmodat", "utimensat", "fcntl", "ioctl", "socketpair", "userfaultfd", "perf_event_open", "keyctl", "setsid", "prctl"}  # fmt: skip
    assert not never & set(confine.ALLOWED)
    assert not set(confine.FORBIDDEN) & set(confine.ALLOWED)


def test_limits_are_for_good() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        import resource

        confine.limit(resource.RLIMIT_FSIZE, 1000)
        confine.limit(resource.RLIMIT_FSIZE, 2000)  # stays what it was
        os.write(write, repr(resource.getrlimit(resource.RLIMIT_FSIZE)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    found = os.read(read, 100)
    os.close(read)
    os.close(write)
    assert found == b"(1000, 1000)"
