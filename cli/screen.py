# SPDX-License-Identifier: Apache-2.0
"""The progress display of `sample`."""

from __future__ import annotations

import datetime
import time
from types import TracebackType

import click
from gars_vllm.cli.background_verifier import BackgroundVerifier
from gars_vllm.cli.console import progress
from gars_vllm.cli.live_terminal import OutputAboveLive, live_console
from gars_vllm.engine import models
from gars_vllm.engine.runs import sampling
from rich.console import Group
from rich.live import Live
from rich.progress import Progress, TaskID
from rich.text import Text

_QUIET_SECONDS = 30.0


class Screen(sampling.Watcher, models.Download):
    """Shows progress on standard error: a bar for each long step, and the figures of the run. If
    that is not a terminal: a line for each step, and for samples one at each tenth or half
    minute."""

    def __init__(self, verifier: BackgroundVerifier | None = None) -> None:
        self._verifier = verifier
        self._bar: Progress = progress(live_console())
        self._above = OutputAboveLive(self._bar.console)
        self._stage: TaskID | None = None
        self._samples: TaskID | None = None
        self._figures = Text("", style="dim")
        self._live = Live(
            Group(self._bar, self._figures), console=self._bar.console, refresh_per_second=4,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._download: TaskID | None = None
        self._said = (0.0, -1)  # time and tenth of the last line

    def __enter__(self) -> Screen:
        if not self._bar.disable:
            self._above.__enter__()
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._verifier is not None and error is not None:
            self._verifier.abort()
        if not self._bar.disable:
            self._above.__exit__(kind, error, trace)
            self._live.stop()

    def note(self, text: str) -> None:
        click.echo(text, err=True)  # `OutputAboveLive` shows it above the view

    def step(self, text: str, done: int, total: int) -> None:
        if self._download is None:
            self._download = self._bar.add_task("", total=total)
        self._bar.update(self._download, completed=done, total=total, description=text)
        if text:
            self._say(text)

    def stage(self, text: str) -> None:
        if self._stage is not None:
            self._bar.remove_task(self._stage)
            self._stage = None
        if text:
            self._stage = self._bar.add_task(text, total=None)
            self._say(text)

    def samples(self, state: sampling.State) -> None:
        if self._verifier is not None and state.done:
            self._verifier.start()
        figures = self.figures(state)
        if self._samples is None:
            self._samples = self._bar.add_task("samples", total=state.total, estimated=True)
        self._bar.update(self._samples, completed=state.done)
        self._figures.plain = figures
        if state.drawn and self._bar.disable:
            now, tenth = time.monotonic(), 10 * state.done // state.total
            if tenth > self._said[1] or now - self._said[0] > _QUIET_SECONDS:
                self._said = (now, tenth)
                click.echo(f"{state.done} of {state.total} samples, {figures}", err=True)

    def figures(self, state: sampling.State) -> str:
        """Problems done, speed, mask time, solved problems, time left."""
        parts = [f"{state.problems_done} of {state.problems} problems done"]
        if state.drawn:
            parts.append(f"{state.drawn / state.seconds:.1f} samples/s")
            parts.append(f"{state.tokens / state.seconds:.0f} tokens/s")
            parts.append(f"mask {state.mask_seconds / state.seconds:.1%}")
        if self._verifier is not None and "solved" in self._verifier.state:
            verified = self._verifier.state
            parts.append(f"{verified['verified']} verified, {verified['solved']} solved")
        if state.drawn and state.done < state.total:
            left = (state.total - state.done) * state.seconds / state.drawn
            parts.append(f"{datetime.timedelta(seconds=round(left))} left")
        return ", ".join(parts)

    def _say(self, text: str) -> None:
        if self._bar.disable:
            click.echo(text, err=True)
