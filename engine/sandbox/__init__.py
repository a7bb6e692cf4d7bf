# SPDX-License-Identifier: Apache-2.0
"""Runs untrusted programs in a jail and judges them from outside."""
