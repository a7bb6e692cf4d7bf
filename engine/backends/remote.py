# SPDX-License-Identifier: Apache-2.0
"""Samples from running OpenAI-compatible vLLM servers with the grammar plug-in, one or more.

Each sample is one request. A failed request is sent again to any free server, since a connection
may be closed while a request is on its way. A server that fails more often in a row than it has
concurrent requests gets no more. When no server is left, the run stops with everything so far on
disk.
"""

from __future__ import annotations

import asyncio
import os
import queue
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gars_vllm.engine.backends.base import Drawn, Job, Request, Requests, sampling_parameters
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.weights import Weight

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI

_PATIENCE = 600.0  # seconds: timeout for one sample
_KEPT = 2.0  # seconds an idle connection is reused; vLLM's server closes it after five
_WEIGHT_TRIES = 20  # the device may write a sample's last step after the sample arrives


@dataclass
class _Server:
    """`about`: the server's answer to /gars, empty if it is not ours. `limit`: concurrent
    requests. `failures`: since its last answer."""

    url: str
    model: str
    about: dict[str, Any]
    limit: int
    flying: int = 0
    failures: int = 0
    dead: str | None = None
    client: AsyncOpenAI | None = field(default=None, repr=False)
    http: httpx.AsyncClient | None = field(default=None, repr=False)

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")


@dataclass
class _Answer:
    """The result of a request: a sample or an error."""

    server: _Server
    request: Request
    drawn: Drawn | None = None
    error: Exception | None = None


class RemoteBackend:
    """Connects to the servers when constructed. Raises UserError for a server that cannot be
    used."""

    name = "vllm-server"

    def __init__(self, job: Job) -> None:
        import httpx

        self._job = job
        # Of the next sample; random, since the server may have other clients.
        self._key = secrets.randbelow(1 << 61)
        self._api_key = os.environ.get("OPENAI_API_KEY") or "EMPTY"
        with httpx.Client(timeout=30, headers={"Authorization": f"Bearer {self._api_key}"}) as http:
            self._servers = [self._connect(http, url.rstrip("/")) for url in job.servers]
        self._before: float = sum(s.about.get("mask_seconds", 0.0) for s in self._servers)
        self._done: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="gars-http", daemon=True).start()

    def _connect(self, http: httpx.Client, url: str) -> _Server:
        import httpx

        if not url.startswith(("http://", "https://")) or not url.endswith("/v1"):
            raise UserError(f"--base-url {url}: give the address with its /v1, as OpenAI's clients")
        try:
            listed = http.get(f"{url}/models")
            about = http.get(f"{url.removesuffix('/v1')}/gars")
        except httpx.HTTPError as error:
            raise UserError(
                f"no server answers at {url} ({error}); start one with `gars-vllm serve MODEL`"
            ) from error
        if listed.status_code != 200:
            raise UserError(f"{url}/models answers {listed.status_code}: is OPENAI_API_KEY right?")
        card = listed.json()["data"][0]
        said = about.json() if about.status_code == 200 else {}
        limit = max(1, self._job.batch // len(self._job.servers))
        server = _Server(url, card["id"], said, limit)
        context = card.get("max_model_len")
        if context is not None and context < self._job.context:
            raise UserError(
                f"{url} has a context of {context:,} tokens, the longest prompt and sample need "
                f"{self._job.context:,}: lower --max-tokens, or start it with --max-model-len"
            )
        ours = self._job.tokenizer.vocabulary.digest
        if server.about.get("vocabulary", ours) != ours:
            raise UserError(
                f"{url} serves {server.model}, whose tokens are not those of --model: "
                "give the same model to both"
            )
        if self._job.settings.grammar != "none":
            self._probe(http, server)
        return server

    def _probe(self, http: httpx.Client, server: _Server) -> None:
        """Checks that the server applies grammars: without the plug-in vLLM accepts the request
        and ignores the grammar."""
        said = http.post(
            f"{server.url}/completions",
            json={
                "model": server.model, "prompt": "a", "max_tokens": 1,
                "vllm_xargs": {"grammar": "no such grammar"},
            },
        )  # fmt: skip
        if said.status_code != 400 or "grammar" not in said.text:
            raise UserError(
                f"{server.url} does not know grammars: start it with `gars-vllm serve`, or install "
                "gars-vllm next to that vLLM"
            )

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        """Yields samples as they finish."""
        again: deque[Request] = deque()
        while requests or again or any(s.flying for s in self._servers):
            alive = [s for s in self._servers if s.dead is None]
            if not alive and not any(s.flying for s in self._servers):  # no answers are pending
                why = "; ".join(f"{s.url}: {s.dead}" for s in self._servers)
                raise UserError(
                    f"no server is left ({why}); start one, and the same command continues"
                )
            while (again or requests) and any(s.flying < s.limit for s in alive):
                request = again.popleft() if again else next(iter(requests))
                server = min(alive, key=lambda s: s.flying / s.limit)
                server.flying += 1
                self._key += 1
                asyncio.run_coroutine_threadsafe(
                    self._sample(server, request, self._key), self._loop
                )
            answer = self._done.get()
            answer.server.flying -= 1
            if answer.drawn is not None:
                answer.server.failures = 0
                yield answer.drawn
            else:
                self._handle(answer)
                again.append(answer.request)

    def _handle(self, failed: _Answer) -> None:
        from openai import APIStatusError

        error = failed.error
        if isinstance(error, APIStatusError) and error.status_code < 500:
            reason = " ".join(str(error).split())
            raise UserError(f"{failed.server.url} refuses a request: {reason}") from error
        server = failed.server
        server.failures += 1
        if server.failures > server.limit:
            server.dead = " ".join(str(error).split()) or type(error).__name__

    async def _sample(self, server: _Server, request: Request, key: int) -> None:
        try:
            answer = _Answer(server, request, await self._ask(server, request, key))
        except Exception as error:  # classified in `_handle`
            answer = _Answer(server, request, error=error)
        self._done.put(answer)

    async def _ask(self, server: _Server, request: Request, key: int) -> Drawn:
        if server.client is None:
            from openai import AsyncOpenAI

            server.client = AsyncOpenAI(
                base_url=server.url, api_key=self._api_key, max_retries=0, timeout=_PATIENCE
            )
        settings, prompt = self._job.settings, request.prompt
        weighed = settings.weights and bool(server.about.get("weights"))
        weighed = weighed and settings.grammar != "none"
        draws = bool(server.about.get("draws"))
        parameters = sampling_parameters(settings, request, key if weighed else None, draws)
        answer = await server.client.completions.create(
            model=server.model,
            prompt=list(prompt.ids),
            max_tokens=settings.max_tokens,
            temperature=parameters.temperature,
            top_p=parameters.top_p,
            seed=parameters.seed,
            stop=list(prompt.stop) or None,
            extra_body={
                # Explicit defaults: otherwise the server takes them from the model's
                # generation_config.json.
                "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0,
                "stop_token_ids": list(self._job.tokenizer.vocabulary.eos),
                "return_token_ids": True,
                "vllm_xargs": parameters.args,
                **({"logprobs": 0} if settings.logprobs else {}),
            },
        )  # fmt: skip
        choice: Any = answer.choices[0]
        if choice.finish_reason not in ("stop", "length"):
            raise ConnectionError(f"a sample was cut off: {choice.finish_reason}")
        ids = tuple(choice.token_ids)
        weight = await self._weight(server, key, len(ids)) if weighed else None
        logprob = sum(choice.logprobs.token_logprobs) if settings.logprobs else None
        return Drawn(
            request, ids, choice.text, choice.finish_reason, weight, logprob, parameters.seed
        )

    async def _weight(self, server: _Server, key: int, tokens: int) -> Weight | None:
        if server.http is None:
            import httpx

            kept = httpx.Limits(max_connections=None, keepalive_expiry=_KEPT)
            server.http = httpx.AsyncClient(limits=kept, timeout=_PATIENCE)
        for _ in range(_WEIGHT_TRIES):
            response = await server.http.post(
                f"{server.root}/gars/weights", json={"samples": [[key, tokens]]}
            )
            [record] = response.json()
            if record is not None:
                return Weight.from_json(record, tokens)
            await asyncio.sleep(0.05)
        return None

    def mask_seconds(self) -> float:
        """The mask time that the servers report, for all their clients together."""
        import httpx

        total, known = 0.0, self._before
        for server in self._servers:
            try:
                total += float(httpx.get(f"{server.root}/gars", timeout=5).json()["mask_seconds"])
            except (httpx.HTTPError, ValueError, KeyError):
                total += float(server.about.get("mask_seconds", 0.0))
        return max(0.0, total - known)

    def close(self) -> None:
        """Ends the thread that talks to the servers."""
        self._loop.call_soon_threadsafe(self._loop.stop)
