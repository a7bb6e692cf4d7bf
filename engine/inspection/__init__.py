# SPDX-License-Identifier: Apache-2.0
"""A grammar and a tokenizer without a model: texts token by token, explanations, random walks."""
