# SPDX-License-Identifier: Apache-2.0
"""vLLM's server with the grammar in it: the routes beside its own, and two real ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gars_vllm.engine.backends.remote import RemoteBackend
from gars_vllm.engine.backends.settings import Settings
from gars_vllm.engine.masking.weights import Weights
from gars_vllm.engine.models.catalogue import lookup
from gars_vllm.engine.models.files import ModelFiles
from gars_vllm.engine.runs import sampling
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.vllm.server import Routes, command


def ask(routes: Routes, method: str, path: str, *parts: bytes) -> tuple[int, Any]:
    said: list[Any] = []
    body = [{"body": part, "more_body": i + 1 < len(parts)} for i, part in enumerate(parts)]

    async def receive() -> Any:
        return body.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(routes({"type": "http", "method": method, "path": path}, receive, send))
    return said[0]["status"], json.loads(said[1]["body"])


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b'"vLLM\'s own"'})


def test_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("GARS_STATISTICS", str(tmp_path / "statistics"))
    monkeypatch.setenv("GARS_ABOUT", '{"model": "m"}')
    routes = Routes(inner)
    status, about = ask(routes, "GET", "/gars")
    assert (status, about["model"], about["mask_seconds"]) == (200, "m", 0.0)
    (tmp_path / "statistics").write_text('{"mask_seconds": 2.5}')
    assert ask(routes, "GET", "/gars")[1]["mask_seconds"] == 2.5
    Weights(tmp_path / "weights").add([7], [0], np.array([-2.0]), np.array([True]))
    status, found = ask(routes, "POST", "/gars/weights", b'{"samples": [[7,', b" 1], [8, 1]]}")
    assert status == 200
    assert found[0]["log_z"] == -2.0
    assert found[1] is None
    for wrong in (
        b"",
        b"{}",
        b'{"samples": 3}',
        b'{"samples": [[-1, 2]]}',
        b'{"samples": [["x", 1]]}',
    ):
        assert ask(routes, "POST", "/gars/weights", wrong)[0] == 400
    for method, path in (("POST", "/gars"), ("GET", "/gars/weights"), ("GET", "/v1/models")):
        assert ask(routes, method, path) == (418, "vLLM's own")


def test_requests_pass_or_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await inner(scope, receive, send)

    routes = Routes(echo)
    for path in ("/v1/completions", "/v1/chat/completions", "/v1/responses"):
        status, found = ask(routes, "POST", path, b'{"grammar":', b' "python"}')
        assert status == 400
        assert found["error"]["message"].startswith("grammar belongs into vllm_xargs")
        assert not seen
        body = b'{"vllm_xargs": {"grammar": "python"}}'
        assert ask(routes, "POST", path, body[:9], body[9:]) == (418, "vLLM's own")
        assert seen.pop() == body


def test_a_text_is_whole_or_cut_off() -> None:
    routes = Routes(inner)

    def whole(**asked: Any) -> Any:
        status, found = ask(routes, "POST", "/gars/whole", json.dumps(asked).encode())
        return found["whole"] if status == 200 else found["error"]

    assert whole(text='{"a": 1}', grammar="json") is True
    assert whole(text='{"a": 1', grammar="json") is False
    completion = {"grammar": "python", "grammar_mode": "completion"}
    assert whole(text="    return (1)\nprint", grammar_prefix="def f():\n", **completion) is True
    assert whole(text="    return (1", grammar_prefix="def f():\n", **completion) is False
    assert "name a grammar" in whole(text="x")
    assert "unknown grammar" in whole(text="x", grammar="x")
    assert "takes no grammar from that file" in whole(text="x", grammar="/tmp/x.lark")
    assert "does not fit" in whole(text="x", grammar="json", grammar_prefix="}")
    assert "text is a text" in whole(text=3, grammar="json")
    for wrong in (b"", b"[]", b"3"):
        assert ask(routes, "POST", "/gars/whole", wrong)[0] == 400


def test_what_a_server_is_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that requests may name: the user's wish, else those that `serve` was given."""
    monkeypatch.delenv("GARS_GRAMMAR_FILES", raising=False)

    def environment(*files: str) -> dict[str, str]:
        return command(tmp_path, tmp_path, "m", "digest", tmp_path, files=files)[1]

    assert "GARS_GRAMMAR_FILES" not in environment()
    assert environment("/a.lark", "/b.lark")["GARS_GRAMMAR_FILES"] == "/a.lark:/b.lark"
    monkeypatch.setenv("GARS_GRAMMAR_FILES", "1")
    assert environment("/a.lark")["GARS_GRAMMAR_FILES"] == "1"


class Server:
    """`gars-vllm serve` in a session of its own."""

    def __init__(self, model: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.log = log
        command = [
            sys.executable, "-m", "gars_vllm.cli.main", "serve", str(model), "--port",
            str(self.port), "--max-model-len", "1024", "--max-num-seqs", "32",
        ]  # fmt: skip
        environment = dict(os.environ)
        for name in ("VLLM_CPU_OMP_THREADS_BIND", "VLLM_ENABLE_V1_MULTIPROCESSING"):
            environment.pop(name, None)
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, start_new_session=True, env=environment
            )

    def wait(self) -> None:
        deadline = time.monotonic() + 600
        while True:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.3)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def servers(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("servers")
    made = [Server(tiny_model, folder / f"{i}.log") for i in range(2)]
    try:
        for server in made:
            server.wait()
        yield made
    finally:
        for server in made:
            server.kill()
            print(server.log.read_text()[-30000:])  # shown where a test fails


@pytest.mark.vllm
def test_openais_client(servers: list[Server]) -> None:
    """As the documentation says; a bad request is the client's to mend, and kills no server."""
    from openai import BadRequestError, OpenAI

    client = OpenAI(base_url=servers[0].url, api_key="EMPTY", max_retries=0)
    name = client.models.list().data[0].id

    def complete(grammar: Any, **more: Any) -> list[str]:
        answer = client.completions.create(
            model=name, prompt="x = 1\n", max_tokens=40, temperature=1.0, n=8,
            extra_body={"vllm_xargs": {"grammar": grammar, **more}} if grammar else None,
        )  # fmt: skip
        return [choice.text for choice in answer.choices]

    for text in complete("json"):
        json.loads(text)
    for text in complete("python", grammar_prefix="def f(a):\n", grammar_mode="completion"):
        assert isinstance(text, str)
    free = complete(None)
    assert any(not _parses(text) for text in free)
    chat = client.chat.completions.create(
        model=name, messages=[{"role": "user", "content": "a number"}], max_tokens=30,
        extra_body={"vllm_xargs": {"grammar": "json"}},
    )  # fmt: skip
    json.loads(chat.choices[0].message.content or "")
    for wrong in ("pythn", "/etc/passwd", "/tmp/a.lark"):
        with pytest.raises(BadRequestError, match="grammar"):
            complete(wrong)
    with pytest.raises(BadRequestError, match="grammar_prefix does not fit python"):
        complete("python", grammar_prefix="x = )")
    with pytest.raises(BadRequestError, match=r"grammar_closing is true or false .*got 'maybe'"):
        complete("python", grammar_closing="maybe")
    for body, said in (
        ({"vllm_xargs": {"grammer": "python"}}, "grammer is no key .*did you mean grammar"),
        ({"grammar": "python"}, "grammar belongs into vllm_xargs"),
        ({"structured_outputs": {"regex": "a"}}, "grammar=json and structured_outputs"),
        ({"response_format": {"type": "json_object"}}, "grammar=json and structured_outputs"),
        ({"guided_regex": "a"}, "grammar and guided_regex"),
    ):
        asked = {"vllm_xargs": {"grammar": "json"}} | body
        with pytest.raises(BadRequestError, match=said):
            client.completions.create(model=name, prompt="x", max_tokens=9, extra_body=asked)
    assert complete("json")


@pytest.mark.vllm
def test_a_completed_text_is_told_from_a_truncated_one(servers: list[Server]) -> None:
    """Both finish with "length"; the server says which is whole."""
    from openai import OpenAI

    client = OpenAI(base_url=servers[0].url, api_key="EMPTY", max_retries=0)
    name = client.models.list().data[0].id
    whole: dict[int, list[bool]] = {}
    for closing in (1, 0):
        answer = client.completions.create(
            model=name, prompt="[", max_tokens=12, temperature=1.5, n=16,
            extra_body={"vllm_xargs": {"grammar": "json", "grammar_closing": closing}},
        )  # fmt: skip
        cut = [c.text for c in answer.choices if c.finish_reason == "length"]
        assert cut
        whole[closing] = []
        for text in cut:
            question = json.dumps({"text": text, "grammar": "json"}).encode()
            url = servers[0].url.removesuffix("/v1") + "/gars/whole"
            with urllib.request.urlopen(url, question) as found:
                whole[closing].append(json.load(found)["whole"])
            assert whole[closing][-1] == _parses(text)
    assert all(whole[1])
    assert not all(whole[0])


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.vllm
def test_two_servers_one_of_them_killed(
    servers: list[Server], tiny_model: Path, tmp_path: Path
) -> None:
    """In the middle of a run: every sample is there, once, valid, and with its weight."""
    run = RunFolder(tmp_path / "run")

    def kill() -> None:
        while not run.samples.path.exists() or run.samples.path.read_bytes().count(b"\n") < 60:
            time.sleep(0.01)
        servers[1].kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    sampling.run(
        run, lookup(str(tiny_model)), ModelFiles(tiny_model, "local"), load_humaneval()[:10],
        Settings(n=100, max_tokens=60, temperature=1.0), RemoteBackend, batch=32,
        servers=[s.url for s in servers],
    )  # fmt: skip
    killer.join()
    records = list(run.samples.read())
    assert len({(r["task_id"], r["sample_index"]) for r in records}) == len(records) == 1000
    assert all(r["valid"] and r["finish_reason"] in ("stop", "closed") for r in records)
    assert all(r["log_z"] is not None and r["log_z"] <= 0 for r in records)
    assert servers[1].process.poll() is not None


@pytest.mark.vllm
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two engines want two cores")
def test_engines_side_by_side_end_with_the_command(
    tiny_model: Path, tmp_path: Path, until_samples: Callable[..., None]
) -> None:
    """`--data-parallel-size 2`: samples come from both, and kill -9 leaves no server behind."""
    out = tmp_path / "run"
    before = _servers(tiny_model)  # those of the other tests
    command = [
        sys.executable, "-m", "gars_vllm.cli.main", "sample", "--model", str(tiny_model),
        "--data-parallel-size", "2", "--limit", "10", "--n", "60", "--max-tokens", "60",
        "--temperature", "1.0", "--batch", "16", "--out", str(out),
    ]  # fmt: skip
    environment = dict(os.environ)
    environment.pop("VLLM_CPU_OMP_THREADS_BIND", None)
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stderr=subprocess.PIPE
    )
    file = out / "samples.jsonl"
    until_samples(process, file, 40)
    assert _servers(tiny_model) - before
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while _servers(tiny_model) - before:
        assert time.monotonic() < deadline, "the server outlives its command"
        time.sleep(0.2)
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(r["valid"] and r["log_z"] is not None for r in records)


def _servers(model: Path) -> set[str]:
    """The processes of a server of that model; vLLM's change what they are called, not where they
    come from."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (path / "environ").read_bytes()
            if b"GARS_ABOUT" in environment and str(model).encode() in environment:
                found.add(path.name)
    return found
