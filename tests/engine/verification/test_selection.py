# SPDX-License-Identifier: Apache-2.0
"""Selectors on candidates made by hand, and on a small run in a real sandbox."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.analysis.summary import pass_at_k, summarise_records
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.sandbox import tiers
from gars_vllm.engine.tasks.programs import meaning
from gars_vllm.engine.tasks.tasks import Task, load_prompts
from gars_vllm.engine.verification import examples, selection
from gars_vllm.engine.verification.human_eval_files import verify_file
from gars_vllm.engine.verification.selection import ORACLE, SELECTORS, Behaviour, Candidate, best_of
from gars_vllm.engine.verification.verification import Checking, verify
from hypothesis import given, settings
from hypothesis import strategies as st

# Candidates made by hand


def candidate(index: int = 0, behaviour: str | None = "a", agreeing: int = 1, right: float | None = None, logprob: float | None = None) -> Candidate:  # fmt: skip
    return Candidate(index, "", behaviour, agreeing, right, logprob)


candidates = st.lists(
    st.builds(
        candidate,
        index=st.integers(0, 99),
        agreeing=st.integers(0, 3),
        right=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
        logprob=st.none() | st.sampled_from([-2.0, -1.0, -0.1]),
    ),
    min_size=1,
    max_size=8,
)
KEYS: dict[str, Callable[[Candidate], list[float]]] = {
    "random": lambda c: [],
    "agreement": lambda c: [c.agreeing],
    "examples": lambda c: [c.examples if c.examples is not None else 0],
    "logprob": lambda c: [c.logprob if c.logprob is not None else -1e9],
}
KEYS["combined"] = lambda c: KEYS["examples"](c) + KEYS["agreement"](c) + KEYS["logprob"](c)


@given(candidates)
def test_the_best_are_all_that_no_other_is_above(found: list[Candidate]) -> None:
    assert KEYS.keys() == SELECTORS.keys()
    for name, score in SELECTORS.items():
        best = best_of(found, score)
        key = KEYS[name]
        assert best == [c for c in found if all(key(c) >= key(other) for other in found)], name


def test_ties_have_equal_shares() -> None:
    found = [candidate(0, agreeing=2), candidate(1, agreeing=1), candidate(2, agreeing=2)]
    assert [c.index for c in best_of(found, SELECTORS["agreement"])] == [0, 2]
    assert best_of(found, SELECTORS["random"]) == found
    assert best_of(found, SELECTORS["examples"]) == found
    assert best_of(found, SELECTORS["logprob"]) == found


def test_combined_asks_the_examples_first_and_the_model_last() -> None:
    found = [
        candidate(0, agreeing=1, right=1.0, logprob=-9.0),
        candidate(1, agreeing=9, right=0.5, logprob=-0.1),
        candidate(2, agreeing=2, right=1.0, logprob=-5.0),
        candidate(3, agreeing=2, right=1.0, logprob=-4.0),
        candidate(4, agreeing=2, right=1.0),
    ]
    assert [c.index for c in best_of(found, SELECTORS["combined"])] == [3]
    assert [c.index for c in best_of(found[:3], SELECTORS["combined"])] == [2]
    assert [c.index for c in best_of(found[:2], SELECTORS["combined"])] == [0]


outputs = st.sampled_from(
    [(), ("raises ValueError", "raises KeyError"), ("1", "raises ValueError"), ("1", "2"), ('"raises "', "2")]
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([-1.0, -0.5])), min_size=1, max_size=9), st.lists(outputs, min_size=6, max_size=6))  # fmt: skip
def test_a_program_that_fails_never_wins_against_one_that_works(
    drawn: list[tuple[str, float]], does: list[tuple[str, ...]]
) -> None:
    works = [does["abcdef".index(text)] not in does_not for text, _ in drawn]
    behaviours = {
        ("t/0", meaning(text)): Behaviour(does["abcdef".index(text)], 0.0) for text in "abcdef"
    }
    group = [
        {"task_id": "t/0", "sample_index": i, "program": text, "mean_logprob": logprob}
        for i, (text, logprob) in enumerate(drawn)
    ]
    found = selection.candidates_of(group, behaviours)
    assert [(c.index, c.program, c.logprob) for c in found] == [
        (i, text, logprob) for i, (text, logprob) in enumerate(drawn)
    ]
    sizes = Counter(does["abcdef".index(text)] for text, _ in drawn)
    for (text, _), one, good in zip(drawn, found, works, strict=True):
        assert one.agreeing == (sizes[does["abcdef".index(text)]] if good else 0)
        assert (one.behaviour is not None) == good
    for name in ("agreement", "combined"):
        best = best_of(found, SELECTORS[name])
        assert all(works[c.index] for c in best) or not any(works)


does_not = ((), ("raises ValueError", "raises KeyError"))


def test_behaviours_have_different_names() -> None:
    every = [("1",), ("2",), ("1", "2"), ("2", "1"), ("12",), ("raises ValueError", "1")]
    assert len({Behaviour(found, None).name for found in every}) == len(every)
    assert Behaviour(("1",), None).name == Behaviour(("1",), 1.0).name


# A run in a sandbox


def prompt(name: str, head: str, test: str | None) -> dict[str, Any]:
    check = None if test is None else f"def check(candidate):\n    assert {test}\n"
    return {"task_id": f"t/{name}", "prompt": head, "entry_point": name, "test": check}


PROMPTS = [
    prompt("mul", "def mul(a: int, b: int) -> int:\n", "candidate(3, 4) == 12"),
    prompt("cube", "def cube(n):\n    # cube(2) == 8, and cube(3) returns 27.\n", "candidate(5) == 125"),
    prompt("same", "def same(a):\n", "candidate('x') == 'x'"),
    prompt("slow", "def slow(n):\n    # slow(2) == 3\n", "candidate(2) == 3"),
    prompt("free", "def free(n):\n", None),
]  # fmt: skip
FOREVER = "    while n != 2:\n        pass\n    return 3\n"
BODIES = {
    "mul": ["    return a + b\n", "    return a * b\n", "    return b * a\n", "    return a + b + 0 * 1\n", "    return  a*b  # so\n", "    raise ValueError\n"],
    "cube": ["    return n * n\n", "    return n ** 2\n", "    return n ** 3\n", "    return n * n + 0\n", "    return (\n"],
    "same": ["    return (\n"] * 3 + ["    return not a\n", "    return a\n", "    return  a\n"],
    "slow": ["    return n\n", FOREVER, "    return n + 0\n", "    import os\n    os._exit(0)\n"],
    "free": ["    return n\n"],
}  # fmt: skip
LOGPROBS = [-0.9, -0.3, -0.5, -0.2, -0.8, -0.7]
# What the bodies are made for: the samples that each selector prefers.
BEST = {
    "random": {"mul": [0, 1, 2, 3, 4, 5], "cube": [0, 1, 2, 3, 4], "same": [0, 1, 2, 3, 4, 5], "slow": [0, 1, 2, 3]},
    "agreement": {"mul": [1, 2, 4], "cube": [0, 1, 3], "same": [4, 5], "slow": [0, 2]},
    "examples": {"mul": [0, 1, 2, 3, 4, 5], "cube": [2], "same": [0, 1, 2, 3, 4, 5], "slow": [1]},
    "logprob": {"mul": [3], "cube": [3], "same": [3], "slow": [3]},
    "combined": {"mul": [1], "cube": [2], "same": [5], "slow": [1]},
}  # fmt: skip
RIGHT = {"mul": {1, 2, 4}, "cube": {2}, "same": {4, 5}, "slow": {1}}


def write_prompts(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def make(path: Path, logprobs: bool = True) -> RunFolder:
    prompts = write_prompts(path.with_suffix(".jsonl"), PROMPTS)
    with RunFolder(path) as run:
        ids = [record["task_id"] for record in PROMPTS]
        run.create_or_resume({"tasks": str(prompts), "task_ids": ids, "n": 6})
        run.samples.open()
        for record in PROMPTS:
            for index, body in enumerate(BODIES[record["entry_point"]]):
                sample = {"task_id": record["task_id"], "sample_index": index, "completion": body, "program": record["prompt"] + body}  # fmt: skip
                run.samples.append(sample | ({"mean_logprob": LOGPROBS[index]} if logprobs else {}))
    return RunFolder(path)


@dataclass(frozen=True)
class Done:
    run: RunFolder
    found: selection.Selection
    behaviours: selection.Behaviours
    progress: list[tuple[int, int]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, checking: Checking) -> Done:
    """A verified run with one more sample that has no verdict, and what is chosen of it."""
    run = make(tmp_path_factory.mktemp("run") / "run")
    verify(run, checking)
    with run.samples as samples:
        samples.append({"task_id": "t/cube", "sample_index": 5, "completion": "    return 8\n", "program": "def cube(n):\n    return 8\n"})  # fmt: skip
    kept: selection.Behaviours = {}
    progress: list[tuple[int, int]] = []
    observe = selection.observe

    def keeping(*arguments: Any) -> selection.Behaviours:
        kept.update(observe(*arguments))
        return kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "observe", keeping)
        found = selection.select(run, checking, progress=lambda *numbers: progress.append(numbers))
    return Done(run, found, kept, progress)


def test_each_selector_prefers_what_it_should(done: Done) -> None:
    assert done.found.chosen == {
        name: {f"t/{task}": best[0] for task, best in tasks.items()} for name, tasks in BEST.items()
    }
    assert [a.selector for a in done.found.accuracies] == [*SELECTORS, ORACLE]
    for accuracy in done.found.accuracies[:-1]:
        shares = {
            f"t/{task}": sum(index in RIGHT[task] for index in best) / len(best)
            for task, best in BEST[accuracy.selector].items()
        }
        assert accuracy.per_problem == pytest.approx(shares)
        assert accuracy.accuracy == pytest.approx(sum(shares.values()) / 4)
        assert accuracy.problems == 4
        assert accuracy.interval is not None
        assert accuracy.interval.low <= accuracy.accuracy <= accuracy.interval.high
    assert done.found.blind == ("t/same",)
    assert done.found.logprobs
    json.dumps(done.found.to_json(), allow_nan=False)


def test_random_is_the_pass_rate_and_the_oracle_is_coverage(done: Done) -> None:
    by_name = {a.selector: a for a in done.found.accuracies}
    record = done.run.load()
    summary = summarise_records(
        "run", record["config"], record["info"], done.run.samples.read(), done.run.results.read()
    )
    assert by_name["random"].accuracy == pytest.approx(summary.pass_at[1])
    counts = [(row.verified, row.passed) for row in summary.per_problem if row.verified]
    assert by_name["random"].accuracy == pytest.approx(pass_at_k(counts, 1))
    coverage = [pass_at_k([(n, c)], n) for n, c in counts]
    assert by_name[ORACLE].accuracy == sum(c for c in coverage if c is not None) / len(coverage)
    for accuracy in done.found.accuracies:
        for task_id, value in accuracy.per_problem.items():
            assert value <= by_name[ORACLE].per_problem[task_id]


def test_a_program_that_a_made_up_input_keeps_busy_still_has_its_examples(done: Done) -> None:
    found = done.behaviours["t/slow", meaning(PROMPTS[3]["prompt"] + FOREVER)]
    assert (found.outputs, found.examples) == (("3",), 1.0)
    exits = done.behaviours["t/slow", meaning(PROMPTS[3]["prompt"] + BODIES["slow"][3])]
    assert (exits.outputs, exits.examples, exits.name) == ((), 0.0, None)


def test_programs_that_mean_the_same_run_once(done: Done) -> None:
    assert len(done.behaviours) == sum(
        len({meaning(record["prompt"] + body) for body in BODIES[record["entry_point"]]})
        for record in PROMPTS[:4]
    )
    # `same` has no inputs; two of `slow` are asked again for their examples alone
    again = 2
    run = len(done.behaviours) - 3 + again
    assert done.progress[-1] == (run, run)
    assert [seen for seen, _ in done.progress] == list(range(1, run + 1))


class Guarded(Task):
    """A task whose test and answer may not be looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("test", "canonical_solution"):
            raise AssertionError(f"{name} was looked at")
        return super().__getattribute__(name)


def test_other_tests_make_no_other_choice(done: Done, checking: Checking, tmp_path: Path) -> None:
    never = "def check(candidate):\n    assert False\n"
    other = write_prompts(
        tmp_path / "other.jsonl",
        [r | {"test": never, "canonical_solution": "    return None\n"} for r in PROMPTS],
    )
    tasks = [Guarded(**asdict(task)) for task in load_prompts(other)]
    assert selection.select(done.run, checking, tasks) == done.found


def test_other_verdicts_make_no_other_choice(done: Done, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("flipped") / "run"
    shutil.copytree(done.run.path, folder)
    run = RunFolder(folder)
    results = list(run.results.read())
    first = {a.selector: a for a in done.found.accuracies}

    @settings(max_examples=20)
    @given(st.lists(st.booleans(), min_size=len(results), max_size=len(results)) | st.none())
    def flips(verdicts: list[bool] | None) -> None:
        passed = [not r["passed"] for r in results] if verdicts is None else verdicts
        run.results.path.write_text(
            "".join(
                json.dumps(r | {"passed": p, "outcome": "passed" if p else "wrong answer"}) + "\n"
                for r, p in zip(results, passed, strict=True)
            )
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(selection, "observe", lambda *_: done.behaviours)
            found = selection.select(run, Checking(tiers.Tier.BWRAP))
        assert found.chosen == done.found.chosen
        assert (found.blind, found.logprobs) == (done.found.blind, done.found.logprobs)
        if verdicts is None:
            for accuracy in found.accuracies[:-1]:
                assert accuracy.accuracy == pytest.approx(1 - first[accuracy.selector].accuracy)

    flips()


def test_choices_are_a_file_of_human_evals(done: Done, checking: Checking, tmp_path: Path) -> None:
    verdicts = {(r["task_id"], r["sample_index"]): r["passed"] for r in done.run.results.read()}
    out = tmp_path / "chosen.jsonl"
    for by in ("combined", "agreement"):
        selection.write_choices(done.run, done.found, by, out)
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert {r["task_id"]: r["sample_index"] for r in lines} == done.found.chosen[by]
        assert all(r["completion"] == BODIES[r["task_id"][2:]][r["sample_index"]] for r in lines)
        results = tmp_path / f"{by}.jsonl"
        verify_file(out, results, load_prompts(done.run.path.with_suffix(".jsonl")), checking)
        judged = [json.loads(line) for line in results.read_text().splitlines()]
        assert len(judged) == 4
        for record in judged:
            key = (record["task_id"], record["sample_index"])
            assert record["passed"] == verdicts[key], key


def test_what_cannot_be_written(done: Done, tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "none" / "out.jsonl"):
        with pytest.raises(UserError, match="cannot be written: "):
            selection.write_choices(done.run, done.found, "combined", out)
    with pytest.raises(UserError, match="oracle has chosen nothing in this run: give another --by"):
        selection.write_choices(done.run, done.found, ORACLE, tmp_path / "out.jsonl")


def verdicts_by_hand(run: RunFolder) -> None:
    with run.results as results:
        for sample in run.samples.read():
            results.append(
                {k: sample[k] for k in ("task_id", "sample_index")}
                | {"passed": True, "outcome": "passed"}
            )


def test_a_run_without_log_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path / "run", logprobs=False)
    verdicts_by_hand(run)
    monkeypatch.setattr(selection, "observe", all_alike)
    found = selection.select(run, Checking(tiers.Tier.BWRAP))
    assert not found.logprobs
    assert list(found.chosen) == ["random", "agreement", "examples", "combined"]
    assert [a.selector for a in found.accuracies] == [*found.chosen, ORACLE]
    assert {a.accuracy for a in found.accuracies} == {1.0}
    with pytest.raises(UserError, match="logprob has chosen nothing in this run"):
        selection.write_choices(run, found, "logprob", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def all_alike(groups: Any, *_: Any) -> selection.Behaviours:
    return {
        (task.task_id, meaning(sample["program"])): Behaviour(("1",), None)
        for task, group in groups
        for sample in group
    }


def test_a_run_that_is_not_ready(tmp_path: Path) -> None:
    run = make(tmp_path / "a run")
    here = Checking(tiers.Tier.BWRAP)
    with pytest.raises(
        UserError, match=r"a run has no verdicts: run `gars-vllm verify '.*a run'` first"
    ):
        selection.select(run, here)
    verdicts_by_hand(run)
    with pytest.raises(
        UserError, match="a sample of t/mul, which is none of these tasks: give the"
    ):
        selection.select(run, here, [Task("t/cube", "def cube(n):\n")])


# The share of the examples, beside the examples' own test

VALUES: list[Any] = [
    1, 1.0, True, 2, 0, False, None, "1", "raises ValueError", 0.3, 0.1 + 0.2, 1 / 3, 0.333333, -0.0,
    1 << 70, [], (), [1, 2], [1.0, 2], (1, 2), [[1.5]], [(1, 1 / 3)], {1, 2},
    {"a": 1}, {"a": 1.0}, {1: "a"}, {}, set(), [None], 2.5, b"a", "",
]  # fmt: skip


def test_the_share_of_the_examples_is_what_their_test_says(checking: Checking) -> None:
    """Programs that give one of the values for each input, and one that gives what is expected."""
    lines = [f"    # f({i}) == {value!r}" for i, value in enumerate(VALUES)]
    task = Task("t/0", "def f(n):\n" + "\n".join(lines) + "\n", "f")
    found = examples.of_task(task)
    assert [e.arguments[0] for e in found] == list(range(len(VALUES)))
    programs = {f"def f(n):\n    return {value!r}\n": [value] * len(VALUES) for value in VALUES} | {
        f"VALUES = {VALUES!r}\ndef f(n):\n    return VALUES[n]\n": VALUES
    }
    group = [
        {"task_id": "t/0", "sample_index": i, "program": text} for i, text in enumerate(programs)
    ]
    behaviours = selection.observe([(task, group)], checking)
    for text, given_values in programs.items():
        right = 0
        for example, value in list(zip(found, given_values, strict=True))[:24]:
            scope: dict[str, Any] = {}
            exec(examples.as_test([example]), scope)
            try:
                scope["check"](lambda *_, value=value: value)
                right += 1
            except AssertionError:
                pass
        assert behaviours["t/0", meaning(text)].examples == right / 24, text
    assert behaviours["t/0", meaning(list(programs)[-1])].examples == 1.0
    assert behaviours["t/0", meaning("def f(n):\n    return '1'\n")].examples == 1 / 24


def test_what_a_program_raises_is_no_value(checking: Checking) -> None:
    task = Task("t/0", "def f(n):\n    # f(1) == 'raises ValueError', f(2) == 1\n", "f")
    texts = ["def f(n):\n    raise ValueError\n", "def f(n):\n    return 1\n", "def g(n):\n    return 1\n", "x = (", "def f(n):\n    yield 1\n"]  # fmt: skip
    group = [{"task_id": "t/0", "sample_index": i, "program": t} for i, t in enumerate(texts)]
    found = selection.observe([(task, group)], checking)
    shares = [found["t/0", meaning(text)].examples for text in texts]
    names = [found["t/0", meaning(text)].name is not None for text in texts]
    assert shares == [0.0, 0.5, 0.0, 0.0, 0.0]
    assert names == [False, True, False, False, True]
