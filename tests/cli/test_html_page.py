# SPDX-License-Identifier: Apache-2.0
"""The page as text, and as a browser shows it (Chromium by playwright; skipped without them)."""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from gars_vllm.cli import html_page
from gars_vllm.cli.html_page import render

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

Data = dict[str, Any]
Show = Callable[..., "Page"]

SVG = "http://www.w3.org/2000/svg"
# Everything that could end a script, begin markup, or be no text at all.
HOSTILE = (
    '</script><script>window.x=1</script><!--<script>\n<img src=x onerror="window.x=1"> & &lt; \'"`${x}'
    "\u2028\u2029 \ud800 a\udfffb \U0001f600\x00\x01\x1b\x7f\r\n\t\u202etfel\u200b $data {{x}} ]]>"
)
CODE = '    """\U0001f600 é"""\n    return [x\tfor x in y]\n'


def a_sample(task_id: str, index: int, outcome: str | None, **more: Any) -> Data:
    return {
        "run": 0,
        "task_id": task_id,
        "index": index,
        "outcome": outcome,
        "detail": "" if outcome == "passed" else f"assert f({index})",
        "finish_reason": "stop",
        "valid": True,
        "tokens": 1234,
        "temperature": 0.8,
        "log_z": -0.25,
        "overruled": 0,
        "spots": [],
        "prefix": "def f(y):\n",
        "completion": f"    return {index}\n",
        "count": 1,
        **more,
    }


def a_cell(passed: int, wrong: int, tokens: int) -> Data:
    outcomes = {"wrong answer": wrong, "passed": passed}
    n = passed + wrong
    return {
        "samples": n,
        "verified": n,
        "passed": passed,
        "valid": n,
        "tokens": tokens,
        "outcomes": {name: count for name, count in outcomes.items() if count},
    }


def a_run(name: str, at_1: float = 0.5) -> Data:
    return {
        "name": name,
        "model": "qwen2.5-coder-0.5b",
        "grammar": "python",
        "temperature": 0.8,
        "numbers": [[0, "samples", "40"], [1, "pass@1", str(at_1)]],
        "ks": [1, 2, 10],
        "pass_at": [at_1, 0.6, 0.8],
        "low": [0.25, 0.35, None],
        "high": [0.75, 0.85, None],
        "curve_k": [1, 2, 5, 10],
        "curve": [at_1, 0.6, 0.7, 0.8],
        "fit": {"a": -0.7, "b": -0.5, "residual": 0.01},
        "extrapolated": [{"k": 100, "fitted": 0.932, "low": 0.9, "high": 0.95}],
        "notes": ["2 samples have no test"],
    }


def a_page() -> Data:
    """Two runs; the tasks are in no order, and the second run lacks one."""
    return {
        "title": "gars-vllm report",
        "written": "2026-11-24 19:00",
        "runs": [a_run("one"), a_run("two", 0.4)],
        "reference": [{"name": "model-x", "pass_at_1": 0.494, "source": "its paper"}],
        "problems": [
            {"task_id": "T/10", "prompt": "ten", "cells": [a_cell(3, 7, 900), a_cell(1, 9, 80)]},
            {"task_id": "T/2", "prompt": "two", "cells": [a_cell(10, 0, 1100), None]},
            {"task_id": "T/1", "prompt": "one", "cells": [a_cell(0, 10, 20), a_cell(2, 8, 70)]},
        ],
        "samples": [
            a_sample("T/10", 0, "passed"),
            a_sample("T/2", 0, "wrong answer", completion=CODE, spots=[7, 9, 14], overruled=3),
            a_sample("T/2", 1, None, run=1, log_z=None, overruled=None, valid=False),
            a_sample("T/1", 0, "wrong answer", run=1, count=7),
        ],
        "comparison": {"text": ["two less one"], "rows": [["pass@1", "-0.100"]]},
    }


def a_hostile_page() -> Data:
    """Each text is hostile."""

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoil(one) for key, one in value.items()}
        if isinstance(value, list):
            return [spoil(one) for one in value]
        return f"{value} {HOSTILE}" if isinstance(value, str) else value

    page = cast(Data, spoil(a_page()))
    for problem in page["problems"]:
        for cell in filter(None, problem["cells"]):
            cell["outcomes"] = {f"{k} {HOSTILE}": n for k, n in cell["outcomes"].items()}
    return page


def embedded(text: str) -> Any:
    """The page that was rendered."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    assert found
    page = json.loads(found[1])
    packs = [
        unpack(one) for one in re.findall(r'<script id="pack-\d+" type="text/plain">(.*?)<', text)
    ]
    if "samples" in page:
        page["samples"] = list(joined(unpack(page["samples"]), packs))
    return page


def joined(listed: list[Data], packs: list[list[Data]]) -> Iterator[Data]:
    waiting = iter(packs)
    rests: dict[str, Iterator[Data]] = {}
    for one in listed:
        if one["task_id"] not in rests:
            rests[one["task_id"]] = iter(next(waiting))
        yield one | next(rests[one["task_id"]])


def unpack(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


# As text


@pytest.mark.parametrize(
    "page", [{}, a_page(), a_hostile_page()], ids=["empty", "usual", "hostile"]
)
def test_the_data_come_back(page: Data) -> None:
    before = copy.deepcopy(page)
    text = render(page)
    assert embedded(text) == page == before
    assert render(copy.deepcopy(page)) == text


def test_hostile_texts_add_no_markup() -> None:
    text, usual = render(a_hostile_page()), render(a_page())
    for sign in ("<", ">", "<!--", "</script"):
        # The title is escaped; nothing else of the data may hold a sign of markup.
        assert text.count(sign) == usual.count(sign), sign
    assert text.encode("utf-8")
    assert not re.search("[\u2028\u2029\x00-\x09\x0b-\x1f]", text.split("<style>")[1])


def test_a_number_that_json_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render({"samples": [a_sample("T/1", 0, None, log_z=float("nan"))]})


def test_the_page_is_small_and_needs_no_other() -> None:
    text = render({})
    assert len(text.encode()) < 60_000
    assert [one for one in re.findall(r"https?:[^\"'\s]*", text) if one != SVG] == []
    assert not re.search(r"@import|url\(|<link rel=\"stylesheet|src=|fetch\(|innerHTML", text)


def test_the_static_parts_cannot_end_their_elements() -> None:
    script = (html_page.PARTS / "page.js").read_text().lower()
    assert "</script" not in script
    assert "<!--" not in script
    assert "</style" not in (html_page.PARTS / "page.css").read_text().lower()


def test_texts_have_contrast_in_both_schemes() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1. 1.4.11: 3 to 1 for edges of controls and curves."""
    css = (html_page.PARTS / "page.css").read_text()
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)
    for scheme in (0, 1):
        colours = {name: pair[scheme] for name, *pair in found}
        for text in ("text", "dim", "accent"):
            for below in ("page", "panel"):
                assert contrast(colours[text], colours[below]) >= 4.5, (scheme, text, below)
        assert contrast(colours["text"], colours["mark"]) >= 4.5
        for line in ("edge", *(name for name in colours if name.startswith("run-")), "passed"):
            assert contrast(colours[line], colours["page"]) >= 3, (scheme, line)


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on PATH")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Opens a page dict. In the end there was no error, no word on the console and no request."""
    said: list[str] = []
    asked: list[str] = []
    contexts: list[BrowserContext] = []

    def open_(page: Data, **options: Any) -> Page:
        file = tmp_path / f"{len(contexts)}.html"
        file.write_text(render(page), encoding="utf-8")
        contexts.append(browser.new_context(**options))
        shown = contexts[-1].new_page()
        shown.set_default_timeout(5000)
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("dialog", lambda dialog: said.append(dialog.message))
        shown.goto(file.as_uri())
        shown.wait_for_selector("html[data-drawn]")
        return shown

    yield open_
    for context in contexts:
        context.close()
    assert said == []
    assert {url for url in asked if not url.startswith(tmp_path.as_uri())} <= {"data:,"}


def tasks_of(page: Page, table: str) -> list[str]:
    return page.locator(f"#{table} tbody th").all_text_contents()


def column_of(page: Page, number: int) -> list[str]:
    return page.locator(f"#problems tbody td:nth-child({number})").all_text_contents()


def entries_of(page: Page) -> list[str]:
    return page.locator(".entries .id").all_text_contents()


def open_entry(page: Page, number: int) -> None:
    page.locator(".entries summary").nth(number).click()
    page.locator(".entries details").nth(number).locator(".body").wait_for()


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).select_option(label=option)


@pytest.mark.parametrize("page", [{}, a_page()], ids=["empty", "usual"])
def test_opens_quietly(show: Show, page: Data) -> None:
    shown = show(page)
    assert shown.locator("h1").text_content() == page.get("title", "")
    assert shown.evaluate("[...document.querySelectorAll('h1, h2')].map((h) => h.tagName)") == [
        "H1", *["H2"] * 6,
    ]  # fmt: skip
    assert shown.locator("#comparison").is_visible() == bool(page)


def test_parts_that_are_none_are_left_out(show: Show) -> None:
    page = a_page()
    page["comparison"] = None
    for run in page["runs"]:
        run.update(temperature=None, fit=None, extrapolated=[], low=[None] * 3, high=[None] * 3)
    shown = show(page)
    assert not shown.locator("#comparison, nav [href='#comparison']").filter(visible=True).count()
    assert shown.locator("#coverage .fit, #coverage .band").count() == 0
    assert "temperature" not in str(shown.locator("#runs").text_content())


def test_the_summary_has_a_row_a_label_and_a_column_a_run(show: Show) -> None:
    shown = show(a_page())
    rows = [row.split() for row in shown.locator("#summary tr").all_inner_texts()]
    assert rows == [["one", "two"], ["samples", "40", "40"], ["pass@1", "0.5", "0.4"]]
    assert shown.locator("#summary .note").all_text_contents() == [
        "one: 2 samples have no test", "two: 2 samples have no test",
    ]  # fmt: skip


@pytest.mark.parametrize("runs", [1, 2, 8])
def test_no_number_of_the_summary_is_clipped_on_a_phone(show: Show, runs: int) -> None:
    page = a_page()
    long = "fit c = exp(a k^b)", "a -1.799, b -0.359, off by 0.0123"
    page["runs"] = [a_run(f"qwen2.5-coder-0.5b-python-t0.8 @ {i}.4") for i in range(runs)]
    for run in page["runs"]:
        run["numbers"] = [[0, "pass@100", "0.734 [0.671, 0.795]"], [1, *long]]
    shown = show(page, viewport={"width": 390, "height": 844})
    box = shown.locator("#summary .scroll")
    assert box.evaluate("(e) => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight")
    places = (
        "(all) => all.map((e) => [e.getBoundingClientRect().left, e.getBoundingClientRect().right])"
    )
    for left, right in box.locator("td.n").evaluate_all(places):
        assert 0 <= left < right <= 390
    assert box.locator("td.n").count() == 2 * runs
    named = box.locator("td.n").first.evaluate("(e) => getComputedStyle(e, '::before').content")
    assert (named == '"qwen2.5-coder-0.5b-python-t0.8 @ 0.4"') == (runs > 1)


def test_what_is_left_out_is_said(show: Show) -> None:
    page = a_page()
    for problem in page["problems"]:
        for cell in filter(None, problem["cells"]):
            cell.update(programs=10, shown=4)
    shown = show(page)
    status = shown.locator("#samples [role=status]")
    rest = "shown: one of each outcome and the passing ones first, then the commonest."
    assert status.text_content() == f"4 different programs (10 samples). 20 of 50 {rest}"
    choose(shown, "Problem", "T/2")
    assert status.text_content() == f"2 of 4 different programs (2 samples). 4 of 10 {rest}"
    page["problems"][0]["cells"][0].update(shown=10)
    del page["problems"][1:]
    page["problems"][0]["cells"][1].update(shown=10)
    assert "shown" not in str(show(page).locator("#samples [role=status]").text_content())


def test_texts_are_unpacked_when_they_are_read(show: Show) -> None:
    shown = show(a_page())
    shown.evaluate(
        "document.querySelectorAll('[id^=pack]').forEach((e, i) => { if (i) e.remove() })"
    )
    open_entry(shown, 0)  # of the first problem, whose piece is there
    assert shown.locator(".completion").text_content() == "    return 0\n"


def test_an_old_browser_is_told_so(show: Show, browser: Browser) -> None:
    page = show(a_page())
    context = browser.new_context()
    context.add_init_script("delete window.DecompressionStream")
    shown = context.new_page()
    shown.goto(page.url)
    shown.wait_for_selector("html[data-drawn]")
    assert "use one of 2023 or later" in str(shown.locator("#samples").text_content())
    assert shown.locator("#summary tr").count() == 3
    context.close()


def test_the_coverage_plot_and_its_numbers(show: Show) -> None:
    shown = show(a_page())
    plot = shown.locator(".plot > svg")
    counts = {
        kind: plot.locator(kind).count()
        for kind in (".curve", ".fit", ".band", ".band.beyond", ".reference", ".hollow")
    }
    assert counts == {
        ".curve": 2, ".fit": 2, ".band": 4, ".band.beyond": 2, ".reference": 1, ".hollow": 2,
    }  # fmt: skip
    assert plot.locator(".halo").text_content() == "model-x 0.494"
    shown.get_by_label("Published pass@1 of other models").uncheck()
    assert plot.locator(".reference, .halo").count() == 0

    shown.locator("#coverage-numbers > summary").click()
    rows = [row.split("\t") for row in shown.locator("#coverage-numbers tr").all_inner_texts()]
    assert rows[1] == ["1", "0.500 [0.250, 0.750]", "0.400 [0.250, 0.750]"]
    assert rows[3] == ["10", "0.800", "0.800"]
    assert rows[4] == ["100", *["fit 0.932 [0.900, 0.950]"] * 2]
    notes = str(shown.locator("#coverage-numbers").inner_text())
    assert "one: fit exp(-0.7000·k^-0.5000), off by 0.0100" in notes
    assert "model-x: pass@1 0.494, its paper." in notes


def test_the_coverage_plot_tells_numbers_by_pointer_and_keyboard(show: Show) -> None:
    shown = show(a_page())
    tip, plot = shown.locator(".tip"), shown.locator(".plot > svg")
    assert not tip.is_visible()
    box = plot.bounding_box()
    assert box
    shown.mouse.move(box["x"] + box["width"] - 16, box["y"] + 50)
    assert "pass@100" in str(tip.text_content())
    shown.mouse.move(box["x"], box["y"] - 20)
    assert not tip.is_visible()
    plot.focus()
    for key, told in (("Home", "pass@1"), ("ArrowRight", "pass@2"), ("ArrowRight", "pass@10")):
        plot.press(key)
        assert tip.locator("p").text_content() == told
    assert "one 0.800" in tip.locator("li").all_text_contents()
    plot.press("Escape")
    assert not tip.is_visible()


def test_tables_sort_by_task_and_by_number_in_both_directions(show: Show) -> None:
    shown = show(a_page())
    heading = shown.locator("#problems th[aria-sort]")
    button = heading.locator("button")
    assert button.all_text_contents()[:6] == [
        "problem", "samples", "valid", "passed", "share", "tokens",
    ]  # fmt: skip
    up, down = ["T/1", "T/2", "T/10"], ["T/10", "T/2", "T/1"]
    assert tasks_of(shown, "problems") == up
    assert heading.first.get_attribute("aria-sort") == "ascending"
    button.first.click()
    assert tasks_of(shown, "problems") == down
    assert heading.first.get_attribute("aria-sort") == "descending"
    button.nth(5).click()
    assert column_of(shown, 6) == ["20", "900", "1,100"]  # 1,100 is a number, not a text
    assert tasks_of(shown, "problems") == ["T/1", "T/10", "T/2"]
    assert heading.nth(5).get_attribute("aria-sort") == "ascending"
    assert heading.first.get_attribute("aria-sort") == "none"
    button.nth(5).press("Enter")
    assert column_of(shown, 6) == ["1,100", "900", "20"]
    button.first.press("Space")
    assert tasks_of(shown, "problems") == up


def test_what_is_not_known_is_sorted_last_in_both_directions(show: Show) -> None:
    shown = show(a_page())
    tokens = shown.locator("#problems th[aria-sort] button").filter(has_text="tokens").last
    for told in (["70", "80", "\u2013"], ["80", "70", "\u2013"]):
        tokens.click()
        assert column_of(shown, 12) == told


def test_the_heat_map_leads_to_the_samples(show: Show) -> None:
    shown = show(a_page())
    heat = shown.locator("#outcomes tbody tr")
    assert heat.first.locator("td b").all_text_contents() == ["0%", "20%"]
    cell = heat.nth(2).locator("button").first
    widths = cell.locator("i").evaluate_all("(parts) => parts.map((p) => p.offsetWidth)")
    assert widths[1] / widths[0] == pytest.approx(7 / 3, rel=0.05)
    assert cell.get_attribute("title") == "3 of 10 passed; wrong answer 7"
    shown.locator("#outcomes th button").nth(2).click()
    assert tasks_of(shown, "outcomes") == ["T/10", "T/1", "T/2"]  # by the share in run two
    shown.get_by_label("Outcome", exact=True).select_option(label="passed")
    shown.locator("#outcomes button.cell").filter(has_text="100%").click()
    assert entries_of(shown) == ["T/2 #0"]  # of run one, and no longer only the passed ones
    assert shown.get_by_label("Run", exact=True).input_value() == "0"
    assert shown.evaluate("document.activeElement.textContent") == "Samples to read"


@pytest.mark.parametrize(
    ("passed", "wrong", "shown_as"),
    [
        (0, 9, "0%"),
        (1, 999, "1%"),
        (1, 2, "33%"),
        (999, 1, "99%"),
        (9, 0, "100%"),
        (0, 0, "\u2013"),
    ],
)
def test_the_heat_map_calls_no_share_all_or_none_that_is_not(
    show: Show, passed: int, wrong: int, shown_as: str
) -> None:
    page = {
        "runs": [a_run("one")],
        "problems": [{"task_id": "T/1", "prompt": "", "cells": [a_cell(passed, wrong, 9)]}],
    }
    assert show(page).locator("#outcomes td b").all_text_contents() == [shown_as]


def test_a_sample_without_a_prefix_follows_its_prompt(show: Show) -> None:
    page = a_page()
    page["samples"][1]["prefix"] = None
    shown = show(page)
    open_entry(shown, 1)
    assert shown.locator(".body .prefix").text_content() == "two"


def test_an_opened_sample_shows_its_text_exactly(show: Show) -> None:
    page = a_page()
    shown = show(page)
    assert shown.locator(".body").count() == 0
    open_entry(shown, 1)
    body = shown.locator(".body")
    assert body.locator(".completion").text_content() == CODE
    assert body.locator(".prefix").text_content() == "def f(y):\n"
    marks = body.locator("mark")
    spots = page["samples"][1]["spots"]
    # Offsets are Python's: the first letter counts once, though JavaScript has two units for it.
    assert marks.all_text_contents() == [CODE[spot] for spot in spots] == ["\U0001f600", "é", " "]
    assert set(marks.evaluate_all("(all) => all.map((m) => m.title)")) == {
        "the grammar overruled the model's most likely token here"
    }
    facts = str(body.locator("dl").inner_text()).split("\n")
    told = dict(zip(facts[::2], facts[1::2], strict=True))
    assert told["finish reason"] == "stop"
    assert told["failure"] == "assert f(0)"
    assert told["tokens"] == "1,234"
    assert told["log Z"] == "-0.250"
    for _ in range(2):
        shown.locator(".entries summary").nth(1).click()
    assert body.count() == 1


@pytest.mark.parametrize(
    ("text", "spots", "marked"),
    [
        ("ab\n", [0, 1, 2], ["a", "b", "\n"]),
        ("ab", [2], [""]),  # the end itself was not what the model wanted
        ("ab", [1, 1, 9], ["", "b", ""]),  # two tokens of one character; past the end
        ("", [0], [""]),
        ("a\x00b", [1], ["\x00"]),
        ("cab", [2, 0], ["c", "b"]),
    ],
)
def test_there_are_as_many_marks_as_spots(
    show: Show, text: str, spots: list[int], marked: list[str]
) -> None:
    shown = show({"samples": [a_sample("T/1", 0, "passed", completion=text, spots=spots)]})
    open_entry(shown, 0)
    assert shown.locator(".completion mark").all_text_contents() == marked
    assert shown.locator(".completion").text_content() == text


def test_filters(show: Show) -> None:
    shown = show(a_page())
    status = shown.locator("#samples [role=status]")
    assert entries_of(shown) == ["T/10 #0", "T/2 #0", "T/2 #1", "T/1 #0"]
    assert status.text_content() == "4 different programs (10 samples)"
    choose(shown, "Run", "two")
    assert entries_of(shown) == ["T/2 #1", "T/1 #0"]
    assert status.text_content() == "2 of 4 different programs (8 samples)"
    choose(shown, "Problem", "T/2")
    assert entries_of(shown) == ["T/2 #1"]
    shown.get_by_text("The prompt of T/2").click()
    assert shown.locator("#samples pre").first.text_content() == "two"
    choose(shown, "Run", "All runs")
    choose(shown, "Outcome", "not verified")
    assert entries_of(shown) == ["T/2 #1"]
    choose(shown, "Problem", "All problems")
    choose(shown, "Outcome", "wrong answer")
    assert entries_of(shown) == ["T/2 #0", "T/1 #0"]
    choose(shown, "Outcome", "All outcomes")
    shown.get_by_label("Grammar intervened").check()
    assert entries_of(shown) == ["T/2 #0"]
    shown.get_by_label("Grammar intervened").uncheck()
    shown.get_by_label("Text of sample or failure").fill("FOR X IN")
    shown.get_by_text("1 of 4 different programs").wait_for()
    assert entries_of(shown) == ["T/2 #0"]
    shown.get_by_label("Text of sample or failure").fill("nothing has this")
    shown.get_by_text("No sample is like that.").wait_for()
    assert entries_of(shown) == []


def test_an_opened_sample_stays_open_after_a_filter(show: Show) -> None:
    shown = show(a_page())
    choose(shown, "Problem", "T/2")
    open_entry(shown, 1)
    shown.wait_for_timeout(250)  # longer than a text waits for its next letter
    assert shown.locator(".body").count() == 1
    shown.get_by_label("Text of sample or failure").fill("x")
    shown.get_by_text("1 of 4 different programs").wait_for()
    open_entry(shown, 0)  # a click that takes the focus from the text
    shown.wait_for_timeout(250)
    assert shown.locator(".body").count() == 1
    shown.get_by_label("Text of sample or failure").fill("")
    shown.locator("#outcomes button.cell").first.click()  # filters before the text does
    shown.wait_for_timeout(250)
    assert entries_of(shown) == []


def test_hostile_texts_are_shown_and_never_run(show: Show) -> None:
    page = a_hostile_page()
    page["samples"][0].update(completion=HOSTILE, prefix=HOSTILE, spots=[0, len(HOSTILE) - 1])
    shown = show(page)
    open_entry(shown, 0)
    shown.locator("#outcomes button.cell").first.click()
    choose(shown, "Problem", "All problems")
    choose(shown, "Run", "All runs")
    open_entry(shown, 0)
    assert shown.evaluate("window.x") is None
    assert shown.locator("img, script:not([id^=pack])").count() == 2  # the data and the page's own
    # Lone surrogates do not cross to Python, the numbers of UTF-16 do.
    units = (
        "(e) => Array.from({length: e.textContent.length}, (_, i) => e.textContent.charCodeAt(i))"
    )
    for kind in (".completion", ".prefix"):
        seen = shown.locator(kind).first.evaluate(units)
        raw = HOSTILE.encode("utf-16-le", "surrogatepass")
        assert seen == [int.from_bytes(raw[i : i + 2], "little") for i in range(0, len(raw), 2)]
    assert shown.locator(".completion").first.locator("mark").count() == 2
    codes = shown.locator(".completion").first.locator(".control")
    assert {"U+0000", "U+202E", "U+D800", "U+DFFF", "U+2028", "U+000D"} <= set(
        codes.evaluate_all("(all) => all.map((c) => c.dataset.code)")
    )
    title = str(shown.evaluate("document.title"))
    assert "</script><script>window.x=1</script>" in title


@pytest.mark.parametrize("width", [390, 1280])
def test_the_body_never_scrolls_sideways(show: Show, width: int) -> None:
    page = a_page()
    long = "long" * 60
    page["runs"].append(a_run(long))
    page["runs"] += [a_run(f"run-{i}") for i in range(5)]
    for problem in page["problems"]:
        problem["cells"] += [a_cell(1, 2, 3)] * 6
    page["problems"].append({"task_id": long, "prompt": long, "cells": [None] * 8})
    page["samples"][0].update(task_id=long, completion=long, detail=long, prefix=long, outcome=long)
    page["reference"][0]["name"] = page["comparison"]["rows"][0][0] = long
    page["comparison"]["text"] = page["runs"][0]["notes"] = [long]
    shown = show(page, viewport={"width": width, "height": 844})
    open_entry(shown, 0)
    shown.locator("#coverage-numbers > summary").click()
    shown.locator(".plot > svg").press("End")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate("document.body.scrollWidth") <= width
    assert shown.locator("#problems .scroll").evaluate("(e) => e.scrollWidth > e.clientWidth")


def test_the_scheme_follows_the_system_and_the_button(show: Show) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = show(a_page(), color_scheme="light")
    dark = show(a_page(), color_scheme="dark")
    colours = [one.evaluate(background) for one in (light, dark)]
    assert colours[0] != colours[1]
    for shown, before, after in ((light, *colours), (dark, *colours[::-1])):
        button = shown.locator("#scheme")
        button.click()
        assert shown.evaluate(background) == after
        shown.reload()
        assert shown.evaluate(background) == after  # it is remembered
        button.click()
        assert shown.evaluate(background) == before


def test_a_remembered_scheme_waits_for_nothing(show: Show) -> None:
    """Not for the samples to be unpacked: the page would first be shown in the other one."""
    shown = show(a_page(), color_scheme="light")
    shown.locator("#scheme").click()
    shown.add_init_script("Response.prototype.text = () => new Promise(() => {})")  # never
    shown.reload()
    assert not shown.locator("html[data-drawn]").count()
    assert shown.evaluate("document.documentElement.dataset.scheme") == "dark"


def test_thousands_of_samples_are_drawn_as_they_are_asked_for(show: Show) -> None:
    page = a_page()
    page["samples"] = [
        a_sample(f"T/{i % 50}", i, "wrong answer" if i % 10 else "passed", completion=CODE * 20)
        for i in range(5000)
    ]
    shown = show(page)
    nodes = "document.getElementsByTagName('*').length"
    assert shown.evaluate(nodes) < 2500
    assert shown.locator(".entries > li").count() == 200
    more = shown.locator("#samples button", has_text="more")
    assert more.text_content() == "Show 200 more of 4,800"
    more.click()
    assert shown.locator(".entries > li").count() == 400
    assert shown.evaluate("document.activeElement.textContent").startswith("T/0 #200")
    choose(shown, "Outcome", "passed")
    assert shown.locator(".entries > li").count() == 200
    assert shown.evaluate(nodes) < 2500
    choose(shown, "Problem", "T/10")
    assert shown.locator(".entries > li").count() == 100
    assert not more.is_visible()
    shown.get_by_label("Text of sample or failure").fill("4960")
    shown.get_by_text("1 of 5,000 different programs").wait_for()
    assert entries_of(shown) == ["T/10 #4960"]
