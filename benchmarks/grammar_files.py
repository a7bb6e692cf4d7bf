# SPDX-License-Identifier: Apache-2.0
"""Compiles other projects' .lark files: how many are accepted, how long it takes, which errors
occur.

    python -m gars_vllm.benchmarks.grammar_files FOLDER_OR_FILE ...

Each file is compiled for a byte vocabulary in its own process, whose time and memory are
measured. A file without a rule `start`, which others import, is compiled from its first rule.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from gars_vllm.grammar import GrammarFileError, Vocabulary, compile_grammar
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

SLOW_SECONDS, LARGE_MB = 30, 1000
_LIMIT_SECONDS, _LIMIT_MB = 120, 6000


@dataclass(frozen=True)
class Outcome:
    """`outcome`: taken, refused (one clear line with a position), unclear (any other refusal),
    crash or stopped (at the limits). `seconds`, `megabytes`: beyond a process that compiles
    nothing."""

    file: str
    outcome: str
    message: str
    seconds: float
    megabytes: float


def compile_here(file: Path) -> None:
    """Compiles a file in this process and prints its Outcome as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_MB << 20, _LIMIT_MB << 20))
    vocabulary = Vocabulary.from_tokens([bytes([i]) for i in range(256)], eos=[256])
    compile_grammar("json", vocabulary).matcher().mask()  # the kernels are there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    outcome, message = "taken", ""
    try:
        compile_grammar(file, vocabulary, start_of(file)).matcher().mask()
    except GrammarFileError as error:
        message = str(error)
        clear = re.match(r"[^\n]+:\d+:\d+: [^\n]+\Z", message) and len(message) < 400
        outcome = "refused" if clear else "unclear"
    except Exception as error:  # what a user would see as a traceback
        outcome, message = "crash", f"{type(error).__name__}: {error}"
    seconds = time.process_time() - started
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    click.echo(json.dumps(asdict(Outcome(str(file), outcome, message, seconds, used))))


def start_of(file: Path) -> str:
    """`start`, or the first rule if there is none."""
    rules = re.findall(
        r"(?m)^[ \t]*[?!]*([a-z_][a-z_0-9]*)[ \t]*:", file.read_text("utf-8", "replace")
    )
    return "start" if "start" in rules or not rules else str(rules[0])


def measure(file: Path) -> Outcome:
    """Compiles a file in its own process."""
    command = [sys.executable, "-m", __spec__.name, "--here", str(file)]
    started = time.monotonic()
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SECONDS)
        last = (run.stdout.splitlines() or [""])[-1]
        return Outcome(**json.loads(last))
    except subprocess.TimeoutExpired:
        return Outcome(str(file), "stopped", "", time.monotonic() - started, 0)
    except ValueError:
        message = (run.stderr.splitlines() or ["no output"])[-1]
        return Outcome(str(file), "crash", message, time.monotonic() - started, 0)


def files_in(paths: Sequence[Path]) -> list[Path]:
    files = [f for p in paths for f in (sorted(p.rglob("*.lark")) if p.is_dir() else [p])]
    return list(dict.fromkeys(files))


def _show(outcomes: Sequence[Outcome]) -> None:
    console = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("file", "", "s", "MB", "message"):
        table.add_column(heading, justify="right" if len(heading) < 3 and heading else "left")
    for one in outcomes:
        size = (f"{one.seconds:.1f}", f"{one.megabytes:.0f}")
        table.add_row(escape(one.file), one.outcome, *size, escape(one.message[:300]))
    console.print(table)
    counts = {
        kind: sum(o.outcome == kind for o in outcomes)
        for kind in ("taken", "refused", "unclear", "crash", "stopped")
    }
    slow = sum(o.seconds > SLOW_SECONDS for o in outcomes)
    large = sum(o.megabytes > LARGE_MB for o in outcomes)
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    console.print(
        f"{len(outcomes)} files: {words}; over {SLOW_SECONDS} s: {slow}, over 1 GB: {large}"
    )


@click.command()
@click.option("--here", is_flag=True, hidden=True, help="Compile one file in this process.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(here: bool, as_json: bool, paths: tuple[Path, ...]) -> None:
    """Compile each .lark file of PATHS (files or folders)."""
    if here:
        compile_here(paths[0])
        return
    outcomes = []
    for file in files_in(paths):
        outcomes.append(measure(file))
        if as_json:
            click.echo(json.dumps(asdict(outcomes[-1])))
    if not as_json:
        _show(outcomes)


if __name__ == "__main__":
    main()
