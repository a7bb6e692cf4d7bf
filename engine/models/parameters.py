# SPDX-License-Identifier: Apache-2.0
"""Counts a model's parameters from its files."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path


def parameters_of(folder: Path) -> int | None:
    """The parameters used for each token: all but the input embedding, unless it is shared with
    the output. Read from the safetensors headers; None if there are none or one is unreadable."""
    total, looked_up, has_output = 0, 0, False
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        try:
            with path.open("rb") as file:
                head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            for name, tensor in head.items():
                if name == "__metadata__":
                    continue
                size = math.prod(tensor["shape"])
                total += size
                if re.search(r"(embed_tokens|wte|embed_in|word_embeddings)\.weight$", name):
                    looked_up += size
                has_output |= re.search(r"(lm_head|embed_out)\.weight$", name) is not None
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return (total - looked_up if has_output else total) or None
