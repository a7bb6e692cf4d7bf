# SPDX-License-Identifier: Apache-2.0
"""The command line: each command parses, calls one function and draws a table."""
