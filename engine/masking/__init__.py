# SPDX-License-Identifier: Apache-2.0
"""The mask of a batch of logits: what requests ask for, where their texts stand, what is forbidden.

Knows no engine; torch, but not vLLM. Exports nothing, since vLLM's front end reads request_args
and names without the rest.
"""
