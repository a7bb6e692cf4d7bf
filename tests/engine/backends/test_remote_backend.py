# SPDX-License-Identifier: Apache-2.0
"""Sampling from servers, made up here as far as HTTP goes; real ones: test_vllm_server.py."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.backends.base import Drawn, Job, Request, Requests
from gars_vllm.engine.backends.remote import RemoteBackend
from gars_vllm.engine.backends.settings import Settings
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.models.catalogue import lookup
from gars_vllm.engine.models.files import ModelFiles
from gars_vllm.engine.models.prompt_kinds import PromptKind
from gars_vllm.engine.runs import sampling
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.tasks import prompts
from gars_vllm.engine.tasks.data_sets import load_humaneval

ENDS = [223, 0]  # a blank line's newline is enough of a body; then EOS


class Fake:
    """A server: `answers` counts its samples; after `dies_after` of them it hangs up on everyone,
    and on the requests whose numbers are in `loses` at any time."""

    def __init__(
        self, about: dict[str, Any] | None, knows_grammars: bool = True, context: int = 4096
    ) -> None:
        self.answers = 0
        self.asked: list[dict[str, Any]] = []
        self.dies_after: int | None = None
        self.requests = 0
        self.loses: set[int] = set()
        self.takes = 0.0  # seconds for an answer
        self.refuses: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def say(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                if self.path == "/v1/models":
                    self.say(200, {"data": [{"id": "served", "max_model_len": context}]})
                elif self.path == "/gars" and about is not None:
                    self.say(200, about)
                else:
                    self.say(404, {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path == "/gars/weights":
                    record = {
                        "log_z": -1.5,
                        "smallest_log_z": -1.0,
                        "smallest_log_z_at": 0,
                        "overruled": 1,
                        "overruled_at": [],
                        "freed_at": None,
                    }
                    self.say(200, [record for _ in body["samples"]])
                    return
                grammar = (body.get("vllm_xargs") or {}).get("grammar")
                if grammar == "no such grammar" and knows_grammars:
                    self.say(400, {"error": {"message": "unknown grammar"}})
                    return
                if outer.refuses:
                    self.say(400, {"error": {"message": outer.refuses}})
                    return
                outer.requests += 1
                dead = outer.dies_after is not None and outer.answers >= outer.dies_after
                if dead or outer.requests in outer.loses:
                    self.close_connection = True
                    self.connection.close()
                    return
                outer.answers += 1
                time.sleep(outer.takes)
                outer.asked.append(body)
                choice = {
                    "index": 0,
                    "text": "",
                    "finish_reason": "stop",
                    "token_ids": ENDS,
                    "logprobs": None,
                }
                self.say(
                    200,
                    {
                        "id": "x",
                        "object": "text_completion",
                        "created": 0,
                        "model": "served",
                        "choices": [choice],
                    },
                )

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


MakeServer = Callable[..., Fake]


@pytest.fixture
def serve() -> Iterator[MakeServer]:
    made: list[Fake] = []

    def make(*args: Any, **more: Any) -> Fake:
        made.append(Fake(*args, **more))
        return made[-1]

    yield make
    for fake in made:
        fake.server.shutdown()
        fake.server.server_close()


@pytest.fixture
def job(tiny_model: Path) -> Callable[..., Job]:
    def make(*fakes: Fake | str, **settings: Any) -> Job:
        tokenizer = tokenizers.load(tiny_model)
        urls = [f if isinstance(f, str) else f.url for f in fakes]
        return Job(tiny_model, tokenizer, Settings(n=1, **settings), 300, 8, servers=urls)

    return make


def asked(job: Job, count: int) -> Requests:
    grammar = job.settings.grammar
    prompt = prompts.build(load_humaneval()[0], PromptKind.COMPLETION, grammar, job.tokenizer)
    return Requests([Request(prompt, i, job.settings.temperatures[0]) for i in range(count)])


def test_what_is_asked(serve: MakeServer, job: Callable[..., Job]) -> None:
    """Of our own server tokens drawn by our sampler, and weights; of any, nothing left unsaid."""
    ours = serve({"draws": True, "weights": True})
    made = job(ours, temperature=0.7, top_p=0.9, max_tokens=99)
    backend = RemoteBackend(made)
    [drawn] = list(backend.draw(asked(made, 1)))
    assert (drawn.ids, drawn.finish_reason) == (tuple(ENDS), "stop")
    assert drawn.weight is not None
    assert (drawn.weight.log_z, drawn.weight.overruled, drawn.weight.steps) == (-1.5, 1, 2)
    [body] = ours.asked
    args = body["vllm_xargs"]
    assert args["grammar"] == "python"
    assert args["grammar_prefix"] == load_humaneval()[0].prompt
    assert args["grammar_mode"] == "completion"
    assert args["draw"] == [0.7, 0.9]
    assert (body["temperature"], body["max_tokens"]) == (0.0, 99)
    assert (body["top_k"], body["repetition_penalty"], body["min_p"]) == (0, 1.0, 0.0)
    plain = serve(None)
    made = job(plain, temperature=0.7, grammar="none")
    [drawn] = list(RemoteBackend(made).draw(asked(made, 1)))
    assert drawn.weight is None
    assert plain.asked[0]["temperature"] == 0.7
    assert plain.asked[0]["vllm_xargs"] is None
    assert plain.asked[0]["stop"]


def test_a_dead_server_costs_only_what_it_had_in_flight(
    serve: MakeServer, job: Callable[..., Job]
) -> None:
    good, bad = serve({"weights": False}), serve({"weights": False})
    bad.dies_after = 5
    made = job(good, bad)
    found = sorted(d.request.index for d in RemoteBackend(made).draw(asked(made, 60)))
    assert found == list(range(60))  # each once
    assert bad.answers == 5
    assert good.answers == 55


def test_a_lost_connection_is_no_dead_server(serve: MakeServer, job: Callable[..., Job]) -> None:
    """All that is in flight at once (8 requests), too; the same request is sent again."""
    fake = serve({"weights": False})
    fake.loses = {3, 7, *range(20, 28)}
    made = job(fake)
    found = sorted(d.request.index for d in RemoteBackend(made).draw(asked(made, 40)))
    assert found == list(range(40))
    assert fake.answers == 40


def test_when_no_server_is_left_the_run_stops_and_goes_on(
    serve: MakeServer, tiny_model: Path, tmp_path: Path
) -> None:
    fake = serve({"weights": False})
    fake.dies_after = 12
    run = RunFolder(tmp_path / "run")
    settings = Settings(n=20, max_tokens=40)
    spec, files = lookup(str(tiny_model)), ModelFiles(tiny_model, "local")

    def sample() -> None:
        sampling.run(
            run,
            spec,
            files,
            load_humaneval()[:2],
            settings,
            RemoteBackend,
            batch=4,
            servers=[fake.url],
        )

    with pytest.raises(UserError, match=r"no server is left .*the same command continues"):
        sample()
    assert len(list(run.samples.read())) == 12
    fake.dies_after = None
    sample()
    records = list(run.samples.read())
    keys = {(r["task_id"], r["sample_index"]) for r in records}
    assert len(records) == len(keys) == 40
    assert len({r["seed"] for r in records}) == 40


def test_what_is_still_on_its_way_from_a_dying_server_counts(
    serve: MakeServer, job: Callable[..., Job]
) -> None:
    """Three answers are being made when the fourth request finds the server dead."""
    fake = serve({"weights": False})
    fake.dies_after, fake.takes = 3, 0.5
    made = job(fake)
    found: list[Drawn] = []
    backend = RemoteBackend(made)
    with pytest.raises(UserError, match="no server is left"):
        found.extend(backend.draw(asked(made, 4)))
    assert len(found) == 3


def test_a_request_that_is_refused_is_the_users_to_mend(
    serve: MakeServer, job: Callable[..., Job]
) -> None:
    fake = serve({})
    made = job(fake)
    backend = RemoteBackend(made)
    fake.refuses = "max_tokens is too large"
    with pytest.raises(UserError, match=r"refuses a request: .*max_tokens is too large"):
        list(backend.draw(asked(made, 3)))


@pytest.mark.parametrize(
    ("about", "more", "message"),
    [
        (
            None,
            {"knows_grammars": False},
            "does not know grammars: start it with `gars-vllm serve`",
        ),
        ({"vocabulary": "another"}, {}, "whose tokens are not those of --model"),
        ({}, {"context": 200}, "context of 200 tokens, the longest prompt and sample need 300"),
    ],
)
def test_servers_that_cannot_be_used(
    serve: MakeServer, job: Callable[..., Job], about: Any, more: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        RemoteBackend(job(serve(about, **more)))


def test_addresses(job: Callable[..., Job], tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the address with its /v1"):
        RemoteBackend(job("http://127.0.0.1:9"))
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match="no server answers at"):
        sampling.run(
            run, lookup(str(tiny_model)), ModelFiles(tiny_model, "local"), load_humaneval()[:1],
            Settings(n=1), RemoteBackend, servers=["http://127.0.0.1:9/v1"],
        )  # fmt: skip
    assert not run.path.exists()  # nothing was begun
