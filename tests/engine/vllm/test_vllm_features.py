# SPDX-License-Identifier: Apache-2.0
"""Real engines of both runners, made to do what a busy scheduler does.

In each, what is finished is valid, and what is drawn greedily is what Transformers draws with the
same mask, one prompt at a time and nothing else going on. Where there is no GPU, Model Runner V2 runs
on Triton's interpreter (triton_cpu/). The two runners are two processes, side by side; in each one
engine starts after the other, since most of a start is the import of vLLM.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from gars_vllm.engine.backends.transformers import GrammarLogits
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks import programs
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.vllm.settings import on_cpu
from gars_vllm.grammar import compile_grammar

pytestmark = pytest.mark.vllm
HERE = Path(__file__).parent
ON_GPU = not on_cpu()
TIE = 1e-3  # a logit's difference; those of the tiny model's best two tokens are some 0.05
# A GPU is shared by the engines of the tests that run at once.
SHARE: dict[str, Any] = {"gpu_memory_utilization": 0.08} if ON_GPU else {}
GREEDY = {"temperature": 0.0}
HOT = {"temperature": 1.0, "seed": None}


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with two tokens that end a text."""
    import shutil

    folder = tmp_path_factory.mktemp("features") / "model"
    shutil.copytree(tiny_model, folder)
    file = folder / "generation_config.json"
    record = json.loads(file.read_text()) | {"eos_token_id": [0, 2]}
    file.write_text(json.dumps(record))
    return folder


class Engine:
    """The requests of an engine, and what came of them."""

    def __init__(self, model: Path, engine: dict[str, Any]) -> None:
        self.model, self.engine = model, engine
        self.encoder = Encoder.of(model)
        self.requests: list[dict[str, Any]] = []
        self.aborted: list[int] = []
        self.found: dict[str, Any] = {}

    def add(self, prompt: list[int], grammar: str | None, **params: Any) -> int:
        args = {"grammar": grammar, "grammar_key": len(self.requests)} if grammar else None
        self.requests.append({"prompt": prompt, "params": {**params, "extra_args": args}})
        return len(self.requests) - 1

    def spec(self) -> dict[str, Any]:
        return {"engine": SHARE | self.engine, "requests": self.requests, "abort": self.aborted}

    def outputs(self, number: int) -> list[dict[str, Any]]:
        return self.found["outputs"][number]  # type: ignore[no-any-return]

    def text(self, output: dict[str, Any]) -> bytes:
        tokens = self.encoder.vocabulary.tokens
        return b"".join(tokens[i] or b"" for i in output["tokens"])

    def check(self, number: int, weighed: bool = True) -> None:
        """All samples of a request are whole and valid, and their weights are known."""
        grammar = self.requests[number]["params"]["extra_args"]["grammar"]
        alone = len(self.outputs(number)) == 1
        for output in self.outputs(number):
            assert programs.is_valid(self.text(output).decode(), grammar)
            if alone and weighed:
                assert output["weight"]["log_z"] <= 0
                assert output["weight"]["freed_at"] is None

    def check_greedy(self, number: int, **generate: Any) -> None:
        """The tokens are Transformers' own."""
        request = self.requests[number]
        params = request["params"]
        [output] = self.outputs(number)
        found, scores = greedy(
            self.model, request["prompt"], (params["extra_args"] or {}).get("grammar"),
            params["max_tokens"], **generate,
        )  # fmt: skip
        if ON_GPU:  # which multiplies less exactly: behind a tie either may be right
            for step, (ours, theirs) in enumerate(zip(output["tokens"], found, strict=False)):
                if ours != theirs and scores[step][theirs] - scores[step][ours] < TIE:
                    del output["tokens"][step:], found[step:]
                    break
        assert output["tokens"] == found


@functools.cache
def loaded_by_transformers(model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(str(model), dtype=torch.float32).eval()


def greedy(
    model: Path, prompt: list[int], grammar: str | None, most: int, **generate: Any
) -> tuple[list[int], list[torch.Tensor]]:
    """Transformers' tokens, and for each step the masked logits [vocabulary] it chose from."""
    loaded = loaded_by_transformers(model)
    masks = []
    if grammar:
        where: Any = types.SimpleNamespace(prefix="", heal="", mode="text")
        compiled = compile_grammar(grammar, Encoder.of(model).vocabulary)
        masks = [GrammarLogits(compiled, where, 1, most)]
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        out = loaded.generate(
            ids, attention_mask=torch.ones_like(ids), logits_processor=masks, do_sample=False,
            max_new_tokens=most, eos_token_id=[0, 2], pad_token_id=0,
            output_scores=True, return_dict_in_generate=True, **generate,
        )  # fmt: skip
    found = out.sequences[0, len(prompt) :].tolist()
    ends = [i for i, token in enumerate(found) if token in (0, 2)]
    return found[: ends[0] + 1] if ends else found, [row[0] for row in out.scores]


def prompts(model: Path, length: int) -> list[list[int]]:
    """Different texts, cut to a length in tokens."""
    encoder = Encoder.of(model)
    whole = [encoder.encode(t.prompt + t.canonical_solution) for t in load_humaneval()[:60]]
    return [tokens[:length] for tokens in whole if len(tokens) >= length]


class Runner:
    """Engines one after the other in a process of their own, which has half of the cores."""

    def __init__(self, model: Path, v2: bool, engines: dict[str, Engine], log: Path) -> None:
        self.v2, self._engines, self._log = v2, engines, log
        environment = dict(os.environ)
        environment["VLLM_USE_V2_MODEL_RUNNER"] = "1" if v2 else "0"
        if v2 and not ON_GPU:
            environment |= {"PYTHONPATH": str(HERE / "triton_cpu"), "TRITON_INTERPRET": "1"}
        cores = sorted(os.sched_getaffinity(0))
        half = len(cores) // 2
        spec = {
            "model": str(model), "engines": [e.spec() for e in engines.values()],
            "cores": (cores[half:] if v2 else cores[:half]) or cores,
        }  # fmt: skip
        given = log.with_suffix(".json")
        given.write_text(json.dumps(spec))
        with given.open() as read, log.open("w") as write:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "vllm_script.py")],
                stdin=read, stdout=write, stderr=write, env=environment,
            )  # fmt: skip

    def engine(self, name: str) -> Engine:
        """Once its requests are done."""
        self._process.wait(timeout=600)
        said = self._log.read_text()
        lines = [line for line in said.splitlines() if line.startswith("RESULT")]
        number = list(self._engines).index(name)
        assert len(lines) > number, said[-8000:]
        engine = self._engines[name]
        engine.found = json.loads(lines[number].removeprefix("RESULT"))
        assert engine.found["v2"] is self.v2
        return engine

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def runners(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Runner]]:
    folder = tmp_path_factory.mktemp("runners")
    slow = not ON_GPU  # V2 is, by the interpreter
    first = {"busy": busy_engine(model, False), "tight": tight_engine(model, False)}
    second = {
        "busy": busy_engine(model, slow, 40 if slow else 200),
        "tight": tight_engine(model, slow),
    }
    second["drafting"] = drafting_engine(model)
    made = {
        "v1": Runner(model, False, first, folder / "v1.log"),
        "v2": Runner(model, True, second, folder / "v2.log"),
    }
    yield made
    for runner in made.values():
        runner.end()


def busy_engine(model: Path, slow: bool, many: int = 200) -> Engine:
    """Requests of every kind at once, of one prompt many; prefixes are cached."""
    engine = Engine(model, {"max_num_seqs": 256, "enable_prefix_caching": True})
    most = 10 if slow else 40
    texts = prompts(model, 70)
    engine.add(texts[0], "python", n=many, max_tokens=most, **HOT)  # 0
    for i in range(1, 4):  # 1 to 9
        engine.add(texts[i], "python", max_tokens=most, **GREEDY)
        engine.add(texts[i], "json", max_tokens=most, **GREEDY)
        engine.add(texts[i], None, max_tokens=most, **GREEDY)
    engine.add(texts[4], "python", max_tokens=most, min_tokens=most - 2, **GREEDY)  # 10
    engine.add(texts[5], "json", max_tokens=most, min_tokens=most - 2, **GREEDY)  # 11
    engine.add(texts[6], "python", max_tokens=most, repetition_penalty=1.4, **GREEDY)  # 12
    engine.add(
        texts[7], "python", max_tokens=most, logit_bias={"40": 9.0, "5": -9.0}, **GREEDY
    )  # 13
    engine.add(texts[8], "python", max_tokens=most, stop=["e"], **GREEDY)  # 14
    engine.add(texts[9], "json", n=6, max_tokens=most, **HOT)  # 15
    engine.add(texts[10], "python", max_tokens=most, **HOT)  # 16
    engine.add(texts[11], "json", max_tokens=most, logit_bias={"0": 100.0}, **GREEDY)  # 17
    engine.add(texts[12], "json", max_tokens=most, allowed_token_ids=[3, 4, 5], **GREEDY)  # 18
    engine.aborted = [16]
    return engine


@pytest.fixture(scope="module", params=["v1", "v2"])
def busy(request: pytest.FixtureRequest, runners: dict[str, Runner]) -> Engine:
    return runners[request.param].engine("busy")


def test_many_samples_of_one_prompt(busy: Engine) -> None:
    assert len(busy.outputs(0)) == busy.requests[0]["params"]["n"] >= 40
    busy.check(0)
    assert len({tuple(o["tokens"]) for o in busy.outputs(0)}) > 6


@pytest.mark.full
def test_two_hundred_samples_of_one_prompt(model: Path, tmp_path: Path) -> None:
    """By V2's runner, wherever it runs."""
    busy = busy_engine(model, slow=not ON_GPU)
    runner = Runner(model, True, {"busy": busy}, tmp_path / "v2.log")
    try:
        runner.engine("busy")
    finally:
        runner.end()
    assert len(busy.outputs(0)) == 200
    busy.check(0)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_two_grammars_and_none_in_one_batch(busy: Engine, kind: int) -> None:
    for number in range(1 + kind, 10, 3):
        busy.check_greedy(number)
        if kind < 2:
            busy.check(number)
    if kind == 1:
        busy.check(15)


def test_min_tokens(busy: Engine) -> None:
    """EOS is forbidden by the other rule until then; the text still ends in time."""
    for number in (10, 11):
        busy.check(number)
        [output] = busy.outputs(number)
        most = busy.requests[number]["params"]["max_tokens"]
        assert len(output["tokens"]) >= most - 2
    busy.check_greedy(10, min_new_tokens=busy.requests[10]["params"]["max_tokens"] - 2)


def test_penalties(busy: Engine) -> None:
    busy.check(12)
    busy.check_greedy(12, repetition_penalty=1.4)


def test_logit_bias(busy: Engine) -> None:
    """It moves what the grammar allows, and allows nothing that the grammar forbids."""
    busy.check(13)
    busy.check_greedy(13, sequence_bias={(40,): 9.0, (5,): -9.0})
    busy.check(17)
    busy.check_greedy(17, sequence_bias={(0,): 100.0})
    matcher = compile_grammar("json", busy.encoder.vocabulary).matcher()
    for token in busy.outputs(17)[0]["tokens"]:  # EOS is all the bias wants, and gets once it may
        assert token == 0 or not matcher.can_stop()
        matcher.advance(token)


def test_stop_strings(busy: Engine) -> None:
    """What was drawn up to the stop is the beginning of a program."""
    [output] = busy.outputs(14)
    text = busy.text(output)
    compile_grammar("python", busy.encoder.vocabulary).matcher().advance_text(text)
    if output["reason"] == "stop" and output["tokens"][-1] not in (0, 2):
        assert b"e" in text
    else:
        busy.check(14)


def test_another_rule_that_leaves_nothing_loses(busy: Engine) -> None:
    """allowed_token_ids of which the grammar allows none where they are needed."""
    busy.check(18)


def test_an_aborted_request_takes_none_along(busy: Engine) -> None:
    assert busy.outputs(16) is None or len(busy.outputs(16)[0]["tokens"]) < 10
    assert all(o is not None for i, o in enumerate(busy.found["outputs"]) if i != 16)


def test_prefixes_were_shared(busy: Engine) -> None:
    assert busy.found["hits"] > 0


def tight_engine(model: Path, slow: bool) -> Engine:
    """Prompts in chunks, and a cache of keys and values that holds a part of the batch."""
    settings = {
        "max_num_seqs": 16, "max_num_batched_tokens": 48, "enable_prefix_caching": False,
        "max_model_len": 256,
        "num_gpu_blocks_override": 14 if slow else 30,
    }  # fmt: skip
    engine = Engine(model, settings)
    texts = prompts(model, 91 if slow else 150)
    most = 12 if slow else 60
    for i in range(6 if slow else 14):
        engine.add(texts[i], ("python", "json", "python")[i % 3], max_tokens=most, **GREEDY)
    engine.add(texts[0], "python", max_tokens=most, **HOT)
    return engine


@pytest.fixture(scope="module", params=["v1", "v2"])
def tight(request: pytest.FixtureRequest, runners: dict[str, Runner]) -> Engine:
    return runners[request.param].engine("tight")


def test_chunked_prefill_and_preemption(tight: Engine) -> None:
    assert tight.found["preemptions"] > 0
    assert tight.found["hits"] in (0, None)
    for number in range(len(tight.requests)):
        tight.check(number)
    for number in range(len(tight.requests) - 1):
        tight.check_greedy(number)


def test_weights_survive_a_preemption(tight: Engine) -> None:
    """The steps that were made over again count once: Transformers' own masses add up to as much."""
    for number in range(0, 6, 3):
        request = tight.requests[number]
        [output] = tight.outputs(number)
        found = log_z(
            tight.model, request["prompt"], output["tokens"], request["params"]["max_tokens"]
        )
        assert output["weight"]["log_z"] == pytest.approx(found, abs=1e-3)


def drafting_engine(model: Path) -> Engine:
    """Drafts come from a model without the grammar (here the same)."""
    drafts = {"method": "draft_model", "model": str(model), "num_speculative_tokens": 3}
    engine = Engine(model, {"max_num_seqs": 8, "speculative_config": drafts})
    texts = prompts(model, 40)
    for i, grammar in enumerate(("python", "json", None)):
        engine.add(texts[i], grammar, max_tokens=14, **GREEDY)
    engine.add(texts[3], "python", max_tokens=14, **HOT)
    return engine


def test_speculative_decoding(runners: dict[str, Runner]) -> None:
    """A request has several rows."""
    engine = runners["v2"].engine("drafting")
    assert engine.found["accepted"] > 0
    for number in range(3):
        engine.check_greedy(number)
    for number in (0, 1, 3):
        engine.check(number, weighed=False)


def log_z(model: Path, prompt: list[int], tokens: list[int], most: int) -> float:
    """The definition, step by step."""
    loaded = loaded_by_transformers(model)
    matcher = compile_grammar("python", Encoder.of(model).vocabulary).matcher()
    with torch.inference_mode():
        logits = loaded(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    total = 0.0
    for step, token in enumerate(tokens):
        packed = torch.from_numpy(matcher.mask(most - step).copy())
        bits = ((packed[:, None] >> torch.arange(32)) & 1).reshape(-1)[: logits.shape[1]] == 1
        total += float(torch.log(logits[step].softmax(0)[bits].sum()))
        matcher.advance(token)
    return total
