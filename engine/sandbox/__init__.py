# SPDX-License-Identifier: Apache-2.0
"""Runs untrusted programs: in a cell, judged from outside of it."""
