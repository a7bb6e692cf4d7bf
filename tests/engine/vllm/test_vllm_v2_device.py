# SPDX-License-Identifier: Apache-2.0
"""What Model Runner V2's adapter does on a GPU, where there is none: on a device that does everything
as late as it may.

What is asked of it is put in a queue and done only when somebody waits for it, by an event. Memory
that a copy has not reached holds rubbish. Whoever reads a tensor of the device from the host, which
on a GPU would make the step wait, gets an error. It says nothing of CUDA itself.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gars_vllm.engine.masking import mask_table, masker
from gars_vllm.engine.masking.weights import Weights
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks import programs
from gars_vllm.engine.vllm import v2 as vllm_v2
from gars_vllm.engine.vllm.processor import GrammarProcessor
from gars_vllm.grammar import compile_grammar
from torch.utils._pytree import tree_map
from vllm import SamplingParams

WIDTH, SLOTS, LENGTH = 512, 4, 64
PROMPT = [7, 8, 9]
RUBBISH = 0x55


class Event:
    def record(self) -> None:
        self._until = len(DEVICE.work)

    def synchronize(self) -> None:
        DEVICE.run(self._until)


class Device:
    """The one there is. `type` and `index` are what torch.device has."""

    type, index = "cuda", 0

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        self.work: list[Callable[[], Any]] = []
        self._done = 0

    def ask(self, work: Callable[[], Any]) -> None:
        self.work.append(work)

    def run(self, until: int) -> None:
        with self.lock:
            while self._done < until:
                self._done += 1
                self.work[self._done - 1]()

    def finish(self) -> None:
        self.run(len(self.work))


DEVICE = Device()


class Late:
    """A tensor of the device: what it looks like is known, what it holds only once it is made."""

    def __init__(self, like: torch.Tensor, value: torch.Tensor | None = None) -> None:
        self._like, self._value = like, value

    device = DEVICE
    shape = property(lambda self: self._like.shape)
    dtype = property(lambda self: self._like.dtype)
    nbytes = property(lambda self: self._like.numel() * self._like.element_size())

    def __len__(self) -> int:
        return len(self._like)

    def value(self) -> torch.Tensor:
        """To be asked on the device, in its turn."""
        assert self._value is not None, "read before it was made"
        return self._value

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in ("cpu", "numpy", "tolist", "item") or name.startswith("__"):
            raise AssertionError(f"the host waits for the device: {name}")
        return lambda *args, **kwargs: later(getattr(torch.Tensor, name), (self, *args), kwargs)

    def __bool__(self) -> bool:
        raise AssertionError("the host waits for the device: bool")

    @classmethod
    def __torch_function__(cls, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        return later(func, args, kwargs or {})


def _operator(name: str) -> Callable[..., Any]:
    return lambda self, *args: later(getattr(torch.Tensor, name), (self, *args), {})


for _name in ("__getitem__", "__setitem__", "__truediv__", "__sub__", "__eq__", "__add__"):
    setattr(Late, _name, _operator(_name))


def later(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation is asked for; it is done when its turn comes."""
    name = func.__name__
    if isinstance(args[0], torch.Tensor):
        host, source = args
        assert name == "copy_", name
        is_free = kwargs.get("non_blocking") and host.data_ptr() in _pinned
        assert is_free, "the copy would wait"
        DEVICE.ask(lambda: host.copy_(source.value()))
        return host
    shapes = tree_map(_like, (args, kwargs))
    like = func(*shapes[0], **shapes[1])
    target = kwargs.get("out")
    is_in_place = name.endswith("_") and not name.startswith("__")
    if target is None and (is_in_place or name == "__setitem__"):
        target = args[0]
    made = Late(like) if target is None else target

    def work() -> None:
        values = tree_map(_value, (args, kwargs))
        result = func(*values[0], **values[1])
        if target is None:
            made._value = result.clone()

    DEVICE.ask(work)
    return made


def _like(thing: Any) -> Any:
    if isinstance(thing, Late):
        return torch.empty_like(thing._like)
    assert not isinstance(thing, torch.Tensor), "a tensor of the host among those of the device"
    return thing


def _value(thing: Any) -> Any:
    return thing.value() if isinstance(thing, Late) else thing


_pinned: set[int] = set()


def there(tensor: torch.Tensor) -> Late:
    """A tensor that has been on the device for long."""
    return Late(tensor.to("meta"), tensor.clone())


class _Torch(types.ModuleType):
    """torch, as one of our modules sees it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def full(shape: Any, value: Any, *, dtype: torch.dtype, device: Any) -> Any:
        made = torch.full(shape, value, dtype=dtype)
        return there(made) if device is DEVICE else made

    @staticmethod
    def empty(shape: Any, *, dtype: torch.dtype, pin_memory: bool) -> torch.Tensor:
        assert pin_memory
        made = torch.empty(shape, dtype=dtype)
        made.view(torch.uint8).fill_(RUBBISH)
        _pinned.add(made.data_ptr())
        return made

    cuda = types.SimpleNamespace(Event=Event)


def upload(array: np.ndarray[Any, Any], device: Any) -> Any:
    """mask_table.upload: the array as it is now, once its turn comes."""
    assert device is DEVICE
    held = torch.from_numpy(array.copy())
    made = Late(held.to("meta"))
    DEVICE.ask(lambda: setattr(made, "_value", held))
    return made


def weigh(logits: Any, rows: Any, asked: Any) -> Any:
    """Our kernel for a GPU."""
    made = Late(torch.empty((2, len(logits)), device="meta"))

    def work() -> None:
        values, (slots, heats, revived) = logits.value(), asked.value()
        bits = rows.value()[slots][:, :, None] >> torch.arange(32) & 1
        kept = bits.flatten(1)[:, : values.shape[1]] > 0
        shares = (values / heats.view(torch.float32)[:, None]).double().softmax(1)
        lost = ~kept.gather(1, values.argmax(1, keepdim=True)).squeeze(1)
        made._value = torch.stack([(shares * kept).sum(1).log().float(), lost.float()])
        values.masked_fill_(~kept, -torch.inf)
        empty = (revived > 0) & (values.amax(1) == -torch.inf)
        values[kept & empty[:, None]] = 0.0

    DEVICE.ask(work)
    return made


def last_tokens(tokens: Any, totals: Any, width: int) -> Any:
    """Another kernel of ours."""
    made = Late(torch.empty((len(totals), width + 1), dtype=torch.int32, device="meta"))

    def work() -> None:
        held, counts = tokens.value(), totals.value()
        made._value = torch.full((len(counts), width + 1), RUBBISH, dtype=torch.int32)
        made._value[:, width] = counts
        for slot, count in enumerate(counts.tolist()):
            some = held[slot, max(0, count - width) : count]
            made._value[slot, width - len(some) : width] = some

    DEVICE.ask(work)
    return made


def install(monkeypatch: Any) -> None:
    """Our modules meet the device where they would meet a GPU."""
    DEVICE.reset()
    kernels = types.SimpleNamespace(weigh=weigh, last_tokens=last_tokens)
    for module in (mask_table, masker, vllm_v2):
        monkeypatch.setattr(module, "torch", _Torch("torch"))
    for module in (mask_table, vllm_v2):
        monkeypatch.setattr(module, "upload", upload)
        monkeypatch.setattr(module, "kernels", lambda device: kernels)


class Runner:
    """Model Runner V2's calls in a step. Nothing is waited for before `finish`."""

    def __init__(self, model: Path, config: Any) -> None:
        self.encoder = Encoder.of(model)
        self.tokens = there(torch.zeros((SLOTS, LENGTH), dtype=torch.int32))
        self.totals = there(torch.zeros(SLOTS, dtype=torch.int32))
        self.states = types.SimpleNamespace(
            device=DEVICE, max_num_reqs=SLOTS, vocab_size=WIDTH,
            all_token_ids=types.SimpleNamespace(gpu=self.tokens),
            total_len=types.SimpleNamespace(gpu=self.totals),
            prompt_len=types.SimpleNamespace(np=np.zeros(SLOTS, np.int32)),
            prefill_len=types.SimpleNamespace(np=np.zeros(SLOTS, np.int32)),
        )  # fmt: skip
        self.processor = GrammarProcessor(config, self.states)

    def add(
        self, slot: int, grammar: str, key: int, temperature: float = 1.0,
        output: Sequence[int] = (), **others: Any,
    ) -> None:  # fmt: skip
        self.states.prompt_len.np[slot] = len(PROMPT)
        self.states.prefill_len.np[slot] = len(PROMPT) + len(output)
        args = {"grammar": grammar, "grammar_key": key}
        params = SamplingParams(extra_args=args, temperature=temperature, max_tokens=50, **others)
        assert self.processor.add_request(slot, params)
        self.write(slot, [*PROMPT, *output])

    def write(self, slot: int, tokens: Sequence[int]) -> None:
        """Prompt or drawn tokens: the device writes them, when their turn comes."""

        def work() -> None:
            at = int(self.totals.value()[slot])
            self.tokens.value()[slot, at : at + len(tokens)] = torch.tensor(tokens).int()
            self.totals.value()[slot] += len(tokens)

        DEVICE.ask(work)

    def step(self, rows: Sequence[int], logits: torch.Tensor) -> Late:
        self.processor.apply_staged_writes()
        made = there(logits)
        self.processor.apply(made, types.SimpleNamespace(idx_mapping_np=np.array(rows)))  # type: ignore[arg-type]
        return made


@pytest.fixture
def runner(
    tiny_model: Path, vllm_config: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Runner:  # fmt: skip
    install(monkeypatch)
    monkeypatch.setenv("GARS_WEIGHTS", str(tmp_path / "weights"))
    return Runner(tiny_model, vllm_config())


def test_steps_on_a_device(runner: Runner, tmp_path: Path) -> None:
    """Several requests, a token more at each step: every mask follows the token that the step
    before has drawn, and each weight is that of the logits before masking."""
    texts = {0: ("json", '[1, {"a": 2}]'), 2: ("python", "x = (a, [1])"), 3: ("python", "if b: y")}
    encode = runner.encoder.encode
    tokens = {slot: encode(text) for slot, (_, text) in texts.items()}
    heats = {0: 0.5, 2: 1.0, 3: 1.4}
    for slot, (grammar, _) in texts.items():
        runner.add(slot, grammar, 100 + slot, heats[slot])
    totals, made = dict.fromkeys(texts, 0.0), []
    rng = torch.Generator().manual_seed(0)
    steps = min(map(len, tokens.values()))
    for step in range(steps):
        rows = [2, 0, 3] if step % 2 else [0, 2, 3]
        logits = torch.randn((3, WIDTH), generator=rng)
        wanted = torch.stack([allowed(runner, texts[s][0], tokens[s][:step]) for s in rows])
        for row, slot in enumerate(rows):
            shares = (logits[row] / heats[slot]).double().softmax(0)
            totals[slot] += float(torch.log(shares[wanted[row]].sum()))
        made.append((runner.step(rows, logits), logits, wanted))
        for slot in rows:
            runner.write(slot, tokens[slot][step : step + 1])
    DEVICE.finish()
    for found, logits, wanted in made:
        assert torch.equal(found.value(), logits.masked_fill(~wanted, -torch.inf))
    weights = Weights(tmp_path / "weights")
    for slot, total in totals.items():
        found_weight = weights.read(100 + slot, steps, timeout=5)
        assert found_weight is not None
        assert found_weight.log_z == pytest.approx(total, abs=1e-4)


def test_more_tokens_than_a_step_gives(runner: Runner) -> None:
    """They are asked for again, and waited for."""
    runner.add(1, "python", 7)
    tokens = runner.encoder.encode("for i in (1, 2, 3")
    runner.write(1, tokens)
    logits = torch.zeros((1, WIDTH))
    found = runner.step([1], logits)
    DEVICE.finish()
    wanted = allowed(runner, "python", tokens)
    assert torch.equal(found.value(), logits.masked_fill(~wanted, -torch.inf))


@pytest.mark.parametrize("is_back", [False, True])
def test_the_step_does_not_wait_for_the_forward_pass(runner: Runner, is_back: bool) -> None:
    """Neither `stage` nor `apply` needs what was asked for between the two; nor where a request
    comes back after a preemption, with the tokens that it had."""
    tokens = runner.encoder.encode("for i in (1, 2, 3")
    if is_back:
        runner.add(1, "python", 7, output=tokens)
    else:
        runner.add(1, "python", 7)
        runner.step([1], torch.zeros((1, WIDTH)))
        tokens = tokens[:1]
        runner.write(1, tokens)
    runner.processor.apply_staged_writes()
    done: list[bool] = []
    DEVICE.ask(lambda: done.append(True))  # the forward pass
    context = types.SimpleNamespace(idx_mapping_np=np.array([1]))
    found = there(torch.zeros((1, WIDTH)))
    runner.processor.apply(found, context)  # type: ignore[arg-type]
    assert not done
    DEVICE.finish()
    assert done
    wanted = allowed(runner, "python", tokens)
    assert torch.equal(found.value()[0] == 0, wanted)


def test_where_another_rule_leaves_nothing_the_grammar_decides(runner: Runner) -> None:
    runner.add(1, "json", 7, min_tokens=3)
    wanted = allowed(runner, "json", [])
    logits = torch.zeros((1, WIDTH)).masked_fill(wanted, -torch.inf)
    found = runner.step([1], logits)
    DEVICE.finish()
    assert torch.equal(found.value(), torch.zeros((1, WIDTH)).masked_fill(~wanted, -torch.inf))


def allowed(runner: Runner, grammar: str, tokens: Sequence[int]) -> torch.Tensor:
    """bool [WIDTH]: after the first tokens of the text."""
    compiled = compile_grammar(grammar, runner.encoder.vocabulary)
    matcher = programs.matcher(compiled, "", "text")
    for token in tokens:
        matcher.advance(token)
    bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")[:WIDTH]
    return torch.from_numpy(bits.astype(bool))
