# SPDX-License-Identifier: Apache-2.0
"""Programs that try to pass without solving the task, or to do damage: none may, in any sandbox.

Each file of `programs` is one trick. It starts with comment lines: what the `trick` is, the
`outcome` that is the true one (several, parted by " or ", where interpreters or processors differ),
a text that the verdict's `detail` holds, the `tiers` that stop it, and the `test` that it is given
(see `TESTS`). `# outcome landlock: ...` is for one tier.

A program that attacks what lies outside gives "stopped" when it was refused and "escaped" when it
was not: a wrong answer quotes what the program gave.
"""

from __future__ import annotations

import ast
import ctypes
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from gars_vllm.engine.sandbox import choice
from gars_vllm.engine.sandbox.outcome import Limits, Outcome, Program, Verdict
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.sandbox.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandboxes are Linux's")

PROGRAMS = Path(__file__).parent / "programs"
# An image with a Python, where there is a docker: they take part only when it is named.
IMAGE = os.environ.get("GARS_DOCKER_IMAGE")
SANDBOXES = (Tier.BWRAP, Tier.NAMESPACES, Tier.LANDLOCK, *([Tier.DOCKER] if IMAGE else []))
LIMITS = Limits(timeout=1.0, memory_mb=256)
PATIENT = Limits(timeout=20.0, memory_mb=256)  # for what ends by itself, on a machine that is busy
GRACE = 2.0  # seconds in which what a program has left behind must be gone

TESTS = {
    "literal": (
        "def check(candidate):\n"
        "    assert candidate([3, 1, 2]) == [1, 2, 3]\n"
        "    assert candidate([]) == []\n"
    ),
    # What is expected is computed from the argument, after the call.
    "computed": (
        "def check(candidate):\n"
        "    xs = [3, 1, 2]\n"
        "    assert candidate(xs) == sorted(xs)\n"
    ),
    "iterated": (
        "def check(candidate):\n"
        "    assert list(candidate([3, 1, 2])) == [1, 2, 3]\n"
    ),
    # The program is given a function of the test's.
    "callback": (
        "def check(candidate):\n"
        "    def key(x):\n"
        "        return -x\n"
        "    assert candidate([3, 1, 2], key) == [3, 2, 1]\n"
    ),
}  # fmt: skip

# The next program in a jail: it solves the task, and looks for what the one before has left.
HONEST = Program(
    "import os\n"
    "def f(xs):\n"
    "    left = os.listdir('.')\n"
    "    if left:\n"
    "        raise RuntimeError(f'found {left[:3]}')\n"
    "    return sorted(xs)\n",
    "f",
    TESTS["literal"],
)


@dataclass(frozen=True)
class Hostile:
    """A file of the corpus."""

    name: str
    text: str
    header: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Hostile:
        text = path.read_text()
        header = {}
        for line in text.splitlines():
            key, colon, value = line.removeprefix("# ").partition(": ")
            if not line.startswith("# ") or not colon:
                break
            header[key] = value.strip()
        return cls(path.stem, text, header)

    def tiers(self) -> list[Tier]:
        names = self.header.get("tiers")
        return [Tier(name) for name in names.split()] if names else list(SANDBOXES)

    def said(self, key: str, tier: Tier) -> str:
        return self.header.get(f"{key} {tier}", self.header.get(key, ""))

    def outcomes(self, tier: Tier) -> list[Outcome]:
        return [Outcome(name) for name in self.said("outcome", tier).split(" or ")]

    def test(self) -> str:
        return TESTS[self.header.get("test", "literal")]


CORPUS = [Hostile.read(path) for path in sorted(PROGRAMS.glob("*.py"))]
CASES = [(tier, hostile) for tier in Tier for hostile in CORPUS if tier in hostile.tiers()]


# ---- what lies outside, and must stay as it is ----


@dataclass
class Outside:
    """A folder, a secret, open ports, and this process: what programs are set on."""

    folder: Path
    secret: Path
    canary: Path
    sockets: dict[str, socket.socket]
    signals: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.canary.write_text("canary\n")
        self.secret.write_text(f"secret-{os.urandom(8).hex()}\n")
        self._before = self._state()

    def fill(self, text: str) -> str:
        """The program with this place's names in it."""
        names = {
            "OUTSIDE": str(self.folder),
            "SECRET": str(self.secret),
            "PORT": str(self.sockets["tcp"].getsockname()[1]),
            "UDP": str(self.sockets["udp"].getsockname()[1]),
            "SOCKET": str(self.sockets["unix"].getsockname()),
            "ABSTRACT": self.sockets["abstract"].getsockname().decode()[1:],
            "PID": str(os.getpid()),
            "NUL": "\0",
        }
        for name, value in names.items():
            text = text.replace(f"@{name}@", value)
        return text

    def _state(self) -> dict[str, object]:
        held: dict[str, object] = {"affinity": os.sched_getaffinity(0)}
        held["priority"] = os.getpriority(os.PRIO_PROCESS, 0)
        for path in (self.folder, self.canary, self.secret):
            try:
                found = path.lstat()
                content = sorted(os.listdir(path)) if path.is_dir() else path.read_bytes()
            except OSError as error:
                held[path.name] = str(error)
                continue
            held[path.name] = (stat.filemode(found.st_mode), found.st_nlink, found.st_mtime_ns)
            held[f"what {path.name} holds"] = content
        return held

    def damage(self) -> list[str]:
        """All that is no longer as it was."""
        now = self._state()
        found = [
            f"{k}: {v} became {now.get(k)}" for k, v in self._before.items() if now.get(k) != v
        ]
        for name, end in self.sockets.items():
            try:
                end.accept() if name == "tcp" else end.recv(100)
            except BlockingIOError:
                continue
            found.append(f"the {name} socket was reached")
        return found + [f"{name} came" for name in self.signals]


@pytest.fixture
def outside() -> Iterator[Outside]:
    folder = Path(tempfile.mkdtemp(prefix="gars-"))  # a socket's path has 108 bytes at most
    kinds = {
        "tcp": (socket.AF_INET, socket.SOCK_STREAM),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    }
    kinds |= dict.fromkeys(("unix", "abstract"), (socket.AF_UNIX, socket.SOCK_DGRAM))
    sockets = {name: socket.socket(*kind) for name, kind in kinds.items()}
    sockets["tcp"].bind(("127.0.0.1", 0))
    sockets["tcp"].listen()
    sockets["udp"].bind(("127.0.0.1", 0))
    sockets["unix"].bind(str(folder / "socket"))
    sockets["abstract"].bind(f"\0{folder.name}")
    for end in sockets.values():
        end.setblocking(False)
    place = Outside(folder / "outside", folder / "secret", folder / "outside" / "canary", sockets)
    affinity = os.sched_getaffinity(0)
    names = ("SIGHUP", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGURG", "SIGIO", "SIGALRM", "SIGCONT")
    handlers = {
        getattr(signal, name): signal.signal(
            getattr(signal, name),
            lambda number, _: place.signals.append(signal.Signals(number).name),
        )
        for name in names
    }
    try:
        yield place
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.sched_setaffinity(0, affinity)
        for end in sockets.values():
            end.close()
        for path in (place.folder, place.canary):
            if path.exists():
                path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


# ---- processes ----


@pytest.fixture(scope="module", autouse=True)
def _orphans_come_here() -> Iterator[None]:
    """Whatever outlives its jail becomes a child of this process, and is counted."""
    libc = ctypes.CDLL(None)
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    yield
    libc.prctl(36, 0, 0, 0, 0)


def _kin() -> int:
    """How many live processes descend from this one."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            words = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if words[0] not in "ZX":
            children.setdefault(int(words[1]), []).append(int(entry.name))
    found, waiting = -1, [os.getpid()]
    while waiting:
        found += 1
        waiting += children.get(waiting.pop(), [])
    return found


def _left_behind(before: int) -> int:
    """How many more there are now, once they have had time to end."""
    deadline = time.monotonic() + GRACE
    while (more := _kin() - before) > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    return more


# ---- the tests ----


class Crew:
    """A worker for each tier, whose jail all programs share, as they do in a run."""

    def __init__(self) -> None:
        self._hired: dict[Tier, Worker] = {}

    def worker(self, tier: Tier) -> Worker:
        if tier not in self._hired:
            self._hired[tier] = Worker(tier, IMAGE if tier is Tier.DOCKER else None)
            verdict = self._hired[tier].run(HONEST, PATIENT)
            assert verdict.passed, verdict
        return self._hired[tier]

    def dismiss(self, tier: Tier) -> None:
        """The next test of the tier gets another: what broke this one is told once."""
        if tier in self._hired:
            self._hired.pop(tier).close()

    def close(self) -> None:
        for tier in list(self._hired):
            self.dismiss(tier)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    hired = Crew()
    yield hired
    hired.close()


@pytest.mark.parametrize(("tier", "hostile"), CASES, ids=[f"{t}-{h.name}" for t, h in CASES])
def test_a_hostile_program_fails_and_harms_nothing(
    tier: Tier, hostile: Hostile, crew: Crew, outside: Outside
) -> None:
    """It gets its true verdict, all outside is as before, and the next program runs as ever."""
    reason = choice.available(tier, IMAGE if tier is Tier.DOCKER else None)
    if reason is not None:
        pytest.skip(f"{tier}: {reason}")
    program = Program(outside.fill(hostile.text), "f", hostile.test())
    outcomes, detail = hostile.outcomes(tier), hostile.said("detail", tier)
    worker = crew.worker(tier)
    before = _kin()
    after = None
    try:
        verdict = worker.run(program, LIMITS)
        if verdict.outcome is Outcome.TIMEOUT and Outcome.TIMEOUT not in outcomes:
            verdict = worker.run(program, PATIENT)
        damage = outside.damage()
        after = worker.run(HONEST, PATIENT)
    finally:
        if after is None or not after.passed:
            crew.dismiss(tier)

    assert not damage
    assert outside.secret.read_text().strip() not in verdict.detail
    assert "escaped" not in verdict.detail, verdict
    assert verdict.outcome in outcomes, verdict
    assert detail in verdict.detail, verdict
    assert _is_one_line(verdict), verdict
    assert after.passed, f"the next program: {after}"
    assert _left_behind(before) == 0


def _is_one_line(verdict: Verdict) -> bool:
    """It can be printed, whatever the program has put into it."""
    return verdict.detail.isprintable() and len(verdict.detail) <= 400


def test_corpus_is_large_and_has_one_trick_each() -> None:
    assert len(CORPUS) >= 40
    tricks = [hostile.header.get("trick") for hostile in CORPUS]
    assert len(set(tricks)) == len(CORPUS)


def test_no_runner_would_import_a_program() -> None:
    """The programs run in sandboxes alone: not in this process, as a file of tests would."""
    names = [path.name for path in PROGRAMS.iterdir() if path.name != "__pycache__"]
    assert not [n for n in names if n.startswith("test_") or n.endswith("_test.py")]
    assert "conftest.py" not in names
    assert not any(Path(str(m.__file__)).parent == PROGRAMS for m in _modules())


def _modules() -> list[ModuleType]:
    return [m for m in list(sys.modules.values()) if getattr(m, "__file__", None)]


@pytest.mark.parametrize("hostile", CORPUS, ids=[h.name for h in CORPUS])
def test_header_is_whole_and_program_is_no_solution(hostile: Hostile) -> None:
    known = {"trick", "outcome", "detail", "tiers", "test"}
    assert {key.split()[0] for key in hostile.header} <= known
    assert hostile.header["trick"]
    for tier in hostile.tiers():
        assert Outcome.PASSED not in hostile.outcomes(tier)
    assert hostile.test()
    assert not _sorts(hostile.text)


def _sorts(text: str) -> bool:
    """It calls something that puts a list in order."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False  # then it does nothing at all
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {getattr(call, "id", getattr(call, "attr", "")) for call in calls}
    return bool(names & {"sorted", "sort", "insort", "heapify", "heappush", "nsmallest"})
