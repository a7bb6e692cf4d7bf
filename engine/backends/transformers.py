# SPDX-License-Identifier: Apache-2.0
"""Samples with Hugging Face Transformers: for models that vLLM does not support, and as a
reference. One prompt at a time with its samples in batches; no paged memory, no continuous
batching."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from gars_vllm.engine.backends.base import Drawn, Job, Request, Requests, seed_of
from gars_vllm.engine.masking import syncode_mask
from gars_vllm.engine.masking.constraints import Constraint, Mask, RequestParameters
from gars_vllm.engine.masking.masker import Masker
from gars_vllm.engine.masking.syncode_mask import SynCodeMask
from gars_vllm.engine.masking.weights import Weight, Weights
from gars_vllm.engine.tasks import programs
from gars_vllm.engine.tasks.prompts import Prompt
from gars_vllm.grammar import CompiledGrammar, compile_grammar
from transformers import LogitsProcessor


class GrammarLogits(LogitsProcessor):  # type: ignore[misc]
    """The mask for `model.generate`: one matcher per row, all rows after the same prompt.

    `generate` runs it before temperature and top-p.
    """

    def __init__(
        self,
        grammar: CompiledGrammar,
        prompt: Prompt,
        rows: int,
        budget: int | None = None,
        temperature: float = 1.0,
    ) -> None:
        """`budget`: tokens for budget completion; `temperature`: of the distribution that the
        weights refer to."""
        first = programs.matcher(grammar, prompt.prefix, prompt.mode)
        parameters = RequestParameters(
            grammar.language.name, "", prompt.mode, budget=budget, temperature=temperature,
            heal=prompt.heal,
        )  # fmt: skip
        self._rows = [Constraint(replace(parameters, key=row), first.fork()) for row in range(rows)]
        self._ends = grammar.vocabulary.eos
        self._weights = Weights(capacity=rows)
        self._masker: Masker | None = None
        self._length: int | None = None
        self.seconds = 0.0

    def __call__(self, input_ids: Any, scores: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        if self._length is None or self._masker is None:
            self._length = input_ids.shape[1]
            self._masker = Masker(scores.shape[1], scores.device, self._weights)
            self._masker.set_ends(self._ends)
        for row, tokens in zip(self._rows, input_ids[:, self._length :].tolist(), strict=True):
            row.feed(tokens[row.read :])
        # Finished rows are not masked: transformers pads them.
        live = [None if c.matcher is None or c.matcher.ended else c for c in self._rows]
        self._masker.begin()
        self._masker.apply(scores, live)
        self.seconds += time.perf_counter() - started
        return scores

    def weight(self, row: int, tokens: int) -> Weight | None:
        """The weight of a row's sample, once it has that many tokens."""
        return self._weights.read(row, tokens)


class SynCodeLogits(LogitsProcessor):  # type: ignore[misc]
    """SynCode's mask for `model.generate`, which reads prompt and output again at every step."""

    def __init__(self, mask: SynCodeMask, ends: frozenset[int]) -> None:
        self._mask, self._ends = mask, ends
        self._prompt: int | None = None
        self.seconds = 0.0

    def __call__(self, input_ids: Any, scores: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        if self._prompt is None:
            self._prompt = input_ids.shape[1]
        for row, tokens in enumerate(input_ids.tolist()):
            if self._ends.isdisjoint(tokens[self._prompt :]):
                self._mask.forbid(tokens, scores[row])
        self.seconds += time.perf_counter() - started
        return scores


class TransformersBackend:
    """Loads the model when constructed."""

    name = "transformers"

    def __init__(self, job: Job) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        on_gpu = torch.cuda.is_available()
        self._model = AutoModelForCausalLM.from_pretrained(
            str(job.model), dtype=torch.bfloat16 if on_gpu else torch.float32
        ).eval()
        if on_gpu:
            self._model = self._model.cuda()
        self._job = job
        self._seconds = 0.0
        name, vocabulary = job.settings.grammar, job.tokenizer.vocabulary
        self._syncode: SynCodeMask | None = None
        self._grammar: CompiledGrammar | None = None
        if name != "none" and job.settings.mask is Mask.SYNCODE:
            self._syncode = syncode_mask.of_model(name, job.model, vocabulary)
        elif name != "none":
            self._grammar = compile_grammar(name, vocabulary)

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        """Yields the samples of a batch when its last one finishes."""
        while requests:  # more may be added while a batch is yielded
            for _, group in itertools.groupby(requests, key=self._kind):
                for batch in _batches(group, self._job.batch):
                    yield from self._batch(batch)

    def _kind(self, request: Request) -> tuple[str, float]:
        """The key that the samples of a batch share."""
        return request.prompt.task.task_id, request.temperature

    def _batch(self, requests: list[Request]) -> Iterator[Drawn]:
        prompt, settings = requests[0].prompt, self._job.settings
        temperature = requests[0].temperature
        rows = len(requests)
        ids = torch.tensor([prompt.ids] * rows, device=self._model.device)
        masks: list[GrammarLogits | SynCodeLogits] = []
        if self._syncode is not None:
            ends = frozenset(self._job.tokenizer.vocabulary.eos)
            masks.append(SynCodeLogits(self._syncode, ends))
        if self._grammar is not None:
            budget = settings.max_tokens if settings.closing else None
            masks.append(GrammarLogits(self._grammar, prompt, rows, budget, temperature or 1.0))
        hot = temperature > 0
        seed = seed_of(settings.seed, requests[0])  # one generator draws the batch
        torch.manual_seed(seed)
        eos = list(self._job.tokenizer.vocabulary.eos)
        with torch.inference_mode():
            out = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                logits_processor=masks,
                do_sample=hot,
                temperature=temperature if hot else None,
                top_p=settings.top_p if hot else None,
                top_k=0 if hot else None,
                max_new_tokens=settings.max_tokens,
                eos_token_id=eos,
                pad_token_id=eos[0],
                **self._stop(prompt),
            )
        self._seconds += sum(m.seconds for m in masks)
        for number, (request, row) in enumerate(
            zip(requests, out[:, ids.shape[1] :].tolist(), strict=True)
        ):
            drawn = replace(self._drawn(request, row, eos), seed=seed)
            if settings.weights and masks and isinstance(masks[0], GrammarLogits):
                weight = masks[0].weight(number, len(drawn.ids))
                drawn = replace(drawn, weight=weight)
            yield drawn

    def _stop(self, prompt: Prompt) -> dict[str, Any]:
        if not prompt.stop:
            return {}
        return {
            "stop_strings": list(prompt.stop),
            "tokenizer": self._job.tokenizer.loaded,
        }

    def _drawn(self, request: Request, row: list[int], eos: list[int]) -> Drawn:
        end = next((i for i, token in enumerate(row) if token in eos), None)
        ended = end is not None
        ids = row if end is None else row[: end + 1]
        tokens = self._job.tokenizer.vocabulary.tokens
        text = b"".join(tokens[i] or b"" for i in ids).decode("utf-8", "replace")
        cuts = [text.index(s) for s in request.prompt.stop if s in text]
        if cuts:
            text = text[: min(cuts)]
        return Drawn(request, tuple(ids), text, "stop" if ended or cuts else "length")

    def mask_seconds(self) -> float:
        return self._seconds

    def close(self) -> None:
        """Frees the model's memory."""
        del self._model


def _batches(requests: Iterable[Request], size: int) -> Iterator[list[Request]]:
    source = iter(requests)
    while batch := list(itertools.islice(source, size)):
        yield batch
