# SPDX-License-Identifier: Apache-2.0
"""The error of `gars_vllm.engine`."""

from __future__ import annotations


class UserError(ValueError):
    """One line: what is wrong and what to do."""
