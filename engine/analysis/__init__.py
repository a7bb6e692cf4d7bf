# SPDX-License-Identifier: Apache-2.0
"""Run statistics: counts, estimates with confidence intervals, comparisons of two runs."""
