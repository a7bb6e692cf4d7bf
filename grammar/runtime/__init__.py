# SPDX-License-Identifier: Apache-2.0
"""Compiled code that reads the tables: stacks, recogniser, states, masks. It knows no language."""
