# SPDX-License-Identifier: Apache-2.0
"""What every program is promised, and held to, whatever its limits of time and memory."""

FILE_BYTES = 16 << 20
FILES = 64  # open at a time
