# SPDX-License-Identifier: Apache-2.0
"""What a request says in keys of ours, and what it may not say."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from gars_vllm.engine.masking.constraints import Mask, RequestParameters
from gars_vllm.engine.masking.request_args import check_body, check_keys
from gars_vllm.engine.tasks.programs import Mode


def asked(**args: Any) -> RequestParameters | None:
    return RequestParameters.of(SimpleNamespace(extra_args=args, max_tokens=9, temperature=1.0))


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("grammer", "grammar"), ("gramar", "grammar"), ("Grammar", "grammar"),
        ("grammar ", "grammar"), ("grammar-prefix", "grammar_prefix"),
        ("gramar_prefix", "grammar_prefix"), ("grammarmode", "grammar_mode"),
        ("grammar_close", "grammar_closing"), ("GRAMMAR_KEY", "grammar_key"),
    ],
)  # fmt: skip
def test_a_key_that_is_nearly_ours(key: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"^{key} is no key of ours; did you mean {near}\?$"):
        asked(**{key: "python"})


def test_a_key_with_our_beginning_is_ours() -> None:
    with pytest.raises(ValueError, match=r"^grammar_backend is no key of ours; they are grammar, "):
        asked(grammar="python", grammar_backend="x")


@pytest.mark.parametrize(
    "key",
    ["kv_transfer_params", "session_id", "program", "gram", "draw", "prefix", "mode", "drawing",
     "parameter", "closing", "ngram_size", "telegram", "key", "hologram"],
)  # fmt: skip
def test_other_plug_ins_keys_are_left_alone(key: str) -> None:
    check_keys([key, 3, None])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("grammar", 3, "grammar is a text: got 3"),
        ("grammar", ["python"], r"grammar is a text: got \['python'\]"),
        ("grammar_heal", 3, "grammar_heal is a text: got 3"),
        ("grammar_prefix", 3, "grammar_prefix is a text: got 3"),
        ("grammar_prefix", ["x" * 99], r"grammar_prefix is a text: got \['x+\.\.\."),
        ("grammar_closing", "maybe", r"grammar_closing is true or false \(1 or 0\): got 'maybe'"),
        ("grammar_closing", 2, "got 2"), ("grammar_closing", [], r"got \[\]"),
        ("grammar_mode", "fences", "one of completion, fence, text: got 'fences'; .* mean fence"),
        ("grammar_mode", 7, "grammar_mode is one of completion, fence, text: got 7$"),
        ("grammar_mask", "xgrammar", "grammar_mask is one of gars, syncode: got 'xgrammar'$"),
        ("grammar_key", "k", r"grammar_key is a number from 0 to 2\*\*62 - 1: got 'k'"),
        ("grammar_key", -1, "got -1"), ("grammar_key", 1.5, r"got 1\.5"),
        ("grammar_key", 1 << 62, "got 4611"), ("grammar_key", True, "got True"),
    ],
)  # fmt: skip
def test_wrong_values(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        asked(**({"grammar": "python"} | {key: value}))
    assert str(caught.value).startswith(key)
    assert "\n" not in str(caught.value)


def test_what_may_be_said() -> None:
    assert asked() is None
    assert asked(grammar="none") is None
    assert asked(grammar=None, other=1) is None
    found = asked(grammar="json", grammar_prefix="[", grammar_mode="fence", grammar_key="7")
    assert found is not None
    assert (found.prefix, found.mode, found.key, found.mask) == ("[", Mode.FENCE, 7, Mask.GARS)
    for value, wanted in [(None, True), (1, True), (1.0, True), ("TRUE", True), ("yes", True),
                          (False, False), (0, False), ("0", False), ("False", False)]:  # fmt: skip
        said = asked(grammar="json", grammar_closing=value)
        assert said is not None
        assert said.closing is wanted


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"grammar": "python"}, "grammar belongs into vllm_xargs"),
        ({"grammar_mode": "fence"}, "grammar_mode belongs into vllm_xargs"),
        ({"grammer": "python"}, "grammer is no key of ours; did you mean grammar"),
        ({"vllm_args": {"grammar": "python"}}, "vllm_args is not read here; did you mean vllm_x"),
        ({"extra_body": {"grammar": "python"}}, "extra_body is not read here"),
        ({"guided_json": {}, "vllm_xargs": {"grammar": "json"}}, "grammar and guided_json"),
    ],
)  # fmt: skip
def test_a_request_that_asks_in_the_wrong_place(body: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_body(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"vllm_xargs": {"grammar": "python"}}, {"guided_json": {}}, [], 3, {"vllm_xargs": 3},
        {"structured_outputs": {"grammar": "root ::= 1"}}, {"metadata": {"grammar": "x"}},
        {"extra_args": {"x": 1}}, {"model": "m", "prompt": "grammar"},
    ],
)  # fmt: skip
def test_others_are_vllms(body: Any) -> None:
    check_body(json.dumps(body).encode())
    check_body(b"{no json")
