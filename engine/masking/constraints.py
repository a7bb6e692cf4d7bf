# SPDX-License-Identifier: Apache-2.0
"""A request's grammar parameters and the state of its text, independent of the engine.

Parameters in `extra_args` (over HTTP `vllm_xargs`), all but the first optional:

- `grammar`: "python", "python3.12", "json" ...; a .lark file only if GARS_GRAMMAR_FILES names it
  or is 1, since a server would open any file that a client names.
- `grammar_prefix`: text that the grammar reads before the first generated token.
- `grammar_heal`: what the generated text must begin with, for a prompt whose last token was
  removed; tokens that continue past it are allowed.
- `grammar_mode`: "completion" | "fence" | "text" (programs.Mode); default text.
- `grammar_closing`: false turns budget completion off.
- `grammar_key`: a number under which the sample's weight is stored (weights.py).
- `grammar_mask`: "syncode" uses SynCode's mask instead, for comparisons.

Misspelt keys and wrong values are refused (request_args.py).
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gars_vllm.engine.masking.names import FILES_ALLOWED, PROCESSOR
from gars_vllm.engine.masking.request_args import (
    KEYS,
    NAME,
    check_keys,
    choice,
    number,
    switch,
    text,
)
from gars_vllm.engine.tasks.programs import Mode, language_of, matcher, of_bytes
from gars_vllm.grammar import GrammarError, Vocabulary

if TYPE_CHECKING:
    from gars_vllm.grammar import CompiledGrammar, Matcher

logger = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()


class Mask(StrEnum):
    """Which mask is applied: ours, or SynCode's for comparisons."""

    GARS = "gars"
    SYNCODE = "syncode"


@dataclass(frozen=True)
class RequestParameters:
    """See the module. `key`: None if no weight is wanted. `temperature`: the request's own;
    `budget`: its maximum number of tokens. `has_other_rules`: the request also forbids tokens by
    min_tokens, bad_words, allowed_token_ids or logit_bias, so that nothing may remain allowed.
    `own_sampler`: our own sampler draws the tokens (vllm/cpu_sampler.py)."""

    grammar: str
    prefix: str = ""
    mode: Mode = Mode.TEXT
    closing: bool = True
    mask: Mask = Mask.GARS
    key: int | None = None
    temperature: float = 1.0
    budget: int | None = None
    has_other_rules: bool = False
    own_sampler: bool = False
    heal: str = ""

    @classmethod
    def of(cls, params: Any, room: int | None = None) -> RequestParameters | None:
        """Reads vLLM's SamplingParams; None if no grammar is requested.

        `room`: tokens left in the model's context. Raises ValueError with a one-line message.
        """
        args = params.extra_args or {}
        check_keys(args)
        name = text(args, NAME)
        if not name or name == "none":
            stray = sorted(key for key in args if key != NAME and key in KEYS)
            if stray:
                raise ValueError(f"{stray[0]} without grammar: name one, say grammar=python")
            return None
        if getattr(params, "structured_outputs", None) is not None:
            raise ValueError(
                f"grammar={name} and structured_outputs (response_format): a text cannot keep to "
                "both; leave one of them away"
            )
        limits = [n for n in (params.max_tokens, room) if n is not None]
        draw = drawing(args)
        temperature = draw[0] if draw else float(params.temperature)
        return cls(
            name,
            text(args, "grammar_prefix"),
            choice(args, "grammar_mode", Mode.TEXT),
            switch(args, "grammar_closing", True),
            choice(args, "grammar_mask", Mask.GARS),
            number(args, "grammar_key", 1 << 62),
            temperature if temperature > 0 else 1.0,
            min(limits, default=None),
            bool(
                getattr(params, "min_tokens", 0)
                or getattr(params, "bad_words", None)
                or getattr(params, "allowed_token_ids", None)
                or getattr(params, "logit_bias", None)
            ),
            draw is not None,
            text(args, "grammar_heal"),
        )

    def limit(self, otherwise: int) -> int:
        """Tokens within which the text must be complete; `otherwise` if there is no such limit."""
        return self.budget if self.budget is not None and self.closing else otherwise


def drawing(args: Mapping[str, Any]) -> tuple[float, float] | None:
    """The temperature and top_p that a request gives to our own sampler (vllm/cpu_sampler.py),
    or None.

    Raises ValueError with a one-line message.
    """
    value = args.get("draw")
    if value is None:
        return None
    try:
        temperature, top_p = (float(number) for number in value)
    except (ValueError, TypeError):
        temperature = top_p = 0.0
    if not 0 < temperature < 1000 or not 0 < top_p <= 1:
        raise ValueError(f"draw is {value!r}; it is [temperature above 0, top_p from 0 to 1]")
    return temperature, top_p


def validate(params: Any) -> None:
    """Refuses invalid requests in the front end. Raises ValueError with a one-line message."""
    parameters = RequestParameters.of(params)
    if parameters is not None:
        check(parameters.grammar, parameters.prefix, parameters.mode, parameters.heal)


def _is_served(file: str) -> bool:
    """Whether FILES_ALLOWED permits a file: it is "1", or a list of files as in PATH."""
    allowed = os.environ.get(FILES_ALLOWED, "")
    files = {Path(name).resolve() for name in allowed.split(os.pathsep) if name}
    return allowed == "1" or Path(file).resolve() in files


@functools.lru_cache(1024)
def check(name: str, prefix: str, mode: Mode, heal: str = "") -> None:
    """Raises ValueError with a one-line message if a grammar or a prefix cannot be served."""
    if Path(name).suffix == ".lark" and not _is_served(name):
        raise ValueError(
            f"{name}: this vLLM takes no grammar from that file; start it with {FILES_ALLOWED}=1 "
            "(any file), or `gars-vllm serve --grammar FILE`"
        )
    try:
        with _one_at_a_time:  # front ends may check requests in several threads
            reader = matcher(of_bytes(name), prefix, mode)
    except GrammarError as error:
        raise ValueError(f"grammar_prefix does not fit {name}: {error}") from None
    try:
        reader.advance_text(heal)
    except GrammarError as error:
        raise ValueError(f"grammar_heal does not fit {name} after the prefix: {error}") from None


def begins_with(added: bytes, to_heal: bytes) -> bool:
    """A token with these bytes can begin a text that must begin with `to_heal`."""
    return bool(added) and (added.startswith(to_heal) or to_heal.startswith(added))


class Constraint:
    """A request with a grammar. `read`: number of its tokens read so far; `to_heal`: the rest of
    RequestParameters.heal.

    `matcher` is None once the request is unconstrained. `refused`: only EOS is allowed.
    `stopped`: also, for a completion that has begun a comment at the margin and is a whole
    program. The grammar would allow more of the function, but what follows is nearly always
    something else; unconstrained completions are stopped there, too (prompts.py).
    """

    __slots__ = (
        "_begins", "_comment", "is_reported", "matcher", "parameters", "read", "refused", "stopped",
        "to_heal", "unconstrained_at",
    )  # fmt: skip

    def __init__(
        self, parameters: RequestParameters, matcher: Matcher | None, refused: bool = False
    ) -> None:
        self.parameters, self.matcher, self.refused = parameters, matcher, refused
        self.read = 0
        self.to_heal = parameters.heal.encode() if matcher is not None else b""
        self.unconstrained_at = 0 if matcher is None and not refused else None
        self.is_reported = False  # `unconstrained_at` was written to its weight
        self.stopped = False
        stops = matcher is not None and parameters.mode is Mode.COMPLETION
        self._comment = language_of(parameters.grammar).comment.encode() if stops else b""
        self._begins = b" "  # the first byte of the current line, b"" at its start

    @property
    def remaining(self) -> int | None:
        """Tokens left in the budget; None without budget completion."""
        limit = self.parameters.limit(-1)
        return None if limit < 0 else limit - self.read

    @property
    def has_ended(self) -> bool:
        """The program has ended, so that only EOS may follow."""
        return self.matcher is not None and (self.stopped or self.matcher.is_done())

    @property
    def stops(self) -> bool:
        """A comment at the margin stops this text."""
        return bool(self._comment) and not self.stopped

    @property
    def at_margin(self) -> bool:
        """The next byte begins a line."""
        return not self._begins

    def catch_up(self, state: int, read: int) -> None:
        """Advances to a state of the matcher after `read` tokens in all; none of the new ones
        needed to be examined here (batch.py)."""
        if read != self.read and self.matcher is not None:
            self.read = read
            self.matcher.follow(state)

    def allows(self, token: int) -> bool:
        """The token may follow; without a grammar any token may."""
        if self.matcher is None:
            return not self.refused and token >= 0
        if self.to_heal and not begins_with(self._text(token), self.to_heal):
            return False
        try:
            self.matcher.fork().advance(token)
        except GrammarError:
            return False
        return True

    def fork(self) -> Constraint:
        """An independent copy, for tokens that may be rolled back."""
        twin = Constraint(self.parameters, self.matcher and self.matcher.fork(), self.refused)
        twin.read, twin.unconstrained_at, twin.to_heal = (
            self.read,
            self.unconstrained_at,
            self.to_heal,
        )
        twin.stopped, twin._begins = self.stopped, self._begins
        return twin

    def feed(self, tokens: Sequence[int]) -> None:
        """Reads the request's new tokens.

        A forbidden token makes the request unconstrained and logs one line.
        """
        for token in tokens:
            self.read += 1
            if self.matcher is None or self.matcher.ended:
                continue
            if token < 0:
                # vLLM puts -1 for tokens that it has not fetched yet, and replaces them only for
                # processors loaded by name: here the text stays unknown.
                logger.error(
                    "a request is ended: its tokens are hidden from the grammar under asynchronous "
                    "scheduling; start vLLM with --logits-processors %s",
                    PROCESSOR,
                )
                self.matcher, self.refused = None, True
                continue
            try:
                self.matcher.advance(token)
            except GrammarError as error:
                logger.warning("a request is no longer constrained by its grammar: %s", error)
                self.matcher, self.unconstrained_at = None, self.read - 1
            else:
                if self.to_heal:
                    added = self._text(token)
                    self.to_heal = (
                        self.to_heal[len(added) :] if begins_with(added, self.to_heal) else b""
                    )
                if self.stops:
                    self._check_stop(self.matcher, token)

    def _text(self, token: int) -> bytes:
        assert self.matcher is not None
        return self.matcher.grammar.vocabulary.tokens[token] or b""

    def _check_stop(self, matcher: Matcher, token: int) -> None:
        """Whether the token begins a comment at the margin while the program is whole (inside
        strings or brackets it is not)."""
        added = matcher.grammar.vocabulary.tokens[token] or b""
        _, newline, last = added.rpartition(b"\n")
        if newline:
            self._begins = b""
        if not self._begins and last:
            self._begins = last[:1]
            self.stopped = self._begins == self._comment[:1] and matcher.can_stop()


class Grammars:
    """The compiled grammars of one model, compiled on first use."""

    def __init__(self, tokenizer: str, size: int) -> None:
        """`tokenizer`: a folder or a hub id; `size`: width of the logits."""
        self._tokenizer, self._size = tokenizer, size
        self._compiled: dict[str, CompiledGrammar] = {}

    @functools.cached_property
    def folder(self) -> Path:
        """The folder with the tokenizer's files."""
        folder = Path(self._tokenizer)
        if folder.is_dir():
            return folder
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(self._tokenizer, allow_patterns=["*token*", "*.json"]))

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.from_tokenizer(self.folder, self._size)

    def ends(self, config: Any = None) -> tuple[int, ...]:
        """Ids that end a text: from the vocabulary, or from the model's `config`."""
        try:
            return self.vocabulary.eos
        except (ValueError, OSError):
            named = getattr(config, "eos_token_id", None)
            return (named,) if isinstance(named, int) else tuple(named or ())

    def compiled(self, name: str) -> CompiledGrammar:
        """Raises ValueError if the grammar or the tokenizer cannot be used."""
        if name not in self._compiled:
            from gars_vllm.grammar import compile_grammar

            self._compiled[name] = compile_grammar(name, self.vocabulary)
        return self._compiled[name]

    def constraint(self, parameters: RequestParameters) -> Constraint:
        """A request's initial constraint. Errors are logged and end the request, not the engine."""
        try:
            grammar = self.compiled(parameters.grammar)
        except (ValueError, OSError) as error:
            logger.error("a request is ended, its grammar cannot be made: %s", error)
            return Constraint(parameters, None, refused=True)
        try:
            return Constraint(parameters, matcher(grammar, parameters.prefix, parameters.mode))
        except GrammarError as error:
            logger.warning("a request goes on without its grammar: %s", error)
            return Constraint(parameters, None)

    def row_counts(self) -> dict[str, int]:
        """The number of distinct masks so far, by grammar."""
        return {name: grammar.row_count for name, grammar in self._compiled.items()}
