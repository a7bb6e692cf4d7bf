# SPDX-License-Identifier: Apache-2.0
"""The main job with a source of samples made up here; with real ones: test_*_backend.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gars_vllm.engine.analysis.summary import summarise
from gars_vllm.engine.backends.base import (
    Drawn,
    Job,
    Request,
    Requests,
    sampling_parameters,
    seed_of,
)
from gars_vllm.engine.backends.settings import OnInvalid, Settings
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.masking.constraints import Mask
from gars_vllm.engine.models import tokenizers
from gars_vllm.engine.models.catalogue import ModelSpec
from gars_vllm.engine.models.files import ModelFiles
from gars_vllm.engine.models.prompt_kinds import PromptEnd, PromptKind
from gars_vllm.engine.runs import sampling
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.runs.sampling import MAX_GIVEN_UP, State, Watcher
from gars_vllm.engine.tasks import prompts
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.tasks.tasks import Task, load_prompts, select
from gars_vllm.engine.verification.verification import Checking, verify
from gars_vllm.grammar import GrammarFileError

TASKS = [Task(f"T/{i}", f"def f{i}(x):\n", f"f{i}", "def check(f): pass") for i in range(3)]
SPEC = ModelSpec("toy", "toy/toy", "none", False, PromptKind.COMPLETION)


class Fixed:
    """Gives every sample the same text; stops after a number of samples, as a kill would."""

    name = "fixed"

    def __init__(self, job: Job, limit: int = 99) -> None:
        self.job = job
        self.limit = limit

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        for count, request in enumerate(requests):
            if count == self.limit:
                raise KeyboardInterrupt
            text = "    return x\nif"
            yield Drawn(request, tuple(self.job.tokenizer.encode(text)), text, "stop")

    def mask_seconds(self) -> float:
        return 0.0

    def close(self) -> None:
        pass


def test_interrupted_run_continues(tmp_path: Path, tiny_model: Path) -> None:
    settings = Settings(n=4, grammar="none")
    arguments = (SPEC, ModelFiles(tiny_model, "local"), TASKS, settings)
    first = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        sampling.run(first, *arguments, lambda job: Fixed(job, 5))
    assert len(list(first.samples.read())) == 5
    second = RunFolder(tmp_path / "run")
    sampling.run(second, *arguments, lambda job: Fixed(job))
    records = list(second.samples.read())
    keys = [(r["task_id"], r["sample_index"]) for r in records]
    assert sorted(keys) == [(t.task_id, i) for t in TASKS for i in range(4)]
    (summary,) = summarise(second)
    assert (summary.samples, summary.planned, summary.pass_at[1]) == (12, 12, None)
    sessions = second.load()["info"]["sessions"]
    assert [s["samples"] for s in sessions] == [5, 7]


def test_each_draw_has_a_seed_of_its_own(tiny_model: Path) -> None:
    tokenizer = tokenizers.load(tiny_model)
    asked = [prompts.build(task, PromptKind.COMPLETION, "none", tokenizer) for task in TASKS]
    requests = [Request(p, i, 0.8, draws) for p in asked for i in range(20) for draws in range(3)]
    seeds = [seed_of(0, request) for request in requests]
    assert seeds == [seed_of(0, request) for request in requests]
    assert len(set(seeds)) == len(requests)
    assert set(seeds).isdisjoint(seed_of(1, request) for request in requests)
    assert all(0 <= seed < 1 << 53 for seed in seeds)
    assert max(seeds) > 1 << 50
    assert seed_of(0, Request(asked[0], 0, 0.8, spent=9)) == seeds[0]
    other = prompts.build(TASKS[0], PromptKind.COMPLETION, "python", tokenizer)
    assert seed_of(0, Request(other, 0, 0.8)) == seeds[0]  # with a grammar and without: a pair


def test_records_and_config(tmp_path: Path, tiny_model: Path) -> None:
    """The record is cut by the grammar's state; the configuration names all that defines a run."""
    run = RunFolder(tmp_path / "run")
    files = ModelFiles(tiny_model, "local")
    sampling.run(run, SPEC, files, TASKS[:1], Settings(n=1), Fixed)
    (record,) = run.samples.read()
    count = len(tokenizers.load(tiny_model).encode("    return x\nif"))
    assert record == {
        "task_id": "T/0",
        "sample_index": 0,
        "completion": "    return x\n",
        "program": "def f0(x):\n    return x\n",
        "prompt_kind": "completion",
        "finish_reason": "stop",
        "tokens": count,
        "seed": None,
        "temperature": 0.8,
        "valid": True,
        "only_docstring": False,
        "given_up": 0,
        "given_up_tokens": 0,
    }
    config = run.load()["config"]
    assert config["tasks"] == "humaneval"
    assert config["backend"] == "fixed"
    assert len(config["grammar_hash"]) == 64
    before = (run.path / "run.json").read_bytes()
    for change, said in (
        ({"grammar": "none"}, 'grammar = "python", not "none"'),
        ({"seed": 1}, "seed = 0, not 1"),
        ({"max_tokens": 9}, "max_tokens = 512, not 9"),
        ({"top_p": 0.5}, "top_p = 0.95, not 0.5"),
        ({"prompt_kind": PromptKind.CHAT}, 'prompt_kind = "completion", not "chat"'),
    ):
        other = Settings(**{"n": 1, **change})  # type: ignore[arg-type]
        with pytest.raises(UserError, match=f"holds a run with {said}: choose another --out"):
            sampling.run(run, SPEC, files, TASKS[:1], other, Fixed)
    changed = [Task(TASKS[0].task_id, "def g(x):\n")]
    with pytest.raises(UserError, match="the prompts have changed since the run was begun"):
        sampling.run(run, SPEC, files, changed, Settings(n=1), Fixed)
    assert (run.path / "run.json").read_bytes() == before


class Told(Watcher):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def grow(folder: Path, model: Path, tasks: int, settings: Settings, limit: int = 99) -> list[str]:
    """Draws into a folder; what was said of its growing, and how many samples it drew."""
    told = Told()
    drawn = sampling.run(
        RunFolder(folder), SPEC, ModelFiles(model, "local"), TASKS[:tasks], settings,
        lambda job: Seeded(job, limit), known=TASKS, watcher=told,
    )  # fmt: skip
    return [*told.notes, f"{drawn} drawn"]


class Seeded(Fixed):
    """Each sample's text is its seed and temperature."""

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        for drawn in super().draw(requests):
            wishes = sampling_parameters(self.job.settings, drawn.request, None, draws=False)
            text = f"    return {wishes.seed}, {wishes.temperature}\n"
            yield replace(drawn, text=text, ids=tuple(self.job.tokenizer.encode(text)))


def held(folder: Path) -> tuple[Any, list[Any]]:
    """The configuration and the samples, in the order of their keys."""
    run = RunFolder(folder)
    return run.load()["config"], sorted(run.samples.read(), key=lambda r: json.dumps(r))


def test_a_grown_run_is_the_one_that_was_drawn_at_once(tmp_path: Path, tiny_model: Path) -> None:
    asked = Settings(n=2, grammar="none")
    path = tmp_path / "grown"
    assert grow(path, tiny_model, 1, asked) == ["2 drawn"]
    assert grow(path, tiny_model, 1, replace(asked, n=4)) == ["the run grows: n 2 -> 4", "2 drawn"]
    assert grow(path, tiny_model, 3, replace(asked, n=4)) == [
        "the run grows: tasks 1 -> 3", "8 drawn",
    ]  # fmt: skip
    heats = replace(asked, n=4, temperature=(0.8, 1.2))
    assert grow(path, tiny_model, 3, heats) == [
        "the run grows: temperatures 0.8 -> 0.8, 1.2", "12 drawn",
    ]  # fmt: skip
    grow(tmp_path / "whole", tiny_model, 3, heats)
    assert held(path) == held(tmp_path / "whole")
    sessions = RunFolder(path).load()["info"]["sessions"]
    assert [(s["n"], s["tasks"], s["temperatures"], s["samples"]) for s in sessions] == [
        (2, 1, [0.8], 2), (4, 1, [0.8], 2), (4, 3, [0.8], 8), (4, 3, [0.8, 1.2], 12),
    ]  # fmt: skip
    assert set(RunFolder(path).load()["info"]["prompt_tokens"]) == {t.task_id for t in TASKS}


def test_less_than_before_draws_nothing_and_loses_nothing(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "run"
    asked = Settings(n=4, grammar="none", temperature=(0.8, 1.2))
    grow(path, tiny_model, 3, asked)
    before = held(path)
    keeps = "the run holds more than requested, and keeps it: "
    for tasks, settings, more in (
        (3, replace(asked, n=2), "n 4"),
        (2, asked, "tasks 3"),
        (1, replace(asked, n=1, temperature=1.2), "n 4, tasks 3, temperatures 0.8, 1.2"),
    ):
        assert grow(path, tiny_model, tasks, settings) == [keeps + more, "0 drawn"]
        assert held(path) == before


def test_no_index_changes_its_temperature(tmp_path: Path, tiny_model: Path) -> None:
    """Samples that come later to a run of two temperatures come after those that are there; the
    numbers of the run are of the most that was asked for."""
    path = tmp_path / "run"
    grow(path, tiny_model, 1, Settings(n=2, grammar="none", temperature=(0.2, 0.8)))
    first = held(path)[1]
    grow(path, tiny_model, 1, Settings(n=3, grammar="none", temperature=0.8))
    grow(path, tiny_model, 1, Settings(n=1, grammar="none", temperature=0.0))
    config, samples = held(path)
    assert config["blocks"] == [[0.2, 2], [0.8, 3], [0.0, 1]]
    assert [s for s in samples if s["sample_index"] < 4] == first
    heat = [0.2, 0.2, 0.8, 0.8, 0.8, 0.0]
    assert [(s["sample_index"], s["temperature"]) for s in samples] == list(enumerate(heat))
    found = [(s.temperature, s.samples, s.planned) for s in summarise(RunFolder(path))]
    assert found == [(0.2, 2, 2), (0.8, 3, 3), (0.0, 1, 1)]
    grow(path, tiny_model, 2, Settings(n=2, grammar="none", temperature=0.2))
    assert [(s.samples, s.planned) for s in summarise(RunFolder(path))] == [(4, 4), (3, 6), (1, 2)]


def test_a_run_that_is_killed_while_it_grows_goes_on(tmp_path: Path, tiny_model: Path) -> None:
    asked = Settings(n=2, grammar="none")
    path = tmp_path / "run"
    grow(path, tiny_model, 2, asked)
    with pytest.raises(KeyboardInterrupt):
        grow(path, tiny_model, 3, replace(asked, n=5), limit=4)
    assert [s.samples for s in summarise(RunFolder(path))] == [8]
    (path / "samples.jsonl").open("a").write('{"task_id": "T/')  # as kill -9 may leave it
    assert grow(path, tiny_model, 3, replace(asked, n=5)) == ["7 drawn"]
    grow(tmp_path / "whole", tiny_model, 3, replace(asked, n=5))
    assert held(path) == held(tmp_path / "whole")


def test_a_run_is_as_it_was_where_its_growth_cannot_start(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "run"
    grow(path, tiny_model, 1, Settings(n=2, grammar="none"))
    before = (path / "run.json").read_bytes()

    def broken(job: Job) -> Fixed:
        raise UserError("vLLM does not start")

    with pytest.raises(UserError, match="does not start"):
        sampling.run(
            RunFolder(path), SPEC, ModelFiles(tiny_model, "local"), TASKS[:1],
            Settings(n=9, grammar="none"), broken,
        )  # fmt: skip
    assert (path / "run.json").read_bytes() == before


def test_a_run_of_an_older_version_grows(tmp_path: Path, tiny_model: Path) -> None:
    """run.json as it was written before runs could grow: n and the temperatures alone."""
    path = tmp_path / "run"
    asked = Settings(n=2, grammar="none", temperature=(0.2, 0.8))
    grow(path, tiny_model, 2, asked)
    file = path / "run.json"
    record = json.loads(file.read_text())
    for session in record["info"]["sessions"]:
        for name in ("n", "temperatures", "tasks"):
            del session[name]
    assert "blocks" not in record["config"]
    file.write_text(json.dumps(record))
    assert grow(path, tiny_model, 3, replace(asked, n=3)) == [
        "the run grows: n 2 -> 3, tasks 2 -> 3", "10 drawn",
    ]  # fmt: skip
    assert [(s.samples, s.planned) for s in summarise(RunFolder(path))] == [(9, 9), (9, 9)]


def test_a_run_whose_prompts_have_changed_does_not_grow(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "run"
    grow(path, tiny_model, 2, Settings(n=2, grammar="none"))
    before = (path / "run.json").read_bytes()
    files = ModelFiles(tiny_model, "local")
    other = replace(TASKS[1], prompt="def g():\n")
    for known, said in (([TASKS[0]], "the run has samples of T/1"), ([TASKS[0], other], "changed")):
        with pytest.raises(UserError, match=said):
            sampling.run(
                RunFolder(path), SPEC, files, known[:1], Settings(n=4, grammar="none"),
                lambda job: Seeded(job),
                known=known,
            )  # fmt: skip
    assert (path / "run.json").read_bytes() == before


def test_several_temperatures_are_one_run(tmp_path: Path, tiny_model: Path) -> None:
    settings = Settings(n=2, grammar="none", temperature=(0.2, 0.8, 1.2))
    arguments = (SPEC, ModelFiles(tiny_model, "local"), TASKS, settings)
    asked: list[tuple[int, float]] = []

    class Noted(Fixed):
        def draw(self, requests: Requests) -> Iterator[Drawn]:
            for drawn in super().draw(requests):
                wishes = sampling_parameters(settings, drawn.request, None, draws=False)
                asked.append((drawn.request.index, wishes.temperature))
                yield drawn

    with pytest.raises(KeyboardInterrupt):
        sampling.run(RunFolder(tmp_path / "run"), *arguments, lambda job: Noted(job, 7))
    states: list[State] = []

    class Seen(Watcher):
        def samples(self, state: State) -> None:
            states.append(state)

    run = RunFolder(tmp_path / "run")
    sampling.run(run, *arguments, lambda job: Noted(job), watcher=Seen())
    heat = (0.2, 0.2, 0.8, 0.8, 1.2, 1.2)
    assert all(heat[index] == temperature for index, temperature in asked)
    found = sorted((r["task_id"], r["sample_index"], r["temperature"]) for r in run.samples.read())
    assert found == [(t.task_id, i, heat[i]) for t in TASKS for i in range(6)]
    assert run.load()["config"]["temperature"] == [0.2, 0.8, 1.2]
    assert [s.done for s in states] == [7, *range(8, 19)]
    assert [s.problems_done for s in states] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
    assert {(s.total, s.problems) for s in states} == {(18, 3)}
    assert [s.drawn for s in states] == list(range(12))


def test_the_masks_time_is_not_asked_for_with_every_sample(
    tmp_path: Path, tiny_model: Path
) -> None:
    """Of servers it is an exchange with each."""
    asked = []

    class Slow(Fixed):
        def mask_seconds(self) -> float:
            asked.append(1)
            return 0.0

    files = ModelFiles(tiny_model, "local")
    settings = Settings(n=50, grammar="none")
    run = RunFolder(tmp_path / "run")
    sampling.run(run, SPEC, files, TASKS, settings, lambda job: Slow(job, 999))
    assert len(list(run.samples.read())) == 150
    assert len(asked) < 10  # of 150 samples


@pytest.mark.parametrize(
    ("temperatures", "message"),
    [((0.8, 0.8), "distinct"), ((0.8, -1.0), "temperature is -1"), ((0.0, 1.0), "temperature 0 draws"), ((), "distinct")],
)  # fmt: skip
def test_temperatures_that_are_none(temperatures: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings(n=2, temperature=temperatures)


def test_nothing_is_written_for_bad_input(tmp_path: Path, tiny_model: Path) -> None:
    files = ModelFiles(tiny_model, "local")
    folder = tmp_path / "run"
    tasks = [TASKS[0], Task("T/1", "def f(x):\n    x = )\n")]
    with pytest.raises(UserError, match=r"T/1 does not fit the grammar: .*line 2, column 9"):
        sampling.run(RunFolder(folder), SPEC, files, tasks, Settings(n=1), Fixed)
    with pytest.raises(UserError, match="exceeds the model's context of 2,048"):
        sampling.run(RunFolder(folder), SPEC, files, TASKS, Settings(n=1, max_tokens=6000), Fixed)
    grammar = tmp_path / "bad.lark"
    grammar.write_text('start: "a" b\n')
    with pytest.raises(GrammarFileError, match=r"bad.lark:1:\d+"):
        sampling.run(
            RunFolder(folder), SPEC, files, TASKS, Settings(n=1, grammar=str(grammar)), Fixed
        )
    assert not folder.exists()


def test_chat_samples_end_at_the_fence(tmp_path: Path, tiny_model: Path) -> None:
    class Answer(Fixed):
        def draw(self, requests: Requests) -> Iterator[Drawn]:
            for request in requests:
                text = "def f0(x):\n    return x\n```"
                ids = self.job.tokenizer.encode(text)
                yield Drawn(request, tuple(ids), text, "stop")

    run = RunFolder(tmp_path / "run")
    settings = Settings(n=1, prompt_kind=PromptKind.CHAT)
    sampling.run(run, SPEC, ModelFiles(tiny_model, "local"), TASKS[:1], settings, Answer)
    (record,) = run.samples.read()
    assert record["program"] == record["completion"] == "def f0(x):\n    return x\n"
    assert (record["prompt_kind"], record["valid"]) == ("chat", True)


def test_a_chat_answers_program_has_the_prompts_imports(
    tmp_path: Path, tiny_model: Path, checking: Checking
) -> None:
    """The same program for the mask, the verification and the report, with a grammar and without;
    a run of before, whose programs are the answers alone, is not continued but still verified."""

    class Answer(Fixed):
        def draw(self, requests: Requests) -> Iterator[Drawn]:
            for request in requests:
                text = "def f(x: List[int]) -> int:\n    return x[0]\n"
                ids = self.job.tokenizer.encode(text + "```")
                yield Drawn(request, tuple(ids), text, "stop")

    test = "def check(f):\n    assert f([3]) == 3\n"
    prompts_file = tmp_path / "prompts.jsonl"
    prompt = "from typing import List\n\n\ndef f(x: List[int]) -> int:\n"
    record = {"task_id": "T/0", "prompt": prompt, "entry_point": "f", "test": test}
    prompts_file.write_text(json.dumps(record) + "\n")
    files, tasks = ModelFiles(tiny_model, "local"), load_prompts(prompts_file)

    def sample(run: RunFolder, grammar: str) -> None:
        settings = Settings(n=1, prompt_kind=PromptKind.CHAT, grammar=grammar)
        sampling.run(run, SPEC, files, tasks, settings, Answer, task_source=str(prompts_file))

    for grammar in ("python", "none"):
        run = RunFolder(tmp_path / grammar)
        sample(run, grammar)
        (found,) = run.samples.read()
        assert found["program"] == prompt[:26] + found["completion"]
        assert found["valid"]
        verify(run, checking)
        assert summarise(run)[0].pass_at[1] == 1.0
    run = RunFolder(tmp_path / "python")
    config = json.loads((run.path / "run.json").read_text())
    del config["config"]["chat_preamble"]
    (run.path / "run.json").write_text(json.dumps(config))
    (run.path / "samples.jsonl").write_text(json.dumps(found | {"program": found["completion"]}))
    (run.path / "results.jsonl").unlink()
    with pytest.raises(UserError, match="holds a run with chat_preamble = nothing, not true"):
        sample(run, "python")
    with (run.path / "samples.jsonl").open("a") as file:
        file.write("\n")
    verify(run, checking)
    assert summarise(run)[0].pass_at[1] == 0.0  # as it was judged then: List is missing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"temperature": 0.0, "n": 2}, "same sample 2 times"),
        ({"top_p": 0.0}, "top-p"),
    ],
)
def test_bad_settings(change: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings(**{"n": 1, **change})  # type: ignore[arg-type]


def test_select() -> None:
    tasks = load_humaneval()
    assert len(tasks) == 164
    assert [t.task_id for t in select(tasks, None, "3,HumanEval/7,10-11")] == [
        "HumanEval/3", "HumanEval/7", "HumanEval/10", "HumanEval/11"]  # fmt: skip
    assert len(select(tasks, 5, None)) == 5
    with pytest.raises(UserError, match="unknown task id 'HumanEval/999'"):
        select(tasks, None, "999")


def test_prompts_file(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps({"prompt": "def a():\n"}) + "\n{oops\n")
    with pytest.raises(UserError, match=r"p.jsonl:2: not JSON"):
        load_prompts(file)


class Bad(Fixed):
    """Draws a program that only the symbol table rejects, the first `bad` times; then another."""

    def __init__(self, job: Job, bad: int) -> None:
        super().__init__(job)
        self.bad = bad

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        for request in requests:
            text = "    nonlocal x\n" if self.bad > 0 else "    return x\n"
            self.bad -= 1
            yield Drawn(request, tuple(self.job.tokenizer.encode(text)), text, "stop")


@pytest.mark.parametrize(
    ("bad", "on_invalid", "given_up", "valid"),
    [
        (2, OnInvalid.RESAMPLE, 2, 3),
        (2, OnInvalid.KEEP, 0, 1),
        (99, OnInvalid.RESAMPLE, 3 * MAX_GIVEN_UP, 0),
    ],
)
def test_invalid_samples_are_drawn_again(
    tmp_path: Path, tiny_model: Path, bad: int, on_invalid: OnInvalid, given_up: int, valid: int
) -> None:
    run = RunFolder(tmp_path / "run")
    files, settings = ModelFiles(tiny_model, "local"), Settings(n=3, on_invalid=on_invalid)
    sampling.run(run, SPEC, files, TASKS[:1], settings, lambda job: Bad(job, bad))
    records = list(run.samples.read())
    assert sorted(r["sample_index"] for r in records) == [0, 1, 2]
    assert sum(r["valid"] for r in records) == valid
    assert sum(r["given_up"] for r in records) == given_up
    each = len(tokenizers.load(tiny_model).encode("    nonlocal x\n"))
    assert sum(r["given_up_tokens"] for r in records) == given_up * each
    (summary,) = summarise(run)
    assert summary.given_up == given_up
    assert summary.tokens == sum(r["tokens"] + r["given_up_tokens"] for r in records)
    (session,) = run.load()["info"]["sessions"]
    assert session["tokens"] == summary.tokens


class Lazy(Fixed):
    """Draws a function that is only its docstring, the first `lazy` times; then another."""

    def __init__(self, job: Job, lazy: int) -> None:
        super().__init__(job)
        self.lazy = lazy

    def draw(self, requests: Requests) -> Iterator[Drawn]:
        for request in requests:
            text = "    'Text.'\n" if self.lazy > 0 else "    'Text.'\n    return x\n"
            self.lazy -= 1
            yield Drawn(request, tuple(self.job.tokenizer.encode(text)), text, "stop")


@pytest.mark.parametrize("grammar", ["python", "none"])
@pytest.mark.parametrize(("required", "given_up", "counted"), [(False, 0, 2), (True, 2, 0)])
def test_only_a_docstring_is_no_answer_where_a_statement_is_required(
    tmp_path: Path, tiny_model: Path, grammar: str, required: bool, given_up: int, counted: int
) -> None:
    run = RunFolder(tmp_path / "run")
    settings = Settings(n=3, grammar=grammar, require_statement=required, on_invalid=OnInvalid.KEEP)
    files = ModelFiles(tiny_model, "local")
    sampling.run(run, SPEC, files, TASKS[:1], settings, lambda job: Lazy(job, 2))
    (summary,) = summarise(run)
    assert (summary.samples, summary.valid) == (3, 3)
    assert (summary.given_up, summary.only_docstring) == (given_up, counted)
    assert run.load()["config"].get("require_statement", False) is required
    lines = run.samples.path.read_text().replace('"only_docstring"', '"something_else"')
    run.samples.path.write_text(lines)
    assert summarise(run)[0].only_docstring is None  # a run of before


@pytest.mark.parametrize(
    ("end", "drawn", "completion"),
    [
        (PromptEnd.NO_NEWLINE, "\n    return x\n", "    return x\n"),
        (PromptEnd.NO_NEWLINE, " return x\n", " return x\n"),
        (PromptEnd.HEALED, "{heal}    return x\n", "    return x\n"),
    ],
)
def test_a_program_goes_on_from_where_its_prompt_ended(
    tmp_path: Path, tiny_model: Path, end: PromptEnd, drawn: str, completion: str
) -> None:
    """The completion goes on after the task's own prompt, wherever the model's ended."""
    heals: list[str] = []

    class Goes(Fixed):
        def draw(self, requests: Requests) -> Iterator[Drawn]:
            for request in requests:
                heals.append(request.prompt.heal)
                text = drawn.format(heal=request.prompt.heal) + "if"
                yield Drawn(request, tuple(self.job.tokenizer.encode(text)), text, "stop")

    run = RunFolder(tmp_path / "run")
    files, settings = ModelFiles(tiny_model, "local"), Settings(n=1, prompt_end=end)
    sampling.run(run, SPEC, files, TASKS[:1], settings, Goes)
    (record,) = run.samples.read()
    assert all(heals) == (end is PromptEnd.HEALED)
    assert record["completion"] == completion
    head = "def f0(x):" if drawn.startswith(" ") else "def f0(x):\n"
    assert record["program"] == head + completion
    assert record["valid"]
    assert run.load()["config"]["prompt_end"] == str(end)


def test_a_sample_at_its_budget_is_closed(tmp_path: Path, tiny_model: Path) -> None:
    """ "closed" is said of what is whole, where closing was asked for."""

    class Long(Fixed):
        def draw(self, requests: Requests) -> Iterator[Drawn]:
            for request in requests:
                text = "    return x" if request.index else "    return x +"
                ids = self.job.tokenizer.encode(text)
                yield Drawn(request, tuple(ids), text, "length")

    files = ModelFiles(tiny_model, "local")
    for closing, reasons in ((True, ["length", "closed"]), (False, ["length", "length"])):
        run = RunFolder(tmp_path / f"run{closing}")
        sampling.run(run, SPEC, files, TASKS[:1], Settings(n=2, closing=closing), Long)
        assert [r["finish_reason"] for r in run.samples.read()] == reasons
        assert summarise(run)[0].closed == reasons.count("closed")


def test_syncode_knows_two_grammars() -> None:
    with pytest.raises(UserError, match="healed needs"):
        Settings(n=1, grammar="none", prompt_end=PromptEnd.HEALED)
    with pytest.raises(UserError, match="healed needs"):
        Settings(n=1, mask=Mask.SYNCODE, prompt_end=PromptEnd.HEALED)
    with pytest.raises(UserError, match="no-newline is for --prompt-kind completion"):
        Settings(n=1, prompt_kind=PromptKind.CHAT, prompt_end=PromptEnd.NO_NEWLINE)
    with pytest.raises(UserError, match="--require-statement is for Python, not json"):
        Settings(n=1, grammar="json", require_statement=True)
    with pytest.raises(UserError, match="knows python and json, not none"):
        Settings(n=1, grammar="none", mask=Mask.SYNCODE)
