# SPDX-License-Identifier: Apache-2.0
"""Masks a batch of logits: request parameters, the state of each text, forbidden tokens.

Depends on torch but not on vLLM. Exports nothing, since vLLM's front end imports request_args
and names without the rest.
"""
