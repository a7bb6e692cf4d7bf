# SPDX-License-Identifier: Apache-2.0
"""Starts a vLLM server for one run, for data parallelism: vLLM offers it in its server only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gars_vllm.engine.backends.base import Drawn, Job, Requests
from gars_vllm.engine.backends.remote import RemoteBackend
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.names import FILES_ALLOWED
from gars_vllm.engine.vllm import server
from gars_vllm.engine.vllm.settings import ranks_of

_START = 1800.0  # seconds: a large model loads slowly
_STOP = 20.0  # seconds for the server to shut down


class ServedBackend:
    """Starts the server when constructed; `close` ends it."""

    name = "vllm"

    def __init__(self, job: Job) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gars-"))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            url = self._start(job)
            self._remote = RemoteBackend(replace(job, servers=[url]))
        except BaseException:
            self._end()
            raise

    def _start(self, job: Job) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {"max_model_len": job.context, "max_num_seqs": job.batch, **job.engine}
        more = ["--host", "127.0.0.1", "--port", str(port), "--seed", str(job.settings.seed)]
        more += server.flags(settings)
        command, environment = server.command(
            job.model, job.tokenizer.folder, str(job.model), job.tokenizer.vocabulary.digest,
            self._folder, more, ranks_of(job.engine),
        )  # fmt: skip
        environment[FILES_ALLOWED] = "1"
        guarded = [sys.executable, "-m", "gars_vllm.engine.guard", str(os.getpid()), *command]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                guarded, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self._wait(port, self._process)
        return f"http://127.0.0.1:{port}/v1"

    def _wait(self, port: int, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _START
        while time.monotonic() < until:
            if process.poll() is not None:
                raise UserError(f"vLLM's server did not start: {self._last_error()}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                return
            except (OSError, urllib.error.URLError):
                time.sleep(0.3)
        raise UserError(f"vLLM's server did not start within {_START:.0f} s")

    def _last_error(self) -> str:
        said = (self._folder / "log").read_text("utf-8", "replace").strip().splitlines()
        errors = [line for line in said if "Error" in line] or said or ["no output"]
        return errors[-1].strip()[-300:]

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        """Yields samples as they finish."""
        try:
            yield from self._remote.draw(requests)
        except UserError as error:
            if self._process is None or self._process.poll() is None:
                raise
            raise UserError(
                f"vLLM's server ended: {self._last_error()}; the same command continues the run"
            ) from error

    def mask_seconds(self) -> float:
        return self._remote.mask_seconds()

    def close(self) -> None:
        """Ends the server and its processes."""
        self._remote.close()
        self._end()

    def _end(self) -> None:
        """Ends the whole process group: the server's worker processes outlive their parent."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # none is left
                os.killpg(self._process.pid, signal.SIGTERM)
                until = time.monotonic() + _STOP
                while time.monotonic() < until:
                    self._process.poll()
                    os.killpg(self._process.pid, 0)
                    time.sleep(0.1)
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
