# SPDX-License-Identifier: Apache-2.0
"""The page of `gars-vllm report --html`: one file that needs no other and no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

# What filters and the list need of a sample.
_LISTED = frozenset(
    {"run", "task_id", "index", "outcome", "detail", "valid", "overruled", "spots", "count"}
)
PARTS = Path(__file__).parent / "html"
# JSON has these characters in strings only, where \u003c means the same as <. Without them nothing
# in the data is markup: no </script>, no <!--. json escapes what is not ASCII, lone surrogates too.
_NO_MARKUP = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


def render(page: Mapping[str, Any]) -> str:
    """The HTML of a page; equal pages give equal texts, in ASCII but for the static parts.

    `page` is embedded as JSON and drawn by page.js, which says what it reads; its samples are
    compressed, what is needed of all of them in one piece, and the rest in a piece a problem, which
    is unpacked when it is needed. Texts in it may be anything: they are shown, never run. The
    page's policy lets only page.js run and nothing be fetched. ValueError if a number in it is
    infinite or NaN, for which JSON has no word.
    """
    samples = page.get("samples")
    packs: dict[str, list[dict[str, Any]]] = {}
    if samples is not None:
        for sample in samples:
            rest = {name: value for name, value in sample.items() if name not in _LISTED}
            packs.setdefault(sample["task_id"], []).append(rest)
        listed = [{k: v for k, v in sample.items() if k in _LISTED} for sample in samples]
        page = {**page, "samples": _packed(listed)}
    css, script = _part("page.css"), _part("page.js")
    return Template(_part("page.html")).substitute(
        title=html.escape(_without_surrogates(str(page.get("title", "")))),
        policy=(
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        ),
        css=css,
        script=script,
        data=embedded(page),
        packs="".join(
            f'<script id="pack-{number}" type="text/plain">{_packed(pack)}</script>\n'
            for number, pack in enumerate(packs.values())
        ),
    )


def embedded(page: Mapping[str, Any]) -> str:
    """The page as JSON that can stand in a <script> element, in ASCII."""
    text = json.dumps(dict(page), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_NO_MARKUP)


def _packed(value: Any) -> str:
    data = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
