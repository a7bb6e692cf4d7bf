# SPDX-License-Identifier: Apache-2.0
"""The README for PyPI: what it links to by a path of the repository is linked there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
PICTURES = (".svg", ".png")


def readme(text: str, repository: str) -> str:
    """The text with absolute links: to the pages that show a file, and to pictures themselves."""

    def absolute(found: re.Match[str]) -> str:
        kind = "raw" if found[2].endswith(PICTURES) else "blob"
        return f"{found[1]}{repository}/{kind}/main/{found[2]}"

    return re.sub(r"(\]\()(?!https?://|#|mailto:)([^)\s]+)", absolute, text)


project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
setup(
    long_description=readme((ROOT / "README.md").read_text("utf-8"), project["urls"]["Repository"]),
    long_description_content_type="text/markdown",
)
