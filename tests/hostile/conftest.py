# SPDX-License-Identifier: Apache-2.0
"""The programs are data: pytest must never import one, whatever its name."""

collect_ignore = ["programs"]
