# SPDX-License-Identifier: Apache-2.0
"""From the files of a grammar to tables: readers, regular expressions, lexers, LALR. No numba."""
