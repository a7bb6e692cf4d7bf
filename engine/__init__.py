# SPDX-License-Identifier: Apache-2.0
"""Sampling, models, vLLM adapters, verification and reports: one subpackage for each.

What lies here itself stands on none of them (errors, extras, guard) or looks at all (diagnosis).
"""
