# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.inspection import walks
from gars_vllm.engine.inspection.walks import GrammarWalker, Weights
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.grammar import compile_grammar
from numpy.typing import NDArray


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return Encoder.of(tiny_model)


def walk(
    encoder: Encoder, walker: walks.Walker, kind: Weights, language: str, **more: int
) -> walks.Report:
    asked = {"walks": 60, "max_tokens": 40, "seed": 3} | more
    weights = walks.weights_of(kind, encoder.vocabulary, encoder)
    return walks.walk(walker, encoder.vocabulary, weights, language, **asked)


@pytest.mark.parametrize("kind", list(Weights))
@pytest.mark.parametrize("language", ["python", "json"])
def test_our_walks_finish_and_are_valid(encoder: Encoder, kind: Weights, language: str) -> None:
    compiled = compile_grammar(language, encoder.vocabulary)
    report = walk(encoder, GrammarWalker(compiled), kind, language)
    assert (report.walks, report.finished, report.stuck) == (60, 60, 0)
    assert report.valid >= 59  # a rule about names may break one
    assert len(report.invalid) == 60 - report.valid
    again = walk(encoder, GrammarWalker(compiled), kind, language)
    assert again == report


def test_without_the_closing_few_finish(encoder: Encoder) -> None:
    compiled = compile_grammar("json", encoder.vocabulary)
    report = walk(encoder, GrammarWalker(compiled, closing=False), Weights.UNIFORM, "json")
    assert report.finished < 60
    assert report.valid == report.finished


# The second has a conflict that Lark's LALR parser refuses.
@pytest.mark.parametrize(
    "rules", ['start: NAME ("," NAME)*', "start: a | b\na: NAME\nb: NAME"]
)  # fmt: skip
def test_walks_of_a_lark_file_are_judged_by_lark(
    encoder: Encoder, tmp_path: Path, rules: str
) -> None:
    file = str(tmp_path / "names.lark")
    Path(file).write_text(rules + '\nNAME: /[a-z]+/\n%ignore " "\n')
    walks.check_language(file)
    compiled = compile_grammar(file, encoder.vocabulary)
    report = walk(encoder, GrammarWalker(compiled), Weights.UNIFORM, file)
    assert (report.finished, report.valid) == (60, 60)
    report = walk(encoder, Everything(500), Weights.UNIFORM, file)
    assert report.valid < 10
    assert "\n" not in report.invalid[0].message


class Everything:
    """A mask that allows all tokens, or none."""

    def __init__(self, size: int, nothing: bool = False) -> None:
        self._ids = np.arange(0 if nothing else size, dtype=np.int64)

    def begin(self, prefix: str) -> None:
        pass

    def allowed(self, remaining: int) -> Callable[[], NDArray[np.int64]]:
        return lambda: self._ids

    def is_allowed(self, token: int, remaining: int) -> bool:
        return bool(len(self._ids))

    def advance(self, token: int) -> None:
        pass

    def can_stop(self) -> bool:
        return True


def test_a_mask_that_allows_too_much_is_found_out(encoder: Encoder) -> None:
    report = walk(encoder, Everything(500), Weights.UNIFORM, "python")
    assert report.finished == 60
    assert report.valid < 10
    assert report.invalid[0].message
    compile("x", "s", "exec")
    with pytest.raises((SyntaxError, ValueError)):
        compile(report.invalid[0].text, "s", "exec")


def test_a_mask_that_allows_nothing_is_stuck(encoder: Encoder) -> None:
    report = walk(encoder, Everything(500, nothing=True), Weights.UNIFORM, "python")
    assert (report.stuck, report.finished, report.tokens) == (60, 0, 0)


def test_weights(encoder: Encoder) -> None:
    vocabulary = encoder.vocabulary
    uniform, trie, corpus = (walks.weights_of(k, vocabulary, encoder) for k in Weights)
    special = [i for i, t in enumerate(vocabulary.tokens) if t is None and i not in vocabulary.eos]
    assert not uniform[special].any()
    assert not trie[special].any()
    assert set(uniform[[i for i, t in enumerate(vocabulary.tokens) if t]]) == {1.0}
    real = [i for i, t in enumerate(vocabulary.tokens) if t]
    assert abs(trie[real].sum() - 1) < 1e-9  # a distribution over the tokens
    ids = encoder.encode("import import import")
    assert corpus[ids[0]] > 100


def test_bad_input(encoder: Encoder) -> None:
    with pytest.raises(UserError, match="walks and max-tokens"):
        walk(encoder, Everything(5), Weights.UNIFORM, "json", walks=0)
    with pytest.raises(UserError, match=r"Lark cannot read it: .*No such file"):
        walks.check_language("my.lark")
    with pytest.raises(UserError, match="cobol has no oracle"):
        walks.check_language("cobol")
    with pytest.raises(UserError, match="does not fit"):
        walks.check_prefix(compile_grammar("json", encoder.vocabulary), "{]")


def test_kinds_of_messages() -> None:
    assert walks.kind_of("name 'x' is used (line 3)") == "name ... is used ..."
