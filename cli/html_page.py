# SPDX-License-Identifier: Apache-2.0
"""The page of `gars-vllm report --html`: one self-contained file that needs no network."""

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

# The fields of a sample for filters and the list.
_LISTED = frozenset(
    {"run", "task_id", "index", "outcome", "detail", "valid", "overruled", "spots", "count"}
)
PARTS = Path(__file__).parent / "html"
# In JSON these characters occur in strings only, where \u003c means the same as <. Without them the
# data contains no markup: no </script>, no <!--. json escapes non-ASCII characters.
_NO_MARKUP = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


def render(page: Mapping[str, Any]) -> str:
    """The HTML of a page; equal pages give equal texts, ASCII except for the static parts.

    `page` is embedded as JSON and drawn by page.js, which documents its format. Samples are
    compressed: the fields needed for all of them in one piece, the rest in one piece per
    problem, decompressed on demand. Texts may be arbitrary: they are displayed, never executed.
    The page's content security policy only allows page.js to run, and nothing to be fetched.
    ValueError for infinite or NaN numbers, which JSON lacks.
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
    """The page as ASCII JSON that is safe in a <script> element."""
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
