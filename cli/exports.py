# SPDX-License-Identifier: Apache-2.0
"""Exports the numbers of runs: an HTML page, PNG plots, a CSV table."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gars_vllm.cli import columns as tables
from gars_vllm.cli import html_page
from gars_vllm.cli.columns import Column
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models.catalogue import PUBLISHED
from gars_vllm.engine.records.json_lines import key_of
from gars_vllm.engine.records.whole_file import write_whole
from gars_vllm.engine.runs.folder import open_run
from gars_vllm.engine.sandbox.outcome import Outcome
from gars_vllm.engine.tasks.data_sets import of_run
from gars_vllm.engine.tasks.programs import meaning

_MOST = 100_000  # different programs on a page: some 20 MB, which a browser can still search


def write(path: Path, data: bytes) -> Path:
    """Writes a file atomically, creating missing parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    return path


# ---- CSV ----


def write_csv(listed: Sequence[Column], path: Path) -> Path:
    """One line per problem and column: counts, rates, tokens, outcomes."""
    out = io.StringIO()
    outcomes = [outcome.value for outcome in Outcome]
    head = (
        "run", "model", "grammar", "temperature", "task_id", "samples", "finished", "valid",
        "verified", "passed", "pass_at_1", "tokens", "effective_samples",
    )  # fmt: skip
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*head, *(f"outcome_{name.replace(' ', '_')}" for name in outcomes)])
    for column in listed:
        s = column.summary
        for row in s.per_problem:
            writer.writerow(
                [
                    s.name, s.model, s.grammar, s.temperature, row.task_id, row.samples,
                    row.finished, row.valid, row.verified, row.passed, row.pass_at_1, row.tokens,
                    row.effective, *(row.outcomes.get(name, 0) for name in outcomes),
                ]
            )  # fmt: skip
    return write(path, out.getvalue().encode("utf-8", "surrogateescape"))  # paths may not be UTF-8


# ---- PNG ----


def write_png(listed: Sequence[Column], folder: Path) -> list[Path]:
    """coverage.png: pass@k with its interval, and the fit as a dashed line; outcomes.png:
    outcome fractions."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = tables.short_names(listed)
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, column in zip(names, listed, strict=True):
        statistics = column.statistics
        if not statistics.curve:
            continue
        ks, coverage = zip(*statistics.curve, strict=True)
        (line,) = axes.plot(ks, coverage, marker="." if len(ks) < 3 else None, label=name)
        known = [(a.k, a.interval) for a in statistics.at if a.interval is not None]
        if known:
            k, intervals = zip(*known, strict=True)
            low, high = [i.low for i in intervals], [i.high for i in intervals]
            axes.fill_between(k, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
        if statistics.extrapolation is not None:
            points = statistics.extrapolation.points
            fit = statistics.extrapolation.fit
            beyond = [p.k for p in points]
            axes.plot(beyond, [fit.at(k) for k in beyond], "--", color=line.get_color(), alpha=0.7)
    axes.set(xscale="log", xlabel="samples a problem (k)", ylabel="coverage (pass@k)", ylim=(0, 1))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    written = [_save(figure, folder / "coverage.png")]
    figure, axes = plt.subplots(figsize=(8, 0.5 * max(len(listed), 2) + 1.6), layout="constrained")
    left = [0.0] * len(listed)
    for number, outcome in enumerate(Outcome):
        fractions = [
            column.summary.outcomes.get(outcome.value, 0) / max(1, column.summary.verified)
            for column in listed
        ]
        if any(fractions):
            axes.barh(names, fractions, left=left, label=outcome.value, color=f"C{number}")
            left = [a + b for a, b in zip(left, fractions, strict=True)]
    axes.set(xlabel="share of the verified samples", xlim=(0, 1))
    axes.invert_yaxis()
    if any(left):
        axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    written.append(_save(figure, folder / "outcomes.png"))
    return written


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    data = io.BytesIO()
    figure.savefig(data, dpi=120)
    plt.close(figure)
    return write(path, data.getvalue())


# ---- HTML ----


def write_html(
    listed: Sequence[Column], runs: Sequence[str], path: Path,
    comparison: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Writes one page; `runs` are the folders of the columns."""
    return write(path, html_page.render(page_of(listed, runs, comparison)).encode())


def page_of(
    listed: Sequence[Column], runs: Sequence[str], comparison: Mapping[str, Any] | None = None,
    most: int = _MOST,
) -> dict[str, Any]:  # fmt: skip
    """The data for `html_page.render`; at most `most` different programs, but at least one per
    problem."""
    names = tables.short_names(listed)
    rows = [
        (number, row) for number, section in enumerate(tables.sections(listed)) for row in section
    ]
    programs, prompts = _programs(listed, runs, most)
    return {
        "title": "gars-vllm: " + ", ".join(Path(run).resolve().name for run in runs),
        "written": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        "runs": [
            _run(name, column, [[n, row.label, row.texts[i]] for n, row in rows])
            for i, (name, column) in enumerate(zip(names, listed, strict=True))
        ],
        "reference": [asdict(p) for p in PUBLISHED]
        if any(c.statistics.reaches for c in listed)
        else [],
        "problems": _problems(listed, prompts, programs),
        "samples": [sample for shown in programs.values() for sample in shown.samples],
        "comparison": comparison,
    }


def _run(name: str, column: Column, numbers: list[list[Any]]) -> dict[str, Any]:
    statistics, summary = column.statistics, column.summary
    ahead = statistics.extrapolation
    return {
        "name": name,
        "model": summary.model or "",
        "grammar": summary.grammar or "none",
        "temperature": summary.temperature,
        "numbers": numbers,
        "ks": [a.k for a in statistics.at],
        "pass_at": [a.rate for a in statistics.at],
        "low": [None if a.interval is None else a.interval.low for a in statistics.at],
        "high": [None if a.interval is None else a.interval.high for a in statistics.at],
        "curve_k": [k for k, _ in statistics.curve],
        "curve": [c for _, c in statistics.curve],
        "fit": None if ahead is None else asdict(ahead.fit),
        "extrapolated": [
            {
                "k": p.k,
                "fitted": p.fitted,
                "low": None if p.interval is None else p.interval.low,
                "high": None if p.interval is None else p.interval.high,
            }
            for p in (ahead.points if ahead else ())
        ],
        "notes": [*summary.notes(), *statistics.notes()],
    }


def _problems(
    listed: Sequence[Column], prompts: Mapping[str, str], programs: Mapping[tuple[int, str], Shown]
) -> list[dict[str, Any]]:
    by_run = [{row.task_id: row for row in c.summary.per_problem} for c in listed]
    ids = dict.fromkeys(row.task_id for c in listed for row in c.summary.per_problem)
    problems = []
    for task_id in ids:
        cells: list[dict[str, Any] | None] = []
        for place, rows in enumerate(by_run):
            row = rows.get(task_id)
            if row is None:
                cells.append(None)
                continue
            here = programs.get((place, task_id), Shown())
            cells.append(
                {
                    "samples": row.samples,
                    "verified": row.verified,
                    "passed": row.passed,
                    "valid": row.valid,
                    "tokens": row.tokens,
                    "outcomes": row.outcomes,
                    "programs": here.programs,
                    "shown": len(here.samples),
                }
            )
        problems.append({"task_id": task_id, "prompt": prompts.get(task_id, ""), "cells": cells})
    return problems


@dataclass(frozen=True)
class Shown:
    """For a problem and a column: the number of different programs, and those on the page."""

    programs: int = 0
    samples: Sequence[dict[str, Any]] = ()


def _programs(
    listed: Sequence[Column], runs: Sequence[str], most: int
) -> tuple[dict[tuple[int, str], Shown], dict[str, str]]:
    """The programs by column index and problem, and the prompts. `most`: on the whole page."""
    groups: dict[tuple[int, str], dict[tuple[str, str | None], dict[str, Any]]] = {}
    prompts: dict[str, str] = {}
    for run in runs:
        folder = open_run(run)
        config = folder.load()["config"]
        with contextlib.suppress(UserError):  # the prompts file is missing
            prompts |= {task.task_id: task.prompt for task in of_run(config)}
        verdicts = {key_of(record): record for record in folder.results.read()}
        places = {
            c.summary.temperature: i
            for i, c in enumerate(listed)
            if c.summary.run == str(folder.path)
        }
        for sample in folder.samples.read():
            task_id = str(sample["task_id"])
            place = places.get(sample.get("temperature"), next(iter(places.values())))
            verdict = verdicts.get(key_of(sample), {})
            name = (meaning(str(sample["program"])), verdict.get("outcome"))
            alike = groups.setdefault((place, task_id), {})
            if name in alike:
                alike[name]["count"] += 1
            else:
                alike[name] = _sample(place, sample, verdict, prompts.get(task_id))
    limit = max(1, most // max(1, len(groups)))
    shown = {
        key: Shown(len(alike), _chosen(list(alike.values()), limit))
        for key, alike in groups.items()
    }
    return shown, prompts


def _chosen(samples: Sequence[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The commonest first; beyond `limit`, one of each outcome and passing ones are preferred."""
    ranked = sorted(samples, key=lambda s: -int(s["count"]))
    if len(ranked) <= limit:
        return ranked
    first = {id(s) for s in {s["outcome"]: s for s in reversed(ranked)}.values()}
    kept = sorted(ranked, key=lambda s: (id(s) not in first, s["outcome"] != "passed"))
    kept = kept[: max(limit, len(first))]
    return sorted(kept, key=lambda s: -int(s["count"]))


def _sample(
    place: int, sample: Mapping[str, Any], verdict: Mapping[str, Any], prompt: str | None
) -> dict[str, Any]:
    """A program's data on the page. "prefix" is None if it is the task's prompt."""
    program, completion = str(sample["program"]), str(sample.get("completion", ""))
    prefix = program.removesuffix(completion) if completion else program
    return {
        "run": place,
        "task_id": str(sample["task_id"]),
        "index": int(sample["sample_index"]),
        "outcome": verdict.get("outcome"),
        "detail": str(verdict.get("detail", "")),
        "finish_reason": str(sample.get("finish_reason", "")),
        "valid": bool(sample.get("valid")),
        "tokens": int(sample.get("tokens", 0)),
        "temperature": sample.get("temperature"),
        "log_z": sample.get("log_z"),
        "overruled": sample.get("overruled"),
        "spots": list(sample.get("overruled_at", [])),
        "prefix": None if prefix == prompt else prefix,  # once is enough
        "completion": completion,
        "count": 1,
    }
