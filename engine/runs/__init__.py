# SPDX-License-Identifier: Apache-2.0
"""A run: its folder on disk, what defines it, and the loop that draws what it lacks."""
