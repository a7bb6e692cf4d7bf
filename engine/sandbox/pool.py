# SPDX-License-Identifier: Apache-2.0
"""A pool of workers that run programs in parallel and yield verdicts as they come."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox import environment, worker
from gars_vllm.engine.sandbox.outcome import Limits, Outcome, Program, Verdict
from gars_vllm.engine.sandbox.tiers import Tier

T = TypeVar("T")
_AHEAD = 2  # programs per worker: one running, one waiting
_BUSY = 0.1  # fraction of a program's time spent waiting for a core
_TRIES = 2  # workers that a program may crash


class SandboxError(UserError):
    """The sandbox stopped working during a run."""


@dataclass(frozen=True)
class Job(Generic[T]):
    """A program to run within limits; `what` belongs to the caller."""

    what: T
    program: Program
    limits: Limits


class Pool:
    """`workers` worker processes, each with its own jail of `tier`, started on demand.

    They all end with the process that created the pool, however it ends.
    """

    def __init__(self, tier: Tier, workers: int | None = None, image: str | None = None) -> None:
        self.tier, self._image = tier, image
        self.workers = default_workers() if workers is None else workers
        if self.workers < 1:
            raise UserError(f"workers is {workers}: it must be at least 1")
        self._workers: list[_WorkerProcess] = []

    def run(self, jobs: Iterable[Job[T]]) -> Generator[tuple[Job[T], Verdict], None, None]:
        """Yields each job with its verdict. Closing the generator early ends running programs.

        A timeout on a busy machine (the program waited for a core for a tenth of its time) is
        retried once.
        """
        waiting: deque[_Order[T]] = deque()
        source = iter(jobs)
        finished = False
        try:
            with selectors.DefaultSelector() as selector:
                while True:
                    while not finished and len(waiting) < self.workers * _AHEAD:
                        try:
                            waiting.append(_Order(next(source)))
                        except StopIteration:
                            finished = True
                    self._hand_out(waiting, selector)
                    if finished and not waiting and not any(f.orders for f in self._workers):
                        return
                    for key, _ in selector.select():
                        yield from self._take(key.data, waiting, selector)
        finally:
            if any(one.orders for one in self._workers):
                self.close()

    def _hand_out(self, waiting: deque[_Order[Any]], selector: selectors.BaseSelector) -> None:
        while waiting:
            if len(self._workers) < self.workers and all(f.orders for f in self._workers):
                self._workers.append(_WorkerProcess(self.tier, self._image))
            chosen = min(self._workers, key=lambda f: len(f.orders))
            if len(chosen.orders) >= _AHEAD:
                break
            chosen.give(waiting.popleft())
        known = {key.fileobj for key in selector.get_map().values()}
        for one in self._workers:
            if one.output not in known:
                selector.register(one.output, selectors.EVENT_READ, one)

    def _take(
        self, one: _WorkerProcess, waiting: deque[_Order[Any]], selector: selectors.BaseSelector
    ) -> Generator[tuple[Job[Any], Verdict], None, None]:
        answers = one.answers()
        if answers is None:  # it is gone, with its jail
            selector.unregister(one.output)
            self._workers.remove(one)
            orders = one.end()
            if orders:
                orders[0].lost += 1
            for order in reversed(orders):
                if order.lost < _TRIES:
                    waiting.appendleft(order)
                else:
                    yield order.job, Verdict(Outcome.CRASHED, "it ended what watched it", 0.0)
            return
        for order, verdict in answers:
            if verdict.outcome is Outcome.TIMEOUT and not order.again and _was_busy(verdict):
                order.again = True
                waiting.append(order)
            else:
                yield order.job, verdict

    def close(self) -> None:
        """Ends all workers; the pool can be used again."""
        for one in self._workers:
            one.end()
        self._workers.clear()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _was_busy(verdict: Verdict) -> bool:
    return verdict.waited > _BUSY * verdict.seconds


def default_workers() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class _Order(Generic[T]):
    job: Job[T]
    lost: int = 0  # crashed workers
    again: bool = False


class _WorkerProcess:
    """A worker's process and its pending orders, oldest first."""

    def __init__(self, tier: Tier, image: str | None) -> None:
        self.orders: deque[_Order[Any]] = deque()
        self._read = b""
        self._process = subprocess.Popen(
            [sys.executable, *environment.FLAGS, "-m", worker.__name__, tier, image or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment.for_judge(tier is Tier.DOCKER),
            start_new_session=True,  # only this process handles Ctrl-C
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self.output = self._process.stdin, self._process.stdout

    def give(self, order: _Order[Any]) -> None:
        job = order.job
        line = json.dumps([asdict(job.program), asdict(job.limits)]).encode()
        self.orders.append(order)
        with suppress(BrokenPipeError):  # `answers` finds it gone
            self._input.write(line + b"\n")
            self._input.flush()

    def answers(self) -> list[tuple[_Order[Any], Verdict]] | None:
        """The verdicts available now; None if the process is gone."""
        data = os.read(self.output.fileno(), 1 << 20)
        if not data:
            return None
        *lines, self._read = (self._read + data).split(b"\n")
        verdicts = []
        for line in lines:
            outcome, detail, seconds, waited, outputs, judge = json.loads(line)
            if outcome is None:
                raise SandboxError(
                    f"the sandbox stopped working: {detail}; `gars-vllm doctor` says which ones "
                    "work, and the same command continues"
                )
            verdict = Verdict(Outcome(outcome), detail, seconds, waited, tuple(outputs), judge)
            verdicts.append((self.orders.popleft(), verdict))
        return verdicts

    def end(self) -> list[_Order[Any]]:
        """Ends the process; returns its unanswered orders. On end of input the worker ends its
        jail and judge, and removes its folder."""
        with suppress(BrokenPipeError):
            self._input.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.output.close()
        left = list(self.orders)
        self.orders.clear()
        return left
