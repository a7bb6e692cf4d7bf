# SPDX-License-Identifier: Apache-2.0
"""Where a completion of Python is stopped: at a comment at the margin, if it is whole there."""

from __future__ import annotations

import random

import numpy as np
import pytest
from gars_vllm.engine.masking.constraints import Constraint, RequestParameters
from gars_vllm.engine.tasks.programs import Mode, matcher, read
from gars_vllm.grammar import CompiledGrammar, Matcher, Vocabulary, compile_grammar

PREFIX = 'def f(x):\n    """Text."""\n'
EOS = 256


@pytest.fixture(scope="module")
def grammar() -> CompiledGrammar:
    """Over single bytes and some longer tokens, as a tokenizer has them."""
    longer = [b"\n\n", b"\n\n#", b"\n#", b"# Te", b"\n    ", b'"""', b"\n\n\n", b"return"]
    return compile_grammar(
        "python", Vocabulary.from_tokens([bytes([b]) for b in range(256)] + [None, *longer], [EOS])
    )


def cut(grammar: CompiledGrammar, text: str, rng: random.Random) -> list[int]:
    """Tokens of a text, any that fit."""
    data, tokens, at = text.encode(), [], 0
    every = grammar.vocabulary.tokens
    while at < len(data):
        fits = [i for i, t in enumerate(every) if t and data.startswith(t, at)]
        tokens.append(rng.choice(fits))
        at += len(every[tokens[-1]] or b"")
    return tokens


def stopped_after(
    grammar: CompiledGrammar, text: str, mode: Mode = Mode.COMPLETION, seed: int = 0
) -> str | None:
    """The text read when the constraint is stopped, None when it never is."""
    one = Constraint(RequestParameters("python", PREFIX, mode), matcher(grammar, PREFIX, mode))
    done = b""
    for token in cut(grammar, text, random.Random(seed)):
        one.feed([token])
        assert one.unconstrained_at is None
        done += grammar.vocabulary.tokens[token] or b""
        twin = one.fork()
        assert (twin.stopped, twin.has_ended) == (one.stopped, one.has_ended)
        if one.stopped:
            assert one.has_ended
            return done.decode()
    return None


WHOLE = [
    "    return x\n# Test cases\nprint(f(1))\n",
    "    return x\n\n\n# Test\n",
    "    if x:\n        return 1\n#\n",
    "    s = '''\n'''\n    return s\n# end\n",
]
NOT = [
    "    return x\n",
    "    return x  # one\n\n",
    "    # deeper\n    return x\n\n  # not at the margin\n    y = 1\n",
    "    s = '''\n# text\n'''\n    return s\n",
    "    return [\n# in brackets\n1]\n",
    "    if x:\n# not whole\n        return 1\n",
    "    try:\n        x\n# not whole\n    except E:\n        pass\n",
    "# the first line, before anything was drawn\n    return x\n",
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("text", WHOLE)
def test_a_comment_at_the_margin_stops_a_whole_completion(
    grammar: CompiledGrammar, text: str, seed: int
) -> None:
    found = stopped_after(grammar, text, seed=seed)
    assert found is not None
    assert "#" in found
    head, _, comment = found.rpartition("\n#")
    assert text.startswith(head)
    assert comment in ("", " Te")  # within the token that begins it
    kept = read(grammar, PREFIX, Mode.COMPLETION, found.encode())
    assert (kept.text, kept.whole) == (head + "\n", True)
    compile(PREFIX + kept.text, "kept", "exec")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("text", NOT)
def test_other_comments_do_not(grammar: CompiledGrammar, text: str, seed: int) -> None:
    assert stopped_after(grammar, text, seed=seed) is None


def test_only_completions_are_stopped(grammar: CompiledGrammar) -> None:
    assert all(stopped_after(grammar, text, Mode.TEXT) is None for text in WHOLE)
    kept = read(grammar, PREFIX, Mode.TEXT, b"    return x\n# Test")
    assert kept.text == "    return x\n# Test"


def test_the_mask_itself_allows_more(grammar: CompiledGrammar) -> None:
    """What follows such a comment may belong to the function: the grammar does not refuse it."""
    reader = matcher(grammar, PREFIX, Mode.COMPLETION)
    reader.advance_text("    x += 1\n# more\n    return x\n")
    assert reader.can_stop()


def test_what_was_read_says_where_it_stands(grammar: CompiledGrammar) -> None:
    """All tokens at once, as after a preemption, or one by one."""
    tokens = cut(grammar, WHOLE[0][:14], random.Random(1))
    asked = RequestParameters("python", PREFIX, Mode.COMPLETION)
    one, other = (Constraint(asked, matcher(grammar, PREFIX, asked.mode)) for _ in range(2))
    one.feed(tokens)
    for token in tokens:
        other.feed([token])
    assert one.stopped
    assert other.stopped
    one.feed([EOS])
    assert one.matcher is not None
    assert one.matcher.ended


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cut_off", [1, 4, 5, 13])
def test_a_healed_prompt(grammar: CompiledGrammar, cut_off: int, seed: int) -> None:
    """Of a prompt that was cut short the rest must be drawn first, in any tokens, of which the last
    may go on after it; then the mask is the grammar's alone."""
    torch = pytest.importorskip("torch")
    from gars_vllm.engine.masking.batch import Batch
    from gars_vllm.engine.masking.masker import Masker

    rng = random.Random(seed)
    before, to_heal = PREFIX[:-cut_off], PREFIX[-cut_off:].encode()
    asked = RequestParameters("python", before, Mode.TEXT, heal=to_heal.decode())
    rows = [Constraint(asked, matcher(grammar, before, asked.mode)) for _ in range(6)]
    plain = [matcher(grammar, before, asked.mode) for _ in rows]
    batch, places = Batch.of(rows)
    masker = Masker(len(grammar.vocabulary), torch.device("cpu"))
    masker.set_ends(grammar.vocabulary.eos)
    texts = [b""] * len(rows)
    healed = 0
    while healed < 3:
        logits = torch.zeros(len(rows), len(grammar.vocabulary))
        masker.begin()
        masker.apply_batch(logits, batch, places)
        tokens = []
        for row, text in enumerate(texts):
            allowed = set(torch.isfinite(logits[row]).nonzero().flatten().tolist())
            free = _allowed(plain[row])
            left = to_heal[len(text) :]
            every = grammar.vocabulary.tokens
            wanted = {
                i for i in free if (t := every[i]) and (t.startswith(left) or left.startswith(t))
            }
            assert allowed == (wanted if left else free)
            one = batch.constraint(int(places[row]))
            assert all(one.allows(i) == (i in allowed) for i in rng.sample(range(EOS), 20))
            tokens.append(rng.choice(sorted(allowed - {EOS})))
            plain[row].advance(tokens[-1])
        batch.feed(places, np.array(tokens))
        texts = [
            t + (grammar.vocabulary.tokens[i] or b"") for t, i in zip(texts, tokens, strict=True)
        ]
        healed += all(len(text) >= len(to_heal) for text in texts)
    assert all(text.startswith(to_heal) for text in texts)
    assert all(batch.constraint(int(p)).unconstrained_at is None for p in places)


def test_what_cannot_be_healed_is_left_to_the_grammar(grammar: CompiledGrammar) -> None:
    """A budget of one token is no room for a list."""
    torch = pytest.importorskip("torch")
    from gars_vllm.engine.masking.masker import Masker

    asked = RequestParameters("json", "", budget=1, heal="[")
    json = compile_grammar("json", grammar.vocabulary)
    one = Constraint(asked, matcher(json, "", asked.mode))
    masker = Masker(len(grammar.vocabulary), torch.device("cpu"))
    logits = torch.zeros(1, len(grammar.vocabulary))
    masker.begin()
    masker.apply(logits, [one])
    assert set(torch.isfinite(logits[0]).nonzero().flatten().tolist()) == set(b"0123456789")
    one.feed([ord("1")])
    assert one.to_heal == b""


def _allowed(reader: Matcher) -> set[int]:
    row = reader.mask()
    return {i for i in range(len(reader.grammar.vocabulary)) if row[i >> 5] >> (i & 31) & 1}


def test_nothing_but_the_end_may_follow(grammar: CompiledGrammar) -> None:
    """The row of a stopped request allows EOS alone, and takes nothing from its weight."""
    torch = pytest.importorskip("torch")
    from gars_vllm.engine.masking.masker import Masker
    from gars_vllm.engine.masking.weights import Weights

    weights = Weights(capacity=2)
    masker = Masker(len(grammar.vocabulary), torch.device("cpu"), weights)
    masker.set_ends(grammar.vocabulary.eos)
    asked = RequestParameters("python", PREFIX, Mode.COMPLETION, key=0)
    one = Constraint(asked, matcher(grammar, PREFIX, Mode.COMPLETION))
    found, taken = [], []
    for token in [*b"    return x\n#", EOS]:
        logits = torch.zeros(1, len(grammar.vocabulary))
        masker.begin()
        masker.apply(logits, [one])
        found.append(torch.isfinite(logits[0]).nonzero().flatten().tolist())
        one.feed([token])
        weight = weights.read(0, one.read)
        assert weight is not None
        taken.append(weight.log_z)
    assert found[-1] == [EOS]
    assert len(found[-2]) > 1
    assert taken[-1] == taken[-2] < taken[-3] < 0
