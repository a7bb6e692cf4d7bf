# SPDX-License-Identifier: Apache-2.0
"""Linux's means of confining a process: namespaces, Landlock, seccomp, resource limits.

Each function acts on the calling process and raises OSError if the kernel refuses. The numbers
are the kernel's (include/uapi/linux; one system call table per architecture). Like wire.py this
module runs in the jail and imports only the standard library.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import resource
import stat
import struct
import sys
from collections.abc import Iterable, Sequence

if sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)

# ---- limits ----


def limit(kind: int, amount: int, grace: int = 0) -> None:
    """Sets a resource limit permanently, or keeps an existing stricter one."""
    now = resource.getrlimit(kind)[1]
    hard = amount + grace if now == resource.RLIM_INFINITY else min(amount + grace, now)
    try:
        resource.setrlimit(kind, (min(amount, hard), hard))
    except (OSError, ValueError):
        if sys.platform == "linux":  # macOS has no limit on the address space
            raise


def address_space() -> int:
    """Bytes of address space that this process has mapped; 0 if unknown."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def die_with_parent() -> None:
    """Makes Linux kill this process when the thread that started it ends, even by SIGKILL."""
    if sys.platform == "linux":
        _prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL


def hide_memory() -> None:
    """Prevents other processes of the user from reading this one's memory or descriptors."""
    if sys.platform == "linux":
        _prctl(4, 0)  # PR_SET_DUMPABLE


def become_reaper() -> None:
    """Orphaned descendants become this process's children."""
    if sys.platform == "linux":
        _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def no_new_privileges() -> None:
    _prctl(38, 1)


def drop_capabilities() -> None:
    """Drops every capability permanently."""
    for number in range(64):
        if _libc.prctl(24, number, 0, 0, 0) != 0:  # PR_CAPBSET_DROP; past the last it fails
            break
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    _checked(_libc.capset(header, bytes(24)))


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, value, 0, 0, 0))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# ---- namespaces ----

_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
#      mounts       cgroup       host name    ipc          user         processes    network
_RDONLY, _NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
_REMOUNT, _DETACH, _MOUNT_SETATTR, _AT_RECURSIVE = 32, 2, 442, 0x8000
DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))


def unshare() -> None:
    """New namespaces of every kind; the next child is process 1 of its own. Single-threaded
    only."""
    user, group = os.getuid(), os.getgid()
    _checked(_libc.unshare(_NEW))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def build_root(
    folders: Sequence[str], hidden: Sequence[str], scratch: str, scratch_bytes: int
) -> None:
    """Builds a root with `folders` (or files) read-only, without the `hidden` paths in them, a
    few devices, and an empty writable folder; there is no /proc. In new namespaces only.

    /tmp is that folder, too, unless it leads to one of `folders`.
    """
    root = "/tmp"
    sources = {path: os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW) for path in folders}
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m")
    for path, source in sources.items():
        if stat.S_ISLNK(os.fstat(source).st_mode):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            os.symlink(os.readlink("", dir_fd=source), root + path)  # /lib on a merged /usr
        elif stat.S_ISDIR(os.fstat(source).st_mode):
            os.makedirs(root + path, exist_ok=True)
            _bind(source, root + path)
        else:
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            _touch(root + path)
            _bind(source, root + path)
        os.close(source)
    for path in hidden:
        if os.path.isdir(root + path):
            _mount("tmpfs", root + path, "tmpfs", _NOSUID | _NODEV | _RDONLY, "size=4k")
    os.makedirs(f"{root}/dev", exist_ok=True)
    for path in DEVICES:
        _touch(root + path)
        _mount(path, root + path, None, _BIND)
    os.makedirs(root + scratch, exist_ok=True)
    _mount("tmpfs", root + scratch, "tmpfs", _NOSUID | _NODEV, f"mode=700,size={scratch_bytes}")
    if not os.path.exists(f"{root}/tmp"):
        os.symlink(scratch, f"{root}/tmp")
    os.chdir(root)
    _checked(_libc.syscall(_call("pivot_root"), b".", b"."))
    _checked(_libc.umount2(b".", _DETACH))
    _mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _bind(source: int, target: str) -> None:
    _mount(f"/proc/self/fd/{source}", target, None, _BIND | _REC)
    attributes = struct.pack("=QQQQ", _RDONLY | _NOSUID | _NODEV, 0, 0, 0)
    if _libc.syscall(_MOUNT_SETATTR, -100, target.encode(), _AT_RECURSIVE, attributes, 32) != 0:
        _mount(None, target, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)  # before 5.12


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    try:
        _checked(_libc.mount(*words, flags, None if options is None else options.encode()))
    except OSError as error:
        raise OSError(error.errno, f"mount {target}: {error.strerror}") from None


# ---- Landlock ----

_LANDLOCK = (444, 445, 446)  # create, add a rule, restrict: the same on every architecture
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # the rights that a rule about a file may give
# number of rights by Landlock version: 13 at first, then refer, truncate, -, ioctl
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}


def landlock_version() -> int:
    """0 if unavailable."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc.syscall(_LANDLOCK[0], None, 0, 1)))


def landlock(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Restricts this process and its children to these files, without TCP or signals to other
    processes, as far as the kernel's version supports it. `readable` files may be executed."""
    version = landlock_version()
    if version == 0:
        raise OSError(38, "the kernel has no Landlock")
    every = (1 << _RIGHTS[min(version, 5)]) - 1
    network = 0b11 if version >= 4 else 0
    scopes = 0b11 if version >= 6 else 0
    attributes = struct.pack("=QQQ", every, network, scopes)
    attributes = attributes[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _checked(_libc.syscall(_LANDLOCK[0], attributes, len(attributes), 0))
    try:
        for paths, rights in ((readable, _READ), (writable, every)):
            for path in paths:
                _allow(rules, path, rights & every)
        no_new_privileges()
        _checked(_libc.syscall(_LANDLOCK[2], rules, 0))
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE
        rule = struct.pack("=Qi", rights, descriptor)
        _checked(_libc.syscall(_LANDLOCK[1], rules, 1, rule, 0))
    finally:
        os.close(descriptor)


# ---- seccomp ----

_X86, _ARM = "x86_64", "aarch64"
_MACHINE = platform.machine()
_AUDIT = {_X86: 0xC000003E, _ARM: 0xC00000B7}

# name -> (x86_64, aarch64); -1: that architecture has none
_CALLS: dict[str, tuple[int, int]] = {
    "read": (0, 63), "write": (1, 64), "open": (2, -1), "close": (3, 57), "stat": (4, -1),
    "fstat": (5, 80), "lstat": (6, -1), "poll": (7, -1), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "ioctl": (16, 29),
    "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66),
    "access": (21, -1), "pipe": (22, -1), "select": (23, -1), "sched_yield": (24, 124),
    "mremap": (25, 216), "msync": (26, 227), "mincore": (27, 232), "madvise": (28, 233),
    "dup": (32, 23), "dup2": (33, -1), "pause": (34, -1), "nanosleep": (35, 101),
    "getitimer": (36, 102), "alarm": (37, -1), "setitimer": (38, 103), "getpid": (39, 172),
    "sendfile": (40, 71), "socket": (41, 198), "sendto": (44, 206), "recvfrom": (45, 207),
    "sendmsg": (46, 211), "recvmsg": (47, 212), "shutdown": (48, 210), "getsockname": (51, 204),
    "getpeername": (52, 205), "socketpair": (53, 199), "setsockopt": (54, 208),
    "getsockopt": (55, 209), "clone": (56, 220), "fork": (57, -1), "vfork": (58, -1),
    "execve": (59, 221), "exit": (60, 93), "kill": (62, 129), "uname": (63, 160),
    "fcntl": (72, 25), "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83),
    "truncate": (76, 45), "ftruncate": (77, 46), "getdents": (78, -1), "getcwd": (79, 17),
    "chdir": (80, 49), "fchdir": (81, 50), "rename": (82, -1), "mkdir": (83, -1),
    "rmdir": (84, -1), "creat": (85, -1), "link": (86, -1), "unlink": (87, -1),
    "symlink": (88, -1), "readlink": (89, -1), "chmod": (90, -1), "fchmod": (91, 52),
    "umask": (95, 166), "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165),
    "sysinfo": (99, 179), "times": (100, 153), "ptrace": (101, 117), "getuid": (102, 174),
    "syslog": (103, 116), "getgid": (104, 176), "setuid": (105, 146), "setgid": (106, 144),
    "geteuid": (107, 175), "getegid": (108, 177), "setpgid": (109, 154), "getppid": (110, 173),
    "getpgrp": (111, -1), "setsid": (112, 157), "setreuid": (113, 145), "setregid": (114, 143),
    "getgroups": (115, 158), "setgroups": (116, 159), "setresuid": (117, 147),
    "getresuid": (118, 148), "setresgid": (119, 149), "getresgid": (120, 150),
    "getpgid": (121, 155), "getsid": (124, 156), "capget": (125, 90), "capset": (126, 91),
    "rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigqueueinfo": (129, 138),
    "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "mknod": (133, -1),
    "personality": (135, 92), "statfs": (137, 43), "fstatfs": (138, 44),
    "getpriority": (140, 141), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "mlock": (149, 228), "munlock": (150, 229), "pivot_root": (155, 41), "prctl": (157, 167),
    "arch_prctl": (158, -1), "setrlimit": (160, 164), "chroot": (161, 51), "sync": (162, 81),
    "settimeofday": (164, 170), "mount": (165, 40), "umount2": (166, 39), "swapon": (167, 224),
    "reboot": (169, 142), "sethostname": (170, 161), "init_module": (175, 105),
    "gettid": (186, 178), "tkill": (200, 130), "time": (201, -1), "futex": (202, 98),
    "sched_setaffinity": (203, 122), "sched_getaffinity": (204, 123), "epoll_create": (213, -1),
    "getdents64": (217, 61), "set_tid_address": (218, 96), "restart_syscall": (219, 128),
    "fadvise64": (221, 223), "timer_create": (222, 107), "timer_settime": (223, 110),
    "timer_gettime": (224, 108), "timer_delete": (226, 111), "clock_settime": (227, 112),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "exit_group": (231, 94), "epoll_wait": (232, -1), "epoll_ctl": (233, 21),
    "tgkill": (234, 131), "utimes": (235, -1), "kexec_load": (246, 104), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "openat": (257, 56), "mkdirat": (258, 34),
    "mknodat": (259, 33), "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38),
    "linkat": (265, 37), "symlinkat": (266, 36), "readlinkat": (267, 78), "fchmodat": (268, 53),
    "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73), "unshare": (272, 97),
    "set_robust_list": (273, 99), "utimensat": (280, 88),
    "epoll_pwait": (281, 22), "timerfd_create": (283, 85), "fallocate": (285, 47),
    "timerfd_settime": (286, 86), "timerfd_gettime": (287, 87), "signalfd4": (289, 74),
    "eventfd2": (290, 19), "epoll_create1": (291, 20), "dup3": (292, 24), "pipe2": (293, 59),
    "preadv": (295, 69), "pwritev": (296, 70), "rt_tgsigqueueinfo": (297, 240),
    "perf_event_open": (298, 241), "prlimit64": (302, 261), "open_by_handle_at": (304, 265),
    "setns": (308, 268), "getcpu": (309, 168), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "finit_module": (313, 273), "renameat2": (316, 276),
    "seccomp": (317, 277), "getrandom": (318, 278), "kexec_file_load": (320, 294),
    "bpf": (321, 280), "execveat": (322, 281), "userfaultfd": (323, 282), "membarrier": (324, 283),
    "copy_file_range": (326, 285), "preadv2": (327, 286), "pwritev2": (328, 287),
    "statx": (332, 291), "rseq": (334, 293), "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsmount": (432, 432), "pidfd_open": (434, 434), "clone3": (435, 435),
    "close_range": (436, 436), "openat2": (437, 437), "pidfd_getfd": (438, 438),
    "faccessat2": (439, 439), "process_madvise": (440, 440), "epoll_pwait2": (441, 441),
    "mount_setattr": (442, 442), "futex_waitv": (449, 449), "fchmodat2": (452, 452),
}  # fmt: skip

# These end the program, and its verdict names the call.
FORBIDDEN = (
    "fork", "vfork", "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev",
    "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "tkill", "rt_sigqueueinfo",
    "rt_tgsigqueueinfo", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
    "open_tree", "move_mount", "fsopen", "fsmount", "mount_setattr", "bpf", "userfaultfd",
    "perf_event_open", "add_key", "request_key", "keyctl", "init_module", "finit_module",
    "kexec_load", "kexec_file_load", "reboot", "swapon", "settimeofday", "clock_settime",
    "sethostname", "io_uring_setup", "setuid", "setgid", "setreuid", "setregid", "setgroups",
    "setresuid", "setresgid", "capset", "mknod", "mknodat", "open_by_handle_at",
    "process_madvise", "personality", "syslog", "seccomp",
)  # fmt: skip
# EPERM: Landlock does not cover modes and times.
_REFUSED = ("chmod", "fchmod", "fchmodat", "fchmodat2", "utimes", "utimensat", "setsid", "setpgid")
# Decided by an argument: see `_by_argument`. clone3, whose flags a filter cannot see, returns
# ENOSYS like every unlisted call, and the C library falls back to clone.
_BY_ARGUMENT = ("socket", "socketpair", "clone", "kill", "tgkill", "prlimit64", "prctl", "clone3",
                "sched_setaffinity", "fcntl", "ioctl")  # fmt: skip
# Without those for signal owners (8, 10, 15), leases and notifications (1024, 1026).
_FCNTL = (*range(8), 9, 36, 37, 38, 1030, 1031, 1032, 1033, 1034)
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # isatty, bytes to read
ALLOWED = tuple(
    n for n in _CALLS if n not in FORBIDDEN and n not in _BY_ARGUMENT and n not in _REFUSED
)

_KILL, _NOTIFY, _ERRNO, _ALLOW = 0x80000000, 0x7FC00000, 0x00050000, 0x7FFF0000
_EPERM, _ENOTTY, _EAFNOSUPPORT, _ENOSYS = 1, 25, 97, 38
_LOAD, _JUMP, _EQUAL, _AT_LEAST, _SET, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_AND = 0x54
_THREAD = 0x00010000  # CLONE_THREAD
_HERE = 0x7FFFFFFE  # placeholder for the process that installs the filter
_NOTIFICATION = struct.Struct("=QII iIQ 6Q")  # struct seccomp_notif
_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV


def _call(name: str) -> int:
    return _CALLS[name][_MACHINE == _ARM]


def forbidden_call(listener: int) -> str:
    """The name of the forbidden call that a process attempted, from a readable listener. The
    process stays blocked in it until it is killed."""
    buffer = bytearray(_NOTIFICATION.size)
    fcntl.ioctl(listener, _RECEIVE, buffer)
    number = _NOTIFICATION.unpack(buffer)[3]
    names = [name for name in _CALLS if _call(name) == number]
    return names[0] if names else f"system call {number}"


def seccomp_works() -> bool:
    """The kernel supports filters, and the architecture's calls are known."""
    if sys.platform != "linux" or _MACHINE not in _AUDIT or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    action = struct.pack("=I", _KILL)
    return int(_libc.syscall(_call("seccomp"), 2, 0, action)) == 0  # SECCOMP_GET_ACTION_AVAIL


class SeccompFilter:
    """The seccomp filter of a program; prepared once, since touching memory after a fork is
    expensive."""

    def __init__(self) -> None:
        here = struct.pack("=I", _HERE)
        self._programs = []
        for action, flags in ((_NOTIFY, 8), (_KILL, 0)):  # 8: SECCOMP_FILTER_FLAG_NEW_LISTENER
            data = b"".join(_program(_HERE, action))
            code = ctypes.create_string_buffer(data, len(data))
            header = struct.pack("=HxxxxxxQ", len(data) // 8, ctypes.addressof(code))
            places = [i for i in range(4, len(data), 8) if data[i : i + 4] == here]
            self._programs.append((code, header, places, flags))

    def install(self, notifies: bool = True) -> int | None:
        """Installs the filter permanently in a single-threaded process that does not fork again.

        Returns a descriptor on which a forbidden call can be read while the caller is blocked in
        it, or None if the kernel does not support this: then a forbidden call kills the process
        with SIGSYS.
        """
        no_new_privileges()
        mine = struct.pack("=I", os.getpid())
        for code, header, places, flags in self._programs:
            if flags and not notifies:
                continue
            for place in places:
                ctypes.memmove(ctypes.addressof(code) + place, mine, 4)
            result = int(_libc.syscall(_call("seccomp"), 1, flags, header))
            if result >= 0:
                return result if flags else None
        raise OSError(ctypes.get_errno(), "the kernel took no seccomp filter")


def _program(process: int, forbid: int) -> list[bytes]:
    """The filter in the kernel's classic BPF: a binary search for the call's number. (The kernel
    evaluates a filter once for every number when it is installed: a linear list would cost a
    millisecond.)"""
    answers: dict[int, list[bytes]] = {}
    for name in ALLOWED:
        answers[_call(name)] = [_op(_RETURN, _ALLOW)]
    for name in FORBIDDEN:
        answers[_call(name)] = [_op(_RETURN, forbid)]
    for name in _REFUSED:
        answers[_call(name)] = [_op(_RETURN, _ERRNO | _EPERM)]
    answers |= {_call(name): answer for name, answer in _by_argument(process, forbid).items()}
    answers.pop(-1, None)  # not on this architecture
    missing = [_op(_RETURN, _ERRNO | _ENOSYS)]
    starts: list[tuple[int, list[bytes]]] = []  # (first number, rule), up to the next
    for number in range(max(answers) + 2):
        answer = answers.get(number, missing)
        if not starts or starts[-1][1] != answer:
            starts.append((number, answer))
    return [
        _op(_LOAD, 4),  # the architecture: an x86_64 kernel also accepts 32-bit calls
        _op(_EQUAL, _AUDIT[_MACHINE], 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, 0),  # the number
        *_search(starts),
    ]


def _by_argument(process: int, forbid: int) -> dict[str, list[bytes]]:
    """The rules that depend on an argument, of which the lower half is checked."""

    def one_of(argument: int, values: Sequence[int], no: int) -> list[bytes]:
        tests = [_op(_EQUAL, value, len(values) - i) for i, value in enumerate(values)]
        return [_argument(argument), *tests, _op(_RETURN, no), _op(_RETURN, _ALLOW)]

    return {
        "clone": [_argument(0), _op(_SET, _THREAD, 1), _op(_RETURN, forbid), _op(_RETURN, _ALLOW)],
        "kill": one_of(0, [process], forbid),
        "tgkill": one_of(0, [process], forbid),
        "prlimit64": one_of(0, [0], forbid),
        "prctl": one_of(0, [15], _ERRNO | _EPERM),  # PR_SET_NAME
        "sched_setaffinity": one_of(0, [0], _ERRNO | _EPERM),
        "fcntl": one_of(1, _FCNTL, _ERRNO | _EPERM),
        "ioctl": one_of(1, _IOCTL, _ERRNO | _ENOTTY),
        # AF_UNIX: the C library tries a service, and continues without it
        "socket": [
            _argument(0), _op(_EQUAL, 1, 1), _op(_RETURN, forbid),
            _op(_RETURN, _ERRNO | _EAFNOSUPPORT),
        ],
        # AF_UNIX, SOCK_STREAM: a datagram socket could reach any named one
        "socketpair": [
            _argument(0), _op(_EQUAL, 1, 0, 3), _argument(1), _op(_AND, 0xF), _op(_EQUAL, 1, 1),
            _op(_RETURN, _ERRNO | _EAFNOSUPPORT), _op(_RETURN, _ALLOW),
        ],
    }  # fmt: skip


def _argument(number: int) -> bytes:
    return _op(_LOAD, 16 + 8 * number)


def _search(starts: Sequence[tuple[int, list[bytes]]]) -> list[bytes]:
    if len(starts) == 1:
        return starts[0][1]
    middle = len(starts) // 2
    below, above = _search(starts[:middle]), _search(starts[middle:])
    return [_op(_AT_LEAST, starts[middle][0], 0, 1), _op(_JUMP, len(below)), *below, *above]


def _op(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, k)
