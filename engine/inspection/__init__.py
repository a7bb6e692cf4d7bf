# SPDX-License-Identifier: Apache-2.0
"""Inspects a grammar with a tokenizer and no model: checks texts, explains states, random walks."""
