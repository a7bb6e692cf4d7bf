# SPDX-License-Identifier: Apache-2.0
"""Limits that apply to every program, and are guaranteed to it, regardless of its limits of time
and memory."""

FILE_BYTES = 16 << 20
FILES = 64  # open at a time
