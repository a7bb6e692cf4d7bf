# SPDX-License-Identifier: Apache-2.0
"""Sampling, models, vLLM adapters, verification and reports."""
