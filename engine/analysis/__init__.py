# SPDX-License-Identifier: Apache-2.0
"""What samples are worth: counts, estimates with intervals, one run beside another."""
