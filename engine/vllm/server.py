# SPDX-License-Identifier: Apache-2.0
"""vLLM's OpenAI server with the grammar plug-in and three additional routes.

`GET /gars` describes the server; `POST /gars/weights` returns the weights of samples; `POST
/gars/whole` tells whether a text is a whole program. They need no API key, since they expose no
other client's text. Requests with grammar parameters in the wrong place are refused.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gars_vllm.engine.masking.names import FILES_ALLOWED, STATISTICS, WEIGHTS
from gars_vllm.engine.masking.request_args import check_body, text
from gars_vllm.engine.masking.weights import Weights

ROUTES = "gars_vllm.engine.vllm.server.Routes"
ABOUT = "GARS_ABOUT"  # JSON: static facts from the command that started the server
_MOST = 10_000  # samples per request
_LONGEST = 100_000  # characters: parsing them blocks other requests
_DRAWING = [("POST", f"/v1/{name}") for name in ("completions", "chat/completions", "responses")]

Message = MutableMapping[str, Any]


class Routes:
    """ASGI middleware, loaded by vLLM (`--middleware`) into its HTTP process."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        path = os.environ.get(WEIGHTS)
        self._weights = Weights(Path(path)) if path else None

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        where = (scope.get("method"), scope.get("path"))
        if where == ("GET", "/gars"):
            await _answer(send, 200, self._about())
        elif where == ("POST", "/gars/weights"):
            await _answer(send, *self._read(await _body(receive)))
        elif where == ("POST", "/gars/whole"):
            await _answer(send, *_whole(await _body(receive)))
        elif where in _DRAWING:
            body = await _body(receive)
            try:
                check_body(body)
            except ValueError as error:
                refusal = {"message": str(error), "type": "BadRequestError", "code": 400}
                await _answer(send, 400, {"error": refusal | {"param": None}})
                return
            read = [{"type": "http.request", "body": body, "more_body": False}]

            async def again() -> Message:
                return read.pop() if read else await receive()

            await self._app(scope, again, send)
        else:
            await self._app(scope, receive, send)

    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = json.loads(os.environ.get(ABOUT, "{}"))
        try:
            seconds = json.loads(Path(os.environ[STATISTICS]).read_text())["mask_seconds"]
        except (OSError, ValueError, KeyError):
            seconds = 0.0
        return about | {"version": importlib.metadata.version("gars-vllm"), "mask_seconds": seconds}

    def _read(self, body: bytes) -> tuple[int, Any]:
        """`{"samples": [[key, tokens], ...]}` -> a list of weights, null for unknown ones.

        Does not wait: a device may still have to write a sample's last step.
        """
        try:
            samples = [(int(key), int(tokens)) for key, tokens in json.loads(body)["samples"]]
        except (ValueError, TypeError, KeyError):
            return 400, {"error": 'wanted {"samples": [[key, tokens], ...]}'}
        if len(samples) > _MOST or any(key < 0 for key, _ in samples):
            return 400, {"error": f"at most {_MOST} samples, keys from 0 on"}
        if self._weights is None:
            return 200, [None] * len(samples)
        weights = [self._weights.read(key, tokens, timeout=0) for key, tokens in samples]
        return 200, [weight and weight.to_json() for weight in weights]


def _whole(body: bytes) -> tuple[int, Any]:
    """`{"text": ..., "grammar": ..., "grammar_prefix": ..., "grammar_mode": ...}`, as in the
    request, -> {"whole": ...}: programs.is_whole."""
    # Imported here: vLLM forks its worker from this process, which must not have loaded numba
    # (compat.keep_llvmlite_from_vllm).
    from gars_vllm.engine.masking.constraints import RequestParameters, check
    from gars_vllm.engine.tasks.programs import is_whole

    try:
        request = json.loads(body)
        args = {key: value for key, value in request.items() if key != "text"}
        drawn = text(request, "text")
        wanted = RequestParameters.of(
            SimpleNamespace(extra_args=args, max_tokens=None, temperature=1.0)
        )
        if wanted is None or len(drawn) > _LONGEST:
            return 400, {"error": f"name a grammar, and a text of at most {_LONGEST:,} characters"}
        check(wanted.grammar, wanted.prefix, wanted.mode)
        whole = is_whole(drawn, wanted.grammar, wanted.prefix, wanted.mode)
    except (ValueError, AttributeError) as error:
        return 400, {"error": str(error)}
    return 200, {"whole": whole}


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Callable[[Message], Awaitable[None]], status: int, body: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Engine arguments as flags of `vllm serve`."""
    arguments = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            text = json.dumps(value) if isinstance(value, dict | list) else str(value)
            arguments += [f"--{flag}", text]
    return arguments


def command(
    model: Path,
    tokenizer: Path,
    name: str,
    vocabulary: str,
    folder: Path,
    more: Sequence[str] = (),
    ranks: int = 1,
    files: Sequence[str] = (),
) -> tuple[list[str], dict[str, str]]:
    """The command that starts the server, and its environment.

    `vocabulary`: the digest of the tokenizer's vocabulary, which clients compare with theirs;
    `folder`: for files shared by its processes; `more`: arguments of `vllm serve`, which take
    precedence; `ranks`: the number of processes that share a CPU's cores; `files`: grammars that
    requests may name, unless GARS_GRAMMAR_FILES is set.
    """
    from gars_vllm.engine.vllm import compat
    from gars_vllm.engine.vllm.settings import (
        QUIET,
        cpu_engine,
        cpu_environment,
        on_cpu,
        processor,
    )  # fmt: skip

    Weights(folder / "weights")
    environment = dict(os.environ)
    settings: list[str] = []
    draws = on_cpu()
    if draws:
        wanted = QUIET | cpu_environment(ranks)
        del wanted[compat.ONE_PROCESS]  # the server needs several processes
        environment = wanted | environment
        settings = flags(cpu_engine())
    weighs = not any(a.startswith(("--speculative-config", "--speculative_config")) for a in more)
    about = {"model": name, "vocabulary": vocabulary, "draws": draws, "weights": weighs}
    environment |= {
        STATISTICS: str(folder / "statistics.json"),
        WEIGHTS: str(folder / "weights"),
        ABOUT: json.dumps(about),
    }
    if files:
        environment.setdefault(FILES_ALLOWED, os.pathsep.join(files))
    return [
        sys.executable, "-m", "gars_vllm.engine.vllm.server", "serve", str(model),
        "--tokenizer", str(tokenizer), "--served-model-name", name,
        "--logits-processors", processor(draws), "--middleware", ROUTES,
        *settings, *more,
    ], environment  # fmt: skip


def main() -> None:
    """vLLM's own command line."""
    from gars_vllm.engine.vllm import compat

    compat.command_line()


if __name__ == "__main__":
    main()
